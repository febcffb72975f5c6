"""zconnector.v1 on real connectors: leases, retries, deaths, replies, subscriptions."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.dev import Dev
from tests.support.hands import Hands
from tests.support.v1 import V1, WorkClient, outcome, vanish
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w
from zconnector.worker import Client, Context, Fail, Reply, Retry, RetryPolicy, Worker
from zconnector.worker.runner import Runner

pytestmark = [pytest.mark.timeout(200), pytest.mark.asyncio(loop_scope="module")]
SECONDS = 30.0


@dataclass
class Seen:
    """What handlers saw, and a way to wait for it."""

    attempts: dict[str, list[int]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    began: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    ended: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, ctx: Context) -> None:
        self.attempts.setdefault(ctx.uuid, []).append(ctx.attempt)
        self.began.put_nowait(ctx.uuid)


def make_worker(seen: Seen) -> Worker:
    worker = Worker(1, 0, concurrency=8)

    @worker.command("RUN")
    async def run(ctx: Context, payload: str) -> str:
        seen.note(ctx)
        return payload.upper()

    @worker.command("HELD")
    async def held(ctx: Context, payload: str) -> str:
        await ctx.progress()  # a hand-out waits for no disk; this does, and takes the lease along
        seen.note(ctx)
        await seen.go_on.wait()
        return "held"

    @worker.command("LATER")
    async def later(ctx: Context, payload: str) -> str:
        seen.note(ctx)
        if ctx.attempt < 3:
            raise Retry(0.2, "not yet")
        return f"attempt {ctx.attempt}"

    @worker.command("NEVER")
    async def never(ctx: Context, payload: str) -> None:
        seen.note(ctx)
        raise Retry(reason="not ever") if payload else Fail("no such repo")

    @worker.command("TOLD")
    async def told(ctx: Context, payload: str) -> None:
        seen.note(ctx)
        await ctx.until_cancelled()
        seen.cancelled.append(ctx.cancel_reason)
        seen.ended.put_nowait(ctx.uuid)

    return worker


@dataclass
class Town:
    dev: Dev
    hands: Hands
    git: Client

    @property
    def ci(self) -> str:
        return self.dev.grpc("ci")

    async def send(self, command: str, payload: object = "", **options: Any) -> Reply:
        return await self.git.send("Ci", command, payload, reply=True, reply_timeout=SECONDS, **options)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    dev = Dev(tmp_path_factory.mktemp("v1") / "dev", "--aggregators", "2")
    try:
        await dev.start()
        async with Hands(dev) as hands, Client(dev.grpc("git")) as git:
            async with working(dev.grpc("ci"), Seen()):
                await hands.working("ci", "RUN")
                assert (await git.send("Ci", "RUN", "warm", reply=True, timeout=20)).ok
            yield Town(dev, hands, git)
    finally:
        await dev.stop()


@asynccontextmanager
async def working(address: str, seen: Seen) -> AsyncIterator[Runner]:
    runner = make_worker(seen).runner("ci-worker", [address])
    task = asyncio.ensure_future(runner.run())
    try:
        yield runner
    finally:
        seen.go_on.set()
        runner.stop()
        await asyncio.wait_for(task, SECONDS)


async def began(seen: Seen) -> str:
    return await asyncio.wait_for(seen.began.get(), SECONDS)


async def test_two_workers_compete_and_every_sender_has_its_reply(town: Town) -> None:
    one, two = Seen(), Seen()
    async with working(town.ci, one) as first, working(town.ci, two):
        replies = await asyncio.gather(*(town.send("RUN", f"n{n}", uuid=f"run-{n}") for n in range(200)))
        assert first.api == "v1"
    assert [reply.payload for reply in replies] == [f"N{n}" for n in range(200)]
    done = {**one.attempts, **two.attempts}
    assert len(one.attempts) + len(two.attempts) == len(done) == 200
    assert set(map(tuple, done.values())) == {(1,)}


async def test_a_command_to_self_needs_no_aggregator(town: Town) -> None:
    seen = Seen()
    async with working(town.ci, seen), Client(town.ci) as client:
        reply = await client.send("", "RUN", "mine", target="self", reply=True, reply_timeout=SECONDS)
    assert (reply.ok, reply.payload) == (True, "MINE")


async def test_a_retry_comes_again_with_the_next_attempt(town: Town) -> None:
    seen = Seen()
    async with working(town.ci, seen):
        reply = await town.send("LATER", uuid="later-1")
    assert reply.payload == "attempt 3"
    assert seen.attempts["later-1"] == [1, 2, 3]


async def test_fail_is_final_and_used_up_attempts_are_dead(town: Town) -> None:
    seen = Seen()
    async with working(town.ci, seen):
        failed = await town.send("NEVER", uuid="fail-1")
        policy = RetryPolicy(attempts=2, first=0.01, factor=1, limit=0.01)
        used_up = await town.send("NEVER", "x", uuid="dead-1", retry=policy)
    assert (failed.ok, failed.payload, failed.reason) == (False, "no such repo", "FAILED")
    assert failed.detail == "no such repo"
    assert (used_up.ok, used_up.reason) == (False, "ATTEMPTS_EXHAUSTED")
    assert "not ever" in used_up.detail
    assert (seen.attempts["fail-1"], seen.attempts["dead-1"]) == ([1], [1, 2])


async def test_a_command_that_expires_is_cancelled_at_its_worker(town: Town) -> None:
    seen = Seen()
    async with working(town.ci, seen):
        reply = await town.send("TOLD", uuid="ttl-1", ttl=0.5)
        assert await asyncio.wait_for(seen.ended.get(), SECONDS) == "ttl-1"
    assert (reply.ok, reply.reason) == (False, "EXPIRED")
    assert seen.cancelled == ["EXPIRED"]


async def test_an_operators_cancel_reaches_the_worker_and_the_sender(town: Town) -> None:
    seen = Seen()
    async with working(town.ci, seen):
        waiting = asyncio.ensure_future(town.send("TOLD", uuid="cancel-1"))
        assert await began(seen) == "cancel-1"
        await town.hands.control("ci", "operate", verb="cancel", uuid="cancel-1")
        assert await asyncio.wait_for(seen.ended.get(), SECONDS) == "cancel-1"
        reply = await waiting
    assert (reply.ok, reply.reason) == (False, "CANCELLED")
    assert seen.cancelled == ["CANCELLED"]


HOLDER = """
from zconnector.worker import Worker
import sys

worker = Worker(major=1, minor=0)

@worker.command("RUN")
def run(ctx, payload):
    print(ctx.uuid, ctx.attempt, flush=True)
    sys.stdin.readline()
    return "by the holder"

worker.run()
"""


async def holder(town: Town, tmp_path: Path) -> asyncio.subprocess.Process:
    file = tmp_path / "holder.py"
    file.write_text(HOLDER)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, str(file), "holder", "10000", town.ci),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def said(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), SECONDS)).decode().split()


async def test_what_a_killed_worker_held_is_at_once_anothers(town: Town, tmp_path: Path) -> None:
    process = await holder(town, tmp_path)
    waiting = asyncio.ensure_future(town.send("RUN", uuid="killed-1"))
    assert await said(process) == ["killed-1", "1"]
    seen = Seen()
    async with working(town.ci, seen):
        process.kill()
        await process.wait()
        assert (await waiting).ok
    assert seen.attempts["killed-1"] == [2]


async def test_sigterm_finishes_what_runs(town: Town, tmp_path: Path) -> None:
    process = await holder(town, tmp_path)
    waiting = asyncio.ensure_future(town.send("RUN", uuid="term-1"))
    assert await said(process) == ["term-1", "1"]
    process.terminate()
    assert process.stdin is not None
    process.stdin.write(b"\n")
    assert (await waiting).payload == "by the holder"
    assert await asyncio.wait_for(process.wait(), SECONDS) == 0


@pytest.mark.parametrize("how", ["kill", "end"])
async def test_a_router_that_dies_under_a_worker_takes_its_result_when_it_is_back(
    town: Town, how: str
) -> None:
    seen = Seen()
    uuid = f"router-{how}"
    async with working(town.ci, seen):
        waiting = asyncio.ensure_future(town.send("HELD", uuid=uuid))
        assert await began(seen) == uuid
        await (town.hands.kill("ci") if how == "kill" else town.hands.end("ci"))
        await town.hands.start("ci")
        await town.hands.working("ci", "HELD")
        seen.go_on.set()
        assert (await waiting).payload == "held"
    assert seen.attempts[uuid] == [1]  # its lease was adopted, not given to anybody else


async def test_a_late_outcome_is_fenced_and_a_token_of_before_the_restart_is_not(town: Town) -> None:
    await town.hands.connected("ci")
    v1 = V1(town.ci)
    work = WorkClient(v1)
    await work.register("RUN", worker="raw-1")
    waiting = asyncio.ensure_future(town.send("RUN", uuid="fence-1"))
    await work.until(lambda: len(work.commands) == 1)
    command = work.commands[0]
    # A hand-out waits for no disk. What is told after it does, and takes the lease along.
    await work.send(outcomes=[outcome(command, t.Outcome.PROGRESS)])
    await work.until(lambda: len(work.settled) == 1)
    await town.hands.kill("ci")
    await v1.channel.close(None)
    await town.hands.start("ci")
    again = V1(town.ci)
    fresh = WorkClient(again)
    holding = [w.Holding(uuid="fence-1", token=command.token, command="RUN")]
    await fresh.register("RUN", worker="raw-1", holding=holding)
    await fresh.send(
        outcomes=[outcome(command, t.Outcome.ACK, payload=b"1"), outcome(command, t.Outcome.ACK)]
    )
    await fresh.until(lambda: len(fresh.settled) == 2)
    assert list(fresh.frames[0].registered.adopted) == ["fence-1"]
    assert [each.refusal.reason for each in fresh.settled] == ["", "FENCED"]
    assert "DONE" in fresh.settled[1].refusal.detail
    assert (await waiting).payload == "1"
    await fresh.end()
    await again.channel.close(None)


async def test_a_subscription_hears_of_other_connectors_and_keeps_its_place(town: Town) -> None:
    async with Client(town.ci) as ci:
        reading = ci.subscribe("builds", ("git", "PUSHED"))
        first = asyncio.ensure_future(anext(reading))
        await town.hands.until("ci", lambda s: True)
        while not first.done():
            await town.git.publish("git", "PUSHED", "0")
            await asyncio.wait({first}, timeout=0.5)
        assert first.result().payload == "0"
        await reading.aclose()  # type: ignore[attr-defined]
        for number in range(1, 6):
            await town.git.publish("git", "PUSHED", str(number))
            await town.git.publish("git", "OTHER", "x")
    await town.hands.restart("ci")
    found: list[str] = []
    async with Client(town.ci) as ci:
        async for event in ci.subscribe("builds", ("git", "PUSHED")):
            if event.payload != "0":
                found.append(event.payload)
            if len(found) == 5:
                break
    assert found == ["1", "2", "3", "4", "5"]


async def test_poll_and_complete_on_a_real_queue(town: Town) -> None:
    await town.hands.connected("ci")
    v1 = V1(town.ci)
    waiting = asyncio.ensure_future(town.send("RUN", b"p", uuid="poll-1"))
    polled = await v1.worker.Poll(w.PollRequest(worker="curl", major=1, commands=["RUN"]), timeout=SECONDS)
    command = polled.commands[0]
    assert (command.uuid, command.payload, command.source) == ("poll-1", b"p", "git")
    progress = outcome(command, t.Outcome.PROGRESS, event="HALF", payload=b"50")
    done = await v1.worker.Complete(
        w.CompleteRequest(outcomes=[progress, outcome(command, t.Outcome.ACK, payload=b"ok")])
    )
    assert [each.refusal.reason for each in done.settled] == ["", ""]
    assert (await waiting).payload == "ok"
    await v1.channel.close(None)


async def test_clients_that_vanish_leave_nothing_at_a_real_queue(town: Town) -> None:
    await town.hands.connected("ci")

    async def left(count: int) -> tuple[int, int]:
        """Files and live streams of the connector after so many clients."""
        for begin in range(0, count, 10):
            await asyncio.gather(*(vanish(town.ci, number) for number in range(begin, begin + 10)))
        status = await town.hands.until("ci", lambda s: s["streams"] == 0)
        return len(os.listdir(f"/proc/{town.hands.pid('ci')}/fd")), status["streams"]

    files, _ = await left(50)
    assert (await left(200))[0] <= files + 10
