"""`echo`: what a bare pyzmq ROUTER/DEALER echo (`echo.py`) does at this minute; a yardstick."""

from __future__ import annotations

import asyncio

from tests.benchmarks import echo
from tests.benchmarks.figures import latency
from tests.benchmarks.results import Results


async def bench(results: Results, *, seconds: float) -> None:
    """Measure, with 1 and with 64 in flight."""
    for in_flight in (1, 64):
        rate, times = await asyncio.to_thread(echo.measure, seconds, in_flight)
        results.add("echo", f"{in_flight} in flight", round_trips_per_second=round(rate), **latency(times))
