"""The Work stream over real unix sockets, against the scripted door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.support.scripted_door import ScriptedDoor
from tests.support.v1 import EOF, V1, WorkClient, outcome
from zconnector.errors import Reason
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import status

O = t.Outcome  # noqa: E741


@pytest.fixture
async def door() -> ScriptedDoor:
    return ScriptedDoor()


@pytest.fixture
async def server(door: ScriptedDoor, tmp_path: Path) -> AsyncIterator[WorkerServer]:
    made = WorkerServer(door, "boot-1", ServiceSettings(heartbeat=60.0, silence=120.0))
    await made.start(f"unix:{tmp_path / 'grpc' / 'w.sock'}")
    yield made
    await made.stop(0.5)


@pytest.fixture
async def v1(server: WorkerServer) -> AsyncIterator[V1]:
    made = V1(server.address)
    yield made
    await made.channel.close(None)


async def failed(awaitable: Any) -> tuple[grpc.StatusCode, Any]:
    """How a call ended: its status, and its ErrorInfo."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code(), status.info_of(caught.value.trailing_metadata())


async def test_a_command_is_handed_out_and_acknowledged(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    registered = await work.register("A", concurrency=2)
    assert registered.boot == "boot-1"
    assert registered.heartbeat_ms == 60_000
    await door.command("A", b"\xffbytes", uuid="u-1", source="git", priority=7, timeout=5, worker="me")
    await work.until(lambda: len(work.commands) == 1)
    command = work.commands[0]
    assert (command.uuid, command.payload, command.attempt) == ("u-1", b"\xffbytes", 1)
    assert (command.source, command.priority, command.sender, command.timeout_ms) == ("git", 7, "me", 5)
    assert command.token
    await work.outcome(command, O.ACK, payload=b"\x00result")
    await work.until(lambda: len(work.settled) == 1)
    assert (work.settled[0].uuid, work.settled[0].kind) == ("u-1", O.ACK)
    assert not work.settled[0].HasField("refusal")
    assert door.queue.replies["u-1"][1] == b"\x00result"
    await work.end()


async def test_never_more_than_the_credits_are_in_flight(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    for number in range(20):
        await door.command("A", uuid=f"u-{number}")
    await work.register("A", concurrency=3)
    done = 0
    while done < 20:
        while len(work.commands) == done:
            await work.read()
        assert len(door.queue.leased()) <= 3
        assert len(work.commands) - done <= 3
        await work.outcome(work.commands[done], O.ACK)
        done += 1
    await work.until(lambda: len(work.settled) == 20)
    assert max(args["limit"] for args in door.asked("take")) == 3
    await work.end()


async def test_a_burst_is_one_batch_and_a_lone_message_goes_at_once(door: ScriptedDoor, v1: V1) -> None:
    for number in range(50):
        await door.command("A", str(number).encode())
    work = WorkClient(v1)
    await work.register("A", concurrency=64)
    await work.until(lambda: len(work.commands) == 50)
    assert len(work.frames) <= 2  # the registration, and all of them
    assert [command.payload for command in work.commands] == [str(n).encode() for n in range(50)]
    await work.send(outcomes=[outcome(command, O.ACK) for command in work.commands])
    await work.until(lambda: len(work.settled) == 50)
    assert len(door.asked("settle")) == 1
    await door.command("A", b"alone")
    await work.until(lambda: len(work.commands) == 51)
    await work.end()


async def test_fail_nak_and_progress(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A", concurrency=4)
    for uuid in ("u-fail", "u-nak", "u-now", "u-progress"):
        await door.command("A", uuid=uuid)
    await work.until(lambda: len(work.commands) == 4)
    fail, nak, now, progress = work.commands
    await work.send(
        outcomes=[
            outcome(fail, O.FAIL, payload=b"why", error="broken"),
            outcome(nak, O.NAK, delay_ms=5_000, error="later"),
            outcome(now, O.NAK, delay_ms=0),
            outcome(progress, O.PROGRESS, event="HALF", payload=b"50", extend_ms=9_000),
        ]
    )
    await work.until(lambda: len(work.settled) == 4 and len(work.commands) == 5)
    asked = [each for args in door.asked("settle") for each in args["outcomes"]]
    assert [each["outcome"] for each in asked] == ["fail", "nak", "nak", "progress"]
    assert (asked[0]["error"], asked[1]["delay"], asked[2]["delay"], asked[3]["extend"]) == (
        "broken",
        5_000,
        0,
        9_000,
    )
    assert door.queue.find("u-fail").state == "DEAD"  # type: ignore[union-attr]
    assert door.queue.find("u-nak").state == "DELAYED"  # type: ignore[union-attr]
    assert (work.commands[4].uuid, work.commands[4].attempt) == ("u-now", 2)
    assert door.queue.progress == [("u-progress", "HALF", b"50")]
    assert door.queue.find("u-progress").state == "LEASED"  # type: ignore[union-attr]
    await work.end()


async def test_a_late_outcome_is_fenced_and_names_the_state(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A")
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    command = work.commands[0]
    await work.send(outcomes=[outcome(command, O.ACK), outcome(command, O.ACK)])
    await work.until(lambda: len(work.settled) == 2)
    assert [each.refusal.reason for each in work.settled] == ["", "FENCED"]
    assert work.settled[1].refusal.detail == "DONE"
    await work.end()


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"kind": 0}, "kind must be"),
        ({"kind": O.PROGRESS, "event": "SUCCES"}, "use ACK or FAIL"),
        ({"kind": O.NAK, "delay_ms": 10**12}, "delay_ms must be from 0"),
        ({"kind": O.ACK, "token": "x" * 500}, "token is longer"),
    ],
)
async def test_a_bad_outcome_is_refused_and_the_stream_lives(
    door: ScriptedDoor, v1: V1, fields: dict[str, Any], rule: str
) -> None:
    work = WorkClient(v1)
    await work.register("A")
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    await work.send(outcomes=[t.Outcome(**{"uuid": "u-1", "token": work.commands[0].token, **fields})])
    await work.until(lambda: len(work.settled) == 1)
    assert work.settled[0].refusal.reason == "BAD_ARGUMENT"
    assert rule in work.settled[0].refusal.detail
    await work.outcome(work.commands[0], O.ACK)  # it still holds its lease
    await work.until(lambda: len(work.settled) == 2)
    assert not work.settled[1].HasField("refusal")
    await work.end()


@pytest.mark.parametrize("how", ["cancel", "half-close", "vanish"])
async def test_leases_of_a_stream_that_ended_are_given_back(door: ScriptedDoor, v1: V1, how: str) -> None:
    work = WorkClient(v1)
    await work.register("A", concurrency=2)
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    if how == "cancel":
        work.call.cancel()
    elif how == "vanish":
        await v1.channel.close(None)
    else:
        await work.end()
    await door.until(lambda: not door.queue.leased() and not door.asking)
    assert door.queue.find("u-1").state == "READY"  # type: ignore[union-attr]
    assert door.queue.holders == set()


async def test_a_drain_of_the_worker_settles_what_runs(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A", concurrency=5)
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    await work.send(drain=True)
    await door.until(lambda: door.waiting == 1)  # the tidings only
    await door.command("A", uuid="u-2")
    await work.outcome(work.commands[0], O.ACK)
    await work.end()
    assert [each.uuid for each in work.settled] == ["u-1"]
    assert len(work.commands) == 1
    assert door.queue.find("u-2").state == "READY"  # type: ignore[union-attr]


async def test_the_router_tells_of_a_cancelled_command_and_of_a_drain(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A", concurrency=2)
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    door.queue.cancel("u-1", "CANCELLED")
    await door.wake()
    await work.until(lambda: len(work.cancelled) == 1)
    assert (work.cancelled[0].uuid, work.cancelled[0].reason) == ("u-1", "CANCELLED")
    assert work.cancelled[0].token == work.commands[0].token
    door.queue.draining = True
    await door.wake()
    await work.until(lambda: work.drained)
    await door.command("A", uuid="u-2")
    await work.outcome(work.commands[0], O.ACK)
    await work.until(lambda: len(work.settled) == 1)
    assert work.settled[0].refusal.reason == "FENCED"
    assert len(work.commands) == 1
    await work.end()


async def test_pools_have_credits_of_their_own_and_can_be_set_anew(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A", pools=[w.Pool(commands=["B", "C"], credits=2)], concurrency=1)
    for name in ("A", "A", "B", "C", "B"):
        await door.command(name)
    await work.until(lambda: len(work.commands) == 3)
    assert sorted(command.command for command in work.commands) == ["A", "B", "C"]
    await work.send(credits=[w.Credits(pool=1, credits=3)])
    await work.until(lambda: len(work.commands) == 4)
    assert work.commands[3].command == "B"
    await work.send(credits=[w.Credits(pool=0, credits=0)])
    await work.outcome(next(c for c in work.commands if c.command == "A"), O.ACK)
    await work.until(lambda: len(work.settled) == 1)
    await work.send(beat=7)
    await work.until(lambda: work.beats == [7])
    assert len(work.commands) == 4  # the second A stays
    await work.end()


async def test_what_a_worker_holds_is_adopted(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A")
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    command = work.commands[0]
    door.answers["tidings"] = lambda args: {}  # the router is about to die: nobody is told of the end
    del door.answers["tidings"]
    holding = [
        w.Holding(uuid="u-1", token=command.token, command="A"),
        w.Holding(uuid="u-0", token="old", command="A"),
    ]
    again = WorkClient(v1)
    registered = await again.register("A", holding=holding)
    assert list(registered.adopted) == ["u-1"]
    await door.command("A", uuid="u-2")
    work.call.cancel()  # its holder has nothing any more
    await door.until(lambda: len(door.queue.holders) == 1)
    assert door.queue.find("u-1").state == "LEASED"  # type: ignore[union-attr]
    assert again.commands == []  # what it adopted has its only credit
    await again.outcome(command, O.ACK)
    await again.until(lambda: len(again.settled) == 1 and len(again.commands) == 1)
    assert not again.settled[0].HasField("refusal")
    await again.end()


async def test_when_the_router_ends_leases_stay_and_are_adopted_by_the_next(
    door: ScriptedDoor, server: WorkerServer, tmp_path: Path
) -> None:
    first = V1(server.address)
    work = WorkClient(first)
    await work.register("A")
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    await server.stop(0.5)
    # It only reads: a client that writes to a closed socket may not get to see what was said last.
    code, info = await failed(work.until(lambda: False))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert info.reason == "SHUTTING_DOWN"
    assert door.queue.find("u-1").state == "LEASED"  # type: ignore[union-attr]
    assert door.asked("give_back") == []
    await first.channel.close(None)
    door.queue.restarted()
    second = WorkerServer(door, "boot-2", ServiceSettings())
    v1 = V1(await second.start(f"unix:{tmp_path / 'grpc' / 'w.sock'}"))
    again = WorkClient(v1)
    holding = [w.Holding(uuid="u-1", token=work.commands[0].token, command="A")]
    assert list((await again.register("A", holding=holding)).adopted) == ["u-1"]
    await again.outcome(work.commands[0], O.ACK)
    await again.until(lambda: len(again.settled) == 1)
    assert door.queue.find("u-1").state == "DONE"  # type: ignore[union-attr]
    await again.end()
    await v1.channel.close(None)
    await second.stop(0.5)


async def test_events_of_a_subscription_come_on_the_same_stream(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    wish = t.Subscription(name="builds", topics=[t.Topic(topic="git", event="PUSH")], credits=2)
    registered = await work.register(subscriptions=[wish])
    assert [(each.subscription, each.created) for each in registered.subscriptions] == [("builds", True)]
    for number in range(4):
        await door.event("git", "PUSH", str(number).encode(), source="ci")
    await door.event("git", "OTHER")
    await work.until(lambda: len(work.events) == 2)
    first, second = work.events
    assert (first.payload, first.attempt, first.source) == (b"0", 1, "ci")
    acks = [
        t.EventAck(subscription="builds", id=first.id, ok=True),
        t.EventAck(subscription="builds", id=second.id, ok=False),
    ]
    await work.send(acks=acks)
    await work.until(lambda: len(work.acked) == 2 and len(work.events) == 4)
    assert [(event.payload, event.attempt) for event in work.events[2:]] == [(b"1", 2), (b"2", 1)]
    door.queue.subscriptions["builds"].missed = 9
    await work.send(acks=[t.EventAck(subscription="builds", id=e.id, ok=True) for e in work.events[2:]])
    await work.until(lambda: len(work.events) == 5)
    assert [(each.subscription, each.events) for each in work.missed] == [("builds", 9)]
    await work.end()


async def test_a_silent_worker_is_let_go(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings(heartbeat=0.05, silence=0.2))
    v1 = V1(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    work = WorkClient(v1)
    await work.register("A")
    code, info = await failed(work.until(lambda: False))
    assert (code, info.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "TIMED_OUT")
    assert len(work.frames) > 1  # the router beat meanwhile
    await v1.channel.close(None)
    await server.stop(0.5)


@pytest.mark.parametrize(
    ("first", "rule"),
    [
        (w.WorkRequest(beat=1), "must have `register`"),
        (w.WorkRequest(register=w.Register(commands=["A"])), "worker must not be empty"),
        (w.WorkRequest(register=w.Register(worker="w")), "at least one command"),
        (w.WorkRequest(register=w.Register(worker="w", major=200, commands=["A"])), "from -128 to 127"),
        (w.WorkRequest(register=w.Register(worker="w", commands=["A", "A"])), "A is in two pools"),
        (w.WorkRequest(register=w.Register(worker="w", commands=["A"], lease_ms=5)), "lease_ms must be from"),
        (w.WorkRequest(register=w.Register(worker="w", commands=["A"], concurrency=10**6)), "limit 10000"),
    ],
)
async def test_a_bad_first_frame_ends_the_stream_with_words(v1: V1, first: Any, rule: str) -> None:
    call = v1.worker.Work(timeout=10)
    await call.write(first)
    code, info = await failed(_to_the_end(call))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert info.reason == "BAD_ARGUMENT"
    assert rule in await call.details()


async def _to_the_end(call: Any) -> None:
    while await call.read() is not EOF:
        pass


async def test_a_refused_registration_names_what_is_missing(door: ScriptedDoor, v1: V1) -> None:
    door.missing = ["B", "Größe"]
    work = WorkClient(v1)
    code, info = await failed(work.register("A"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert info.metadata["missing"] == '["B","Größe"]'


async def test_too_many_streams_are_refused_with_the_limit(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings(max_streams=1))
    v1 = V1(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    first = WorkClient(v1)
    await first.register("A")
    code, info = await failed(WorkClient(v1).register("A"))
    assert (code, info.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "BUSY")
    assert info.metadata["limit"] == "1"
    await first.end()
    await WorkClient(v1).register("A")  # there is room again
    await v1.channel.close(None)
    await server.stop(0.5)


async def test_a_refusal_of_the_queue_ends_the_stream_with_its_reason(door: ScriptedDoor, v1: V1) -> None:
    door.refuse("take", Reason.STORAGE_FAILED, "the disk is full")
    work = WorkClient(v1)
    await work.register("A")
    code, info = await failed(work.read())
    assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED")
    await door.until(lambda: not door.asking)


async def test_a_client_that_reads_nothing_holds_nothing_up(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings(heartbeat=0.05, silence=0.3))
    v1 = V1(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    work = WorkClient(v1)
    await work.register("A", concurrency=1_000)
    for _ in range(40):
        await door.command("A", b"x" * 1_000_000)
    await door.until(lambda: not door.queue.holders and not door.asking)
    assert door.queue.leased() == []
    taken = [work.attempt for work in door.queue.works]
    assert 0 < sum(taken) < 20  # what it did not take was left in the queue
    assert server.v1 is not None
    assert len(server.v1) == 0
    await v1.channel.close(None)
    await server.stop(0.5)


async def test_a_router_that_drains_still_takes_outcomes(door: ScriptedDoor, v1: V1) -> None:
    work = WorkClient(v1)
    await work.register("A")
    await door.command("A", uuid="u-1")
    await work.until(lambda: len(work.commands) == 1)
    door.refuse("take", Reason.DRAINING)
    door.queue.draining = True
    await door.wake()
    await work.until(lambda: work.drained)
    assert not work.frames[-1].drain.leave
    await work.outcome(work.commands[0], O.ACK)
    await work.until(lambda: len(work.settled) == 1)
    assert not work.settled[0].HasField("refusal")
    await work.end()


async def test_large_commands_come_in_frames_that_any_client_takes(door: ScriptedDoor, v1: V1) -> None:
    for _ in range(3):
        await door.command("A", b"x" * 1_900_000)
    await door.command("A", b"y" * 3_990_000)
    work = WorkClient(v1)
    await work.register("A", concurrency=10)
    await work.until(lambda: len(work.commands) == 4)
    assert max(frame.ByteSize() for frame in work.frames) < 4 * 1024 * 1024
    await work.end()
