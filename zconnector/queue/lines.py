"""Commands and waiters of one name meet here; the first command goes to whoever waits longest.

A command stands here as its rank, a number that grows with the order in which commands are handed out.

A waiter of major 0 takes any version; a command of major 0 goes to any waiter ("resolves when
leased"). Admin commands have lines of their own, which only the admin worker stands at.

Invariant: after each operation of the queue no waiter stands where a command is ready that it could take.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zconnector.actions import Caller
from zconnector.queue.leases import Version

ADMIN_WORKER = "ADMIN"
ANY = 0
"""The major version that stands for all."""


@dataclass(slots=True)
class Waiter:
    """A pending wait_command, or take."""

    caller: Caller
    iterator: str
    name: str
    major: int
    worker: str
    serving: Version | None
    order: int
    """Grows with each wait: lower has waited longer."""
    names: tuple[str, ...] = ()
    """Of a take: all the names that it takes from; `name` is one of them."""
    holder: str = ""
    """Of a take: the stream that it is for, if any."""
    limit: int = 1
    lease_ms: int = 0

    @property
    def text(self) -> bool:
        """Whether it can be handed only what is UTF-8 (the Gandalf API)."""
        return not self.names

    @property
    def held_by(self) -> str:
        """As `Lease.held_by`."""
        return self.iterator or (f"holder/{self.holder}" if self.holder else "")

    @property
    def lines(self) -> list[tuple[str, bool]]:
        """Where it stands: a name, and whether it is the admin worker's line."""
        return [(name, self.admin) for name in self.names or (self.name,)]

    @property
    def admin(self) -> bool:
        return self.worker == ADMIN_WORKER


@dataclass(slots=True)
class Line:
    """Ready commands (ranks in a heap for each major) and waiters (by arrival for each major)."""

    ready: dict[int, list[int]] = field(default_factory=dict)
    waiting: dict[int, OrderedDict[Caller, Waiter]] = field(default_factory=dict)

    def push(self, major: int, rank: int) -> None:
        """A command is ready. It takes its old place when it was ready before."""
        heapq.heappush(self.ready.setdefault(major, []), rank)

    def take(self, major: int, is_ready: Callable[[int], bool]) -> int | None:
        """Remove and return the first command for a waiter; ranks that are no longer ready fall out."""
        number, first = self._head(major, is_ready)
        if first is not None:
            heapq.heappop(self.ready[number])
        return first

    def peek(self, major: int, is_ready: Callable[[int], bool]) -> int | None:
        """What `take` would return."""
        return self._head(major, is_ready)[1]

    def _head(self, major: int, is_ready: Callable[[int], bool]) -> tuple[int, int | None]:
        best = ANY
        first: int | None = None
        for number in self._majors(self.ready, major):
            heap = self.ready[number]
            while heap and not is_ready(heap[0]):
                heapq.heappop(heap)
            if not heap:
                del self.ready[number]
            elif first is None or heap[0] < first:
                best, first = number, heap[0]
        return best, first

    def park(self, waiter: Waiter) -> None:
        """A waiter finds nothing."""
        self.waiting.setdefault(waiter.major, OrderedDict())[waiter.caller] = waiter

    def leave(self, waiter: Waiter) -> None:
        group = self.waiting[waiter.major]
        del group[waiter.caller]
        if not group:
            del self.waiting[waiter.major]

    def first(self, major: int) -> Waiter | None:
        """Who has waited longest for a command of this major."""
        heads = [next(iter(self.waiting[number].values())) for number in self._majors(self.waiting, major)]
        return min(heads, key=lambda waiter: waiter.order, default=None)

    def waiters(self) -> Iterator[Waiter]:
        for group in self.waiting.values():
            yield from group.values()

    @property
    def empty(self) -> bool:
        return not self.ready and not self.waiting

    @staticmethod
    def _majors(
        groups: dict[int, list[int]] | dict[int, OrderedDict[Caller, Waiter]], major: int
    ) -> list[int]:
        """The majors among `groups` that meet this one. At most 256 whatever the backlog."""
        if major == ANY:
            return list(groups)
        return [number for number in (major, ANY) if number in groups]
