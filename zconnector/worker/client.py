"""The client: sends commands and events to a connector, and hears replies and events."""

from __future__ import annotations

import asyncio
import random
import uuid as uuid_module
from collections.abc import AsyncIterator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, overload

from zconnector.worker import sending, sending_gandalf
from zconnector.worker.connection import Backoff, Connection, Tls, parse_addresses
from zconnector.worker.errors import CallFailed, Unsupported
from zconnector.worker.hearing import Hearing
from zconnector.worker.results import Event, Reply
from zconnector.worker.sender import Sender
from zconnector.worker.subscriber import Delivered, Reader, read, wish


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
        return await self._client.hearing.reply(self, timeout)


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
        self._hearing: Hearing | None = None
        self._sender: Sender | None = None
        self._v1: bool | None = None
        """Whether the connector serves zconnector.v1; None: nobody has asked yet."""
        self._reading: set[Reader] = set()
        """Streams of subscriptions that are open."""

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
    def hearing(self) -> Hearing:
        """Replies and events over the Gandalf API."""
        if self._hearing is None:
            self._hearing = Hearing(self._connection, self.name, self._rng, self._closing)
        return self._hearing

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
        return await sending_gandalf.send_command(
            self,
            type,
            command,
            payload,
            timeout=timeout,
            major=major,
            uuid=uuid,
            context=context,
            admin=admin,
        )

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
        return await sending_gandalf.send_event(
            self, topic, event, payload, reference=reference, uuid=uuid, timeout=timeout
        )

    def events(self, topic: str, event: str | None = None) -> AsyncIterator[Event]:
        """The events of a topic (of one name, or all) from now on, for as long as one iterates.

        Raises:
            CallFailed: the connector refused the question.
        """
        return self.hearing.events(topic, event)
