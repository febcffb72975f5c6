"""Workers made with the SDK over zconnector.v1, and the same worker files over the Gandalf API."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
import pydantic
import pytest

from tests.support.scripted_door import ScriptedDoor
from tests.support.v1 import V1, WorkClient
from zconnector.errors import Reason
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings
from zconnector.worker import Context, Fail, RegistrationRefused, Retry, Unsupported, Worker
from zconnector.worker.connection import Connection
from zconnector.worker.lifecycle import State
from zconnector.worker.runner import Runner
from zconnector.worker.stream import WORK

BEAT = 0.05


@dataclass
class Issue:
    title: str


class Build(msgspec.Struct):
    ref: str


class Deploy(pydantic.BaseModel):
    where: str


class Connector:
    """A connector that can be killed and started again on the same socket."""

    def __init__(self, path: Path, *, v1: bool = True) -> None:
        self.door = ScriptedDoor()
        self.path = path
        self.settings = ServiceSettings(hold=0.1, v1=v1, heartbeat=1.0, silence=5.0)
        self._boots = 0
        self.server: WorkerServer | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    async def start(self) -> None:
        self._boots += 1
        self.server = WorkerServer(self.door, f"boot-{self._boots}", self.settings)
        await self.server.start(self.address)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    async def restart(self) -> None:
        await self.stop()
        self.door.queue.restarted()
        await self.start()


@pytest.fixture
async def connector(tmp_path: Path) -> AsyncIterator[Connector]:
    made = Connector(tmp_path / "grpc" / "w.sock")
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=[True, False], ids=["v1", "gandalf"])
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connector]:
    made = Connector(tmp_path / "grpc" / "w.sock", v1=request.param)
    await made.start()
    yield made
    await made.stop()


def start(worker: Worker, connector: Connector) -> tuple[Runner, asyncio.Task[int]]:
    runner = worker.runner("git-worker", [connector.address], beat=BEAT)
    return runner, asyncio.ensure_future(runner.run())


async def finish(runner: Runner, task: asyncio.Task[int]) -> int:
    runner.stop()
    return await asyncio.wait_for(task, 10)


def ended(connector: Connector) -> dict[str, tuple[str, str]]:
    """How commands ended so far: event and payload by uuid, whichever API it was said over."""
    door = connector.door
    found = {
        uuid: (header["event"], payload.decode()) for uuid, (header, payload) in door.queue.replies.items()
    }
    for op, args, payload in door.calls:
        if op == "send_event" and args["reference"] and args["event"] in ("SUCCES", "FAIL"):
            found[args["reference"]] = (args["event"], payload.decode())
    return found


async def test_the_same_worker_file_runs_on_both_apis(either: Connector) -> None:
    worker = Worker(major=1, minor=2, concurrency=4)
    threads: list[str] = []
    runs: list[int] = []

    @worker.command("TEXT")
    async def text(ctx: Context, payload: str) -> dict[str, Any]:
        return {"got": payload, "source": ctx.source, "attempt": ctx.attempt, "cancelled": ctx.cancelled}

    @worker.command("PLAIN")
    def plain(ctx: Context, payload: dict[str, Any]) -> Any:
        threads.append(threading.current_thread().name)
        ctx.wait(ctx.progress("HALF", "50"))
        ctx.wait(ctx.progress())
        return list(payload)

    @worker.command("DATACLASS")
    async def dataclassed(ctx: Context, payload: Issue) -> Issue:
        return Issue(payload.title.upper())

    @worker.command("MSGSPEC")
    async def msgspecced(ctx: Context, payload: Build) -> Build:
        return payload

    @worker.command("PYDANTIC")
    async def pydanticked(ctx: Context, payload: Deploy) -> Deploy:
        return payload

    @worker.command("RAISES")
    async def raises(ctx: Context, payload: str) -> None:
        raise ValueError("no such thing")

    @worker.command("FAILS")
    async def fails(ctx: Context, payload: str) -> None:
        raise Fail({"code": 7})

    @worker.command("RETRY")
    async def retry(ctx: Context, payload: str) -> str:
        runs.append(ctx.attempt)
        if len(runs) < 3:
            raise Retry(0, "not yet")
        return "third time"

    @worker.command("RETRY_ON", retry_on=(KeyError,))
    async def retry_on(ctx: Context, payload: str) -> str:
        raise ValueError("another one")

    runner, task = start(worker, either)
    door = either.door
    payloads = {
        "TEXT": b"x",
        "PLAIN": b'{"a": 1}',
        "DATACLASS": b'{"title": "t"}',
        "MSGSPEC": b'{"ref":"main"}',
        "PYDANTIC": b'{"where":"prod"}',
    }
    names = [*payloads, "RAISES", "FAILS", "RETRY", "RETRY_ON"]
    for name in names:
        await door.command(name, payloads.get(name, b""), uuid=f"u-{name}", source="ci")
    for name in ("DATACLASS", "MSGSPEC", "PYDANTIC", "PLAIN"):
        await door.command(name, b"[]", uuid=f"bad-{name}")
    await door.until(lambda: len(ended(either)) == len(names) + 4)
    found = ended(either)
    assert runner.api == ("v1" if either.settings.v1 else "gandalf")
    said = '{"got":"x","source":"ci","attempt":1,"cancelled":false}'
    assert found["u-TEXT"] == ("SUCCES", said)
    assert found["u-PLAIN"] == ("SUCCES", '["a"]')
    assert found["u-DATACLASS"] == ("SUCCES", '{"title":"T"}')
    assert found["u-MSGSPEC"] == ("SUCCES", '{"ref":"main"}')
    assert found["u-PYDANTIC"] == ("SUCCES", '{"where":"prod"}')
    assert found["u-RAISES"] == ("FAIL", "ValueError: no such thing")
    assert found["u-FAILS"] == ("FAIL", '{"code":7}')
    assert found["u-RETRY"] == ("SUCCES", "third time")
    assert found["u-RETRY_ON"] == ("FAIL", "ValueError: another one")
    for name in ("DATACLASS", "MSGSPEC", "PYDANTIC", "PLAIN"):
        assert found[f"bad-{name}"][0] == "FAIL"
        assert "the payload is not what the handler takes" in found[f"bad-{name}"][1]
    assert runs == [1, 2, 3]
    assert threads[0].startswith("handler")
    progress = door.queue.progress + [
        (args["reference"], args["event"], body)
        for op, args, body in door.calls
        if op == "send_event" and args["event"] == "HALF"
    ]
    assert progress == [("u-PLAIN", "HALF", b"50")]
    assert await finish(runner, task) == 0


async def test_no_more_than_the_concurrency_of_each_command_run_at_once(either: Connector) -> None:
    worker = Worker(major=1)
    running: dict[str, int] = {"A": 0, "B": 0}
    most: dict[str, int] = {"A": 0, "B": 0}
    enough = asyncio.Event()

    def add(name: str, concurrency: int) -> None:
        @worker.command(name, concurrency=concurrency)
        async def handle(ctx: Context, payload: str) -> None:
            running[name] += 1
            most[name] = max(most[name], running[name])
            if running == {"A": 1, "B": 3}:
                enough.set()
            await enough.wait()
            running[name] -= 1

    add("A", 1)
    add("B", 3)
    runner, task = start(worker, either)
    for _ in range(6):
        await either.door.command("A")
        await either.door.command("B")
    await either.door.until(lambda: len(ended(either)) == 12)
    assert most == {"A": 1, "B": 3}
    assert await finish(runner, task) == 0


async def test_a_cancelled_command_is_told_to_its_handler(connector: Connector) -> None:
    worker = Worker(major=1)
    reasons: list[str] = []

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> None:
        await ctx.until_cancelled()
        assert ctx.cancelled
        reasons.append(ctx.cancel_reason)

    runner, task = start(worker, connector)
    door = connector.door
    await door.command("A", uuid="u-1")
    await door.until(lambda: len(door.queue.leased()) == 1)
    door.queue.cancel("u-1", "EXPIRED")
    await door.command("A", uuid="u-2")
    await door.until(lambda: len(door.queue.leased()) == 1)  # its credit came back
    assert reasons == ["EXPIRED"]
    door.queue.cancel("u-2", "CANCELLED")
    await door.wake()
    await door.until(lambda: len(door.asked("settle")) == 2)
    assert reasons == ["EXPIRED", "CANCELLED"]
    assert await finish(runner, task) == 0


async def test_what_runs_is_adopted_after_a_restart_and_its_result_taken(connector: Connector) -> None:
    worker = Worker(major=1, concurrency=3)
    door = connector.door
    go_on = asyncio.Event()
    began: list[str] = []
    lost: list[str] = []

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> str:
        began.append(ctx.uuid)
        await door.wake()
        if ctx.uuid == "u-2":
            await ctx.until_cancelled()
            lost.append(ctx.cancel_reason)
        await go_on.wait()
        return "done"

    runner, task = start(worker, connector)
    for uuid in ("u-1", "u-2"):
        await door.command("A", uuid=uuid)
    await door.until(lambda: len(began) == 2)
    await connector.stop()
    door.queue.restarted()
    other = door.queue.find("u-2")
    assert other is not None
    other.state, other.token = "LEASED", "somebody else's"
    await connector.start()
    await door.until(lambda: bool(door.asked("adopt")))
    go_on.set()
    await door.until(lambda: len(door.asked("settle")) >= 1 and "u-1" in door.queue.replies)
    assert await finish(runner, task) == 0
    assert door.queue.replies["u-1"][1] == b"done"
    assert "u-2" not in door.queue.replies
    assert lost == ["FENCED"]
    assert door.queue.find("u-1").attempt == 1  # type: ignore[union-attr]


async def test_a_result_that_is_ready_while_nobody_is_there_is_told_later(connector: Connector) -> None:
    worker = Worker(major=1)
    began, go_on = asyncio.Event(), asyncio.Event()

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> str:
        began.set()
        await go_on.wait()
        return "done"

    runner, task = start(worker, connector)
    door = connector.door
    await door.command("A", uuid="u-1")
    await asyncio.wait_for(began.wait(), 10)
    await connector.stop()
    go_on.set()
    door.queue.restarted()
    door.refuse("settle", Reason.STORAGE_FAILED, times=2)
    await connector.start()
    await door.until(lambda: "u-1" in door.queue.replies)
    assert len(door.asked("settle")) == 3
    assert await finish(runner, task) == 0


async def test_a_drain_finishes_what_runs_and_takes_nothing_more(connector: Connector) -> None:
    worker = Worker(major=1)
    began, go_on = asyncio.Event(), asyncio.Event()

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> str:
        began.set()
        await go_on.wait()
        return "done"

    runner, task = start(worker, connector)
    door = connector.door
    await door.command("A", uuid="u-1")
    await asyncio.wait_for(began.wait(), 10)
    runner.stop()
    assert runner.state is State.DRAINING
    await door.command("A", uuid="u-2")
    go_on.set()
    assert await asyncio.wait_for(task, 10) == 0
    assert ended(connector) == {"u-1": ("SUCCES", "done")}
    assert door.queue.find("u-2").state == "READY"  # type: ignore[union-attr]
    await door.until(lambda: not door.asking)


async def test_the_router_orders_a_version_to_leave(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    _, task = start(worker, connector)
    await connector.door.until(lambda: bool(connector.door.asked("take")))
    connector.door.queue.draining = connector.door.queue.leaving = True
    await connector.door.wake()
    assert await asyncio.wait_for(task, 10) == 0
    assert len(connector.door.asked("register")) == 1


async def test_events_on_both_apis(either: Connector) -> None:
    worker = Worker(major=1)
    seen: list[tuple[str, str, int]] = []

    @worker.event("git", "PUSH")
    async def on_push(ctx: Context, payload: str) -> None:
        seen.append((ctx.topic, payload, 1))

    @worker.event("ci", subscription="builds")
    async def on_build(ctx: Context, payload: dict[str, Any]) -> None:
        seen.append((ctx.topic, str(payload["n"]), ctx.attempt))
        if payload["n"] == 2 and seen.count(seen[-1]) < 2 and ("ci", "2", 2) not in seen:
            raise Retry(0)  # once

    runner, task = start(worker, either)
    door = either.door
    await door.until(lambda: door.waiting >= 2)
    await door.event("git", "PUSH", b"1")
    await door.event("ci", "DONE", b'{"n": 2}')
    await door.event("ci", "DONE", b'{"n": 3}')
    await door.until(lambda: len(seen) == 4)
    assert sorted(seen) == [("ci", "2", 1), ("ci", "2", 2), ("ci", "3", 1), ("git", "1", 1)]
    assert await finish(runner, task) == 0


async def test_a_result_that_is_refused_for_good_becomes_a_fail(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: b"\xff")
    door = connector.door
    door.refuse("settle", Reason.INVALID_PAYLOAD, "not UTF-8")
    runner, task = start(worker, connector)
    await door.command("A", uuid="u-1")
    await door.until(lambda: bool(door.queue.replies))
    assert ended(connector)["u-1"] == ("FAIL", "the result could not be sent: not UTF-8")
    assert await finish(runner, task) == 0


async def test_a_refused_registration_ends_the_worker_with_the_names(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    connector.door.missing = ["B", "C"]
    _, task = start(worker, connector)
    with pytest.raises(RegistrationRefused, match="commands without a handler here: B, C") as caught:
        await asyncio.wait_for(task, 10)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("signalled", [False, True])
async def test_a_worker_waits_for_a_connector_that_comes_later(tmp_path: Path, signalled: bool) -> None:
    connector = Connector(tmp_path / "grpc" / "w.sock")
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    runner, task = start(worker, connector)
    if not signalled:
        await connector.start()
        await connector.door.until(lambda: bool(connector.door.asked("take")))
    assert await finish(runner, task) == 0
    await connector.stop()


async def test_a_worker_that_wants_v1_hears_that_it_is_not_there(tmp_path: Path) -> None:
    connector = Connector(tmp_path / "grpc" / "w.sock", v1=False)
    await connector.start()
    worker = Worker(major=1, api="v1")
    worker.command("A")(lambda ctx, payload: None)
    _, task = start(worker, connector)
    with pytest.raises(Unsupported, match="needs zconnector"):
        await asyncio.wait_for(task, 10)
    await connector.stop()


async def test_a_silent_router_is_left(tmp_path: Path) -> None:
    """One that hangs with its socket open: the worker opens another stream."""
    opened: asyncio.Queue[str] = asyncio.Queue()

    async def silent(requests: Any, context: Any) -> None:
        first = w.WorkRequest.FromString(await context.read())
        opened.put_nowait(first.register.worker)
        registered = w.Registered(boot="b", heartbeat_ms=100)
        await context.write(w.WorkReply(registered=registered).SerializeToString())
        await asyncio.get_running_loop().create_future()

    server = grpc.aio.server()
    handlers = {"Work": grpc.stream_stream_rpc_method_handler(silent)}
    service = grpc.method_handlers_generic_handler("zconnector.v1.WorkerService", handlers)
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"unix:{tmp_path / 's.sock'}")
    await server.start()
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    runner = worker.runner("w", [f"unix:{tmp_path / 's.sock'}"])
    task = asyncio.ensure_future(runner.run())
    for _ in range(2):
        assert await asyncio.wait_for(opened.get(), 10) == runner.worker
    assert await finish(runner, task) == 0
    await server.stop(0)


async def test_two_workers_compete(connector: Connector) -> None:
    v1 = V1(connector.address)
    other = WorkClient(v1)
    await other.register("A", worker="other")
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: "mine")
    runner, task = start(worker, connector)
    door = connector.door
    for number in range(20):
        await door.command("A", uuid=f"u-{number}")
    await other.until(lambda: len(other.commands) == 1)
    await door.until(lambda: len(ended(connector)) == 19)
    assert len(door.queue.leased()) == 1
    other.call.cancel()
    await door.until(lambda: len(ended(connector)) == 20)
    assert door.queue.find(other.commands[0].uuid).attempt == 2  # type: ignore[union-attr]
    assert await finish(runner, task) == 0
    await v1.channel.close(None)


async def test_tasks_may_write_to_one_stream_at_once(connector: Connector) -> None:
    """gRPC ends a stream with INTERNAL when two writes meet: a beat and outcomes did, under load."""
    connection = Connection([connector.address])
    stream = connection.stream(WORK)
    register = w.Register(worker="w", commands=["A"])
    await stream.write(w.WorkRequest(register=register).SerializeToString())
    frames = [w.WorkRequest(beat=number).SerializeToString() for number in range(1, 200)]
    await asyncio.gather(*(stream.write(frame) for frame in frames))
    await stream.done_writing()
    last = 0
    while (raw := await stream.read()) is not None:
        last = w.WorkReply.FromString(raw).beat or last
    assert last == 199
    await connection.close()
