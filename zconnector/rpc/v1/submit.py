"""Send, Await and Submit: commands, their receipts and their replies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import check_field
from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as pb
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as types
from zconnector.rpc.convert import parse
from zconnector.rpc.port import Answered, DoorPort, Question
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import convert
from zconnector.rpc.v1.stream import ANSWERS, FRAME, MUCH, Context, Stream

MOST = 10_000
"""Commands and replies under way on one stream."""
AGAIN = 8
"""Replies that are asked for again at once, when there is room."""


async def send(door: DoorPort, request: Any, settings: ServiceSettings) -> Any:
    """One command with its receipt, and its reply if that is asked for."""
    began = asyncio.get_running_loop().time()
    answer = pb.SendReply()
    try:
        between_reply(request.reply_timeout_ms)
        args, payload = convert.submission_args(request, settings.default_timeout_ms)
    except Refusal as refusal:
        convert.fill_refused_receipt(answer.receipt, request.uuid, refusal)
        return answer
    uuid = str(args["uuid"])
    args["began"] = int(began * 1000)
    try:
        result, _ = await door.call("send_command", args, payload)
    except Refusal as refusal:
        convert.fill_refused_receipt(answer.receipt, uuid, refusal)
        return answer
    convert.fill_receipt(answer.receipt, uuid, result)
    if request.reply:
        answer.reply.CopyFrom(await wait(door, uuid, request.reply_timeout_ms))
    return answer


async def wait(door: DoorPort, uuid: str, timeout_ms: int) -> Any:
    """The Reply to a command; one with a refusal when there is none."""
    answer = types.Reply()
    try:
        args = await_args(uuid, timeout_ms)
        header, payload = await door.call("await_reply", args)
    except Refusal as refusal:
        if refusal.reason is Reason.SHUTTING_DOWN:
            raise
        convert.fill_no_reply(answer, uuid, refusal)
    else:
        convert.fill_reply(answer, uuid, header, payload)
    return answer


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


_Answer = tuple[str, Answered]
"""A receipt or a reply that the client is yet to get: of which uuid, and what the queue has answered."""


def _refused(uuid: str, refusal: Refusal) -> _Answer:
    """What is refused here, as the queue would."""
    return uuid, Answered(0, {}, b"", refusal)


class SubmitStream(Stream):
    """Many commands, without a task or a future for any: a frame's go to the queue as one bunch, and so do
    the waits for their replies.

    Replies beyond `MUCH` unread bytes stay at the queue, which keeps them: they are asked for again.

    Invariant: `_sending` and `_awaiting` hold exactly the calls at the door that are not answered yet;
    `_waiting` has the number of each uuid's in the latter; no uuid is both there and in `_put_off`; `_bytes`
    are those of the payloads of `_replies`.
    """

    def __init__(self, door: DoorPort, context: Context, settings: ServiceSettings) -> None:
        super().__init__(context, settings)
        self._door = door
        self._sending: dict[int, tuple[str, int | None]] = {}
        """By the call's number: uuid, and the timeout of the reply; None: that is not asked for."""
        self._awaiting: dict[int, tuple[str, int]] = {}
        """By the call's number: uuid and timeout."""
        self._waiting: dict[str, int] = {}
        self._receipts: list[_Answer] = []
        self._replies: list[_Answer] = []
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
            if (number := self._waiting.pop(uuid, None)) is not None:
                del self._awaiting[number]
                self._door.take_back(number)
        if request.commands:
            self._submit(request.commands)
        if request.awaits:
            self._await_checked(request.awaits)
        self._measure()

    def _submit(self, commands: Any) -> None:
        """All of a frame: one bunch of calls."""
        questions: list[Question] = []
        sent: list[tuple[str, int | None]] = []
        began = int(self._loop.time() * 1000)
        for command in commands:
            timeout = command.reply_timeout_ms
            try:
                if timeout:
                    between_reply(timeout)
                args, payload = convert.submission_args(command, self._settings.default_timeout_ms)
            except Refusal as refusal:
                self._receipts.append(_refused(command.uuid, refusal))
                self.put()
                continue
            args["began"] = began
            questions.append(("send_command", args, payload))
            sent.append((args["uuid"], timeout if command.reply else None))
        if questions:
            self._sending.update(zip(self._door.ask_all(questions, self._told), sent, strict=True))

    def _await_checked(self, requests: Any) -> None:
        """What the client waits for that it may have submitted long ago, or never."""
        wanted: list[tuple[str, int]] = []
        for each in requests:
            try:
                await_args(each.uuid, each.timeout_ms)
            except Refusal as refusal:
                self._replies.append(_refused(each.uuid, refusal))
                self.put()
            else:
                wanted.append((each.uuid, each.timeout_ms))
        self._await(wanted)

    def _await(self, wanted: Iterable[tuple[str, int]]) -> None:
        """The replies to commands, (uuid, timeout), both within their bounds: one bunch of calls."""
        questions: list[Question] = []
        asked: list[tuple[str, int]] = []
        waiting = self._waiting
        for each in wanted:
            uuid, timeout_ms = each
            if uuid in waiting or uuid in self._put_off:
                continue
            waiting[uuid] = 0  # its number follows
            questions.append(("await_reply", {"uuid": uuid, "timeout": timeout_ms}, b""))
            asked.append(each)
        if not questions:
            return
        for number, each in zip(self._door.ask_all(questions, self._told), asked, strict=True):
            waiting[each[0]] = number
            self._awaiting[number] = each

    def _told(self, answers: list[Answered]) -> None:
        """What the queue has answered in one turn of the loop."""
        wanted: list[tuple[str, int]] = []
        for answered in answers:
            sent = self._sending.pop(answered.number, None)
            if sent is None:
                self._replied(answered)
                continue
            uuid, timeout = sent
            self._receipts.append((uuid, answered))
            if timeout is not None and answered.refusal is None:
                wanted.append((uuid, timeout))
        if wanted and not self.over:
            self._await(wanted)
        self._ask_again()
        self._measure()
        self.put()
        self.looked()

    def _replied(self, answered: Answered) -> None:
        waited = self._awaiting.pop(answered.number, None)
        if waited is None:
            return  # forgotten, while its answer was on its way
        uuid, timeout_ms = waited
        del self._waiting[uuid]
        if answered.refusal is None and self._bytes > MUCH:
            self._put_off[uuid] = timeout_ms
            return
        self._bytes += len(answered.payload)
        self._replies.append((uuid, answered))

    def _ask_again(self) -> None:
        """For some of those that there was no room for."""
        if self._put_off and self._bytes <= MUCH and not self.over:
            again = list(islice(self._put_off.items(), AGAIN))
            for uuid, _ in again:
                del self._put_off[uuid]
            self._await(again)

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
        reply = pb.SubmitReply()
        receipts = self._receipts[:ANSWERS]
        del self._receipts[:ANSWERS]
        add = reply.receipts.add
        for uuid, answered in receipts:
            if answered.refusal is None:
                convert.fill_receipt(add(), uuid, answered.args)
            else:
                convert.fill_refused_receipt(add(), uuid, answered.refusal)
        if not self._receipts:
            self._fill_replies(reply, 200 * len(receipts))
        encoded: bytes = reply.SerializeToString()
        return encoded

    def _fill_replies(self, reply: Any, size: int) -> None:
        """As many as there is room for beside so many bytes, but one at least in a frame of its own."""
        taken, alone = 0, not size
        add = reply.replies.add
        for uuid, (_, header, payload, refusal) in self._replies:
            bytes_ = len(payload)
            size += bytes_ + 200
            if not alone and size > FRAME:
                break
            alone = False
            if refusal is None:
                convert.fill_reply(add(), uuid, header, payload)
            else:
                convert.fill_no_reply(add(), uuid, refusal)
            self._bytes -= bytes_
            taken += 1
        del self._replies[:taken]
        self._ask_again()
        self._measure()

    def released(self, closing: bool) -> None:
        for number in [*self._sending, *self._awaiting]:
            self._door.take_back(number)
        self._sending.clear()
        self._awaiting.clear()
        self._waiting.clear()
        self._put_off.clear()
