"""Deadlines that share timers: none ends too early, and nothing stays of those that ended otherwise."""

from __future__ import annotations

import asyncio

import pytest

from zconnector.worker.deadlines import GRAIN, Deadlines


async def test_all_of_a_slot_end_and_none_too_early() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    first, second = loop.create_future(), loop.create_future()
    deadline = loop.time() + GRAIN
    deadlines.add(first, deadline)
    deadlines.add(second, deadline)
    for waiter in (first, second):
        with pytest.raises(TimeoutError):
            await waiter
        assert loop.time() >= deadline
    assert len(deadlines) == 0


async def test_what_has_ended_otherwise_leaves_no_slot_behind() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    waiters = [loop.create_future() for _ in range(4)]
    day = loop.time() + 86_400
    slots = [deadlines.add(waiter, day + index // 2) for index, waiter in enumerate(waiters)]
    assert len(deadlines) == 2
    for waiter, slot in zip(waiters[:3], slots[:3], strict=True):
        waiter.set_result(None)
        deadlines.drop(waiter, slot)
    assert len(deadlines) == 1
    deadlines.drop(waiters[3], slots[3])
    deadlines.drop(waiters[3], slots[3])
    assert len(deadlines) == 0
    assert not waiters[3].done()


async def test_a_deadline_that_is_over_ends_a_wait_at_once_and_disturbs_no_done_one() -> None:
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    done, late = loop.create_future(), loop.create_future()
    done.set_result("it")
    past = loop.time() - 1
    deadlines.add(done, past)
    slot = deadlines.add(late, past)
    with pytest.raises(TimeoutError):
        await late
    deadlines.drop(late, slot)
    assert await done == "it"
