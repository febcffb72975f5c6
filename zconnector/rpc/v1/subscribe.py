"""Subscribe and Unsubscribe: one reader of one durable subscription."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as pb
from zconnector.rpc.convert import parse
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1.reading import Reader
from zconnector.rpc.v1.stream import MANY, Context, Stream
from zconnector.rpc.v1.tidings import Tidings
from zconnector.rpc.v1.work_convert import MAX_CREDITS, hold, subscription_args


async def unsubscribe(door: DoorPort, request: Any) -> Any:
    """End a subscription for good.

    Raises:
        Refusal: BAD_ARGUMENT, or what the queue said.
    """
    hold("name", request.subscription)
    result, _ = await door.call("unsubscribe", {"subscription": request.subscription})
    return pb.UnsubscribeReply(existed=bool(result.get("existed")))


class SubscribeStream(Stream):
    """What it holds unacknowledged when it ends is for other readers of the name."""

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings) -> None:
        super().__init__(context, settings)
        self._door = door
        self._holder = uuid.uuid4().hex
        self._reader: Reader | None = None
        self._tidings: Tidings | None = None
        self._first: Any = None
        self._beat = 0

    async def opened(self, raw: bytes) -> None:
        request = parse(pb.SubscribeRequest, raw)
        if not request.HasField("subscribe"):
            raise Refusal(Reason.BAD_ARGUMENT, "the first frame must have `subscribe`")
        args, credits = subscription_args(request.subscribe)
        self._tidings = Tidings(
            self._door, {"holder": self._holder, "worker": "", "major": 0, "minor": 0}, _nothing, self.end
        )
        self._tidings.ask()
        result, _ = await self._door.call("subscribe", args)
        name = str(args["subscription"])
        self._reader = Reader(self._door, name, self._holder, credits, self.put, self.end)
        first = pb.SubscribeReply(heartbeat_ms=int(self._settings.heartbeat * 1000))
        first.subscribed.subscription = name
        first.subscribed.created = bool(result.get("created"))
        if missed := int(result.get("missed") or 0):
            first.missed.subscription, first.missed.events = name, missed
        self._first = first
        self.put()
        self.start_beats()
        self._reader.feed.pull()

    def heard(self, raw: bytes) -> None:
        request = parse(pb.SubscribeRequest, raw)
        reader = self._reader
        if request.HasField("subscribe") or reader is None:
            raise Refusal(Reason.BAD_ARGUMENT, "`subscribe` belongs in the first frame, and only there")
        if request.acks:
            for ack in request.acks:
                if ack.subscription not in ("", reader.name):
                    why = f"this stream reads {reader.name}, not {ack.subscription[:40]!r}"
                    raise Refusal(Reason.BAD_ARGUMENT, why)
            reader.acknowledge(request.acks)
            self.hold(reader.unread > MANY)
        if request.HasField("credits"):
            if request.credits > MAX_CREDITS:
                raise Refusal(Reason.BAD_ARGUMENT, f"{request.credits} credits, limit {MAX_CREDITS}")
            reader.feed.set_credits(request.credits)
        if request.beat:
            self._beat = request.beat
            self.put()

    def busy(self) -> bool:
        return self._reader is not None and self._reader.under_way > 0

    def ended(self) -> None:
        if self._reader is not None:
            self._reader.feed.stop()

    def frame(self) -> bytes | None:
        reply, self._first = self._first or pb.SubscribeReply(), None
        if self._reader is not None:
            if (missed := self._reader.missed()) is not None:
                reply.missed.CopyFrom(missed)
            self._reader.fill(reply)
            self.hold(self._reader.unread > MANY)
        reply.beat, self._beat = self._beat, 0
        encoded: bytes = reply.SerializeToString()
        if not encoded and not self.blank:
            return None
        self.blank = False
        return encoded

    def released(self, closing: bool) -> None:
        if self._reader is not None:
            self._reader.feed.stop()
        if self._tidings is None:
            return
        if closing:
            self._tidings.leave()
        else:
            self._tidings.end()


def _nothing(_news: Mapping[str, Any]) -> None:
    """A reader of events is not told to leave."""
