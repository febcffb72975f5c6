"""The clock port: what time it is, handed to the pure cores as a value.

Two times, because they fail differently: `mono` never jumps and serves every deadline inside
one process; `wall` is what other machines and the disk understand, and may jump.
"""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol


class Instant(NamedTuple):
    """One reading of both clocks."""

    mono: float
    """Seconds, monotonic, from an arbitrary start; never persisted."""
    wall: int
    """Milliseconds since 1970."""


def earliest(*times: float | None) -> float | None:
    """The first of the times at which something is due; None: nothing waits for time.

    Asked of every part of a core after every step, hence a plain loop: half of what min() would cost.
    """
    first: float | None = None
    for time_ in times:
        if time_ is not None and (first is None or time_ < first):
            first = time_
    return first


class Clock(Protocol):
    """Where a shell reads the time; a simulation has its own."""

    def now(self) -> Instant: ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> Instant:
        return Instant(time.monotonic(), time.time_ns() // 1_000_000)
