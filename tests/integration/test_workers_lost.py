"""Workers and routers that die under each other: nothing is swallowed, and nobody stays deaf."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.support.crew import Crew, Sender
from tests.support.dev import Dev
from tests.support.hands import Hands
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.worker import Context

pytestmark = pytest.mark.timeout(200)
module_loop = pytest.mark.asyncio(loop_scope="module")

BACK = 0.2
"""Seconds in which a router that is killed is back."""

HOLDER = """
import sys
from zconnector.worker import Worker

worker = Worker(major=1, minor=0)

@worker.command("RUN")
def run(ctx, payload):
    print(ctx.uuid, flush=True)
    sys.stdin.read()

worker.run()
"""
"""A worker file whose handler never ends."""


@dataclass
class Town:
    """git sends; workers come and go on ci."""

    dev: Dev
    hands: Hands
    sender: Sender

    @property
    def ci(self) -> str:
        return self.dev.grpc("ci")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    dev = Dev(tmp_path_factory.mktemp("workers") / "dev", "--aggregators", "2")
    try:
        await dev.start()
        async with Hands(dev) as hands, Sender(dev.grpc("git")) as sender:
            async with Crew(dev.grpc("ci")):
                await hands.working("ci", "RUN")
                await sender.until_receipted("warm-up")
                await sender.answered("warm-up")
            yield Town(dev, hands, sender)
    finally:
        await dev.stop()


@module_loop
async def test_what_a_killed_worker_held_goes_to_another(town: Town, tmp_path: Path) -> None:
    file = tmp_path / "holder.py"
    file.write_text(HOLDER)
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, str(file), "holder", "10000", town.ci),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert holder.stdout is not None
    await town.sender.until_receipted("held")
    assert (await asyncio.wait_for(holder.stdout.readline(), 20)).decode().strip() == "held"
    async with Crew(town.ci) as crew:
        holder.send_signal(signal.SIGKILL)
        await holder.wait()
        await town.sender.answered("held")
        assert crew.executed["held"] == 1


class Gandalf:
    """A worker as Gandalf's are: no metadata, a loop of waits, a beat each second."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.commands = stubs.ConnectorCommandStub(self.channel)
        self.events = stubs.ConnectorEventStub(self.channel)
        self.connector = stubs.ConnectorStub(self.channel)

    async def register(self) -> str:
        """Register version 1.0 for RUN; the id of an iterator."""
        names = pb.CommandList(Major=1, Minor=0, Commands=["RUN"])
        assert (await self.connector.SendCommandList(names)).valid
        return str((await self.commands.CreateIteratorCommand(pb.Empty())).Id)

    def wait(self, iterator: str) -> grpc.aio.UnaryUnaryCall[pb.CommandMessageWait, pb.CommandMessage]:
        wait = pb.CommandMessageWait(WorkerSource="gandalf", Value="RUN", IteratorId=iterator, Major=1)
        waiting: grpc.aio.UnaryUnaryCall[Any, Any] = self.commands.WaitCommandMessage(wait)
        return waiting

    async def beat(self) -> bool:
        return bool((await self.connector.SendStop(pb.Stop(Major=1, Minor=0), timeout=5)).valid)

    async def succeed(self, uuid: str) -> None:
        event = pb.EventMessage(UUID=f"{uuid}-done", Topic="RUN", Event="SUCCES", ReferenceUUID=uuid)
        await self.events.SendEventMessage(event)


@module_loop
async def test_a_cancelled_wait_swallows_nothing(town: Town) -> None:
    """Cancelled before there is a command, and at the moment when there is one."""
    worker = Gandalf(town.ci)
    iterator = await worker.register()
    for number in range(20):
        uuid = f"cancelled-{number}"
        pending = worker.wait(iterator)
        sending = asyncio.ensure_future(town.sender.until_receipted(uuid))
        if number % 2:
            await sending  # it may have been handed out already
        pending.cancel()
        await sending
        try:
            command = await pending  # it was in the worker's hands before
        except asyncio.CancelledError:
            command = await asyncio.wait_for(worker.wait(iterator), 20)
        assert uuid == command.UUID
        await worker.succeed(uuid)
        await town.sender.answered(uuid)
    await worker.channel.close(None)


@module_loop
async def test_a_router_that_is_killed_and_back_at_once_leaves_no_worker_deaf(town: Town) -> None:
    """Ours go on; Gandalf's are told to leave, so that their supervisor starts them again."""
    worker = Gandalf(town.ci)
    iterator = await worker.register()
    assert await worker.beat()
    waiting = worker.wait(iterator)
    together = asyncio.Barrier(12)

    async def work(_: Context) -> str:
        await together.wait()  # as many as there are handlers: nobody has a second one while another is deaf
        return "done"

    crews = [Crew(town.ci, work=work) for _ in range(3)]
    away: list[float] = []
    async with crews[0], crews[1], crews[2]:
        await town.hands.working("ci", "RUN")
        for number in range(5):
            following = await (await town.hands.warm("ci")).warmed()
            begun = time.monotonic()
            await town.hands.restart("ci", run=following)
            away.append(time.monotonic() - begun)
            uuids = [f"deaf-{number}-{each}" for each in range(together.parties)]
            await asyncio.gather(*(town.sender.until_receipted(uuid) for uuid in uuids))
            await asyncio.gather(*(town.sender.answered(uuid) for uuid in uuids))
        assert [sum(crew.executed.values()) for crew in crews] == [20, 20, 20]
    print(f"killed and back: {sorted(round(each, 3) for each in away)} s")
    assert min(away) < BACK
    with pytest.raises(grpc.aio.AioRpcError):
        await waiting  # broken with the connection
    async with asyncio.timeout(10):
        while True:
            try:
                going_on = await worker.beat()
            except grpc.aio.AioRpcError:
                continue
            break
    assert not going_on  # "leave": it does not stay with a healthy heartbeat and a dead wait
    await worker.channel.close(None)


@module_loop
async def test_a_lost_answer_comes_again_although_the_worker_lives(town: Town) -> None:
    """The router dies after the lease was stored and before its worker has the command."""
    started: list[str] = []

    async def work(ctx: Context) -> str:
        started.append(ctx.uuid)
        return "done"

    async with Crew(town.ci, work=work, concurrency=1) as crew:
        await town.hands.working("ci", "RUN")
        for number in range(10):
            uuid = f"lost-{number}"
            following = await town.hands.warm("ci")
            await town.sender.until_receipted(uuid)
            await town.hands.restart("ci", run=following)
            await asyncio.wait_for(town.sender.answered(uuid), 20)
        assert set(crew.executed) == {f"lost-{number}" for number in range(10)}
