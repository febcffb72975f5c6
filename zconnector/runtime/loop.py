"""The event loop of a component.

uvloop where it is installed: a turn of asyncio's own loop, a callback, a timer are Python, and a unary call
of gRPC is four turns and sixteen callbacks. Both keep what asyncio promises; uvloop's timers and its `time`
(the same monotonic clock) count whole milliseconds, so that a timer may fire half of one early.

Front ends in processes of their own stay on asyncio's: on uvloop one that was told to end took back the calls
of its v1 streams on the way out, which costs their leases an attempt
(`test_a_v1_worker_keeps_its_lease_over_the_death_of_either`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:
    new_loop = asyncio.new_event_loop
else:
    new_loop = uvloop.new_event_loop

RESOLUTION = 0.001
"""Seconds: what a timer of either loop can tell apart."""

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """As asyncio.run, on the loop of a component."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)
