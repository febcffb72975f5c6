"""How many commands are in which state, and their bytes: counted as they change, never by walking them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from zconnector.queue.leases import Command
from zconnector.queue.states import State

Kind = tuple[str, int]
"""A command's name, and its major version."""


class Tally:
    """Invariant: a pair or a state that nothing is in has no entry."""

    def __init__(self) -> None:
        self.states: dict[tuple[str, int, State], int] = {}
        """Commands by (name, major, state)."""
        self.bytes: dict[Kind, int] = {}
        """Bytes of the live ones."""

    def count(self, command: Command, by: int) -> None:
        """A command came to be in its state (1), or is not known any more (-1)."""
        _add(self.states, (command.name, command.major, command.state), by)

    def move(self, command: Command, before: State, after: State) -> None:
        """It went from one state to another."""
        states, name, major = self.states, command.name, command.major
        left, entered = (name, major, before), (name, major, after)
        count = states[left] - 1
        if count:
            states[left] = count
        else:
            del states[left]
        states[entered] = states.get(entered, 0) + 1

    def weigh(self, command: Command, by: int) -> None:
        _add(self.bytes, (command.name, command.major), by)

    def as_status(self) -> dict[str, Any]:
        """Sums over all, and for each name."""
        states: Counter[str] = Counter()
        names: dict[str, dict[str, int]] = {}
        for (name, _, state), count in self.states.items():
            key = str(state)  # for JSON a key is a str, and nothing derived from it
            states[key] += count
            of_name = names.setdefault(name, {})
            of_name[key] = of_name.get(key, 0) + count
        return {"states": {str(state): states[state] for state in State}, "names": names}


def _add(counts: dict[Any, int], key: Any, by: int) -> None:
    count = counts.get(key, 0) + by
    if count:
        counts[key] = count
    else:
        counts.pop(key, None)
