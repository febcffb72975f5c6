"""Waiting for what a component tells only when it is asked."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from zconnector.worker.connection import Backoff, pause

Status = dict[str, Any]


async def until(
    ask: Callable[[], Awaitable[Status]], true: Callable[[Status], bool], seconds: float, who: str
) -> Status:
    """Ask until the answer says so, and return it. In between it has time to get there: who is asked without
    a pause, by several tests at once, has none.

    Raises:
        AssertionError: it does not get there in these seconds.
    """
    status: Status = {}
    never, backoff = asyncio.Event(), Backoff(random.Random(1), first=0.02, limit=0.1)
    try:
        async with asyncio.timeout(seconds):
            while not true(status := await ask()):
                await pause(never, backoff.next())
    except TimeoutError:
        raise AssertionError(f"{who} does not get there; its status: {status}") from None
    return status
