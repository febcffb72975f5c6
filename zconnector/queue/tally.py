"""How many commands are in which state, and their bytes: counted as they change, never by walking them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from zconnector.queue.leases import Command
from zconnector.queue.states import State

Kind = tuple[str, int]
"""A command's name, and its major version."""


@dataclass(slots=True, eq=False)
class _Counts:
    """Of one kind."""

    known: int = 0
    """All of them."""
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    bytes: int = 0
    """Of the live ones."""


class Tally:
    """Invariant: a kind of which no command is known has no entry."""

    def __init__(self) -> None:
        self.kinds: dict[Kind, _Counts] = {}
        """Who lets a command go from one state to another (`Register.step`) moves it in `states` itself: each
        goes four steps, and a call would cost as much again."""

    def enter(self, command: Command) -> None:
        """A command has become known, in its state, and is live."""
        kind = command.name, command.major
        counts = self.kinds.get(kind)
        if counts is None:
            counts = self.kinds[kind] = _Counts()
        counts.known += 1
        counts.states[command.state] += 1
        counts.bytes += command.size

    def count(self, command: Command, by: int) -> None:
        """A command has become known, in its state (1), or is known no more (-1)."""
        kind = command.name, command.major
        counts = self.kinds.get(kind)
        if counts is None:
            counts = self.kinds[kind] = _Counts()
        counts.known += by
        counts.states[command.state] += by
        if by < 0:
            self._tidy(kind, counts)

    def weigh(self, command: Command, by: int) -> None:
        """So many bytes more, or less, are live."""
        kind = command.name, command.major
        counts = self.kinds[kind]
        counts.bytes += by
        if not counts.known:
            self._tidy(kind, counts)

    def _tidy(self, kind: Kind, counts: _Counts) -> None:
        if not counts.known and not counts.bytes:
            del self.kinds[kind]

    @property
    def states(self) -> dict[tuple[str, int, State], int]:
        """Commands by (name, major, state), without those of which there are none."""
        return {
            (name, major, state): count
            for (name, major), counts in self.kinds.items()
            for state, count in counts.states.items()
            if count
        }

    @property
    def bytes(self) -> dict[Kind, int]:
        """Bytes of the live ones."""
        return {kind: counts.bytes for kind, counts in self.kinds.items() if counts.bytes}

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
