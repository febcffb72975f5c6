"""Our SDK over zconnector.v1: one Submit stream for all that is in flight, and a worker on a Work stream."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.benchmarks.noop_worker import COMMAND
from tests.benchmarks.topology import WORKER, A, Process, Topology
from tests.benchmarks.workload import PATIENCE, Driver, DriverError, served_by
from zconnector.worker import Client

MAJOR = 2
"""Not that of the system's own worker, so that each driver has its worker."""
API = "v1"


class SdkDriver:
    """The receipt is awaited, then the reply; both come over the stream that all share."""

    def __init__(self, client: Client, type: str, target: str, worker: int) -> None:
        self._client = client
        self._type = type
        self._target = target
        self.pids = {"worker": [worker], "client": [os.getpid()]}

    async def send(self, payload: str) -> str:
        reply = await self._client.send(
            self._type,
            COMMAND,
            payload,
            target=self._target,
            major=MAJOR,
            reply=True,
            timeout=PATIENCE,
            reply_timeout=PATIENCE,
        )
        if not reply.ok:
            raise DriverError(f"{reply.event}: {reply.reason} {reply.detail}")
        return served_by(API, reply.payload)


@asynccontextmanager
async def opened(topology: Topology, at: str, type: str, target: str = "") -> AsyncIterator[Driver]:
    """A sender at connector A, and a worker at connector `at`, whose type is `type`."""
    worker = Process(
        WORKER,
        f"bench-v1-{at}",
        "10000",
        topology.grpc(at),
        log=topology.stage.state_dir / f"worker-v1-{at}.log",
        environment={"ZCONNECTOR_BENCH_API": API, "ZCONNECTOR_BENCH_MAJOR": str(MAJOR)},
    )
    await worker.start()
    try:
        async with Client(topology.grpc(A), name="bench-v1") as client:
            await topology.answers(client, type, MAJOR, target)
            yield SdkDriver(client, type, target, worker.pid)
    finally:
        await worker.stop()
