"""Publish and PublishStream: events, each confirmed once it is committed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from zconnector.errors import Refusal
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as pb
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as types
from zconnector.rpc.convert import parse
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import convert
from zconnector.rpc.v1.status import item_refusal
from zconnector.rpc.v1.stream import ANSWERS, Context, Stream

MOST = 10_000
"""Events unconfirmed on one stream."""

Asked = asyncio.Future[tuple[dict[str, Any], bytes]]


async def publish(door: DoorPort, request: Any, settings: ServiceSettings) -> Any:
    """One event.

    Raises:
        Refusal: it was not committed.
    """
    args, payload = convert.publication_args(request, settings.default_timeout_ms)
    await door.call("send_event", args, payload)
    return types.Published(uuid=args["uuid"])


class PublishStream(Stream):
    """Many events, without a task for any."""

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings) -> None:
        super().__init__(context, settings)
        self._door = door
        self._asked: set[Asked] = set()
        self._published: list[Any] = []

    async def opened(self, raw: bytes) -> None:
        self.heard(raw)

    def heard(self, raw: bytes) -> None:
        for event in parse(pb.PublishRequest, raw).events:
            try:
                args, payload = convert.publication_args(event, self._settings.default_timeout_ms)
            except Refusal as refusal:
                self._told(event.uuid, refusal)
                continue
            asked = self._door.ask("send_event", args, payload)
            self._asked.add(asked)
            asked.add_done_callback(partial(self._answered, str(args["uuid"])))
        self._measure()

    def _answered(self, uuid: str, asked: Asked) -> None:
        self._asked.discard(asked)
        if asked.cancelled():
            return
        error = asked.exception()
        if error is not None and not isinstance(error, Refusal):
            raise error
        self._told(uuid, error)
        self._measure()
        self.looked()

    def _told(self, uuid: str, refusal: Refusal | None) -> None:
        told = None if refusal is None else item_refusal(refusal)
        self._published.append(types.Published(uuid=uuid, refusal=told))
        self.put()

    def _measure(self) -> None:
        self.hold(len(self._asked) + len(self._published) >= MOST)

    def ended(self) -> None:
        """What is under way is answered first."""

    def busy(self) -> bool:
        return bool(self._asked)

    def frame(self) -> bytes | None:
        if not self._published:
            return None
        reply = pb.PublishReply(published=self._published[:ANSWERS])
        del self._published[:ANSWERS]
        self._measure()
        encoded: bytes = reply.SerializeToString()
        return encoded

    def released(self, closing: bool) -> None:
        for asked in list(self._asked):
            asked.cancel()
        self._asked.clear()
