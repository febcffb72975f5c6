"""What a stall excuses, of a runner whose loop is held up on purpose."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from tests.chaos.stalls import VOID, Stalls


async def held_up(stalls: Stalls, seconds: float) -> tuple[float, float]:
    """Loop times between which the loop stood still, as a machine does that runs others.

    It counts at once: who was woken first after it is as late as those that come then.
    """
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.05)
    begun = loop.time()
    time.sleep(seconds)  # noqa: ASYNC251
    ended = loop.time()
    assert stalls.within(begun, ended) >= seconds - 0.1
    await asyncio.sleep(0.1)
    assert stalls.within(begun, ended) >= seconds - 0.1
    return begun, ended


async def test_what_is_late_is_excused_by_what_stood_still(tmp_path: Path) -> None:
    stalls = Stalls(tmp_path, lambda: [os.getpid()])
    stalls.start()
    try:
        begun, ended = await held_up(stalls, 0.4)
        assert stalls.longest >= 0.3
        assert stalls.excuse(begun, ended, ended) == 0.0
        assert stalls.excuse(begun, begun, ended) >= 0.3
        assert stalls.excuse(begun - 60, begun - 50, begun - 40) == 0.0
    finally:
        await stalls.stop()


async def test_a_deadline_in_a_time_that_the_machine_took_is_void(tmp_path: Path) -> None:
    stalls = Stalls(tmp_path, list)
    stalls.start()
    try:
        begun, ended = await held_up(stalls, VOID + 0.2)
        assert stalls.excuse(begun - 1, begun, ended + 30) == ended + 30 - begun
        assert stalls.void == 1
        assert stalls.long_ones(VOID, begun, ended + 1)
    finally:
        await stalls.stop()
