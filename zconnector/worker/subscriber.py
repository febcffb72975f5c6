"""Reading a durable subscription over zconnector.v1."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
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


async def read(
    connection: Connection, wish: Any, closing: asyncio.Event, backoff: Backoff
) -> AsyncIterator[Delivered]:
    """The events of a subscription, on one stream after another.

    Raises:
        CallFailed: the connector refused it, or does not serve this API.
    """
    while not closing.is_set():
        reader = _Reader(connection.stream(SUBSCRIBE), wish)
        try:
            async for delivered in reader.events():
                backoff.reset()
                yield delivered
        except CallFailed as failed:
            if not failed.passing:
                raise
        finally:
            await reader.close()
        await pause(closing, backoff.next())


class _Reader:
    def __init__(self, stream: Stream, wish: Any) -> None:
        self._stream = stream
        self._wish = wish
        self._acks: list[Any] = []
        self._beats: asyncio.Task[None] | None = None

    async def events(self) -> AsyncIterator[Delivered]:
        await self._write(events_pb2.SubscribeRequest(subscribe=self._wish))
        missed = 0
        while (raw := await self._stream.read()) is not None:
            frame = events_pb2.SubscribeReply.FromString(raw)
            if frame.heartbeat_ms and self._beats is None:
                self._beats = asyncio.ensure_future(self._beat(frame.heartbeat_ms / 1000))
            missed += frame.missed.events
            for delivery in frame.events:
                delivered = _delivered(delivery, missed)
                missed = 0
                yield delivered
                self._acks.append(pb.EventAck(id=delivery.id, ok=not delivered.refused))
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        if self._acks:
            acks, self._acks = self._acks, []
            await self._write(events_pb2.SubscribeRequest(acks=acks))

    async def close(self) -> None:
        if self._beats is not None:
            self._beats.cancel()
        with contextlib.suppress(CallFailed, TimeoutError):
            async with asyncio.timeout(LAST):
                if self._acks:
                    await self._acknowledge()
                    await self._stream.done_writing()
                    while await self._stream.read() is not None:
                        pass
        self._stream.cancel()

    async def _beat(self, heartbeat: float) -> None:
        number = 0
        with contextlib.suppress(CallFailed):
            while True:
                await asyncio.sleep(heartbeat / 2)
                number += 1
                await self._write(events_pb2.SubscribeRequest(beat=number))

    async def _write(self, frame: Any) -> None:
        await self._stream.write(frame.SerializeToString())


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
