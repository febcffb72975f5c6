"""The process's gRPC server for workers: one address, both APIs, health and reflection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from zconnector.errors import ConfigError
from zconnector.messages.kinds import MAX_FRAME
from zconnector.rpc import gandalf
from zconnector.rpc.gandalf import GandalfService
from zconnector.rpc.listening import Listening
from zconnector.rpc.own_door import OwnDoor, SharedDoor
from zconnector.rpc.port import DoorPort
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.token import TlsSettings, TokenInterceptor
from zconnector.rpc.v1 import service as v1
from zconnector.rpc.v1.service import V1Service

MAX_CALLS = 50_000
"""Calls held at once: a waiting one costs some 17 KB."""
MAX_CALLS_OF_ONE = 20_000
"""Calls and streams of one connection; a client keeps what is beyond until others have ended."""

_OPTIONS = (
    # Twice what we take: what is too large then reaches the service, which says so in its own words.
    ("grpc.max_receive_message_length", 2 * MAX_FRAME),
    ("grpc.max_send_message_length", MAX_FRAME),
    # A worker that is frozen keeps its socket open; an unanswered ping ends its waits.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Clients may ping as they like: to be cut off for it would leave a worker deaf.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_concurrent_streams", MAX_CALLS_OF_ONE),
    ("grpc.so_reuseport", 0),
)


class WorkerServer:
    """Serves workers on one address from `start` to `stop`.

    `address` is what workers dial, once started; it differs from what was asked for where a path was
    too long or a port was 0.
    """

    def __init__(self, door: DoorPort, boot: str, settings: ServiceSettings | None = None) -> None:
        settings = settings or ServiceSettings()
        door = OwnDoor(door, settings.worker) if settings.worker else SharedDoor(door)
        self._gandalf = GandalfService(door, boot, settings)
        self.v1 = V1Service(door, boot, settings) if settings.v1 else None
        self._names = (*gandalf.SERVICES, *(v1.SERVICES if settings.v1 else ()))
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # its stubs lack aio
        self._listening = Listening()
        self.address = ""

    async def start(
        self, address: str, *, tls: TlsSettings | None = None, runtime_dir: Path | None = None
    ) -> str:
        """Bind and serve; returns the address to dial.

        `unix:PATH` is served in a directory of mode 0700; `HOST:PORT` (or `tcp://HOST:PORT`) only with
        TLS and a worker token.

        Raises:
            ConfigError: the address cannot be served, or TCP is asked for without TLS.
        """
        if address.startswith("unix:"):
            if tls is not None:
                raise ConfigError(f"TLS is for TCP; {address} is a unix socket")
            server = self._make_server(None)
            self.address = self._listening.bind(server, Path(address.removeprefix("unix:")), runtime_dir)
        else:
            if tls is None:
                raise ConfigError(f"workers over TCP ({address}) need TLS and a worker token")
            server = self._make_server(tls)
            self.address = _bind_tcp(server, address.removeprefix("tcp://"), tls)
        await self._listening.start(server)
        await self.set_serving(True)
        return self.address

    async def set_serving(self, serving: bool) -> None:
        """What the health service says."""
        answer = health_pb2.HealthCheckResponse
        status = answer.SERVING if serving else answer.NOT_SERVING
        for name in ("", *self._names):
            await self._health.set(name, status)

    async def stop(self, grace: float) -> None:
        """Take no new calls, end the waits with UNAVAILABLE, give the others `grace` seconds."""
        server = self._listening.end()
        if server is None:
            return
        await self._health.enter_graceful_shutdown()
        self._gandalf.close()
        if self.v1 is not None:
            self.v1.close()
        await self._listening.stop(server, grace)

    def _make_server(self, tls: TlsSettings | None) -> grpc.aio.Server:
        server = grpc.aio.server(
            interceptors=[TokenInterceptor(tls.token)] if tls is not None else [],
            options=_OPTIONS,
            maximum_concurrent_rpcs=MAX_CALLS,
        )
        handlers: Any = self._gandalf.handlers()
        if self.v1 is not None:
            handlers += self.v1.handlers()
        server.add_generic_rpc_handlers(handlers)
        unregistered: Any = _Unregistered(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, unregistered)
        names = (*self._names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), unregistered)
        return server


class _Unregistered:
    """A server to which generated code adds its services like ours, by their names alone.

    grpc.aio holds a task for each registered method, and looks at them all whenever any call comes in.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Nothing: the generic handlers serve them."""


def _bind_tcp(server: grpc.aio.Server, address: str, tls: TlsSettings) -> str:
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ConfigError(f"{address!r} is no address: unix:PATH or HOST:PORT")
    credentials = tls.credentials()
    try:
        bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(f"cannot serve workers on {address}: {error}") from None
    return f"{host}:{bound}"
