"""Alarms: one heap of what is due when, so that nothing has to be walked to find it.

An alarm that was called off or moved stays in the heap until it comes to the top, or until most of
the heap is such: then it is built anew.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

from zconnector.agenda import Agenda

K = TypeVar("K", bound=Hashable)
_SLACK = 64
"""Stale entries that are not worth building the heap anew."""
AT_ONCE = 500
"""Alarms at one tick: what a hundred thousand commands do at one moment must not stop everything else."""


class Alarms(Generic[K]):
    """At most one alarm for each key, in monotonic seconds. Of one time the first that was set is first.

    Invariant: `_times` has what rings, and each of it the entry that stands for it in `_heap`. Other entries
    there are stale, and after `set` no more than those that ring, and `_SLACK`.
    """

    def __init__(self, agenda: Agenda | None = None) -> None:
        """`agenda` is told of each time."""
        self._agenda = agenda or Agenda()
        self._times: dict[K, tuple[float, int, K]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: K, at: float) -> None:
        """Ring for this key at that time, and not at another."""
        self._count += 1
        agenda, heap = self._agenda, self._heap
        if at < agenda.at:  # as `by`: each command sets an alarm at most of its hops
            agenda.at = at
        entry = self._times[key] = (at, self._count, key)
        heapq.heappush(heap, entry)
        if len(heap) > 2 * len(self._times) + _SLACK:
            self._heap = list(self._times.values())
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        """Do not ring for this key."""
        self._times.pop(key, None)

    def due(self, now: float, limit: int = AT_ONCE) -> list[K]:
        """Remove and return keys whose time has come, the earliest first. More may be due: ask again."""
        found: list[K] = []
        while len(found) < limit and (key := self.pop(now)) is not None:
            found.append(key)
        return found

    def pop(self, now: float) -> K | None:
        """Remove and return the first key whose time has come; None: there is none (any more).

        For who answers all that is due in one tick, and may set or call off others on the way.
        """
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            key = entry[2]
            if self._times.get(key) is entry:
                del self._times[key]
                return key
        return None

    def deadline(self) -> float | None:
        """When the next one rings."""
        heap = self._heap
        while heap:
            first = heap[0]
            if self._times.get(first[2]) is first:
                return first[0]
            heapq.heappop(heap)
        return None
