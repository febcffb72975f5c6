"""A gRPC front end in a process of its own: wiring only.

It keeps nothing: iterators, leases and registrations live in the connector's queue, behind the door. It
may be killed and started again at any time, and outlives its connector: meanwhile workers hear
UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import zmq

from zconnector.connector.process import DOOR_SOCKET
from zconnector.errors import ConfigError, ZConnectorError
from zconnector.queue.door import DoorClient
from zconnector.rpc.gandalf import ServiceSettings
from zconnector.rpc.server import WorkerServer
from zconnector.runtime import logs, loop
from zconnector.runtime.notify import say_ready
from zconnector.runtime.statedir import StateDir, find_socket
from zconnector.settings import FrontEndSettings

_STOP_GRACE = 0.5


def run(settings: FrontEndSettings) -> int:
    """Run a front end in the foreground until SIGTERM or Ctrl-C; returns the exit status."""
    try:
        logs.configure(settings.log_level, settings.log_format)
        if not settings.connector:
            raise ConfigError("--connector must name the state directory of a connector")
        with StateDir(settings.state_dir):
            loop.run(_serve(settings))
    except ZConnectorError as error:
        print(f"zconnector: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


async def _serve(settings: FrontEndSettings) -> None:
    ending = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ending.set)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    client = DoorClient(context, f"ipc://{find_socket(Path(settings.connector), DOOR_SOCKET)}")
    client.start()
    server = WorkerServer(client, "", ServiceSettings(default_timeout_ms=settings.default_timeout_ms))
    try:
        await server.start(settings.grpc or f"unix:{settings.state_dir / 'grpc.sock'}")
        say_ready(settings.notify)
        await ending.wait()
    finally:
        await server.stop(_STOP_GRACE)
        client.close()
        context.destroy()
