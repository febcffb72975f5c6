"""Poll, Complete, Send, Submit, Await, Publish and Subscribe over real unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from tests.support.scripted_door import ScriptedDoor
from tests.support.v1 import EOF, SECONDS, V1, outcome
from zconnector.errors import Reason
from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as c
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as e
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1 import status
from zconnector.rpc.v1.service import SERVICES

SETTINGS = ServiceSettings(heartbeat=60.0, silence=120.0, default_timeout_ms=7_000)


@pytest.fixture
async def door() -> ScriptedDoor:
    return ScriptedDoor()


@pytest.fixture
async def server(door: ScriptedDoor, tmp_path: Path) -> AsyncIterator[WorkerServer]:
    made = WorkerServer(door, "boot-1", SETTINGS)
    await made.start(f"unix:{tmp_path / 'grpc' / 'w.sock'}")
    yield made
    await made.stop(0.5)


@pytest.fixture
async def v1(server: WorkerServer) -> AsyncIterator[V1]:
    made = V1(server.address)
    yield made
    await made.channel.close(None)


async def failed(awaitable: Any) -> tuple[grpc.aio.AioRpcError, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value, status.info_of(caught.value.trailing_metadata())


def poll(*commands: str, **fields: Any) -> Any:
    return w.PollRequest(worker="w-1", major=1, commands=commands, **fields)


# ---- Poll and Complete


async def test_poll_and_complete(door: ScriptedDoor, v1: V1) -> None:
    waiting = asyncio.ensure_future(v1.worker.Poll(poll("A", limit=5, lease_ms=9_000), timeout=SECONDS))
    await door.until(lambda: door.waiting == 1)
    await door.command("A", b"\xff", uuid="u-1")
    found = list((await waiting).commands)
    assert [(each.uuid, each.payload, each.lease_ms) for each in found] == [("u-1", b"\xff", 9_000)]
    outcomes = [
        outcome(found[0], t.Outcome.ACK, payload=b"done"),
        outcome(found[0], t.Outcome.ACK),
        t.Outcome(uuid="x"),
    ]
    settled = (await v1.worker.Complete(w.CompleteRequest(outcomes=outcomes))).settled
    assert [each.refusal.reason for each in settled] == ["", "FENCED", "BAD_ARGUMENT"]
    assert door.queue.replies["u-1"][1] == b"done"
    assert door.asked("take")[0]["holder"] == ""


async def test_a_poll_that_waited_long_enough_is_empty(door: ScriptedDoor, v1: V1) -> None:
    assert not (await v1.worker.Poll(poll("A", wait_ms=0), timeout=SECONDS)).commands
    assert door.asked("take")[0]["wait_ms"] == -1


async def test_a_poll_that_was_given_up_takes_nothing(door: ScriptedDoor, v1: V1) -> None:
    error, _ = await failed(v1.worker.Poll(poll("A"), timeout=0.2))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await door.until(lambda: door.waiting == 0 and door.cancelled == 1)
    await door.command("A", uuid="u-1")
    assert door.queue.leased() == []


async def test_an_answer_that_nobody_used_is_given_back(door: ScriptedDoor, v1: V1) -> None:
    """The client goes while its answer is on the way: the router sees the call cancelled."""
    gate = asyncio.Event()
    await door.command("A", uuid="u-1")
    original = door.call

    async def slow(op: str, args: Any, payload: bytes = b"") -> Any:
        answer = await original(op, args, payload)
        if op == "take":
            gate.set()
            while True:  # until the call is cancelled; then the answer was on its way
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    return answer
        return answer

    door.call = slow  # type: ignore[method-assign]
    call = v1.worker.Poll(poll("A"), timeout=SECONDS)
    waiting = asyncio.ensure_future(call.code())
    await gate.wait()
    call.cancel()
    await waiting
    await door.until(lambda: bool(door.asked("give_back")) and not door.asking)
    work = door.queue.find("u-1")
    assert work is not None
    assert (work.state, work.attempt) == ("READY", 0)  # it cost no attempt


@pytest.mark.parametrize(
    ("request_", "rule"),
    [
        (poll(), "at least one command"),
        (poll("A", limit=65), "limit must be from 1 to 64"),
        (w.PollRequest(commands=["A"]), "worker must not be empty"),
        (poll("A" * 300), "command is longer than 256 bytes"),
    ],
)
async def test_a_bad_poll_is_refused_with_words(v1: V1, request_: Any, rule: str) -> None:
    error, info = await failed(v1.worker.Poll(request_))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert rule in (error.details() or "")
    assert (info.reason, info.domain) == ("BAD_ARGUMENT", "zconnector")


async def test_errors_are_what_grpcio_status_reads(v1: V1) -> None:
    call = v1.worker.Complete(w.CompleteRequest())
    error, _ = await failed(call)
    read = rpc_status.from_call(_Failed(error))  # type: ignore[arg-type]
    assert read is not None
    assert read.code == 3
    assert "outcomes must be from 1 to 1000" in read.message
    _, info = await failed(v1.worker.Complete(w.CompleteRequest(outcomes=[t.Outcome()] * 1001)))
    assert info.metadata["limit"] == "1000"


class _Failed:
    """A failed call as the synchronous API shows one."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self._error = error

    def trailing_metadata(self) -> Any:
        return list(self._error.trailing_metadata())

    def code(self) -> grpc.StatusCode:
        return self._error.code()

    def details(self) -> str | None:
        return self._error.details()


# ---- Send, Submit, Await


def command(uuid: str = "u-1", **fields: Any) -> Any:
    return t.Submission(**{"uuid": uuid, "type": "Git", "command": "A", **fields})


async def test_a_command_with_all_its_wishes(door: ScriptedDoor, v1: V1) -> None:
    sent = command(
        payload=b"\xff",
        major=1,
        admin=True,
        context="ctx",
        command_type="ct",
        sender_token="tok",
        sender="me",
        target="self",
        ttl_ms=1_000,
        delay_ms=2_000,
        priority=9,
        order_key="k",
        lease_ms=3_000,
        retry=t.RetryPolicy(attempts=3, first_ms=100, factor=1.5, limit_ms=900),
    )
    answer = await v1.commands.Send(sent)
    assert answer.receipt.outcome == t.Receipt.ACCEPTED
    assert not answer.HasField("reply")
    asked = dict(door.asked("send_command")[0])
    assert asked.pop("began") <= asyncio.get_running_loop().time() * 1000
    assert asked == {
        "uuid": "u-1",
        "type": "Git",
        "command": "A",
        "timeout": 7_000,
        "major": 1,
        "admin": True,
        "context": "ctx",
        "command_type": "ct",
        "token": "tok",
        "worker": "me",
        "target": "self",
        "ttl": 1_000,
        "delay": 2_000,
        "priority": 9,
        "order_key": "k",
        "lease": 3_000,
        "retry": {"attempts": 3, "first": 100, "factor": 1.5, "limit": 900},
    }
    assert door.calls[0][2] == b"\xff"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"priority": 10}, "priority must be from 0 to 9"),
        ({"ttl_ms": 10**12}, "ttl_ms must be from 0"),
        ({"lease_ms": 1}, "lease_ms must be from 1000"),
        ({"target": "ci"}, "target must be empty or self"),
        ({"command": ""}, "command must not be empty"),
        ({"order_key": "x" * 257}, "order_key is longer"),
        ({"major": 128}, "from -128 to 127"),
        ({"type": "no such name"}, "type may hold only"),
        ({"retry": t.RetryPolicy(factor=11)}, "retry.factor must be from 1 to 10"),
    ],
)
async def test_a_bad_command_is_rejected_by_its_receipt(
    door: ScriptedDoor, v1: V1, fields: dict[str, Any], rule: str
) -> None:
    answer = await v1.commands.Send(command(**fields))
    assert answer.receipt.outcome == t.Receipt.REJECTED
    assert answer.receipt.refusal.reason == "BAD_ARGUMENT"
    assert rule in answer.receipt.refusal.detail
    assert door.calls == []


async def test_a_command_that_is_too_large_is_refused_with_the_limit(v1: V1) -> None:
    error, info = await failed(v1.commands.Send(command(payload=b"x" * 4_000_001)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (info.reason, info.metadata["limit"]) == ("TOO_LARGE", "4000000")
    receipt = (await v1.commands.Send(command(payload=b"x" * 3_999_900))).receipt
    assert receipt.refusal.reason == "TOO_LARGE"
    assert 3_990_000 < receipt.refusal.limit < 4_000_000


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (Reason.NO_SUCH_TYPE, t.Receipt.REJECTED),
        (Reason.QUEUE_FULL, t.Receipt.REJECTED),
        (Reason.NOT_SENT, t.Receipt.NOT_SENT),
        (Reason.DRAINING, t.Receipt.NOT_SENT),
        (Reason.SHUTTING_DOWN, t.Receipt.UNKNOWN),
    ],
)
async def test_what_is_not_accepted_has_a_receipt_that_says_so(
    door: ScriptedDoor, v1: V1, reason: Reason, told: Any
) -> None:
    door.refuse("send_command", reason, "queue of 5, limit 5")
    receipt = (await v1.commands.Send(command())).receipt
    assert (receipt.outcome, receipt.refusal.reason, receipt.refusal.limit) == (told, str(reason), 5)


async def test_an_unknown_outcome(door: ScriptedDoor, v1: V1) -> None:
    door.answers["send_command"] = lambda args: {"uuid": args["uuid"], "outcome": "UNKNOWN"}
    assert (await v1.commands.Send(command())).receipt.outcome == t.Receipt.UNKNOWN


async def test_send_with_its_reply(door: ScriptedDoor, v1: V1) -> None:
    waiting = asyncio.ensure_future(v1.commands.Send(command(reply=True, reply_timeout_ms=5_000)))
    await door.until(lambda: bool(door.asked("await_reply")))
    assert door.asked("await_reply") == [{"uuid": "u-1", "timeout": 5_000}]
    door.queue.replies["u-1"] = ({"event": "FAIL", "reason": "EXPIRED", "detail": "too late"}, b"p")
    await door.wake()
    reply = (await waiting).reply
    assert (reply.uuid, reply.ok, reply.event, reply.payload) == ("u-1", False, "FAIL", b"p")
    assert (reply.reason, reply.detail) == ("EXPIRED", "too late")
    assert (await v1.commands.Await(c.AwaitRequest(uuid="u-1"))).event == "FAIL"
    door.refuse("await_reply", Reason.TIMED_OUT, "no reply yet")
    late = await v1.commands.Await(c.AwaitRequest(uuid="u-9", timeout_ms=1))
    assert (late.ok, late.refusal.reason) == (False, "TIMED_OUT")


async def test_submit_answers_each_command_on_the_same_stream(door: ScriptedDoor, v1: V1) -> None:
    call = v1.commands.Submit(timeout=30)
    batch = [command(f"u-{number}", reply=number % 2 == 0) for number in range(100)]
    await call.write(c.SubmitRequest(commands=[*batch, command("bad", priority=99)]))
    receipts: dict[str, Any] = {}
    replies: dict[str, Any] = {}

    async def read() -> bool:
        frame = await asyncio.wait_for(call.read(), SECONDS)
        if frame is EOF:
            return False
        receipts.update({each.uuid: each for each in frame.receipts})
        replies.update({each.uuid: each for each in frame.replies})
        return True

    while len(receipts) < 101:
        await read()
    assert receipts["bad"].outcome == t.Receipt.REJECTED
    assert {each.outcome for uuid, each in receipts.items() if uuid != "bad"} == {t.Receipt.ACCEPTED}
    await door.until(lambda: len(door.asked("await_reply")) == 50)
    for number in range(0, 100, 2):
        door.queue.replies[f"u-{number}"] = ({"event": "SUCCES"}, str(number).encode())
    await door.wake()
    await call.write(c.SubmitRequest(awaits=[c.AwaitRequest(uuid="u-0"), c.AwaitRequest(uuid="u-later")]))
    await door.until(lambda: {"uuid": "u-later", "timeout": 0} in door.asked("await_reply"))
    await call.write(c.SubmitRequest(forget=["u-later"]))
    await call.done_writing()
    while await read():
        pass
    assert {uuid: each.payload for uuid, each in replies.items()} == {
        f"u-{number}": str(number).encode() for number in range(0, 100, 2)
    }
    assert await call.code() is grpc.StatusCode.OK
    assert not door.asking


async def test_a_submit_stream_that_vanishes_leaves_nothing(
    door: ScriptedDoor, server: WorkerServer, v1: V1
) -> None:
    call = v1.commands.Submit(timeout=30)
    await call.write(c.SubmitRequest(commands=[command(f"u-{n}", reply=True) for n in range(20)]))
    await door.until(lambda: len(door.asked("await_reply")) == 20)
    call.cancel()
    await door.until(lambda: not door.asking)
    assert server.v1 is not None
    assert len(server.v1) == 0


# ---- Publish and Subscribe


async def test_publish_is_confirmed_once_it_is_stored(door: ScriptedDoor, v1: V1) -> None:
    told = await v1.events.Publish(t.Publication(topic="git", event="PUSH", payload=b"\xff", reference="u-9"))
    asked = door.asked("send_event")[0]
    assert (asked["topic"], asked["event"], asked["reference"], asked["uuid"]) == (
        "git",
        "PUSH",
        "u-9",
        told.uuid,
    )
    door.refuse("send_event", Reason.STORAGE_FAILED)
    error, info = await failed(v1.events.Publish(t.Publication(topic="git", event="PUSH")))
    assert (error.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_FAILED")
    error, info = await failed(v1.events.Publish(t.Publication(topic="git")))
    assert (error.code(), info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_ARGUMENT")


async def test_a_stream_of_events_is_confirmed_one_by_one(door: ScriptedDoor, v1: V1) -> None:
    call = v1.events.PublishStream(timeout=30)
    door.refuse("send_event", Reason.STORAGE_FAILED)
    events = [t.Publication(uuid=f"e-{n}", topic="git", event="PUSH") for n in range(50)]
    await call.write(e.PublishRequest(events=[*events, t.Publication(uuid="bad", topic="git")]))
    await call.done_writing()
    told: dict[str, str] = {}
    async for frame in call:
        told |= {each.uuid: each.refusal.reason for each in frame.published}
    assert told == {**{f"e-{n}": "" for n in range(50)}, "e-0": "STORAGE_FAILED", "bad": "BAD_ARGUMENT"}


class Subscriber:
    def __init__(self, v1: V1) -> None:
        self.call = v1.events.Subscribe(timeout=30)
        self.events: list[Any] = []
        self.acked: list[Any] = []
        self.missed: list[Any] = []
        self.first: Any = None
        self.beats: list[int] = []

    async def open(self, name: str, **fields: Any) -> None:
        wish = t.Subscription(name=name, topics=[t.Topic(topic="git")], **fields)
        await self.call.write(e.SubscribeRequest(subscribe=wish))
        self.first = await self.read()

    async def read(self) -> Any:
        frame = await asyncio.wait_for(self.call.read(), SECONDS)
        assert frame is not EOF
        self.events += frame.events
        self.acked += frame.acked
        if frame.HasField("missed"):
            self.missed.append(frame.missed)
        if frame.beat:
            self.beats.append(frame.beat)
        return frame

    async def ack(self, *events: Any, ok: bool = True) -> None:
        acks = [t.EventAck(id=event.id, ok=ok) for event in events]
        await self.call.write(e.SubscribeRequest(acks=acks))


async def test_broadcast_between_subscriptions_competing_inside_one(door: ScriptedDoor, v1: V1) -> None:
    one, two, other = Subscriber(v1), Subscriber(v1), Subscriber(v1)
    await one.open("s", credits=2)
    await two.open("s", credits=2)
    await other.open("o")
    assert (one.first.subscribed.created, two.first.subscribed.created) == (True, False)
    for number in range(4):
        await door.event("git", "PUSH", str(number).encode())
    while len(one.events) + len(two.events) < 4:
        await (one if len(one.events) < 2 else two).read()
    while len(other.events) < 4:
        await other.read()
    assert sorted(event.payload for event in [*one.events, *two.events]) == [b"0", b"1", b"2", b"3"]
    await one.ack(*one.events)
    while len(one.acked) < 2:
        await one.read()
    two.call.cancel()  # what it held goes to the other reader
    while len(one.events) < 4:
        await one.read()
    assert {event.attempt for event in one.events[2:]} == {2}
    await one.call.write(e.SubscribeRequest(beat=3))
    while one.beats != [3]:
        await one.read()
    for each in (one, other):
        each.call.cancel()
    await door.until(lambda: not door.asking)
    assert (await v1.events.Unsubscribe(e.UnsubscribeRequest(subscription="s"))).existed
    assert not (await v1.events.Unsubscribe(e.UnsubscribeRequest(subscription="s"))).existed


async def test_a_subscriber_is_told_what_it_missed(door: ScriptedDoor, v1: V1) -> None:
    for _ in range(3):
        await door.event("git", "PUSH")
    subscriber = Subscriber(v1)
    await subscriber.open("s", **{"from": t.Subscription.OLDEST}, credits=1)
    while not subscriber.events:
        await subscriber.read()
    door.queue.subscriptions["s"].missed = 5
    await subscriber.ack(*subscriber.events)
    while len(subscriber.events) < 2:
        await subscriber.read()
    assert [each.events for each in subscriber.missed] == [5]
    subscriber.call.cancel()


async def test_a_subscription_without_topics_is_refused(v1: V1) -> None:
    call = v1.events.Subscribe(timeout=10)
    await call.write(e.SubscribeRequest(subscribe=t.Subscription(name="s")))
    error, info = await failed(call.read())
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert info.metadata["limit"] == "32"


# ---- the server


async def test_health_and_reflection_list_it(server: WorkerServer, v1: V1) -> None:
    health = health_pb2_grpc.HealthStub(v1.channel)
    for service in SERVICES:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(v1.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for response in reflection.ServerReflectionInfo(asked):
        assert set(SERVICES) <= {service.name for service in response.list_services_response.service}


async def test_a_server_without_it_says_unimplemented(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings(v1=False))
    v1 = V1(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    error, info = await failed(v1.worker.Poll(poll("A")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert info is None
    await v1.channel.close(None)
    await server.stop(0.5)


async def test_the_end_of_the_service_ends_what_waits(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings())
    v1 = V1(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    waiting = asyncio.ensure_future(failed(v1.worker.Poll(poll("A"))))
    stream = v1.commands.Submit()
    await stream.write(c.SubmitRequest(commands=[command(reply=True)]))
    assert (await stream.read()).receipts[0].outcome == t.Receipt.ACCEPTED
    await door.until(lambda: door.waiting == 2)
    await server.stop(2)
    for error, info in (await waiting, await failed(stream.read())):
        assert (error.code(), info.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert not door.asking
    await v1.channel.close(None)
