"""Virtual time: one heap of what is to happen, in microseconds since the start of the world.

Integers, so that no sum of floats decides an order; what is due at the same microsecond happens in the
order in which it was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

MS = 1_000
SECOND = 1_000_000


class Scheduler:
    """Calls functions at their virtual times."""

    __slots__ = ("_heap", "_pushes", "now", "steps")

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        """Functions called so far."""
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._pushes = 0

    def at(self, when: int, call: Callable[..., None], *args: Any) -> None:
        """Call at a time; a time that has passed means now, after what is there already."""
        self._pushes += 1
        heappush(self._heap, (when if when > self.now else self.now, self._pushes, call, args))

    def after(self, delay: int, call: Callable[..., None], *args: Any) -> None:
        """Call after a while, which is not negative."""
        self._pushes += 1
        heappush(self._heap, (self.now + delay, self._pushes, call, args))

    def run_until(self, end: int) -> None:
        """Let time pass up to `end`."""
        heap, pop = self._heap, heappop
        steps = 0
        while heap and heap[0][0] <= end:
            self.now, _, call, args = pop(heap)
            call(*args)
            steps += 1
        self.now = end
        self.steps += steps
