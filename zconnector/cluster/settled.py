"""What a wall clock says that may be wrong, believed only after it has said so for an hour."""

from __future__ import annotations

from collections import deque

from zconnector.clock import Instant

SETTLING = 3_600.0
"""Seconds of monotonic time: longer than any copy of a command lives (600 s + 30 s) and its target
dedupes (720 s), so that no error of the clock ends a resolution while another copy may come."""
_STEP = 30.0
"""Seconds of one reading in memory; of those within it the least counts."""


class Settled:
    """The least that the wall clock has said within the last `SETTLING` seconds.

    A clock that jumps ahead is believed that much later; one that jumps back, at once.
    """

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def read(self, now: Instant) -> int:
        """Wall clock, ms: everything with an earlier time is older than `SETTLING`. 0: not known yet."""
        readings = self._readings
        if readings and now.mono - readings[-1][0] < _STEP:
            readings[-1] = (readings[-1][0], min(readings[-1][1], now.wall))
        else:
            readings.append((now.mono, now.wall))
        while len(readings) > 1 and readings[1][0] <= now.mono - SETTLING:
            readings.popleft()
        if readings[0][0] > now.mono - SETTLING:
            return 0
        return min(wall for _, wall in readings)
