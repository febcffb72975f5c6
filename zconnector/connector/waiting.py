"""Commands of ours that wait for their turn: no more are under way than the aggregator instances take."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zconnector.actions import Caller
from zconnector.agenda import Agenda
from zconnector.alarms import Alarms
from zconnector.connector.places import Name, name_of
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer

Line = tuple[Name, frozenset[Peer]]
"""Those of one name that are for the same instances (all but these): they may go or not, all alike."""


@dataclass(slots=True)
class Senders:
    """Who waits for the outcome of one command."""

    callers: list[Caller] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Queued:
    """A command with its senders, and the monotonic time at which its timeout is over."""

    command: Message
    senders: Senders
    ends: float
    doubt: bool = False
    """A copy of it may be stored somewhere: it may not end NOT_SENT."""
    spent: frozenset[Peer] = frozenset()
    """Where it was tried: it goes on at the other instances."""
    number: int = 0
    """Its place in the order of arrival, given by the room. Who comes back has it still: first."""

    @property
    def line(self) -> Line:
        return name_of(self.command), self.spent


class WaitingRoom:
    """In order of arrival; each goes when it is taken, or when its time is over.

    Invariants: who waits has an alarm at its end, and nobody else has one; who waits and is not held has an
    entry in the line of its name and spent instances, whose other entries are stale.
    """

    def __init__(self, agenda: Agenda) -> None:
        """`agenda` is told when times are over."""
        self.queued: dict[str, Queued] = {}
        """By uuid; to be read only."""
        self._lines: dict[Line, list[tuple[int, str]]] = {}
        self._ends: Alarms[str] = Alarms(agenda)
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self.queued)

    def __iter__(self) -> Iterator[Queued]:
        return iter(self.queued.values())

    def get(self, uuid: str) -> Queued | None:
        return self.queued.get(uuid)

    def add(self, queued: Queued) -> None:
        """At its place in the order: at the end, or where it was when it was taken out before."""
        self.hold(queued)
        self.release(queued)

    def count(self, queued: Queued) -> None:
        """Give it its place in the order of arrival, unless it has one. It may have to wait later."""
        queued.number = queued.number or next(self._numbers)

    def hold(self, queued: Queued) -> None:
        """As `add`, but it may not go before it is released."""
        uuid = queued.command.uuid
        self.count(queued)
        self.queued[uuid] = queued
        self._ends.set(uuid, queued.ends)

    def release(self, queued: Queued) -> None:
        """It may go now."""
        heapq.heappush(self._lines.setdefault(queued.line, []), (queued.number, queued.command.uuid))

    def take_first(self, may_go: Callable[[Line], bool] = lambda _line: True) -> Queued | None:
        """Remove and return the one that has waited longest of those whose line may go."""
        first: tuple[int, str] | None = None
        for line, entries in list(self._lines.items()):
            while entries and self._stale(line, *entries[0]):
                heapq.heappop(entries)
            if not entries:
                del self._lines[line]
            elif (first is None or entries[0] < first) and may_go(line):
                first = entries[0]
        return self.take(first[1]) if first else None

    def _stale(self, line: Line, number: int, uuid: str) -> bool:
        """Who came back has its old number, but for fewer instances stands in another line than before."""
        queued = self.queued.get(uuid)
        return queued is None or queued.number != number or queued.line != line

    def take(self, uuid: str) -> Queued | None:
        """Remove and return the one of this uuid."""
        self._ends.cancel(uuid)
        return self.queued.pop(uuid, None)

    def overdue(self, now: float) -> list[Queued]:
        """Remove and return those whose time is over."""
        over: list[Queued] = []
        while (uuid := self._ends.pop(now)) is not None:
            over.append(self.queued.pop(uuid))
        return over

    def deadline(self) -> float | None:
        """When `overdue` is due."""
        return self._ends.deadline()
