"""A stream that many callers share: what they say goes out together, answers find their callers.

It is opened when the first caller says something, and again after a loss when the next one does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from zconnector.worker.connection import Connection, Stream
from zconnector.worker.errors import CallFailed

Build = Callable[[list[Any]], bytes]
"""Makes a frame of the first items of a list, and takes these out of it."""


class Exchange:
    """Invariant: `lost` is called once for every stream that ended, after its last answer was heard."""

    def __init__(
        self,
        connection: Connection,
        method: str,
        build: Build,
        heard: Callable[[bytes], None],
        lost: Callable[[CallFailed], None],
    ) -> None:
        self._connection = connection
        self._method = method
        self._build = build
        self._heard = heard
        self._lost = lost
        self._unsent: list[Any] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._task is not None

    def send(self, item: Any) -> None:
        """Say something, with what others say in this turn of the loop."""
        self._unsent.append(item)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failed = CallFailed("UNAVAILABLE", "the stream to the connector has ended")
        stream = self._connection.stream(self._method)
        writer = asyncio.ensure_future(self._write(stream))
        try:
            while (raw := await stream.read()) is not None:
                self._heard(raw)
        except CallFailed as error:
            failed = error
        finally:
            writer.cancel()
            stream.cancel()
            self._unsent.clear()
            self._task = None
            self._lost(failed)

    async def _write(self, stream: Stream) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._unsent:
                    await stream.write(self._build(self._unsent))
        except CallFailed:
            return  # the reader hears why


def together(items: list[Any], most: int, size: Callable[[Any], int]) -> list[Any]:
    """Take the first items out of a list: so many that they have at most so many bytes, but at least one."""
    taken = total = 0
    for item in items:
        total += size(item)
        if taken and total > most:
            break
        taken += 1
    first = items[:taken]
    del items[:taken]
    return first
