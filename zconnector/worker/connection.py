"""The way to a connector: its sockets, one gRPC channel each."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from zconnector.errors import ConfigError
from zconnector.messages.kinds import MAX_FRAME
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc
from zconnector.rpc.v1.status import info_of
from zconnector.worker.errors import CallFailed

_OPTIONS = (
    ("grpc.max_receive_message_length", 2 * MAX_FRAME),
    ("grpc.max_send_message_length", 2 * MAX_FRAME),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A connector is back within some 200 ms of its end; the default would wait for a second and more.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
SHORT = 10.0
"""Seconds for a call that the connector answers at once."""
SPARE = 0.08
"""Seconds beyond a command's timeout that the connector has to say how it ended."""
_TORN = "Internal error from Core"
"""What gRPC itself says, and no connector, when a write is the first to find its connection or call gone."""
TORN = "the connection was lost"
"""Detail of the CallFailed that it becomes."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What dialling over TCP needs: the token, and the certificate to trust (None: the system's)."""

    token: str = field(repr=False)
    ca: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises:
        ConfigError: the certificate cannot be read.
        """
        try:
            root = self.ca.read_bytes() if self.ca is not None else None
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from None
        return grpc.ssl_channel_credentials(root)


def parse_addresses(text: str) -> list[str]:
    """Addresses as gRPC dials them, from `socket[,socket]`: paths, `unix:PATH` or `HOST:PORT`.

    What has a slash is a path, relative or not.

    Raises:
        ConfigError: there is none.
    """
    addresses: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if part.startswith("tcp://"):
            addresses.append(part.removeprefix("tcp://"))
        elif "/" in part and not part.startswith("unix:"):
            addresses.append(f"unix:{part}")
        elif part:
            addresses.append(part)
    if not addresses:
        raise ConfigError(f"no connector address in {text!r}")
    return addresses


class Backoff:
    """Seconds to wait before the next try: doubling, with jitter from half to whole."""

    def __init__(self, rng: random.Random, first: float = 0.05, limit: float = 2.0) -> None:
        self._rng = rng
        self._first = first
        self._limit = limit
        self._next = first

    def next(self) -> float:
        now, self._next = self._next, min(self._limit, self._next * 2)
        return now * (0.5 + self._rng.random() / 2)

    def reset(self) -> None:
        self._next = self._first


async def pause(until: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long. Returns whether it has happened."""
    try:
        async with asyncio.timeout(seconds):
            return await until.wait()
    except TimeoutError:
        return False


class Connection:
    """One or several sockets of the same connector. Calls go to one of them until it fails, then to the next.

    Iterators are valid on all of them.
    """

    def __init__(self, addresses: Sequence[str], *, worker: str = "", tls: Tls | None = None) -> None:
        self.addresses = tuple(addresses)
        self._metadata: list[tuple[str, str]] = []
        if worker:
            self._metadata.append((metadata.WORKER, worker))
        if tls is not None:
            self._metadata.append((metadata.AUTHORIZATION, f"Bearer {tls.token}"))
        self._plain = grpc.aio.Metadata(*self._metadata)
        """Of a call that says nothing else. (From a list gRPC makes one like it, and takes twice as long.)"""
        self._channels: list[grpc.aio.Channel] = []
        for address in self.addresses:
            if address.startswith("unix:"):
                self._channels.append(grpc.aio.insecure_channel(address, options=_OPTIONS))
            elif tls is not None:
                self._channels.append(grpc.aio.secure_channel(address, tls.credentials(), options=_OPTIONS))
            else:
                raise ConfigError(f"a connector over TCP ({address}) needs TLS and its worker token")
        self._stubs: list[dict[str, Any]] = [_stubs(channel) for channel in self._channels]
        self._current = 0
        self._waits: set[grpc.aio.UnaryUnaryCall[Any, Any]] = set()

    async def close(self) -> None:
        """Cancel what is under way and disconnect."""
        for channel in self._channels:
            await channel.close(None)

    @property
    def is_ready(self) -> bool:
        """Whether the socket in use answers."""
        return self._channels[self._current].get_state() is grpc.ChannelConnectivity.READY

    async def ready(self, seconds: float) -> bool:
        """Wait until a socket answers, at most so long; the one that does is used from now on."""
        if self.is_ready:
            return True
        channels = [self._current, *(i for i in range(len(self._channels)) if i != self._current)]
        watches = {asyncio.ensure_future(self._channels[index].channel_ready()): index for index in channels}
        try:
            done, _ = await asyncio.wait(watches, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                return False
            answering = [watches[task] for task in done]
            if self._current not in answering:
                self._current = answering[0]
            return True
        finally:
            for task in watches:
                task.cancel()

    async def call(
        self,
        method: str,
        request: Any,
        *,
        seconds: float | None,
        said: metadata.Pairs = (),
    ) -> tuple[Any, Any]:
        """One call: the reply and its trailing metadata. `seconds` None: it waits without limit, and ends
        with `cancel_waits`. `said`: metadata of this call.

        Raises:
            CallFailed: it has no reply.
            asyncio.CancelledError: also when `cancel_waits` ended it.
        """
        index, call = self._begin(method, request, seconds, said)
        reply = await self._reply(index, call)
        return reply, await call.trailing_metadata()

    async def ask(
        self, method: str, request: Any, *, seconds: float | None, said: metadata.Pairs = ()
    ) -> Any:
        """As `call`, for the reply alone."""
        return await self._reply(*self._begin(method, request, seconds, said))

    def _begin(
        self, method: str, request: Any, seconds: float | None, said: metadata.Pairs
    ) -> tuple[int, grpc.aio.UnaryUnaryCall[Any, Any]]:
        index = self._current
        pairs = grpc.aio.Metadata(*self._metadata, *said) if said else self._plain
        call = self._stubs[index][method](request, timeout=seconds, metadata=pairs)
        if seconds is None:
            self._waits.add(call)
        return index, call

    async def _reply(self, index: int, call: grpc.aio.UnaryUnaryCall[Any, Any]) -> Any:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            failed = _failed(error)
            if failed.away and index == self._current:
                self._current = (index + 1) % len(self._channels)
            raise failed from None
        finally:
            self._waits.discard(call)

    def stream(self, method: str) -> Stream:
        """Open a bidirectional stream, by its full name."""
        index = self._current

        def lost() -> None:
            if index == self._current:
                self._current = (index + 1) % len(self._channels)

        channel: Any = self._channels[index]  # as bytes, which its stubs do not know
        return Stream(channel.stream_stream(method)(metadata=self._metadata), lost)

    def cancel_waits(self) -> None:
        """End the calls that wait without limit; one that has its reply already keeps it."""
        for call in list(self._waits):
            call.cancel()


class Stream:
    """A bidirectional stream of zconnector.v1: frames as bytes."""

    def __init__(self, call: grpc.aio.StreamStreamCall[Any, Any], lost: Callable[[], None]) -> None:
        self._call = call
        self._lost = lost
        self._writing = asyncio.Lock()
        """gRPC takes one write at a time, and ends the stream when two meet."""

    async def write(self, frame: bytes) -> None:
        """Raises:
        CallFailed: the stream is over.
        """
        try:
            async with self._writing:
                await self._call.write(frame)
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except asyncio.InvalidStateError as error:
            raise CallFailed("UNAVAILABLE", str(error)) from None

    async def read(self) -> bytes | None:
        """The next frame; None: the stream has ended well.

        Raises:
            CallFailed: it ended with an error.
        """
        try:
            frame = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise self._failed(error) from None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._call.cancelled() and not (current is not None and current.cancelling()):
                raise CallFailed("CANCELLED", "the stream was cancelled here") from None
            raise
        return frame if isinstance(frame, bytes) else None

    async def done_writing(self) -> None:
        """Nothing more is sent; what comes is still read."""
        await self._call.done_writing()

    def cancel(self) -> None:
        self._call.cancel()

    def _failed(self, error: grpc.aio.AioRpcError) -> CallFailed:
        failed = _failed(error)
        if failed.away:
            self._lost()
        return failed


def _stubs(channel: grpc.aio.Channel) -> dict[str, Any]:
    methods: dict[str, Any] = {}
    for stub in (
        gandalf_pb2_grpc.ConnectorStub(channel),
        gandalf_pb2_grpc.ConnectorCommandStub(channel),
        gandalf_pb2_grpc.ConnectorEventStub(channel),
    ):
        methods.update(vars(stub))
    return methods


def _failed(error: grpc.aio.AioRpcError) -> CallFailed:
    trailing: Any = error.trailing_metadata()
    info = info_of(trailing)
    if info is not None:
        said = dict(info.metadata)
        details = (error.details() or "").removeprefix(f"{info.reason}: ")
        failed = CallFailed(error.code().name, details, info.reason, uuid=said.get("uuid", ""))
        failed.missing = said.get("missing", "")
        return failed
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _TORN:
        return CallFailed("UNAVAILABLE", TORN)
    return CallFailed(
        error.code().name,
        error.details() or "",
        metadata.value(trailing, metadata.REASON),
        metadata.decode_text(metadata.value(trailing, metadata.DETAIL)),
        metadata.decode_text(metadata.value(trailing, metadata.UUID)),
    )
