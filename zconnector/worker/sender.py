"""Commands and events over zconnector.v1: one Submit and one PublishStream for all tasks of a client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from zconnector.errors import Reason
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, events_pb2
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.connection import Connection
from zconnector.worker.deadlines import Deadlines
from zconnector.worker.errors import CallFailed
from zconnector.worker.exchange import Exchange, together

SUBMIT = "/zconnector.v1.CommandService/Submit"
PUBLISH = "/zconnector.v1.EventService/PublishStream"
FRAME = 1_000_000
"""Bytes of one frame, unless a single message is larger."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how far apart a command is tried, where its pivot's way is not wanted. Seconds."""

    attempts: int = 0
    """Tries in all, 1 to 1000; 0: as the pivot says, and so for the others."""
    first: float = 0.0
    factor: float = 0.0
    limit: float = 0.0

    def message(self) -> Any:
        return pb.RetryPolicy(
            attempts=self.attempts,
            first_ms=round(self.first * 1000),
            factor=self.factor,
            limit_ms=round(self.limit * 1000),
        )


@dataclass(slots=True)
class _Owed:
    """Receipts that will still come, of one uuid: a receipt names no more than that."""

    first: Any
    """The first of those submissions."""
    count: int = 0


class _Awaited:
    """One answer, and those who wait for it, each by a future of his own: none takes it from the others by
    giving up."""

    __slots__ = ("_deadlines", "answer", "waiters")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.answer: Any = None
        self.waiters: list[asyncio.Future[Any]] = []

    async def wait(self, deadline: float | None) -> Any:
        """The answer; `deadline`: on the loop's clock, None: without limit.

        Raises:
            CallFailed: the stream was lost before it came.
            TimeoutError: it has not come by then.
        """
        if self.answer is not None:
            return self.answer
        waiter = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        slot = None if deadline is None else self._deadlines.add(waiter, deadline)
        try:
            return await waiter
        finally:
            if slot is not None:
                self._deadlines.drop(waiter, slot)
            self.waiters.remove(waiter)

    def answered(self, answer: Any) -> None:
        """The first answer is the answer."""
        if self.answer is not None:
            return
        self.answer = answer
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(answer)

    def failed(self, failed: CallFailed) -> None:
        if self.answer is not None:
            return
        for waiter in self.waiters:
            _fail_one(waiter, failed)


def _fail_one(waiter: asyncio.Future[Any], error: Exception) -> None:
    if not waiter.done():
        waiter.set_exception(error)
        waiter.exception()  # seen, also where its task has just been cancelled


class Sender:
    """Invariants: what is in `_receipts`, `_replies` or `_published` has its answer, or has it on the way, or
    gets the failure of the stream. What is in `_receipts` or `_published` has somebody who waits for it: what
    comes after the last one has given up answers nobody who asks later about something else: all submissions
    of one uuid whose receipts are owed have one body."""

    def __init__(self, connection: Connection) -> None:
        self._submit = Exchange(connection, SUBMIT, _submissions, self._submitted, self._submit_lost)
        self._publish = Exchange(connection, PUBLISH, _publications, self._confirmed, self._publish_lost)
        self._deadlines = Deadlines()
        self._receipts: dict[str, _Awaited] = {}
        self._owed: dict[str, _Owed] = {}
        self._replies: dict[str, _Awaited] = {}
        self._published: dict[str, _Awaited] = {}
        self._wanted: dict[str, int] = {}
        """How many want the reply to a command."""

    async def close(self) -> None:
        await self._submit.close()
        await self._publish.close()

    async def submit(self, submission: Any, deadline: float | None = None) -> Any:
        """The Receipt of a command. Another body than what is on its way under that uuid is a CONFLICT.

        Raises:
            CallFailed: the stream was lost before it came.
            TimeoutError: it has not come by the deadline (on the loop's clock).
        """
        uuid = submission.uuid
        owed = self._owed.get(uuid)
        if owed is None:
            owed = self._owed[uuid] = _Owed(submission)
        elif not _are_same(owed.first, submission):
            conflict = pb.Refusal(reason=Reason.CONFLICT, detail="the uuid is in use for another command")
            return pb.Receipt(uuid=uuid, outcome=pb.Receipt.REJECTED, refusal=conflict)
        owed.count += 1
        return await self._say(self._receipts, uuid, self._submit, submission, deadline)

    async def reply(self, uuid: str, deadline: float | None = None) -> Any:
        """The Reply to a command; it may have been asked for already, by `expect`.

        Raises:
            CallFailed: the stream was lost before it came; ask again.
            TimeoutError: it has not come by the deadline (on the loop's clock).
        """
        awaited = self._replies.get(uuid)
        if awaited is None:
            awaited = self._replies[uuid] = _Awaited(self._deadlines)
            self._submit.send(commands_pb2.AwaitRequest(uuid=uuid))
        try:
            return await awaited.wait(deadline)
        finally:
            if awaited.answer is not None and self._replies.get(uuid) is awaited:
                del self._replies[uuid]

    def expect(self, uuid: str) -> None:
        """The reply to a command that is about to be submitted with `reply` will be wanted."""
        if uuid not in self._replies:
            self._replies[uuid] = _Awaited(self._deadlines)

    def want(self, uuid: str) -> None:
        """One more wants the reply to that command, until it says `forget`."""
        self._wanted[uuid] = self._wanted.get(uuid, 0) + 1

    def forget(self, uuid: str) -> None:
        """One of those who wanted that reply has it, or has given up; the last one gives it up."""
        left = self._wanted.pop(uuid) - 1
        if left > 0:
            self._wanted[uuid] = left
            return
        awaited = self._replies.pop(uuid, None)
        if awaited is not None and awaited.answer is None and self._submit.is_open:
            self._submit.send(uuid)

    async def publish(self, publication: Any, deadline: float | None = None) -> Any:
        """The Published of an event.

        Raises:
            CallFailed: the stream was lost before it came.
            TimeoutError: it has not come by the deadline (on the loop's clock).
        """
        return await self._say(self._published, publication.uuid, self._publish, publication, deadline)

    async def _say(
        self,
        waiting: dict[str, _Awaited],
        uuid: str,
        exchange: Exchange,
        item: Any,
        deadline: float | None,
    ) -> Any:
        """Each is sent, also one whose uuid is under way: it may ask for more than that one does."""
        awaited = waiting.get(uuid)
        if awaited is None or awaited.answer is not None:
            awaited = waiting[uuid] = _Awaited(self._deadlines)
        exchange.send(item)
        try:
            return await awaited.wait(deadline)
        finally:
            if (awaited.answer is not None or not awaited.waiters) and waiting.get(uuid) is awaited:
                del waiting[uuid]

    def _submitted(self, raw: bytes) -> None:
        frame = commands_pb2.SubmitReply.FromString(raw)
        for receipt in frame.receipts:
            uuid = receipt.uuid
            owed = self._owed.get(uuid)
            if owed is not None:
                owed.count -= 1
                if not owed.count:
                    del self._owed[uuid]
            if (awaited := self._receipts.get(uuid)) is not None:
                awaited.answered(receipt)
        for reply in frame.replies:
            if (awaited := self._replies.get(reply.uuid)) is not None:
                awaited.answered(reply)

    def _confirmed(self, raw: bytes) -> None:
        for published in events_pb2.PublishReply.FromString(raw).published:
            if (awaited := self._published.get(published.uuid)) is not None:
                awaited.answered(published)

    def _submit_lost(self, failed: CallFailed) -> None:
        self._owed.clear()
        _fail(self._receipts, failed)
        _fail(self._replies, failed)

    def _publish_lost(self, failed: CallFailed) -> None:
        _fail(self._published, failed)


def _fail(waiting: dict[str, _Awaited], failed: CallFailed) -> None:
    for awaited in waiting.values():
        awaited.failed(failed)
    waiting.clear()


def _are_same(one: Any, other: Any) -> bool:
    """What must be equal for two commands of one uuid to be the same."""
    return one is other or (
        one.type == other.type
        and one.command == other.command
        and one.major == other.major
        and one.admin == other.admin
        and one.payload == other.payload
    )


def _submissions(items: list[Any]) -> bytes:
    """A frame's `forget` is looked at first: one that was said after something else begins the next frame."""
    frame = commands_pb2.SubmitRequest()
    commands, awaits = frame.commands, frame.awaits
    taken = size = 0
    said = False
    for item in items:
        size += _size(item)
        if taken and size > FRAME:
            break
        if isinstance(item, pb.Submission):
            said = True
            commands.append(item)
        elif isinstance(item, str):
            if said:
                break
            frame.forget.append(item)
        else:
            said = True
            awaits.append(item)
        taken += 1
    del items[:taken]
    return frame.SerializeToString()


def _publications(items: list[Any]) -> bytes:
    return events_pb2.PublishRequest(events=together(items, FRAME, _size)).SerializeToString()


def _size(item: Any) -> int:
    return 200 + len(getattr(item, "payload", b""))
