"""Workers made with the SDK, against a service that has only the Gandalf API, over unix sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import Reason
from zconnector.rpc.gandalf import ServiceSettings
from zconnector.rpc.server import WorkerServer
from zconnector.worker import Context, Fail, RegistrationRefused, Worker
from zconnector.worker.lifecycle import State
from zconnector.worker.runner import Runner

BEAT = 0.05


class Connector:
    """A connector that can be killed and started again on the same socket."""

    def __init__(self, path: Path) -> None:
        self.door = ScriptedDoor()
        self.path = path
        self._boots = 0
        self._server: WorkerServer | None = None

    @property
    def address(self) -> str:
        return f"unix:{self.path}"

    async def start(self) -> None:
        self._boots += 1
        self._server = WorkerServer(self.door, f"boot-{self._boots}", ServiceSettings(hold=0.1, v1=False))
        await self._server.start(self.address)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None


@pytest.fixture
async def connector(tmp_path: Path) -> AsyncIterator[Connector]:
    made = Connector(tmp_path / "grpc" / "w.sock")
    await made.start()
    yield made
    await made.stop()


def start(worker: Worker, connector: Connector) -> tuple[Runner, asyncio.Task[int]]:
    runner = worker.runner("git-worker", [connector.address], beat=BEAT)
    return runner, asyncio.ensure_future(runner.run())


async def finish(runner: Runner, task: asyncio.Task[int]) -> int:
    runner.stop()
    return await asyncio.wait_for(task, 10)


def answers(door: ScriptedDoor) -> list[tuple[str, str, str, str]]:
    """Every answer of a worker: topic, event, reference, payload."""
    return [
        (args["topic"], args["event"], args["reference"], payload.decode())
        for op, args, payload in door.calls
        if op == "send_event" and args["reference"]
    ]


async def test_commands_are_handled_and_answered(connector: Connector) -> None:
    worker = Worker(major=1, minor=2)
    threads: list[str] = []

    @worker.command("ASYNC")
    async def asynchronous(ctx: Context, payload: str) -> dict[str, Any]:
        return {"got": ctx.json(), "source": ctx.source, "uuid": ctx.uuid}

    @worker.command("PLAIN")
    def plain(ctx: Context, payload: str) -> str:
        threads.append(threading.current_thread().name)
        return payload.upper()

    @worker.command("NOTHING")
    def nothing(ctx: Context, payload: str) -> None:
        """Answers without a payload."""

    @worker.command("RAISES")
    async def raises(ctx: Context, payload: str) -> None:
        raise ValueError("no \ud800 such thing")

    @worker.command("FAILS")
    def fails(ctx: Context, payload: str) -> None:
        raise Fail({"code": 7})

    @worker.command("NO_JSON")
    def no_json(ctx: Context, payload: str) -> object:
        return object()

    runner, task = start(worker, connector)
    door = connector.door
    for name in ("ASYNC", "PLAIN", "NOTHING", "RAISES", "FAILS", "NO_JSON"):
        await door.command(name, b'{"a": 1}', uuid=f"u-{name}", source="ci")
    await door.until(lambda: len(answers(door)) == 6)
    found = {topic: (event, reference, payload) for topic, event, reference, payload in answers(door)}
    assert found["ASYNC"] == ("SUCCES", "u-ASYNC", '{"got":{"a":1},"source":"ci","uuid":"u-ASYNC"}')
    assert found["PLAIN"] == ("SUCCES", "u-PLAIN", '{"A": 1}')
    assert found["NOTHING"] == ("SUCCES", "u-NOTHING", "")
    assert found["RAISES"] == ("FAIL", "u-RAISES", "ValueError: no ? such thing")
    assert found["FAILS"] == ("FAIL", "u-FAILS", '{"code":7}')
    assert found["NO_JSON"][0] == "FAIL"
    assert threads == ["handler_0"] or threads[0].startswith("handler")
    assert await finish(runner, task) == 0
    identity = door.asked("register")[0]["worker"]
    assert identity == runner.worker
    assert {args["worker"] for args in door.asked("wait_command")} == {identity}
    assert door.asked("register")[0]["commands"] == sorted(found)


async def test_a_slow_plain_handler_does_not_stop_the_beats(connector: Connector) -> None:
    worker = Worker(major=1)
    release = threading.Event()

    @worker.command("SLOW")
    def slow(ctx: Context, payload: str) -> None:
        release.wait(10)

    runner, task = start(worker, connector)
    await connector.door.command("SLOW")
    await connector.door.until(lambda: not connector.door.commands)
    before = len(connector.door.asked("beat"))
    await connector.door.until(lambda: len(connector.door.asked("beat")) >= before + 3)
    release.set()
    await connector.door.until(lambda: len(answers(connector.door)) == 1)
    assert await finish(runner, task) == 0


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_no_more_than_the_concurrency_run_at_once(connector: Connector, concurrency: int) -> None:
    worker = Worker(major=1, concurrency=concurrency)
    running = 0
    most = 0
    enough = asyncio.Event()

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == concurrency:
            enough.set()
        await enough.wait()
        running -= 1

    runner, task = start(worker, connector)
    for _ in range(9):
        await connector.door.command("A")
    await connector.door.until(lambda: len(answers(connector.door)) == 9)
    assert most == concurrency
    assert len({args["iterator"] for args in connector.door.asked("wait_command")}) == concurrency
    assert await finish(runner, task) == 0


async def test_a_uuid_of_any_characters_stops_no_worker(connector: Connector) -> None:
    """What a reader has seen goes back in metadata, which is ASCII."""
    worker = Worker(major=1)

    @worker.command("CREATE")
    async def create(ctx: Context, payload: str) -> str:
        return payload

    runner, task = start(worker, connector)
    door = connector.door
    uuids = ["clé-1", "a\nb", " spaces ", "plain"]
    for uuid in uuids:
        await door.command("CREATE", b"x", uuid=uuid)
    await door.until(lambda: len(answers(door)) == len(uuids))
    assert {reference for _, _, reference, _ in answers(door)} == set(uuids)
    seen = {args["seen"] for args in door.asked("wait_command")}
    assert seen <= {"", *uuids}
    assert len(seen) > 1
    assert await finish(runner, task) == 0


async def test_events_are_handled_and_answered(connector: Connector) -> None:
    worker = Worker(major=1)
    seen: list[tuple[str, str, str]] = []

    @worker.event("git", "PUSH")
    async def on_push(ctx: Context, payload: str) -> None:
        seen.append((ctx.topic, ctx.name, payload))

    @worker.event("ci")
    def on_any(ctx: Context, payload: str) -> None:
        seen.append((ctx.topic, ctx.name, payload))

    runner, task = start(worker, connector)
    await connector.door.event("git", "PUSH", b"1", uuid="e-1")
    await connector.door.event("git", "OTHER", b"2")
    await connector.door.event("ci", "DONE", b"3", uuid="e-3")
    await connector.door.until(lambda: len(answers(connector.door)) == 2)
    assert sorted(seen) == [("ci", "DONE", "3"), ("git", "PUSH", "1")]
    assert sorted(answers(connector.door)) == [("DONE", "SUCCES", "e-3", ""), ("PUSH", "SUCCES", "e-1", "")]
    waits = connector.door.asked("wait_event")
    assert {args["worker"] for args in waits} == {"git-worker"}  # its name: positions outlive the process
    assert await finish(runner, task) == 0


async def test_a_handler_sends_on_its_own(connector: Connector) -> None:
    worker = Worker(major=1)

    @worker.command("A")
    def handle(ctx: Context, payload: str) -> str:
        ctx.wait(ctx.progress("HALF", "50"))
        ctx.wait(ctx.client.send_event("git", "PUSHED", {"n": 1}))
        return ctx.wait(ctx.client.send_command("Ci", "BUILD", uuid="u-sub")).uuid

    runner, task = start(worker, connector)
    await connector.door.command("A", uuid="u-1")
    await connector.door.until(lambda: ("A", "SUCCES", "u-1", "u-sub") in answers(connector.door))
    assert ("A", "HALF", "u-1", "50") in answers(connector.door)
    assert connector.door.asked("send_command")[0]["command"] == "BUILD"
    assert await finish(runner, task) == 0


async def test_a_drain_finishes_what_runs_and_takes_nothing_more(connector: Connector) -> None:
    worker = Worker(major=1)
    began, go_on = asyncio.Event(), asyncio.Event()

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> str:
        began.set()
        await go_on.wait()
        return "done"

    @worker.command("B")
    async def other(ctx: Context, payload: str) -> None:
        raise AssertionError("the drain takes nothing more")

    runner, task = start(worker, connector)
    door = connector.door
    await door.command("A", uuid="u-1")
    await door.until(lambda: not door.commands and door.waiting == 1)
    await asyncio.wait_for(began.wait(), 10)  # else the drain may cancel the wait that brings it
    runner.stop()
    await door.until(lambda: door.cancelled == 1)
    await door.command("B")
    beats = len(door.asked("beat"))
    await door.until(lambda: len(door.asked("beat")) > beats)  # its lease must not end while it works
    assert runner.state is State.DRAINING
    assert not task.done()
    go_on.set()
    assert await asyncio.wait_for(task, 10) == 0
    assert answers(door) == [("A", "SUCCES", "u-1", "done")]
    assert len(door.commands) == 1


async def test_beat_false_of_the_same_router_drains(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    _, task = start(worker, connector)
    await connector.door.until(lambda: connector.door.waiting == 1)
    connector.door.draining = True
    assert await asyncio.wait_for(task, 10) == 0
    assert len(connector.door.asked("register")) == 1


async def test_a_restarted_router_is_told_anew_and_nobody_stays_deaf(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: payload)
    worker.event("git")(lambda ctx, payload: None)
    runner, task = start(worker, connector)
    door = connector.door
    await door.until(lambda: door.waiting == 2)
    await connector.stop()
    door.forget()
    await connector.start()
    await door.until(lambda: len(door.asked("register")) == 2)
    await door.command("A", b"again", uuid="u-2")
    await door.event("git", "PUSH", uuid="e-2")
    await door.until(lambda: len(answers(door)) == 2)
    assert sorted(answers(door)) == [("A", "SUCCES", "u-2", "again"), ("PUSH", "SUCCES", "e-2", "")]
    first, second = door.asked("register")
    assert first == second  # the same worker
    assert await finish(runner, task) == 0


async def test_a_reply_is_sent_until_it_is_taken(connector: Connector) -> None:
    worker = Worker(major=1)
    go_on = asyncio.Event()

    @worker.command("A")
    async def handle(ctx: Context, payload: str) -> str:
        await go_on.wait()
        return "done"

    runner, task = start(worker, connector)
    door = connector.door
    await door.command("A", uuid="u-1")
    await door.until(lambda: not door.commands and "wait_command" in [op for op, _, _ in door.calls])
    await connector.stop()
    go_on.set()  # the answer is ready while nobody is there to take it
    door.refuse("send_event", Reason.STORAGE_FAILED, times=2)
    await connector.start()
    await door.until(lambda: len(door.events) == 1)
    sent = door.asked("send_event")
    assert len(sent) == 3
    assert len({args["uuid"] for args in sent}) == 1
    assert await finish(runner, task) == 0


async def test_a_result_that_is_refused_for_good_becomes_a_fail(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: "x")
    connector.door.refuse("send_event", Reason.TOO_LARGE, "too much")
    runner, task = start(worker, connector)
    await connector.door.command("A", uuid="u-1")
    await connector.door.until(lambda: len(connector.door.events) == 1)
    assert answers(connector.door)[-1] == ("A", "FAIL", "u-1", "the result could not be sent: too much")
    assert await finish(runner, task) == 0


async def test_a_refused_registration_ends_the_worker_with_the_names(connector: Connector) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    connector.door.missing = ["B", "C"]
    _, task = start(worker, connector)
    with pytest.raises(RegistrationRefused, match="commands without a handler here: B, C") as caught:
        await asyncio.wait_for(task, 10)
    assert caught.value.exit_code == 78


async def test_a_worker_waits_for_a_connector_that_comes_later(tmp_path: Path) -> None:
    connector = Connector(tmp_path / "grpc" / "w.sock")
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    runner, task = start(worker, connector)
    await connector.start()
    await connector.door.until(lambda: connector.door.waiting == 1)
    assert await finish(runner, task) == 0
    await connector.stop()


async def test_a_worker_that_never_found_its_connector_leaves_on_the_signal(tmp_path: Path) -> None:
    worker = Worker(major=1)
    worker.command("A")(lambda ctx, payload: None)
    runner, task = start(worker, Connector(tmp_path / "grpc" / "w.sock"))
    assert await finish(runner, task) == 0
