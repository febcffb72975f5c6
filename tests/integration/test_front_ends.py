"""gRPC front ends in processes of their own: killed and started again, they lose nothing."""

from __future__ import annotations

import asyncio
import contextlib
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
from tests.support.dev import Dev
from zconnector.errors import NotRunningError
from zconnector.runtime.control import request
from zconnector.worker import Client, Context, Rejected, Worker
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


async def test_a_v1_worker_keeps_its_lease_over_the_death_of_either(
    make_dev: MakeDev, tmp_path: Path, front_end: StartFrontEnd
) -> None:
    """A front end that ends tells its workers to come again; a router that dies is followed by another."""
    dev = make_dev("--restart")
    await dev.start()
    connector = tmp_path / "dev" / "connector" / "ci"
    attempts: list[int] = []
    began, go_on = asyncio.Event(), asyncio.Event()
    worker = Worker(1, 0)

    @worker.command("RUN")
    async def run(ctx: Context, payload: str) -> str:
        attempts.append(ctx.attempt)
        began.set()
        await go_on.wait()
        return f"cancelled: {ctx.cancelled}"

    first = await front_end(connector)
    runner = worker.runner("w", [f"unix:{tmp_path / 'front' / 'grpc.sock'}"])
    task = asyncio.ensure_future(runner.run())
    async with Sender(dev.grpc("git")) as sender, Client(dev.grpc("git")) as client:
        await _declared(sender)
        go_on.set()
        await sender.answered("u0")
        go_on.clear()
        began.clear()
        waiting = asyncio.ensure_future(client.send("Ci", "RUN", reply=True, reply_timeout=60))
        await asyncio.wait_for(began.wait(), 20)

        first.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(first.wait(), 5) == 0
        await front_end(connector)

        await dev.kill("ci")  # dev brings it back; the front end sees a new door, its worker a new stream
        await _declared(sender)
        await _adopted(dev, connector)
        go_on.set()
        assert (await waiting).payload == "cancelled: False"
    assert runner.api == "v1"
    assert attempts == [1, 1]  # nobody else ever had it
    runner.stop()
    assert await asyncio.wait_for(task, 20) == 0


async def _adopted(dev: Dev, connector: Path) -> None:
    """Wait until the worker has registered with the new router."""
    never, backoff = asyncio.Event(), Backoff(random.Random(1), first=0.05, limit=0.2)
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(NotRunningError):
                status = await asyncio.to_thread(request, connector, "status", {}, 5.0)
                if any("RUN" in each["commands"] for each in status["workers"]):
                    return
            await pause(never, backoff.next())
