"""The floor of workload L: bare libraries in place of connector, worker and client (floor_router.py)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio

from tests.benchmarks import floor_parts
from tests.benchmarks.noop_worker import COMMAND
from tests.benchmarks.topology import Process, Topology
from tests.benchmarks.workload import Driver
from zconnector.messages.uuids import new_uuid
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, types_pb2

LABEL = "bare libraries"
HERE = Path(__file__).parents[1]


class FloorDriver:
    """Bare stubs; what is sent while a frame is written goes into the next one."""

    def __init__(self, call: Any, pids: dict[str, list[int]]) -> None:
        self.pids = pids
        self._call = call
        self._unsent: list[Any] = []
        self._wake = asyncio.Event()
        self._open: dict[str, asyncio.Future[str]] = {}

    async def send(self, payload: str) -> str:
        uuid = new_uuid()
        reply = self._open[uuid] = asyncio.get_running_loop().create_future()
        self._unsent.append(
            types_pb2.Submission(
                uuid=uuid, command=COMMAND, payload=payload.encode(), target="self", reply=True
            )
        )
        self._wake.set()
        return str(await reply)

    async def write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unsent:
                commands, self._unsent = self._unsent, []
                await self._call.write(commands_pb2.SubmitRequest(commands=commands).SerializeToString())

    async def read(self) -> None:
        while True:
            for reply in commands_pb2.SubmitReply.FromString(await self._call.read()).replies:
                self._open.pop(reply.uuid).set_result(reply.payload.decode())


@asynccontextmanager
async def sending(socket: str, pids: dict[str, list[int]]) -> AsyncIterator[FloorDriver]:
    """A driver over the stream of that socket."""
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        driver = FloorDriver(floor_parts.opened(channel, "Submit"), pids)
        tasks = [asyncio.ensure_future(driver.write()), asyncio.ensure_future(driver.read())]
        try:
            yield driver
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def opened(topology: Topology) -> AsyncIterator[Driver]:
    folder = topology.stage.state_dir
    socket, log = str(folder / "floor.sock"), folder / "floor.log"
    router = Process(HERE / "floor_router.py", socket, str(folder / "floor.db"), log=log)
    worker = Process(HERE / "floor_worker.py", socket, log=log)
    try:
        await router.start()
        await router.line()
        await worker.start()
        await worker.line()
        pids = {"connector A": [router.pid], "worker": [worker.pid], "client": [os.getpid()]}
        async with sending(socket, pids) as driver:
            yield driver
    finally:
        await worker.stop()
        await router.stop()
