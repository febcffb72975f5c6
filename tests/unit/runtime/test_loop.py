"""The loop of a component keeps what the rest relies on."""

from __future__ import annotations

import asyncio
import time

import pytest

from zconnector.runtime import loop
from zconnector.runtime.loop import RESOLUTION


def test_its_time_is_the_machine_s_monotonic_clock() -> None:
    """`began` of a call is told to other processes by it (WIRE.md section 14)."""

    async def main() -> tuple[float, float, float]:
        before = time.monotonic()
        await asyncio.sleep(0)
        return before, asyncio.get_running_loop().time(), time.monotonic()

    before, said, after = loop.run(main())
    assert before - 10 * RESOLUTION <= said <= after + RESOLUTION


def test_what_the_main_task_raises_comes_out() -> None:
    async def main() -> None:
        raise LookupError("x")

    with pytest.raises(LookupError, match="x"):
        loop.run(main())


def test_callbacks_run_in_the_order_in_which_they_were_asked_for() -> None:
    """Answers and commits of one turn are gathered by a callback that was asked for after the others."""

    async def main() -> list[int]:
        ran: list[int] = []
        for number in range(5):
            asyncio.get_running_loop().call_soon(ran.append, number)
        await asyncio.sleep(0)
        return ran

    assert loop.run(main()) == [0, 1, 2, 3, 4]
