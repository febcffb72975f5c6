"""The client: sends commands and events to a connector, and hears replies and events."""

from __future__ import annotations

import asyncio
import random
import uuid as uuid_module
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, overload

from zconnector.errors import REASONS, Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.uuids import new_uuid
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker import sending
from zconnector.worker.connection import Backoff, Connection, Tls, parse_addresses, pause
from zconnector.worker.errors import (
    CallFailed,
    NoReply,
    NotSent,
    OutcomeUnknown,
    Rejected,
    SendError,
    Unsupported,
)
from zconnector.worker.payload import encode
from zconnector.worker.results import Event, Reply, event_of
from zconnector.worker.sender import Sender
from zconnector.worker.subscriber import Delivered, Reader, read, wish

SPARE = 0.08
"""Seconds beyond a command's timeout that the connector has to say how it ended."""
SHORT = 10.0
"""Seconds for a call that the connector answers at once."""
REPLIES_PER_ITERATOR = 1_000
"""An iterator keeps a position for each reply waited for; a fresh one now and then keeps them few."""

_OUTCOMES = (Outcome.SUCCESS, Outcome.FAIL)
_RECEIPTS = (Outcome.ON_GOING, Outcome.REJECTED, Outcome.NO_ROUTE)


class Handle:
    """A command with its receipt."""

    def __init__(self, client: Client, uuid: str, command: str) -> None:
        self._client = client
        self.uuid = uuid
        self.command = command
        self.progress: list[Event] = []
        """Events of the worker's own about this command, that came while a reply was awaited."""

    async def reply(self, timeout: float | None = None) -> Reply:  # noqa: ASYNC109  # the wait is the server's
        """Wait for how the command ended; `timeout` in seconds, None: without limit.

        Raises:
            NoReply: not within the time given; ask again.
            CallFailed: the connector refused the question.
        """
        return await self._client._reply(self, timeout)


class Client:
    """A client of one connector: `async with Client("unix:/path") as client`.

    `name` stands for this client when it listens to events: one that comes back under the same name
    goes on where it was. Safe for many tasks at once on one event loop.
    """

    def __init__(
        self,
        address: str,
        *,
        name: str = "",
        tls: Tls | None = None,
        connection: Connection | None = None,
    ) -> None:
        self._addresses = parse_addresses(address) if connection is None else list(connection.addresses)
        self._tls = tls
        self._own = connection is None
        self._open = connection
        self.name = name or f"client-{uuid_module.uuid4().hex[:12]}"
        self._rng = random.Random()
        self._closing = asyncio.Event()
        self._iterator = ""
        self._iterator_uses = 0
        self._iterator_lock = asyncio.Lock()
        self._sender: Sender | None = None
        self._v1: bool | None = None
        """Whether the connector serves zconnector.v1; None: nobody has asked yet."""
        self._reading: set[Reader] = set()
        """Streams of subscriptions that are open."""
        self._awaited: set[str] = set()
        """uuids whose replies are awaited on the common iterator: it has one reader for each."""

    async def __aenter__(self) -> Client:
        if self._open is None:
            self._open = Connection(self._addresses, tls=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        # A generator left by `break` is closed only later, when there is no connection.
        while self._reading:
            await self._reading.pop().close()
        if self._sender is not None:
            await self._sender.close()
        if self._own and self._open is not None:
            await self._open.close()

    @property
    def sender(self) -> Sender:
        """The streams of zconnector.v1 that all tasks of this client share."""
        if self._sender is None:
            self._sender = Sender(self._connection)
        return self._sender

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            raise RuntimeError("use the client in `async with`")
        return self._open

    async def send_command(
        self,
        type: str,  # the field's name everywhere
        command: str,
        payload: object = "",
        *,
        timeout: float = 10.0,  # noqa: ASYNC109  # travels with the command
        major: int = 0,
        uuid: str = "",
        context: str = "",
        admin: bool = False,
    ) -> Handle:
        """Send a command to whichever connector of that type declares it; returns once it is stored there.

        While the connector is away it is tried again with the same uuid, until `timeout` seconds are over.

        Raises:
            NotSent: nobody has it.
            Rejected: refused, with the reason.
            OutcomeUnknown: it may have been taken (heard within the timeout + 100 ms).
            PayloadError: the payload cannot be carried.
        """
        request = pb.CommandMessage(
            UUID=uuid or new_uuid(),
            ConnectorType=type,
            Command=command,
            Payload=encode(payload),
            Major=major,
            Context=context,
            Admin=admin,
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        backoff = Backoff(self._rng, limit=0.5)
        doubtful = False
        detail = f"no connector answers on {', '.join(self._addresses)}"
        while (left := deadline - loop.time()) > 0 and await self._connection.ready(left):
            left = max(0.001, deadline - loop.time())
            request.Timeout = str(max(1, round(left * 1000)))
            try:
                reply, trailing = await self._connection.call(
                    "SendCommandMessage", request, seconds=left + SPARE, said=((metadata.DEFINITE, "1"),)
                )
            except CallFailed as failed:
                if not failed.away:
                    raise _send_error(request.UUID, failed, doubtful) from None
                doubtful = doubtful or failed.reason != Reason.DRAINING
                detail = failed.detail
                if await pause(self._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
                    break
                continue
            if metadata.value(trailing, metadata.OUTCOME) == "UNKNOWN":
                raise OutcomeUnknown(request.UUID, "handed over, and no receipt came in time")
            return Handle(self, reply.UUID, command)
        if doubtful:
            raise OutcomeUnknown(request.UUID, detail)
        raise NotSent(request.UUID, str(Reason.NOT_SENT), detail)

    @overload
    async def send(
        self, type: str, command: str, payload: object = "", *, reply: Literal[True], **options: Any
    ) -> Reply: ...

    @overload
    async def send(
        self, type: str, command: str, payload: object = "", *, reply: Literal[False] = False, **options: Any
    ) -> Handle: ...

    async def send(
        self, type: str, command: str, payload: object = "", *, reply: bool = False, **options: Any
    ) -> Reply | Handle:
        """Send a command, the fast way where the connector serves zconnector.v1; wait for its reply if asked.

        Args:
            type: connector type whose workers run it; may be "" with `target`.
            target: "self": the queue of this very connector, without an aggregator on the way.
            timeout: seconds to try to get a receipt.
            reply_timeout: seconds to wait for the reply; None: without limit.
            ttl, delay: seconds; dead (EXPIRED) when it has not ended by then; not handed out before.
            priority: 0 to 9, 9 first.
            order_key: commands of one name and key run one after the other, in order of arrival.
            lease: seconds that a worker may be silent about it.
            retry: a RetryPolicy.
            major, uuid, context, admin: as `send_command`.

        Raises:
            NotSent, Rejected, OutcomeUnknown, PayloadError: as `send_command`.
            NoReply: it was accepted, and no reply came in time.
            Unsupported: an option that the Gandalf API does not have, on a connector that has only that.
        """
        return await sending.send(self, type, command, payload, reply=reply, **options)

    async def await_reply(self, uuid: str, timeout: float | None = None) -> Reply:  # noqa: ASYNC109
        """The reply to a command that was sent from this connector, perhaps by another process and long ago.

        Raises:
            NoReply: not within `timeout` seconds (None: without limit); ask again.
            Unsupported: the connector does not serve zconnector.v1; see `handle`.
        """
        self.sender.want(uuid)
        try:
            return await sending.reply_to(self, uuid, timeout)
        except CallFailed as failed:
            if failed.absent:
                raise Unsupported("waiting for a reply by its uuid alone") from None
            raise
        finally:
            self.sender.forget(uuid)

    async def publish(
        self,
        topic: str,
        event: str,
        payload: object = "",
        *,
        reference: str = "",
        uuid: str = "",
        timeout: float = 10.0,  # noqa: ASYNC109  # seconds to keep trying
    ) -> str:
        """Publish an event; returns its uuid once the connector has committed it. Raises: as `send_event`."""
        return await sending.publish(
            self, topic, event, payload, reference=reference, uuid=uuid, timeout=timeout
        )

    async def subscribe(
        self,
        name: str,
        *topics: str | tuple[str, str],
        start: Literal["new", "oldest"] = "new",
        credits: int = 64,
        max_unacked: int = 0,
        lease: float = 0.0,
    ) -> AsyncIterator[Delivered]:
        """Read a durable subscription, for as long as one iterates.

        Who reads under one `name` shares its events; each name gets all of them, also those that came while
        nobody read. An event is acknowledged when the next is asked for; if its reader dies, it comes again.

        Args:
            topics: topics, or (topic, event name).
            start: where a name that is new begins: with the next event, or with the oldest retained.
            credits: events that may be on the way to this reader.
            max_unacked: of all readers of the name; 0: 256.
            lease: seconds after which an event not acknowledged is handed out again; 0: 60.

        Raises:
            CallFailed: the connector refused it.
            Unsupported: it does not serve zconnector.v1.
        """
        asked = wish(
            name, topics, oldest=start == "oldest", credits=credits, max_unacked=max_unacked, lease=lease
        )
        try:
            events = read(self._connection, asked, self._closing, Backoff(self._rng), self._reading)
            async with aclosing(events):
                async for delivered in events:
                    yield delivered
        except CallFailed as failed:
            if failed.absent:
                raise Unsupported("a durable subscription") from None
            raise

    async def admin_command(
        self,
        type: str,
        command: str,
        payload: object = "",
        *,
        timeout: float = 10.0,  # noqa: ASYNC109
        major: int = 0,
    ) -> Handle:
        """Send a command to the admin worker of a connector of that type (`ADMIN_START_WORKER` and so on).

        Raises: as `send_command`.
        """
        return await self.send_command(type, command, payload, timeout=timeout, major=major, admin=True)

    def handle(self, uuid: str, command: str) -> Handle:
        """The handle of a command sent earlier, perhaps by another process, or of one in doubt."""
        return Handle(self, uuid, command)

    async def send_event(
        self,
        topic: str,
        event: str,
        payload: object = "",
        *,
        reference: str = "",
        uuid: str = "",
        timeout: float = 10.0,  # noqa: ASYNC109  # seconds to keep trying
    ) -> str:
        """Publish an event; returns its uuid once the connector has stored it.

        While the connector is away it is tried again, with the same uuid.

        Raises:
            CallFailed: the connector refused it, or could not be reached within `timeout` seconds.
        """
        request = pb.EventMessage(
            UUID=uuid or new_uuid(),
            Topic=topic,
            Event=event,
            Payload=encode(payload),
            ReferenceUUID=reference,
        )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        backoff = Backoff(self._rng, limit=0.5)
        while True:
            left = max(0.001, deadline - loop.time())
            try:
                await self._connection.call("SendEventMessage", request, seconds=left)
            except CallFailed as failed:
                if not failed.passing or loop.time() >= deadline:
                    raise
                if await pause(self._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
                    raise
            else:
                return str(request.UUID)

    async def events(self, topic: str, event: str | None = None) -> AsyncIterator[Event]:
        """The events of a topic (of one name, or all) from now on, for as long as one iterates.

        Raises:
            CallFailed: the connector refused the question.
        """
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

    async def _reply(self, handle: Handle, seconds: float | None) -> Reply:
        if handle.uuid in self._awaited:  # by another task too: each has an iterator of its own
            return await self._read_reply(handle, seconds, self._create_iterator)
        self._awaited.add(handle.uuid)
        try:
            return await self._read_reply(handle, seconds, self._reply_iterator)
        finally:
            self._awaited.discard(handle.uuid)

    async def _read_reply(
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
        reply, _ = await self._connection.call("CreateIteratorEvent", pb.Empty(), seconds=SHORT)
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
            "WorkerSource": self.name,
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


def _send_error(uuid: str, failed: CallFailed, doubtful: bool) -> SendError:
    """What a failed SendCommandMessage means; `doubtful`: an earlier try may have been taken."""
    if failed.reason not in REASONS:
        return OutcomeUnknown(uuid, failed.detail)
    if not REASONS[Reason(failed.reason)].elsewhere:
        return Rejected(uuid, failed.reason, failed.detail)
    if doubtful:
        return OutcomeUnknown(uuid, failed.detail)
    return NotSent(uuid, failed.reason, failed.detail)
