"""Publish and PublishStream: events, each confirmed once it is committed."""

from __future__ import annotations

from typing import Any

from zconnector.errors import Refusal
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as pb
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as types
from zconnector.rpc.convert import parse
from zconnector.rpc.port import Answered, DoorPort, Question
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import convert
from zconnector.rpc.v1.status import item_refusal
from zconnector.rpc.v1.stream import ANSWERS, Context, Stream

MOST = 10_000
"""Events unconfirmed on one stream."""


async def publish(door: DoorPort, request: Any, settings: ServiceSettings) -> Any:
    """One event.

    Raises:
        Refusal: it was not committed.
    """
    args, payload = convert.publication_args(request, settings.default_timeout_ms)
    await door.call("send_event", args, payload)
    return types.Published(uuid=args["uuid"])


class PublishStream(Stream):
    """Many events, without a task or a future for any: a frame's go to the queue as one bunch."""

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings) -> None:
        super().__init__(context, settings)
        self._door = door
        self._asked: dict[int, str] = {}
        """uuids by the numbers of the calls at the door."""
        self._published: list[tuple[str, Refusal | None]] = []

    async def opened(self, raw: bytes) -> None:
        self.heard(raw)

    def heard(self, raw: bytes) -> None:
        questions: list[Question] = []
        for event in parse(pb.PublishRequest, raw).events:
            try:
                args, payload = convert.publication_args(event, self._settings.default_timeout_ms)
            except Refusal as refusal:
                self._published.append((event.uuid, refusal))
                self.put()
            else:
                questions.append(("send_event", args, payload))
        if questions:
            uuids = [str(args["uuid"]) for _, args, _ in questions]
            self._asked.update(zip(self._door.ask_all(questions, self._told), uuids, strict=True))
        self._measure()

    def _told(self, answers: list[Answered]) -> None:
        for answered in answers:
            uuid = self._asked.pop(answered.number, None)
            if uuid is not None:
                self._published.append((uuid, answered.refusal))
        self.put()
        self._measure()
        self.looked()

    def _measure(self) -> None:
        self.hold(len(self._asked) + len(self._published) >= MOST)

    def ended(self) -> None:
        """What is under way is answered first."""

    def busy(self) -> bool:
        return bool(self._asked)

    def frame(self) -> bytes | None:
        if not self._published:
            return None
        reply = pb.PublishReply()
        for uuid, refusal in self._published[:ANSWERS]:
            published = reply.published.add()
            published.uuid = uuid
            if refusal is not None:
                published.refusal.CopyFrom(item_refusal(refusal))
        del self._published[:ANSWERS]
        self._measure()
        encoded: bytes = reply.SerializeToString()
        return encoded

    def released(self, closing: bool) -> None:
        for number in self._asked:
            self._door.take_back(number)
        self._asked.clear()
