"""Commands that have ended, remembered for the dedupe window; and floors, which outlast it.

Dedupe does not hang on clocks alone: when an ended command is forgotten, the `accept_until` of its source
up to which that has happened is kept as a **floor**; an unknown command at or below it is refused. A
clock that jumps there and back can cause refusals, but no second execution.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from zconnector.clock import Instant
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.leases import Command
from zconnector.queue.store import COMMANDS, DOCUMENTS, Delete, Put

FLOOR = "floor/"


class Ended:
    """In the order in which they are forgotten.

    Invariant: `count` is how many they are, `bytes` that of their stored replies.
    """

    def __init__(self, window: float, commits: Commits, messages: Messages) -> None:
        self._window = window
        self._commits = commits
        self._messages = messages
        self._commands: deque[tuple[float, Command]] = deque()
        self.count = 0
        self._floors: dict[str, int] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return self.count

    def restore_floor(self, source: str, floor: int) -> None:
        self._floors[source] = floor

    def may_be_forgotten(self, source: str, accept_until: int) -> bool:
        """Whether a command unknown here may have been known, and ended, before."""
        return accept_until <= self._floors.get(source, -1)

    def remember(self, command: Command, now: Instant) -> None:
        self._commands.append((now.mono + self._window, command))
        self._commits.agenda.by(self._commands[0][0])
        self.count += 1
        self.bytes += command.size

    def forget(self, now: Instant, told: Callable[[Command], None]) -> None:
        """Drop those whose window is over, and raise the floors in the same commit."""
        floors: dict[str, int] = {}
        while self._commands and self._commands[0][0] <= now.mono:
            _, command = self._commands.popleft()
            self.count -= 1
            self.bytes -= command.size
            told(command)
            self._messages.forget(COMMANDS, command.key)
            self._commits.ride(Delete(COMMANDS, command.key))
            floor = max(self._floors.get(command.source, -1), floors.get(command.source, -1))
            if command.accept_until > floor:
                floors[command.source] = command.accept_until
        for source, floor in floors.items():
            self._floors[source] = floor
            self._commits.ride(Put(DOCUMENTS, FLOOR + source, {"accept_until": floor}))

    def deadline(self) -> float | None:
        return self._commands[0][0] if self._commands else None
