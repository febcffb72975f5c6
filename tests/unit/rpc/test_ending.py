"""Calls under way, and what our own end does to them."""

from __future__ import annotations

import asyncio

import pytest

from zconnector.errors import Reason, Refusal
from zconnector.rpc.ending import UnderWay


async def answer(future: asyncio.Future[str]) -> str:
    return await future


async def begun(calls: UnderWay, future: asyncio.Future[str]) -> asyncio.Task[str]:
    task = asyncio.create_task(calls.run(answer(future)))
    await asyncio.sleep(0)
    return task


async def test_a_call_has_its_result_and_is_under_way_no_more() -> None:
    calls, future = UnderWay(), asyncio.get_running_loop().create_future()
    task = await begun(calls, future)
    assert len(calls) == 1
    future.set_result("done")
    assert await task == "done"
    assert len(calls) == 0


async def test_our_own_end_finishes_a_call_with_its_reason() -> None:
    calls, future = UnderWay(), asyncio.get_running_loop().create_future()
    task = await begun(calls, future)
    calls.close()
    with pytest.raises(Refusal) as caught:
        await task
    assert caught.value.reason is Reason.SHUTTING_DOWN
    assert (future.cancelled(), len(calls)) == (True, 0)


async def test_a_caller_that_goes_is_cancelled_and_not_refused() -> None:
    calls, future = UnderWay(), asyncio.get_running_loop().create_future()
    task = await begun(calls, future)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (future.cancelled(), len(calls)) == (True, 0)


async def test_a_caller_that_goes_while_we_end_is_cancelled() -> None:
    calls, future = UnderWay(), asyncio.get_running_loop().create_future()
    task = await begun(calls, future)
    calls.close()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_the_end_nothing_is_begun() -> None:
    calls, future = UnderWay(), asyncio.get_running_loop().create_future()
    calls.close()
    with pytest.raises(Refusal, match="the service is closing"):
        await calls.run(answer(future))
    assert not future.cancelled()
