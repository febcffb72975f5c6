"""How a client hears over the Gandalf API: replies to its commands, and events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from zconnector.messages.kinds import Outcome
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker.connection import SHORT, Backoff, Connection, pause
from zconnector.worker.errors import CallFailed, NoReply
from zconnector.worker.results import Event, Reply, event_of

if TYPE_CHECKING:
    from zconnector.worker.client import Handle

REPLIES_PER_ITERATOR = 1_000
"""An iterator keeps a position for each reply waited for; a fresh one now and then keeps them few."""

_OUTCOMES = (Outcome.SUCCESS, Outcome.FAIL)
_RECEIPTS = (Outcome.ON_GOING, Outcome.REJECTED, Outcome.NO_ROUTE)


class Hearing:
    """Reads events one after the other, and says each time which one came last."""

    def __init__(self, connection: Connection, name: str, rng: random.Random, closing: asyncio.Event) -> None:
        self._connection = connection
        self._name = name
        self._rng = rng
        self._closing = closing
        self._iterator = ""
        self._iterator_uses = 0
        self._iterator_lock = asyncio.Lock()
        self._awaited: set[str] = set()
        """uuids whose replies are awaited on the common iterator: it has one reader for each."""

    async def events(self, topic: str, event: str | None) -> AsyncIterator[Event]:
        """As `Client.events`."""
        iterator = seen = ""
        backoff = Backoff(self._rng)
        while not self._closing.is_set():
            try:
                if not iterator:
                    iterator, seen = await self._create_iterator(), ""
                said = ((metadata.SEEN, metadata.encode_text(seen)),)
                found = await self._wait(topic, event, iterator, "", None, said)
            except CallFailed as failed:
                if failed.code == "NOT_FOUND":
                    iterator = ""
                elif not failed.passing:
                    raise
                if await pause(self._closing, backoff.next()):
                    return
                continue
            backoff.reset()
            seen = found[0].uuid
            yield found[0]

    async def reply(self, handle: Handle, seconds: float | None) -> Reply:
        """As `Handle.reply`."""
        if handle.uuid in self._awaited:  # by another task too: each has an iterator of its own
            return await self._read(handle, seconds, self._create_iterator)
        self._awaited.add(handle.uuid)
        try:
            return await self._read(handle, seconds, self._reply_iterator)
        finally:
            self._awaited.discard(handle.uuid)

    async def _read(
        self, handle: Handle, seconds: float | None, get_iterator: Callable[[], Awaitable[str]]
    ) -> Reply:
        """Read the events about a command, from the oldest on, up to the one that ends it."""
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        backoff = Backoff(self._rng, limit=0.5)
        iterator = seen = ""
        while True:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                raise NoReply(handle.uuid, seconds or 0.0)
            try:
                if not iterator:
                    iterator = await get_iterator()
                said = ((metadata.SEEN, metadata.encode_text(seen)), (metadata.RECEIPTS, "0"))
                event, trailing = await self._wait(handle.command, None, iterator, handle.uuid, left, said)
            except CallFailed as failed:
                if deadline is not None and loop.time() >= deadline:
                    raise NoReply(handle.uuid, seconds or 0.0) from None
                if failed.code != "NOT_FOUND" and not failed.passing:
                    raise
                # Also when only the connection was lost: a connector that knows nothing of SEEN shows what
                # was on the way to us then to a new iterator only, which begins with the oldest event.
                if self._iterator == iterator:
                    self._iterator = ""
                iterator = seen = ""
                pausing = backoff.next() if left is None else min(backoff.next(), left)
                if await pause(self._closing, pausing):
                    raise
                continue
            seen = event.uuid
            if event.event in _OUTCOMES:
                return Reply(
                    event.event == Outcome.SUCCESS,
                    event.event,
                    event.payload,
                    metadata.decode_text(metadata.value(trailing, metadata.REASON)),
                    metadata.decode_text(metadata.value(trailing, metadata.DETAIL)),
                )
            if event.event not in _RECEIPTS and all(event.uuid != known.uuid for known in handle.progress):
                handle.progress.append(event)

    async def _reply_iterator(self) -> str:
        async with self._iterator_lock:
            self._iterator_uses += 1
            if not self._iterator or self._iterator_uses > REPLIES_PER_ITERATOR:
                self._iterator = await self._create_iterator()
                self._iterator_uses = 1
            return self._iterator

    async def _create_iterator(self) -> str:
        reply = await self._connection.ask("CreateIteratorEvent", pb.Empty(), seconds=SHORT)
        return str(reply.Id)

    async def _wait(
        self,
        topic: str,
        event: str | None,
        iterator: str,
        reference: str,
        seconds: float | None,
        said: metadata.Pairs = (),
    ) -> tuple[Event, Sequence[tuple[str, str]]]:
        fields = {
            "WorkerSource": self._name,
            "Topic": topic,
            "IteratorId": iterator,
            "ReferenceUUID": reference,
        }
        request: Any
        if event is None:
            method, request = "WaitTopicMessage", pb.TopicMessageWait(**fields)
        else:
            method, request = "WaitEventMessage", pb.EventMessageWait(Event=event, **fields)
        reply, trailing = await self._connection.call(method, request, seconds=seconds, said=said)
        return event_of(reply), trailing
