"""Workload R through the existing Gandalf worker API: our SDK's client at connector A, the worker at B."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.noop_worker import COMMAND, MAJOR
from tests.benchmarks.topology import TYPE_B, A, Topology
from tests.benchmarks.workload import PATIENCE, Driver, DriverError, served_by
from zconnector.worker import Client

LABEL = "Gandalf API"
API = "gandalf"


class GandalfDriver:
    """A receipt is awaited first (the call returns with it), then the reply.

    The major is named: without one a command goes to the highest version, another driver's worker perhaps.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, payload: str) -> str:
        handle = await self._client.send_command(TYPE_B, COMMAND, payload, major=MAJOR)
        reply = await handle.reply(PATIENCE)
        if not reply.ok:
            raise DriverError(f"{reply.event}: {reply.reason} {reply.detail}")
        return served_by(API, reply.payload)


@asynccontextmanager
async def opened(topology: Topology) -> AsyncIterator[Driver]:
    async with Client(topology.grpc(A), name="bench") as client:
        yield GandalfDriver(client)
