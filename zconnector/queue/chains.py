"""Order keys: the live commands of one name and key, as a list linked through themselves.

Only the first of a chain may be handed out; when it has ended, the next one may, whatever the state it is
in and whatever their priorities. A command that is STORING has its place already: arrival decides.
"""

from __future__ import annotations

from zconnector.queue.leases import Command


class Chains:
    """The last command of each chain; adding, removing and finding the next cost the same at any length."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], Command] = {}

    def add(self, command: Command) -> None:
        """A command arrived; one without a key is in no chain."""
        if not command.order_key:
            return
        key = (command.name, command.order_key)
        last = self._last.get(key)
        if last is not None:
            last.behind, command.before = command, last
        self._last[key] = command

    def remove(self, command: Command) -> Command | None:
        """It has ended. Returns the command that is the first of its chain by that."""
        if not command.order_key:
            return None
        before, behind = command.before, command.behind
        command.before = command.behind = None
        if before is not None:
            before.behind = behind
        if behind is not None:
            behind.before = before
            return behind if before is None else None
        key = (command.name, command.order_key)
        if before is None:
            del self._last[key]
        else:
            self._last[key] = before
        return None
