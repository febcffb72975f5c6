"""The clocks of one machine: monotonic time that drifts, wall time that may jump."""

from __future__ import annotations

from math import ceil

from tests.simulation.scheduler import Scheduler
from zconnector.clock import Instant

WALL = 1_700_000_000_000
"""Milliseconds since 1970 when the world begins."""


_instant = tuple.__new__
"""What `Instant(...)` comes to; every step reads the clock."""


class NodeClock:
    """What a node's processes read as the time; outlives them."""

    __slots__ = ("_base", "_rate", "_scheduler", "wall_offset")

    def __init__(self, scheduler: Scheduler, base: float, drift: float) -> None:
        """`base`: where its monotonic clock starts, in seconds; `drift`: how much too fast it goes."""
        self._scheduler = scheduler
        self._base = base
        self._rate = (1.0 + drift) / 1e6
        self.wall_offset = 0
        """Milliseconds by which its wall clock is wrong."""

    def now(self) -> Instant:
        now = self._scheduler.now
        return _instant(Instant, (self._base + now * self._rate, WALL + now // 1000 + self.wall_offset))

    def when(self, mono: float) -> int:
        """The first microsecond of virtual time at which its monotonic clock shows `mono` or more."""
        at = ceil((mono - self._base) / self._rate)
        while self._base + at * self._rate < mono:
            at += 1
        return at
