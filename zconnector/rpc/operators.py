"""The process's gRPC server for operators: a unix socket of its own, which no worker needs to reach."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection

from zconnector.messages.kinds import MAX_FRAME
from zconnector.rpc.listening import Listening
from zconnector.rpc.port import DoorPort
from zconnector.rpc.v1.operate import METHODS, SERVICE, operate
from zconnector.rpc.v1.unary import UnaryCalls

MAX_CALLS = 100
"""Calls held at once; each may hold an answer of some MB."""

_OPTIONS = (
    # Twice what we take: what is too large then reaches the service, which says so in its own words.
    ("grpc.max_receive_message_length", 2 * MAX_FRAME),
    ("grpc.max_send_message_length", 2 * MAX_FRAME),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_concurrent_streams", MAX_CALLS),
    ("grpc.so_reuseport", 0),
)


class OperatorServer:
    """Serves zconnector.v1.OperatorService from `start` to `stop`."""

    def __init__(self, door: DoorPort) -> None:
        self._door = door
        self._calls = UnaryCalls()
        self._listening = Listening()

    async def start(self, path: Path) -> str:
        """Bind and serve; returns the address to dial.

        Raises:
            ConfigError: the path cannot be served.
        """
        server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        handlers = {
            name: self._calls.handler(method.request, partial(operate, self._door, method))
            for name, method in METHODS.items()
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
        address = self._listening.bind(server, path)
        await self._listening.start(server)
        return address

    async def stop(self, grace: float) -> None:
        """Take no new calls, give the others `grace` seconds."""
        server = self._listening.end()
        if server is None:
            return
        self._calls.close()
        await self._listening.stop(server, grace)
