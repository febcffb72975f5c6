"""A connection that breaks under a stream: whoever writes, or reads, hears that the connector is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.support.cable import Cable
from zconnector.worker.connection import Connection, Stream
from zconnector.worker.errors import CallFailed

TIMES = 25
"""One time in three, the write was what failed first."""


class Sink(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Reads whatever stream is opened."""

    def service(self, details: Any) -> Any:
        async def read(frames: Any, context: Any) -> AsyncIterator[bytes]:
            async for _ in frames:
                yield b"read"

        return grpc.stream_stream_rpc_method_handler(read)


@asynccontextmanager
async def torn(folder: Path) -> AsyncIterator[tuple[Cable, str]]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Sink(),))
    server.add_insecure_port(f"unix:{folder / 'server'}")
    await server.start()
    cable = Cable(folder / "server")
    between = await asyncio.start_unix_server(cable.plug, folder / "cable")
    try:
        yield cable, f"unix:{folder / 'cable'}"
    finally:
        cable.tear()
        between.close()
        await server.stop(None)


async def failure(step: Any) -> CallFailed:
    try:
        await step
    except CallFailed as failed:
        return failed
    raise AssertionError("it did not fail")


async def write_on(stream: Stream) -> None:
    while True:
        await stream.write(b"x" * 10)
        await asyncio.sleep(0)


async def read_on(stream: Stream) -> None:
    while await stream.read() is not None:
        continue


async def test_a_torn_connection_is_a_connector_that_is_away(tmp_path: Path) -> None:
    """gRPC calls it INTERNAL when the write fails first: senders and readers gave up for good."""
    async with torn(tmp_path) as (cable, address):
        for _ in range(TIMES):
            connection = Connection([address])
            stream = connection.stream("/any/Stream")
            await stream.write(b"first")
            assert await stream.read() == b"read"
            failing = asyncio.gather(failure(write_on(stream)), failure(read_on(stream)))
            await asyncio.sleep(0)
            cable.tear()
            for failed in await failing:
                assert failed.away, failed
                assert failed.passing
            await connection.close()
