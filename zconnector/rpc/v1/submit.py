"""Send, Await and Submit: commands, their receipts and their replies."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import check_field
from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as pb
from zconnector.rpc.convert import parse
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import convert
from zconnector.rpc.v1.stream import ANSWERS, FRAME, MUCH, Context, Stream

MOST = 10_000
"""Commands and replies under way on one stream."""
AGAIN = 8
"""Replies that are asked for again at once, when there is room."""

Asked = asyncio.Future[tuple[dict[str, Any], bytes]]


async def send(door: DoorPort, request: Any, settings: ServiceSettings) -> Any:
    """One command with its receipt, and its reply if that is asked for."""
    began = asyncio.get_running_loop().time()
    try:
        between_reply(request.reply_timeout_ms)
        args, payload = convert.submission_args(request, settings.default_timeout_ms)
    except Refusal as refusal:
        return pb.SendReply(receipt=convert.refused_receipt(request.uuid, refusal))
    uuid = str(args["uuid"])
    args["began"] = int(began * 1000)
    try:
        result, _ = await door.call("send_command", args, payload)
    except Refusal as refusal:
        return pb.SendReply(receipt=convert.refused_receipt(uuid, refusal))
    receipt = convert.receipt(uuid, result)
    if not request.reply:
        return pb.SendReply(receipt=receipt)
    reply = await wait(door, uuid, request.reply_timeout_ms)
    return pb.SendReply(receipt=receipt, reply=reply)


async def wait(door: DoorPort, uuid: str, timeout_ms: int) -> Any:
    """The Reply to a command; one with a refusal when there is none."""
    try:
        args = await_args(uuid, timeout_ms)
        header, payload = await door.call("await_reply", args)
    except Refusal as refusal:
        if refusal.reason is Reason.SHUTTING_DOWN:
            raise
        return convert.no_reply(uuid, refusal)
    return convert.reply(uuid, header, payload)


def await_args(uuid: str, timeout_ms: int) -> dict[str, Any]:
    """Raises:
    Refusal: BAD_ARGUMENT.
    """
    broken = "uuid must not be empty" if not uuid else check_field("uuid", uuid)
    if broken:
        raise Refusal(Reason.BAD_ARGUMENT, broken)
    return {"uuid": uuid, "timeout": between_reply(timeout_ms)}


def between_reply(timeout_ms: int) -> int:
    return convert.between("reply timeout", timeout_ms, 0, convert.DAYS_30)


class SubmitStream(Stream):
    """Many commands, without a task for any.

    Replies beyond `MUCH` unread bytes stay at the queue, which keeps them: they are asked for again.

    Invariant: `_sending` and `_waiting` hold exactly the calls at the door that are not answered yet; no uuid
    is both in `_waiting` and in `_put_off`; `_bytes` are those of the payloads of `_replies`.
    """

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings) -> None:
        super().__init__(context, settings)
        self._door = door
        self._sending: set[Asked] = set()
        self._waiting: dict[str, Asked] = {}
        self._receipts: list[Any] = []
        self._replies: list[Any] = []
        self._bytes = 0
        self._put_off: dict[str, int] = {}
        """Timeouts of replies that came when there was no room."""

    @property
    def unread(self) -> int:
        """Bytes of replies that are put aside for the client."""
        return self._bytes

    async def opened(self, raw: bytes) -> None:
        self.heard(raw)

    def heard(self, raw: bytes) -> None:
        request = parse(pb.SubmitRequest, raw)
        for uuid in request.forget:
            self._put_off.pop(uuid, None)
            if (asked := self._waiting.pop(uuid, None)) is not None:
                asked.cancel()
        for command in request.commands:
            self._submit(command)
        for each in request.awaits:
            self._await(each.uuid, each.timeout_ms)
        self._measure()

    def _submit(self, command: Any) -> None:
        try:
            between_reply(command.reply_timeout_ms)
            args, payload = convert.submission_args(command, self._settings.default_timeout_ms)
        except Refusal as refusal:
            self._receipts.append(convert.refused_receipt(command.uuid, refusal))
            self.put()
            return
        args["began"] = int(asyncio.get_running_loop().time() * 1000)
        asked = self._door.ask("send_command", args, payload)
        self._sending.add(asked)
        reply = command.reply_timeout_ms if command.reply else None
        asked.add_done_callback(partial(self._sent, str(args["uuid"]), reply))

    def _sent(self, uuid: str, reply: int | None, asked: Asked) -> None:
        self._sending.discard(asked)
        if asked.cancelled():
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            self._receipts.append(convert.refused_receipt(uuid, error))
        elif error is not None:
            raise error
        else:
            self._receipts.append(convert.receipt(uuid, asked.result()[0]))
            if reply is not None and not self.over:
                self._await(uuid, reply)
        self._answered()

    def _await(self, uuid: str, timeout_ms: int) -> None:
        if uuid in self._waiting or uuid in self._put_off:
            return
        try:
            args = await_args(uuid, timeout_ms)
        except Refusal as refusal:
            self._replies.append(convert.no_reply(uuid, refusal))
            self.put()
            return
        asked = self._door.ask("await_reply", args)
        self._waiting[uuid] = asked
        asked.add_done_callback(partial(self._replied, uuid, timeout_ms))

    def _replied(self, uuid: str, timeout_ms: int, asked: Asked) -> None:
        if self._waiting.get(uuid) is asked:
            del self._waiting[uuid]
        if asked.cancelled():
            self._answered()
            return
        error = asked.exception()
        if isinstance(error, Refusal):
            self._replies.append(convert.no_reply(uuid, error))
        elif error is not None:
            raise error
        elif self._bytes > MUCH:
            self._put_off[uuid] = timeout_ms
        else:
            reply = convert.reply(uuid, *asked.result())
            self._bytes += len(reply.payload)
            self._replies.append(reply)
        self._ask_again()
        self._answered()

    def _ask_again(self) -> None:
        """For some of those that there was no room for."""
        if self._bytes <= MUCH and not self.over:
            for uuid in list(islice(self._put_off, AGAIN)):
                self._await(uuid, self._put_off.pop(uuid))

    def _answered(self) -> None:
        self._measure()
        self.put()
        self.looked()

    def _measure(self) -> None:
        """No more than can be held are under way, or unread by the client."""
        under_way = len(self._sending) + len(self._waiting) + len(self._put_off)
        self.hold(under_way + len(self._receipts) + len(self._replies) >= MOST)

    def ended(self) -> None:
        """What is under way is answered first."""

    def busy(self) -> bool:
        if self._closing:
            return bool(self._sending)
        return bool(self._sending or self._waiting or self._put_off)

    def frame(self) -> bytes | None:
        if not (self._receipts or self._replies):
            return None
        reply = pb.SubmitReply(receipts=self._receipts[:ANSWERS])
        del self._receipts[:ANSWERS]
        if self._receipts:
            return bytes(reply.SerializeToString())
        size, taken = 200 * len(reply.receipts), 0
        for each in self._replies:
            size += len(each.payload) + 200
            if (taken or reply.receipts) and size > FRAME:
                break
            reply.replies.append(each)
            self._bytes -= len(each.payload)
            taken += 1
        del self._replies[:taken]
        self._ask_again()
        self._measure()
        encoded: bytes = reply.SerializeToString()
        return encoded

    def released(self, closing: bool) -> None:
        for asked in [*self._sending, *self._waiting.values()]:
            asked.cancel()
        self._sending.clear()
        self._waiting.clear()
        self._put_off.clear()
