"""Commands and waiters of one name meet here; the oldest command goes to whoever waits longest.

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
    """A pending wait_command."""

    caller: Caller
    iterator: str
    name: str
    major: int
    worker: str
    serving: Version | None
    order: int
    """Grows with each wait: lower has waited longer."""

    @property
    def admin(self) -> bool:
        return self.worker == ADMIN_WORKER


@dataclass(slots=True)
class Line:
    """Ready commands (keys in a heap for each major) and waiters (by arrival for each major)."""

    ready: dict[int, list[int]] = field(default_factory=dict)
    waiting: dict[int, OrderedDict[Caller, Waiter]] = field(default_factory=dict)

    def push(self, major: int, key: int) -> None:
        """A command is ready. It takes its old place when it was ready before."""
        heapq.heappush(self.ready.setdefault(major, []), key)

    def take(self, major: int, is_ready: Callable[[int], bool]) -> int | None:
        """Remove and return the oldest command for a waiter; keys that are no longer ready fall out."""
        best = ANY
        oldest: int | None = None
        for number in self._majors(self.ready, major):
            heap = self.ready[number]
            while heap and not is_ready(heap[0]):
                heapq.heappop(heap)
            if not heap:
                del self.ready[number]
            elif oldest is None or heap[0] < oldest:
                best, oldest = number, heap[0]
        if oldest is not None:
            heapq.heappop(self.ready[best])
        return oldest

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
