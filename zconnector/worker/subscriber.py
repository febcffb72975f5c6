"""Reading a durable subscription over zconnector.v1."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from zconnector.rpc._gen.zconnector.v1 import events_pb2
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.connection import Backoff, Connection, Stream, pause
from zconnector.worker.errors import CallFailed

SUBSCRIBE = "/zconnector.v1.EventService/Subscribe"
LAST = 1.0
"""Seconds for the last acknowledgements when a reader leaves."""


@dataclass(slots=True)
class Delivered:
    """An event of a subscription. It is acknowledged when its reader asks for the next one."""

    uuid: str
    topic: str
    event: str
    data: bytes
    reference: str
    timestamp: int
    """Seconds since 1970; 0 when unknown."""
    source: str
    attempt: int
    """1 for the first time that it is handed out."""
    missed: int = 0
    """Events that retention took before this one could be read."""
    refused: bool = False

    @property
    def payload(self) -> str:
        """As text; what is not UTF-8 is replaced."""
        return self.data.decode(errors="replace")

    def json(self) -> Any:
        """The payload, parsed. Raises orjson.JSONDecodeError."""
        return orjson.loads(self.data)

    def again(self) -> None:
        """Do not acknowledge it: hand it out again, to whoever reads the subscription."""
        self.refused = True


class Reader:
    """One stream of a subscription."""

    def __init__(self, stream: Stream, wish: Any) -> None:
        self._stream = stream
        self._wish = wish
        self._acks: list[Any] = []
        self._done = asyncio.Event()
        """There is something to acknowledge."""
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = False
        """Somebody waits for a frame: nobody else may."""
        self._over = asyncio.Event()

    async def events(self) -> AsyncIterator[Delivered]:
        await self._write(events_pb2.SubscribeRequest(subscribe=self._wish))
        missed = 0
        while (raw := await self._read()) is not None:
            frame = events_pb2.SubscribeReply.FromString(raw)
            if frame.heartbeat_ms and not self._tasks:
                self._tasks = [
                    asyncio.ensure_future(self._beat(frame.heartbeat_ms / 1000)),
                    asyncio.ensure_future(self._acknowledge_on()),
                ]
            missed += frame.missed.events
            for delivery in frame.events:
                delivered = _delivered(delivery, missed)
                missed = 0
                yield delivered
                ok = not delivered.refused
                self._acks.append(pb.EventAck(id=delivery.id, ok=ok, attempt=delivery.attempt))
                self._done.set()

    async def _acknowledge_on(self) -> None:
        """What is done is told at once, also while the next event takes its time."""
        with contextlib.suppress(CallFailed):
            while await self._done.wait():
                self._done.clear()
                await self._acknowledge()

    async def _acknowledge(self) -> None:
        while self._acks:
            acks, self._acks = self._acks, []
            await self._write(events_pb2.SubscribeRequest(acks=acks))

    async def close(self) -> None:
        """Acknowledge what is done, and end the stream."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(CallFailed, TimeoutError):
            async with asyncio.timeout(LAST):
                await self._acknowledge()
                await self._stream.done_writing()
                while not self._waiting and await self._read() is not None:
                    pass
                await self._over.wait()
        self._stream.cancel()

    async def _read(self) -> bytes | None:
        self._waiting = True
        try:
            raw = await self._stream.read()
        except BaseException:  # cancelled, too: `close` would wait for an end that nobody tells
            self._over.set()
            raise
        finally:
            self._waiting = False
        if raw is None:
            self._over.set()
        return raw

    async def _beat(self, heartbeat: float) -> None:
        number = 0
        with contextlib.suppress(CallFailed):
            while True:
                await asyncio.sleep(heartbeat / 2)
                number += 1
                await self._write(events_pb2.SubscribeRequest(beat=number))

    async def _write(self, frame: Any) -> None:
        await self._stream.write(frame.SerializeToString())


async def read(
    connection: Connection, wish: Any, closing: asyncio.Event, backoff: Backoff, reading: set[Reader]
) -> AsyncGenerator[Delivered, None]:
    """The events of a subscription, on one stream after another; `reading` has the one that is open.

    Raises:
        CallFailed: the connector refused it, or does not serve this API.
    """
    while not closing.is_set():
        reader = Reader(connection.stream(SUBSCRIBE), wish)
        reading.add(reader)
        try:
            async for delivered in reader.events():
                backoff.reset()
                yield delivered
        except CallFailed as failed:
            if not failed.passing:
                raise
        finally:
            if reader in reading:
                reading.remove(reader)
                await reader.close()
        await pause(closing, backoff.next())


def wish(
    name: str,
    topics: Sequence[str | tuple[str, str]],
    *,
    oldest: bool,
    credits: int,
    max_unacked: int,
    lease: float,
) -> Any:
    """The Subscription to ask for."""
    fields: dict[str, Any] = {"from": pb.Subscription.OLDEST if oldest else pb.Subscription.NEW}
    return pb.Subscription(
        name=name,
        topics=[
            pb.Topic(topic=each) if isinstance(each, str) else pb.Topic(topic=each[0], event=each[1])
            for each in topics
        ],
        credits=credits,
        max_unacked=max_unacked,
        lease_ms=round(lease * 1000),
        **fields,
    )


def _delivered(delivery: Any, missed: int) -> Delivered:
    return Delivered(
        delivery.uuid,
        delivery.topic,
        delivery.event,
        delivery.payload,
        delivery.reference,
        delivery.timestamp_ms // 1000,
        delivery.source,
        delivery.attempt,
        missed,
    )
