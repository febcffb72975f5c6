"""Times by key: what is due when. A heap whose stale entries never outnumber the others for long."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[KeyT]):
    """At most one time for each key. Memory is that of the keys that have one."""

    def __init__(self) -> None:
        self._at: dict[KeyT, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._count = 0
        """Tells entries of one time apart: keys need no order."""

    def __len__(self) -> int:
        return len(self._at)

    def put(self, key: KeyT, at: float) -> None:
        """Monotonic time `at`, in place of the one that the key may have."""
        self._count += 1
        self._at[key] = (at, self._count)
        heapq.heappush(self._heap, (at, self._count, key))
        self._tidy()

    def drop(self, key: KeyT) -> None:
        """Nothing is due for the key any more; one that has no time is no error."""
        self._at.pop(key, None)
        self._tidy()

    def due(self, mono: float) -> list[KeyT]:
        """Take out every key whose time has come, the earliest first."""
        due: list[KeyT] = []
        while (first := self.first()) is not None and first <= mono:
            _, _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due

    def first(self) -> float | None:
        """The earliest time; None: nothing waits for time."""
        while self._heap:
            at, count, key = self._heap[0]
            if self._at.get(key) == (at, count):
                return at
            heapq.heappop(self._heap)
        return None

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(time, count, key) for key, (time, count) in self._at.items()]
            heapq.heapify(self._heap)
