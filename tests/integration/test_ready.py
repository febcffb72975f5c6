"""How a connector comes up: at once where it may, by itself where it must wait, and it says for what."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.crew import Crew, Sender
from tests.support.scene import Scene
from zconnector.connector.process import DOOR_SOCKET
from zconnector.errors import NotRunningError
from zconnector.runtime.control import request
from zconnector.runtime.statedir import find_socket
from zconnector.worker import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

READY = 1.0
"""Seconds from exec to SERVING, the median of ten starts, for a connector whose key is bound."""
LATE = 20.0
"""Seconds that the aggregator comes later than its connector."""
DEADLINE = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("ready") / "dev", aggregators=2)
    try:
        yield await scene.start(pivot="")
    finally:
        await scene.stop()


async def serving(address: str, seconds: float = DEADLINE) -> None:
    """Wait until the health service at an address says SERVING (gRPC itself waits for the socket)."""
    options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.min_reconnect_backoff_ms", 20)]
    options += [("grpc.max_reconnect_backoff_ms", 20), ("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        answer = await stub.Check(request, wait_for_ready=True, timeout=seconds)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


class Connector:
    """A connector started by hand in a directory of its own."""

    def __init__(self, state_dir: Path, enrolment: str = "") -> None:
        self.state_dir = state_dir
        self.address = f"unix:{state_dir / 'grpc.sock'}"
        self._enrolment = enrolment
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> Connector:
        argv = ["connector", "--state-dir", str(self.state_dir), "--log-level", "error"]
        argv += ["--enrolment-file", "-"] if self._enrolment else []
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zconnector", *argv), stdin=asyncio.subprocess.PIPE
        )
        assert self.process.stdin is not None
        self.process.stdin.write(self._enrolment.encode() + b"\n")
        self.process.stdin.close()
        return self

    async def stop(self) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
        await asyncio.wait_for(self.process.wait(), 10)

    async def status(self) -> dict[str, Any]:
        return await asyncio.to_thread(request, self.state_dir, "status", {}, 10.0)

    async def waits_for(self, step: str, what: str) -> None:
        """Wait until it stands at a step of its initialisation and says that it waits for that."""
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    initialisation = (await self.status())["initialisation"]
                except NotRunningError:  # not yet
                    continue
                if initialisation["step"] == step and what in initialisation["waiting_for"]:
                    return


@pytest.mark.quiet
async def test_with_everything_up_it_is_ready_in_under_a_second(scene: Scene, tmp_path: Path) -> None:
    declared = await scene.declare("quick", "Quick")
    first = await Connector(tmp_path / "quick", declared.encode()).start()
    await serving(first.address)
    await first.stop()
    taken: list[float] = []
    for _ in range(10):
        begun = time.monotonic()
        again = await Connector(tmp_path / "quick").start()
        await serving(again.address)
        taken.append(time.monotonic() - begun)
        await again.stop()
    print(f"exec to SERVING: {sorted(round(each, 3) for each in taken)}")
    assert statistics.median(taken) < READY


async def test_a_first_start_waits_for_its_aggregator_and_goes_on_by_itself(
    scene: Scene, tmp_path: Path
) -> None:
    """20 s are far beyond every backoff: nothing may have given up."""
    declared = await scene.declare("patient", "Patient")
    for label in ("agg1/a", "agg1/b"):
        await scene.kill(label)
    connector = await Connector(tmp_path / "patient", declared.encode()).start()
    assert connector.process is not None
    try:
        await connector.waits_for("COMMUNICATION", "aggregator instance a")
        with pytest.raises(TimeoutError):  # it does not end, whatever it tries meanwhile
            await asyncio.wait_for(connector.process.wait(), LATE)
        await connector.waits_for("COMMUNICATION", "aggregator instance a")
        assert (await connector.status())["grpc"] == ""  # nothing is served,
        assert not find_socket(connector.state_dir, DOOR_SOCKET).exists()  # and to no front end
        await asyncio.gather(*(scene.bring_back(label) for label in ("agg1/a", "agg1/b")))
        await serving(connector.address, 5.0)
    finally:
        await connector.stop()
        await scene.restore()


async def test_without_the_cluster_a_first_start_says_that_it_waits_for_it(
    scene: Scene, tmp_path: Path
) -> None:
    declared = await scene.declare("newcomer", "Newcomer")
    await scene.kill("cluster/1")
    connector = await Connector(tmp_path / "newcomer", declared.encode()).start()
    try:
        await connector.waits_for("SECRET", "cluster member")
        status, out, _ = await scene.cli("status", "--state-dir", str(connector.state_dir))
        assert status == 0
        assert "SECRET" in out
        await scene.bring_back("cluster/1")
        await serving(connector.address, 10.0)
    finally:
        await connector.stop()
        await scene.restore()


async def test_a_connector_that_was_validated_before_serves_without_cluster_and_aggregators(
    scene: Scene,
) -> None:
    """From its cached configuration and stored queue; it says which step waits."""
    async with Crew(scene.grpc("ci")) as crew, Sender(scene.grpc("git")) as sender:
        await scene.until("ci", lambda status: bool(status["workers"]))
        await sender.until_receipted("before")
        await sender.answered("before")
        ran = crew.executed["before"]
    await sender_and_kill(scene)
    async with Crew(scene.grpc("ci")) as crew:
        await crew.happenings.until(lambda: crew.executed["stored"] == 1)
        initialisation = (await scene.ask("ci"))["initialisation"]
        assert initialisation["serving_from_cache"]
        assert initialisation["step"] in ("COMMUNICATION", "SECRET")
        assert initialisation["waiting_for"]
        await scene.restore()
        async with Client(scene.grpc("git"), name="sender") as client:
            assert (await client.handle("stored", "RUN").reply(30)).ok
    assert ran == 1


async def sender_and_kill(scene: Scene) -> None:
    """A command is stored in ci, then everything but git is killed, and ci started again alone."""
    async with Sender(scene.grpc("git")) as sender:
        await sender.until_receipted("stored")
    for label in ("ci", "cluster/1", "agg1/a", "agg1/b"):
        await scene.kill(label)
    await scene.bring_back("ci")
