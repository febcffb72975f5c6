"""gRPC front ends in processes of their own: killed and started again, they lose nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import MakeDev
from tests.support.crew import Crew, Sender
from zconnector.worker import Rejected
from zconnector.worker.connection import Backoff, pause

StartFrontEnd = Callable[[Path], Awaitable[asyncio.subprocess.Process]]


async def _serving(address: str, seconds: float = 15.0) -> None:
    """Wait until something serves at the address (gRPC itself waits for the connection)."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        answer = await stub.Check(request, wait_for_ready=True, timeout=seconds)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def _declared(sender: Sender) -> None:
    """Wait until the worker's command list has become the type's pivot."""
    never, backoff = asyncio.Event(), Backoff(random.Random(1), first=0.05, limit=0.2)
    async with asyncio.timeout(20):
        while True:
            try:
                await sender.once("u0")
            except Rejected:
                await pause(never, backoff.next())
            else:
                return


@pytest.fixture
async def front_end(tmp_path: Path) -> AsyncIterator[StartFrontEnd]:
    """Starts a front end of a connector's state directory, and ends it."""
    running: list[asyncio.subprocess.Process] = []

    async def start(connector: Path) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zconnector", "frontend"),
            *("--state-dir", str(tmp_path / "front"), "--connector", str(connector)),
        )
        running.append(process)
        await _serving(f"unix:{tmp_path / 'front' / 'grpc.sock'}")
        return process

    yield start
    for process in running:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_front_end_is_killed_and_its_connector_too(
    make_dev: MakeDev, tmp_path: Path, front_end: StartFrontEnd
) -> None:
    dev = make_dev("--restart")
    await dev.start()
    address = f"unix:{tmp_path / 'front' / 'grpc.sock'}"
    first = await front_end(tmp_path / "dev" / "connector" / "ci")
    async with Crew(address), Sender(dev.grpc("git")) as sender:
        await _declared(sender)
        await sender.until_receipted("u1")
        await sender.answered("u1")

        os.kill(first.pid, signal.SIGKILL)
        await first.wait()
        await sender.until_receipted("u2")  # the queue takes it: no front end is needed for that
        second = await front_end(tmp_path / "dev" / "connector" / "ci")
        await sender.answered("u2")

        await dev.kill("ci")  # dev brings it back; the front end finds the new door by itself
        await sender.until_receipted("u3")
        await sender.answered("u3")

        second.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(second.wait(), 5) == 0
    assert not (tmp_path / "front" / "grpc.sock").exists()
