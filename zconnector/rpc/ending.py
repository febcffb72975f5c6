"""What our own end does to the calls under way: it finishes them, and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from zconnector.errors import Reason, Refusal

ResultT = TypeVar("ResultT")


class UnderWay:
    """Calls that may wait without limit, until they are closed.

    Invariant: `_tasks` holds exactly the tasks that are in `run`.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    def close(self) -> None:
        """Finish every call, and take no more."""
        self._closing = True
        for task in self._tasks:
            task.cancel()

    async def run(self, call: Awaitable[ResultT]) -> ResultT:
        """The result of a call, or Refusal: SHUTTING_DOWN when our own end finishes it.

        It is awaited by the caller's own task: however late that is cancelled, the door hears of it, and
        takes an answer back that nobody used.
        """
        task = asyncio.current_task()
        if task is None or self._closing:
            if asyncio.iscoroutine(call):
                call.close()
            raise shutting_down()
        self._tasks.add(task)
        try:
            return await call
        except asyncio.CancelledError:
            if not self._closing or task.uncancel():
                raise
            raise shutting_down() from None
        finally:
            self._tasks.discard(task)


def shutting_down() -> Refusal:
    """What a call hears that our own end finishes."""
    return Refusal(Reason.SHUTTING_DOWN, "the service is closing")
