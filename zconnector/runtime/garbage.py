"""Garbage collection that does not stop a process while it works.

CPython scans all that has lived for long whenever that has grown by a quarter: with some ten thousand
commands in a queue tens of milliseconds in the middle of a burst, in which nobody is read, not even for
his heartbeat. What we make is freed by its count of references; only rare cycles (a failed task and its
traceback) need the collector, and those that die young are still found soon. The old ones are looked for
once an hour.

Young is what was made since the last look: with CPython's 700 a burst of 64 commands is looked through
several times while it is under way, all of it in vain (19 us of a command's 525 at a connector; now 4).
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_NEVER = 1_000_000_000
YOUNG, MIDDLE = 20_000, 3
"""Objects made and not freed before the young ones are looked at (some 3 ms), and how often that happens
before those that outlived it are looked at once more."""
EVERY = 3_600.0
"""Seconds between two collections of everything."""


@contextmanager
def paused() -> Iterator[None]:
    """Collect nothing while much is made that stays: each collection would look at all of it in vain."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Collector:
    """Sets the thresholds of the process, and puts them back when it stops."""

    def __init__(self, loop: asyncio.AbstractEventLoop, every: float = EVERY) -> None:
        self._loop = loop
        self._every = every
        self._before = gc.get_threshold()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Collect what starting has left, and from now on only what is young."""
        gc.set_threshold(YOUNG, MIDDLE, _NEVER)
        self._collect()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        gc.set_threshold(*self._before)

    def _collect(self) -> None:
        gc.collect()
        self._timer = self._loop.call_later(self._every, self._collect)
