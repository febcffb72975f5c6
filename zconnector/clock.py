"""The clock port: what time it is, handed to the pure cores as a value.

Two times, because they fail differently: `mono` never jumps and serves every deadline inside
one process; `wall` is what other machines and the disk understand, and may jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Instant(NamedTuple):
    """One reading of both clocks."""

    mono: float
    """Seconds, monotonic, from an arbitrary start; never persisted."""
    wall: int
    """Milliseconds since 1970."""


_new = tuple.__new__

Deadlines = tuple[Callable[[], float | None], ...]
"""What to ask for the times at which something is due; None: nothing there waits for time.

A part that is made of parts has theirs in one flat tuple: all are asked after every step of a core, and
asking through four levels would cost more than most answers.
"""


def first_of(deadlines: Deadlines) -> float | None:
    """The first time of all; None: nothing waits for time."""
    first: float | None = None
    for deadline in deadlines:
        at = deadline()
        if at is not None and (first is None or at < first):
            first = at
    return first


def earliest(*times: float | None) -> float | None:
    """The first of the times at which something is due; None: nothing waits for time."""
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
        # Each step of a core reads them: a tuple's own constructor spares it a call.
        return _new(Instant, (time.monotonic(), time.time_ns() // 1_000_000))
