"""Commands and events over zconnector.v1: one Submit and one PublishStream for all tasks of a client."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

from zconnector.errors import Reason
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, events_pb2
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.connection import Connection
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

    body: bytes
    count: int = 0


class Sender:
    """Invariants: a future in `_receipts`, `_replies` or `_published` has its answer on the way, or gets the
    failure of the stream. One in `_receipts` or `_published` has somebody who waits for it: what comes after
    the last one has given up answers nobody who asks later about something else: all submissions of one uuid
    whose receipts are owed have one body."""

    def __init__(self, connection: Connection) -> None:
        self._submit = Exchange(connection, SUBMIT, _submissions, self._submitted, self._submit_lost)
        self._publish = Exchange(connection, PUBLISH, _publications, self._confirmed, self._publish_lost)
        self._receipts: dict[str, asyncio.Future[Any]] = {}
        self._owed: dict[str, _Owed] = {}
        self._replies: dict[str, asyncio.Future[Any]] = {}
        self._published: dict[str, asyncio.Future[Any]] = {}
        self._askers: Counter[asyncio.Future[Any]] = Counter()
        self._wanted: Counter[str] = Counter()
        """How many want the reply to a command."""

    async def close(self) -> None:
        await self._submit.close()
        await self._publish.close()

    async def submit(self, submission: Any) -> Any:
        """The Receipt of a command. Another body than what is on its way under that uuid is a CONFLICT.

        Raises:
            CallFailed: the stream was lost before it came.
        """
        body = _body(submission)
        owed = self._owed.setdefault(submission.uuid, _Owed(body))
        if owed.body != body:
            conflict = pb.Refusal(reason=Reason.CONFLICT, detail="the uuid is in use for another command")
            return pb.Receipt(uuid=submission.uuid, outcome=pb.Receipt.REJECTED, refusal=conflict)
        owed.count += 1
        return await self._say(self._receipts, submission.uuid, self._submit, submission)

    async def reply(self, uuid: str) -> Any:
        """The Reply to a command; it may have been asked for already, by `expect`.

        Raises:
            CallFailed: the stream was lost before it came; ask again.
        """
        known = self._replies.get(uuid)
        if known is None:
            known = self._replies[uuid] = asyncio.get_running_loop().create_future()
            self._submit.send(commands_pb2.AwaitRequest(uuid=uuid))
        return await self._wait(self._replies, uuid, known)

    def expect(self, uuid: str) -> None:
        """The reply to a command that is about to be submitted with `reply` will be wanted."""
        self._replies.setdefault(uuid, asyncio.get_running_loop().create_future())

    def want(self, uuid: str) -> None:
        """One more wants the reply to that command, until it says `forget`."""
        self._wanted[uuid] += 1

    def forget(self, uuid: str) -> None:
        """One of those who wanted that reply has it, or has given up; the last one gives it up."""
        self._wanted[uuid] -= 1
        if self._wanted[uuid] > 0:
            return
        del self._wanted[uuid]
        if (future := self._replies.pop(uuid, None)) is not None:
            if not future.done():
                future.cancel()
                if self._submit.is_open:
                    self._submit.send(uuid)
            elif not future.cancelled():
                future.exception()

    async def publish(self, publication: Any) -> Any:
        """The Published of an event.

        Raises:
            CallFailed: the stream was lost before it came.
        """
        return await self._say(self._published, publication.uuid, self._publish, publication)

    async def _say(
        self, waiting: dict[str, asyncio.Future[Any]], uuid: str, exchange: Exchange, item: Any
    ) -> Any:
        """Each is sent, also one whose uuid is under way: it may ask for more than that one does."""
        known = waiting.get(uuid)
        if known is None or known.done():
            known = waiting[uuid] = asyncio.get_running_loop().create_future()
        exchange.send(item)
        self._askers[known] += 1
        try:
            return await self._wait(waiting, uuid, known)
        finally:
            self._askers[known] -= 1
            if not self._askers[known]:
                del self._askers[known]
                if waiting.get(uuid) is known:
                    del waiting[uuid]

    async def _wait(self, waiting: dict[str, asyncio.Future[Any]], uuid: str, known: Any) -> Any:
        """Several may wait for one answer: none of them takes it from the others by being cancelled."""
        try:
            return await asyncio.shield(known)
        finally:
            if known.done() and waiting.get(uuid) is known:
                del waiting[uuid]

    def _submitted(self, raw: bytes) -> None:
        frame = commands_pb2.SubmitReply.FromString(raw)
        for receipt in frame.receipts:
            owed = self._owed.get(receipt.uuid)
            if owed is not None:
                owed.count -= 1
                if not owed.count:
                    del self._owed[receipt.uuid]
            _answer(self._receipts.get(receipt.uuid), receipt)
        for reply in frame.replies:
            _answer(self._replies.get(reply.uuid), reply)

    def _confirmed(self, raw: bytes) -> None:
        for published in events_pb2.PublishReply.FromString(raw).published:
            _answer(self._published.get(published.uuid), published)

    def _submit_lost(self, failed: CallFailed) -> None:
        self._owed.clear()
        _fail(self._receipts, failed)
        _fail(self._replies, failed)

    def _publish_lost(self, failed: CallFailed) -> None:
        _fail(self._published, failed)


def _answer(future: asyncio.Future[Any] | None, answer: Any) -> None:
    if future is not None and not future.done():
        future.set_result(answer)


def _fail(waiting: dict[str, asyncio.Future[Any]], failed: CallFailed) -> None:
    for future in waiting.values():
        if not future.done():
            future.set_exception(failed)
            future.exception()  # seen, also where nobody waits any more
    waiting.clear()


def _submissions(items: list[Any]) -> bytes:
    frame = commands_pb2.SubmitRequest()
    # A frame's `forget` is looked at first: one that was said after something else begins the next frame.
    said = next((place for place, item in enumerate(items) if not isinstance(item, str)), len(items))
    after = next((place for place in range(said, len(items)) if isinstance(items[place], str)), len(items))
    rest, items[after:] = items[after:], []
    first = together(items, FRAME, _size)
    items += rest
    for item in first:
        if isinstance(item, str):
            frame.forget.append(item)
        elif isinstance(item, pb.Submission):
            frame.commands.append(item)
        else:
            frame.awaits.append(item)
    return frame.SerializeToString()


def _publications(items: list[Any]) -> bytes:
    return events_pb2.PublishRequest(events=together(items, FRAME, _size)).SerializeToString()


def _body(submission: Any) -> bytes:
    """What must be equal for two commands of one uuid to be the same."""
    admin = "admin" if submission.admin else ""
    parts = (submission.type, submission.command, str(submission.major), admin)
    return hashlib.sha256("\0".join(parts).encode() + b"\0" + submission.payload).digest()


def _size(item: Any) -> int:
    return 200 + len(getattr(item, "payload", b""))
