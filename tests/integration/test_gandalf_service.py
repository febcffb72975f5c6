"""The Gandalf worker API over real unix sockets: what workers that exist rely on."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import Reason
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.rpc.gandalf import SERVICES, ServiceSettings
from zconnector.rpc.server import WorkerServer

HOLD = 0.2


class GandalfWorker:
    """The stubs of a worker written for Gandalf, on one channel."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(
            address,
            options=[("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
        )
        self.life = stubs.ConnectorStub(self.channel)
        self.commands = stubs.ConnectorCommandStub(self.channel)
        self.events = stubs.ConnectorEventStub(self.channel)


@pytest.fixture
async def door() -> ScriptedDoor:
    return ScriptedDoor()


@pytest.fixture
async def server(door: ScriptedDoor, tmp_path: Path) -> AsyncIterator[WorkerServer]:
    served = WorkerServer(door, "boot-1", ServiceSettings(hold=HOLD, default_timeout_ms=7_000))
    await served.start(f"unix:{tmp_path / 'grpc' / 'worker.sock'}")
    yield served
    await served.stop(0.5)


@pytest.fixture
async def worker(server: WorkerServer) -> AsyncIterator[GandalfWorker]:
    made = GandalfWorker(server.address)
    yield made
    await made.channel.close(None)


def socket_mode(path: Path) -> int | None:
    """Permissions of a socket file; None where there is none."""
    return stat.S_IMODE(path.stat().st_mode) if path.is_socket() else None


async def refused(call: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]
    return caught.value


async def test_registration_and_beat(door: ScriptedDoor, worker: GandalfWorker) -> None:
    call = worker.life.SendCommandList(pb.CommandList(Major=1, Minor=2, Commands=["A", "B"]))
    assert (await call).valid is True
    assert metadata.value(await call.trailing_metadata(), metadata.BOOT) == "boot-1"
    assert door.asked("register") == [{"worker": "", "major": 1, "minor": 2, "commands": ["A", "B"]}]
    beat = worker.life.SendStop(pb.Stop(Major=1, Minor=2))
    assert (await beat).valid is True
    assert metadata.value(await beat.trailing_metadata(), metadata.BOOT) == "boot-1"
    door.draining = True
    assert (await worker.life.SendStop(pb.Stop(Major=1, Minor=2))).valid is False


async def test_a_version_that_never_registered_is_told_to_leave(worker: GandalfWorker) -> None:
    assert (await worker.life.SendStop(pb.Stop(Major=3, Minor=0))).valid is False


async def test_a_refused_registration_names_what_is_missing(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    door.missing = ["CREATE_ISSUE", "Größe"]
    call = worker.life.SendCommandList(pb.CommandList(Major=1, Commands=["A"]))
    assert (await call).valid is False
    found = metadata.value(await call.trailing_metadata(), metadata.MISSING)
    assert metadata.decode_names(found) == ["CREATE_ISSUE", "Größe"]


async def test_a_wait_is_held_until_there_is_a_command(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.commands.CreateIteratorCommand(pb.Empty())).Id
    wait = worker.commands.WaitCommandMessage(
        pb.CommandMessageWait(WorkerSource="w", Value="A", IteratorId=iterator, Major=1)
    )
    waiting = asyncio.ensure_future(_reply(wait))
    await door.until(lambda: door.waiting == 1)
    assert not waiting.done()
    await door.command(
        "A",
        "pâyload".encode(),
        uuid="u-7",
        source="ci",
        target="git",
        tenant="acme",
        token="t",
        context="x",
        type="Git",
        timeout=1500,
        timestamp=1_700_000_123_456,
        major=1,
        worker="sender",
    )
    message = await asyncio.wait_for(waiting, 5)
    assert message == pb.CommandMessage(
        SourceConnector="ci",
        SourceWorker="sender",
        DestinationConnector="git",
        Tenant="acme",
        Token="t",
        Context="x",
        Timeout="1500",
        Timestamp="1700000123",
        Major=1,
        UUID="u-7",
        ConnectorType="Git",
        Command="A",
        Payload="pâyload",
    )
    assert door.asked("wait_command") == [
        {"iterator": iterator, "command": "A", "major": 1, "worker": "w"},
    ]


async def _reply(call: object) -> object:
    return await call  # type: ignore[misc]


async def test_all_names_wait_in_parallel(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.commands.CreateIteratorCommand(pb.Empty())).Id
    waits = {
        name: asyncio.ensure_future(
            _reply(worker.commands.WaitCommandMessage(pb.CommandMessageWait(Value=name, IteratorId=iterator)))
        )
        for name in ("A", "B", "C")
    }
    await door.until(lambda: door.waiting == 3)
    await door.command("B")
    heard: Any = await asyncio.wait_for(waits["B"], 5)
    assert heard.Command == "B"
    assert not waits["A"].done()
    assert not waits["C"].done()
    for wait in waits.values():
        wait.cancel()


async def test_a_cancelled_wait_swallows_nothing(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.commands.CreateIteratorCommand(pb.Empty())).Id
    request = pb.CommandMessageWait(Value="A", IteratorId=iterator)
    wait = worker.commands.WaitCommandMessage(request)
    gone = asyncio.ensure_future(_reply(wait))
    await door.until(lambda: door.waiting == 1)
    wait.cancel()
    await door.until(lambda: door.cancelled == 1)
    await door.command("A", uuid="u-1")
    assert (await worker.commands.WaitCommandMessage(request)).UUID == "u-1"
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_wait_of_a_lost_connection_swallows_nothing(
    door: ScriptedDoor, server: WorkerServer, worker: GandalfWorker
) -> None:
    iterator = (await worker.commands.CreateIteratorCommand(pb.Empty())).Id
    other = GandalfWorker(server.address)
    request = pb.CommandMessageWait(Value="A", IteratorId=iterator)
    gone = asyncio.ensure_future(_reply(other.commands.WaitCommandMessage(request)))
    await door.until(lambda: door.waiting == 1)
    await other.channel.close(None)
    await door.until(lambda: door.cancelled == 1)
    await door.command("A", uuid="u-1")
    assert (await worker.commands.WaitCommandMessage(request)).UUID == "u-1"
    await asyncio.wait({gone}, timeout=5)
    assert gone.cancelled() or gone.exception() is not None


async def test_an_unknown_iterator_is_not_found_and_hurts_nobody_else(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    fine = asyncio.ensure_future(
        _reply(worker.events.WaitTopicMessage(pb.TopicMessageWait(Topic="git", IteratorId=iterator)))
    )
    await door.until(lambda: door.waiting == 1)
    for call in (
        worker.commands.WaitCommandMessage(pb.CommandMessageWait(Value="A", IteratorId="nope")),
        worker.events.WaitEventMessage(pb.EventMessageWait(Topic="git", Event="E", IteratorId="nope")),
        worker.events.WaitTopicMessage(pb.TopicMessageWait(Topic="git", IteratorId="nope")),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert metadata.value(error.trailing_metadata(), metadata.REASON) == "NOT_FOUND"
    await door.event("git", "PUSH")
    heard: Any = await asyncio.wait_for(fine, 5)
    assert heard.Event == "PUSH"


async def test_a_command_is_sent_and_its_reply_awaited_only_afterwards(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    sent = pb.CommandMessage(Timeout="2500", UUID="u-9", ConnectorType="Git", Command="A", Payload="{}")
    before = asyncio.get_running_loop().time()
    call = worker.commands.SendCommandMessage(sent)
    assert (await call).UUID == "u-9"
    assert metadata.value(await call.trailing_metadata(), metadata.OUTCOME) == "ACCEPTED"
    op, args, payload = door.calls[-1]
    assert (op, payload) == ("send_command", b"{}")
    began = args.pop("began")
    assert before * 1000 - 1 <= began <= asyncio.get_running_loop().time() * 1000
    assert args == {
        "uuid": "u-9",
        "type": "Git",
        "command": "A",
        "timeout": 2500,
        "major": 0,
        "admin": False,
        "context": "",
        "token": "",
        "worker": "",
        "definite": False,
    }
    await worker.events.SendEventMessage(pb.EventMessage(Topic="A", Event="SUCCES", ReferenceUUID="u-9"))
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    reply = await worker.events.WaitEventMessage(
        pb.EventMessageWait(Topic="A", Event="SUCCES", ReferenceUUID="u-9", IteratorId=iterator)
    )
    assert (reply.ReferenceUUID, reply.Event) == ("u-9", "SUCCES")


async def test_a_missing_uuid_and_timeout_are_filled_in(door: ScriptedDoor, worker: GandalfWorker) -> None:
    answer = await worker.commands.SendCommandMessage(pb.CommandMessage(ConnectorType="Git", Command="A"))
    asked = door.asked("send_command")[0]
    assert len(answer.UUID) == 36
    assert (asked["uuid"], asked["timeout"]) == (answer.UUID, 7_000)


async def test_an_unknown_outcome_answers_the_uuid(door: ScriptedDoor, worker: GandalfWorker) -> None:
    door.answers["send_command"] = lambda args: {"uuid": args["uuid"], "outcome": "UNKNOWN"}
    call = worker.commands.SendCommandMessage(pb.CommandMessage(UUID="u-3", ConnectorType="Git", Command="A"))
    assert (await call).UUID == "u-3"
    assert metadata.value(await call.trailing_metadata(), metadata.OUTCOME) == "UNKNOWN"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.NO_SUCH_TYPE, grpc.StatusCode.NOT_FOUND),
        (Reason.INVALID_PAYLOAD, grpc.StatusCode.INVALID_ARGUMENT),
        (Reason.NOT_SENT, grpc.StatusCode.UNAVAILABLE),
        (Reason.QUEUE_FULL, grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_definite_errors_are_held(
    door: ScriptedDoor, worker: GandalfWorker, reason: Reason, code: grpc.StatusCode
) -> None:
    door.refuse("send_command", reason, "wäs")
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = await refused(
        worker.commands.SendCommandMessage(pb.CommandMessage(UUID="u-1", ConnectorType="Git", Command="A"))
    )
    assert HOLD - 0.02 <= loop.time() - began < HOLD + 2
    assert error.code() is code
    found = error.trailing_metadata()
    assert metadata.value(found, metadata.REASON) == reason
    assert metadata.decode_text(metadata.value(found, metadata.DETAIL)) == "wäs"
    assert metadata.value(found, metadata.UUID) == "u-1"


async def test_the_hold_counts_from_the_begin_of_the_call(door: ScriptedDoor, tmp_path: Path) -> None:
    """An error that took longer than the hold is told at once, and ours are never held."""
    server = WorkerServer(door, "b", ServiceSettings(hold=30.0))
    worker = GandalfWorker(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    door.refuse("send_command", Reason.NO_SUCH_TYPE)
    call = worker.commands.SendCommandMessage(
        pb.CommandMessage(ConnectorType="Git", Command="A"), metadata=((metadata.DEFINITE, "1"),), timeout=5
    )
    assert (await refused(call)).code() is grpc.StatusCode.NOT_FOUND
    assert door.asked("send_command")[0]["definite"] is True
    door.refuse("send_command", Reason.NO_SUCH_TYPE)
    held = asyncio.ensure_future(
        refused(
            worker.commands.SendCommandMessage(
                pb.CommandMessage(ConnectorType="Git", Command="A"), timeout=10
            )
        )
    )
    await door.until(lambda: len(door.asked("send_command")) == 2)
    await server.stop(5)
    assert (await held).code() is grpc.StatusCode.NOT_FOUND
    await worker.channel.close(None)


@pytest.mark.parametrize("major", [128, -129, 2**62])
async def test_versions_beyond_a_byte_are_refused_by_name(
    door: ScriptedDoor, worker: GandalfWorker, major: int
) -> None:
    for call in (
        worker.life.SendCommandList(pb.CommandList(Major=major)),
        worker.life.SendStop(pb.Stop(Major=1, Minor=major)),
        worker.commands.SendCommandMessage(pb.CommandMessage(Command="A", Major=major)),
        worker.commands.WaitCommandMessage(pb.CommandMessageWait(Value="A", Major=major)),
    ):
        error = await refused(call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert str(major) in (error.details() or "")
        assert "from -128 to 127" in (error.details() or "")
    assert door.calls == []


async def test_an_event_that_can_be_stored_is_never_refused(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    for timeout in ("", "0", "-5", "soon", "9" * 30):
        await worker.events.SendEventMessage(pb.EventMessage(Topic="git", Event="PUSH", Timeout=timeout))
    assert [args["timeout"] for args in door.asked("send_event")] == [7_000] * 5
    assert len({args["uuid"] for args in door.asked("send_event")}) == 5


async def test_a_full_message_passes_and_a_larger_one_is_refused(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    for size in (3_990_000, 4_000_001, 8_000_000):
        event = pb.EventMessage(Topic="git", Event="PUSH", Payload="x" * size)
        if size < 4_000_000:
            await worker.events.SendEventMessage(event)
            assert len(door.calls[-1][2]) == size
            continue
        error = await refused(worker.events.SendEventMessage(event))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert metadata.value(error.trailing_metadata(), metadata.REASON) == "TOO_LARGE"
        assert "limit 4000000" in (error.details() or "")


async def test_text_that_is_not_utf8_is_refused_with_words(door: ScriptedDoor, worker: GandalfWorker) -> None:
    call = worker.channel.unary_unary("/gogrpc.ConnectorEvent/SendEventMessage", None, None)
    error = await refused(call(b"\x42\x02\xff\xfe"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in (error.details() or "")
    assert door.calls == []


async def test_a_payload_that_is_not_utf8_never_reaches_a_waiter(
    door: ScriptedDoor, worker: GandalfWorker
) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    await door.event("git", "PUSH", b"\xff")
    error = await refused(
        worker.events.WaitTopicMessage(pb.TopicMessageWait(Topic="git", IteratorId=iterator))
    )
    assert metadata.value(error.trailing_metadata(), metadata.REASON) == "INVALID_PAYLOAD"


async def test_an_event_says_why_in_metadata(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    await door.event("A", "FAIL", reference="u-1", reason="UNRECEIPTED", detail="nobody, ever")
    wait = worker.events.WaitTopicMessage(
        pb.TopicMessageWait(Topic="A", IteratorId=iterator, ReferenceUUID="u-1")
    )
    assert (await wait).Event == "FAIL"
    assert metadata.value(await wait.trailing_metadata(), metadata.REASON) == "UNRECEIPTED"


async def test_a_reader_may_say_that_it_wants_no_receipts(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    wait = pb.TopicMessageWait(Topic="A", IteratorId=iterator, ReferenceUUID="u-1")
    for uuid in ("e-1", "e-2"):
        await door.event("A", "SUCCES", uuid=uuid, reference="u-1")
    await worker.events.WaitTopicMessage(wait)
    await worker.events.WaitTopicMessage(wait, metadata=((metadata.RECEIPTS, "0"),))
    said = [args.get("receipts") for args in door.asked("wait_event")]
    assert said == [None, False], "what existing workers are told of is as it was"


async def test_a_worker_may_say_who_it_is(door: ScriptedDoor, worker: GandalfWorker) -> None:
    named = ((metadata.WORKER, "me-1"),)
    await worker.life.SendStop(pb.Stop(Major=1), metadata=named)
    iterator = (await worker.commands.CreateIteratorCommand(pb.Empty())).Id
    await door.command("A")
    await worker.commands.WaitCommandMessage(
        pb.CommandMessageWait(WorkerSource="name", Value="A", IteratorId=iterator), metadata=named
    )
    assert door.asked("beat")[0]["worker"] == "me-1"
    assert door.asked("wait_command")[0]["worker"] == "me-1"


async def test_a_socket_of_its_own_names_the_worker(door: ScriptedDoor, tmp_path: Path) -> None:
    server = WorkerServer(door, "b", ServiceSettings(worker="git-1"))
    worker = GandalfWorker(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    await worker.life.SendCommandList(pb.CommandList(Major=1))
    assert door.asked("register")[0]["worker"] == "git-1"
    await worker.channel.close(None)
    await server.stop(1)


async def test_shutting_down_ends_the_waits_with_unavailable(
    door: ScriptedDoor, server: WorkerServer, worker: GandalfWorker
) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    wait = asyncio.ensure_future(
        refused(worker.events.WaitTopicMessage(pb.TopicMessageWait(Topic="git", IteratorId=iterator)))
    )
    await door.until(lambda: door.waiting == 1)
    path = Path(server.address.removeprefix("unix:"))
    assert socket_mode(path) == 0o600
    await server.stop(5)
    error = await asyncio.wait_for(wait, 5)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert metadata.value(error.trailing_metadata(), metadata.REASON) == "SHUTTING_DOWN"
    assert socket_mode(path) is None


async def test_health_and_reflection(server: WorkerServer, worker: GandalfWorker) -> None:
    health = health_pb2_grpc.HealthStub(worker.channel)
    for service in ("", *SERVICES):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    await server.set_serving(False)
    answer = await health.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    reflection = reflection_pb2_grpc.ServerReflectionStub(worker.channel)
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    async for response in reflection.ServerReflectionInfo(asked):
        names = {service.name for service in response.list_services_response.service}
        assert {*SERVICES, "grpc.health.v1.Health"} <= names


async def test_ten_replies_each_seen_once_in_order(door: ScriptedDoor, worker: GandalfWorker) -> None:
    iterator = (await worker.events.CreateIteratorEvent(pb.Empty())).Id
    for number in range(10):
        await worker.events.SendEventMessage(pb.EventMessage(Topic="t", Event="E", Payload=str(number)))
    seen = [
        (
            await worker.events.WaitEventMessage(
                pb.EventMessageWait(Topic="t", Event="E", IteratorId=iterator), timeout=5
            )
        ).Payload
        for _ in range(10)
    ]
    assert seen == [str(number) for number in range(10)]
