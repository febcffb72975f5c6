"""Commands and waiters of one name meet here; the first command goes to whoever waits longest.

A command stands here as its rank, a number that grows with the order in which commands are handed out.

A waiter of major 0 takes any version; a command of major 0 goes to any waiter ("resolves when
leased"). Admin commands have lines of their own, which only the admin worker stands at. Where a rule says
which version a command goes to (`routing.py`), the line has a `Sorting` besides, and that is asked instead.

Invariant: after each operation of the queue no waiter stands where a command is ready that it could take.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from zconnector.actions import Caller
from zconnector.queue.routing import ANY, Rule
from zconnector.queue.sorting import Sorting
from zconnector.queue.waiter import ADMIN_WORKER, Waiter

__all__ = ["ADMIN_WORKER", "ANY", "Line", "Waiter"]


@dataclass(slots=True)
class Line:
    """Ready commands (ranks in a heap for each major) and waiters (by arrival for each major)."""

    ready: dict[int, list[int]] = field(default_factory=dict)
    waiting: dict[int, OrderedDict[Caller, Waiter]] = field(default_factory=dict)
    sorting: Sorting | None = None
    """While a rule holds. `take`, `peek` and `first` are for a line without."""

    def follow(self, rule: Rule | None) -> None:
        """From now on this rule holds, or none."""
        old, self.sorting = self.sorting, None
        if old is not None and (rule is None or rule.pins != old.rule.pins):
            old.unsort()
        if rule is None:
            return
        if old is None:
            old = Sorting(rule, self.ready)
            for waiter in sorted(self.waiters(), key=lambda waiter: waiter.order):
                old.seat(waiter)
        old.rule = rule
        self.sorting = old

    def push(self, major: int, rank: int) -> None:
        """A command is ready. It takes its old place when it was ready before."""
        heap = self.ready.get(major)
        if heap is None:
            self.ready[major] = [rank]
        else:
            heapq.heappush(heap, rank)

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
        if self.sorting is not None:
            self.sorting.seat(waiter)

    def leave(self, waiter: Waiter) -> None:
        group = self.waiting[waiter.major]
        del group[waiter.caller]
        if not group:
            del self.waiting[waiter.major]
        if self.sorting is not None:
            self.sorting.leave(waiter)

    def first(self, major: int) -> Waiter | None:
        """Who has waited longest for a command of this major."""
        if not self.waiting:
            return None
        heads = [next(iter(self.waiting[number].values())) for number in self._majors(self.waiting, major)]
        if len(heads) > 1:
            return min(heads, key=lambda waiter: waiter.order)
        return heads[0] if heads else None

    def waiters(self) -> Iterator[Waiter]:
        for group in self.waiting.values():
            yield from group.values()

    @property
    def holds_commands(self) -> bool:
        """Whether there is anything that might be handed out."""
        return bool(self.ready) or (self.sorting is not None and not self.sorting.empty)

    @property
    def empty(self) -> bool:
        return not self.ready and not self.waiting and (self.sorting is None or self.sorting.empty)

    @staticmethod
    def _majors(
        groups: dict[int, list[int]] | dict[int, OrderedDict[Caller, Waiter]], major: int
    ) -> tuple[int, ...]:
        """The majors among `groups` that meet this one. At most 256 whatever the backlog."""
        if major == ANY:
            return tuple(groups)
        if ANY not in groups:
            return (major,) if major in groups else ()
        return (major, ANY) if major in groups else (ANY,)
