"""The SDK's client, against the real service over unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import Reason
from zconnector.rpc.gandalf import ServiceSettings
from zconnector.rpc.server import WorkerServer
from zconnector.worker import (
    CallFailed,
    Client,
    NoReply,
    NotSent,
    OutcomeUnknown,
    PayloadError,
    Rejected,
    SyncClient,
)


@pytest.fixture
async def door() -> ScriptedDoor:
    return ScriptedDoor()


@pytest.fixture
async def server(door: ScriptedDoor, tmp_path: Path) -> AsyncIterator[WorkerServer]:
    # A hold that no test could sit out: our client must never be held.
    made = WorkerServer(door, "boot-1", ServiceSettings(hold=60.0, v1=False))
    await made.start(f"unix:{tmp_path / 'grpc' / 'w.sock'}")
    yield made
    await made.stop(0)


@pytest.fixture
async def client(server: WorkerServer) -> AsyncIterator[Client]:
    async with Client(server.address) as made:
        yield made


async def test_a_command_its_receipt_and_its_reply(door: ScriptedDoor, client: Client) -> None:
    handle = await client.send_command("Git", "CREATE", {"title": "x"}, timeout=2.5, major=1, context="c")
    op, asked, payload = door.calls[-1]
    assert (op, payload) == ("send_command", b'{"title":"x"}')
    assert (asked["type"], asked["command"], asked["major"], asked["context"]) == ("Git", "CREATE", 1, "c")
    assert asked["uuid"] == handle.uuid
    assert 2_000 < asked["timeout"] <= 2_500
    assert asked["definite"] is True
    assert asked["admin"] is False
    await door.event("CREATE", "ON_GOING", reference=handle.uuid)
    await door.event("CREATE", "HALF", b"50", reference=handle.uuid)
    await door.event("CREATE", "SUCCES", b"not mine", reference="another")
    await door.event("CREATE", "SUCCES", b'{"id":7}', reference=handle.uuid)
    reply = await handle.reply(5)
    assert reply.ok
    assert reply.json() == {"id": 7}
    assert [(event.event, event.payload) for event in handle.progress] == [("HALF", "50")]


async def test_a_reply_may_come_while_it_is_awaited(door: ScriptedDoor, client: Client) -> None:
    handle = await client.send_command("Git", "CREATE")
    waiting = asyncio.ensure_future(handle.reply())
    await door.until(lambda: door.waiting == 1)
    await door.event("CREATE", "FAIL", b"", reference=handle.uuid, reason="UNRECEIPTED", detail="nobody")
    reply = await asyncio.wait_for(waiting, 5)
    assert (reply.ok, reply.event, reply.reason, reply.detail) == (False, "FAIL", "UNRECEIPTED", "nobody")
    assert [asked.get("receipts") for asked in door.asked("wait_event")] == [False], "it has its receipt"


async def test_a_hundred_replies_shuffled_reach_their_own(door: ScriptedDoor, client: Client) -> None:
    handles = [await client.send_command("Git", "CREATE", str(n)) for n in range(100)]
    waits = [asyncio.ensure_future(handle.reply(30)) for handle in handles]
    for number in sorted(range(100), key=lambda n: n * 37 % 100):
        await door.event("CREATE", "SUCCES", str(number).encode(), reference=handles[number].uuid)
    assert [reply.payload for reply in await asyncio.gather(*waits)] == [str(n) for n in range(100)]
    assert len(door.asked("create_iterator")) == 1


async def test_no_reply_in_time_and_then_one(door: ScriptedDoor, client: Client) -> None:
    handle = await client.send_command("Git", "CREATE")
    with pytest.raises(NoReply, match=r"within 0\.1 s"):
        await handle.reply(0.1)
    await door.until(lambda: door.cancelled == 1)
    await door.event("CREATE", "SUCCES", reference=handle.uuid)
    assert (await client.handle(handle.uuid, "CREATE").reply(5)).ok


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.INVALID_PAYLOAD, Rejected),
        (Reason.NO_SUCH_TYPE, Rejected),
        (Reason.QUEUE_FULL, Rejected),
        (Reason.CONFLICT, Rejected),
        (Reason.NO_AGGREGATOR, NotSent),
        (Reason.TARGET_AWAY, NotSent),
        (Reason.NOT_SENT, NotSent),
    ],
)
async def test_refusals_are_heard_at_once(
    door: ScriptedDoor, client: Client, reason: Reason, kind: type[Rejected | NotSent]
) -> None:
    door.refuse("send_command", reason, "wäs")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(kind) as caught:
        await client.send_command("Git", "CREATE", timeout=30)
    assert loop.time() - began < 2
    assert (caught.value.reason, caught.value.detail) == (reason, "wäs")
    assert caught.value.uuid == door.asked("send_command")[0]["uuid"]


async def test_an_unknown_outcome_keeps_its_uuid(door: ScriptedDoor, client: Client) -> None:
    door.answers["send_command"] = lambda args: {"uuid": args["uuid"], "outcome": "UNKNOWN"}
    with pytest.raises(OutcomeUnknown) as caught:
        await client.send_command("Git", "CREATE", uuid="u-7")
    assert caught.value.uuid == "u-7"
    await door.event("CREATE", "SUCCES", reference="u-7")
    assert (await client.handle("u-7", "CREATE").reply(5)).ok


@pytest.mark.quiet
async def test_a_connector_that_says_nothing_is_unknown_in_time(door: ScriptedDoor, client: Client) -> None:
    silence = asyncio.Event()

    async def silent(op: str, args: object, payload: bytes = b"") -> object:
        await silence.wait()
        raise AssertionError("never answered")

    door.call = silent  # type: ignore[method-assign,assignment]
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(OutcomeUnknown):
        await client.send_command("Git", "CREATE", timeout=0.3)
    assert 0.3 <= loop.time() - began < 0.4


@pytest.mark.quiet
async def test_no_connector_at_all_is_not_sent_in_time(tmp_path: Path) -> None:
    async with Client(f"unix:{tmp_path}/nobody.sock") as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(NotSent, match=r"no connector answers on unix:.*nobody\.sock"):
            await client.send_command("Git", "CREATE", timeout=0.3)
        assert 0.25 <= loop.time() - began < 0.4


async def test_a_command_survives_a_restart_with_its_uuid(door: ScriptedDoor, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'grpc' / 'w.sock'}"
    first = WorkerServer(door, "b1")
    await first.start(address)
    async with Client(address) as client:
        await client.send_event("t", "e")
        await first.stop(0)
        sending = asyncio.ensure_future(client.send_command("Git", "CREATE", timeout=20))
        second = WorkerServer(door, "b2")
        await second.start(address)
        handle = await asyncio.wait_for(sending, 10)
        assert door.asked("send_command")[-1]["uuid"] == handle.uuid
        await second.stop(0)


async def test_a_reply_lost_with_the_connection_is_shown_again(door: ScriptedDoor, tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'grpc' / 'w.sock'}"
    first = WorkerServer(door, "b1")
    await first.start(address)
    async with Client(address) as client:
        handle = await client.send_command("Git", "CREATE")
        waiting = asyncio.ensure_future(handle.reply(20))
        await door.until(lambda: door.waiting == 1)
        iterator = door.asked("wait_event")[0]["iterator"]
        await first.stop(0)
        await door.event("CREATE", "SUCCES", uuid="e-1", reference=handle.uuid)
        door.shown.add((iterator, "e-1"))  # it was on its way when the connection went
        second = WorkerServer(door, "b2")
        await second.start(address)
        assert (await asyncio.wait_for(waiting, 10)).ok
        await second.stop(0)


async def test_a_reply_may_be_read_twice_and_by_two_at_once(door: ScriptedDoor, client: Client) -> None:
    handle = await client.send_command("Git", "CREATE")
    both = [asyncio.ensure_future(handle.reply(10)) for _ in range(2)]
    await door.until(lambda: door.waiting == 2)
    await door.event("CREATE", "SUCCES", b"7", reference=handle.uuid)
    assert [(await reply).payload for reply in both] == ["7", "7"]
    assert (await client.handle(handle.uuid, "CREATE").reply(10)).payload == "7"


async def test_a_reply_read_in_two_goes_counts_progress_once(door: ScriptedDoor, client: Client) -> None:
    handle = await client.send_command("Git", "CREATE")
    await door.event("CREATE", "HALF", b"50", reference=handle.uuid)
    with pytest.raises(NoReply):
        await handle.reply(0.2)
    await door.event("CREATE", "SUCCES", reference=handle.uuid)
    assert (await handle.reply(10)).ok
    assert [event.payload for event in handle.progress] == ["50"]


async def test_admin_commands_say_so(door: ScriptedDoor, client: Client) -> None:
    await client.admin_command("Git", "ADMIN_STOP_WORKER", {"Major": 1, "Minor": 0})
    assert door.asked("send_command")[0]["admin"] is True


async def test_events_go_out_and_come_in(door: ScriptedDoor, client: Client) -> None:
    uuid = await client.send_event("git", "PUSH", b"1")
    assert door.asked("send_event")[0]["uuid"] == uuid
    await client.send_event("git", "TAG", "2")
    seen = []
    async for event in client.events("git"):
        seen.append((event.event, event.payload))
        if len(seen) == 2:
            break
    assert seen == [("PUSH", "1"), ("TAG", "2")]
    async for event in client.events("git", "TAG"):
        assert event.payload == "2"
        break


async def test_events_go_on_over_a_forgotten_iterator(door: ScriptedDoor, client: Client) -> None:
    events = client.events("git")
    await door.event("git", "ONE")
    assert (await anext(events)).event == "ONE"
    door.forget()
    door.events.clear()
    await door.event("git", "TWO")
    assert (await asyncio.wait_for(anext(events), 10)).event == "TWO"


async def test_a_refused_event_is_told(door: ScriptedDoor, client: Client) -> None:
    door.refuse("send_event", Reason.BAD_ARGUMENT, "no topic")
    with pytest.raises(CallFailed, match="no topic"):
        await client.send_event("", "PUSH")
    door.refuse("send_event", Reason.STORAGE_FAILED)
    await client.send_event("git", "PUSH")
    first, second = door.asked("send_event")[1:]
    assert first["uuid"] == second["uuid"]


async def test_bad_payloads_never_leave(client: Client) -> None:
    with pytest.raises(PayloadError, match="UTF-8"):
        await client.send_command("Git", "CREATE", b"\xff")
    with pytest.raises(PayloadError, match="limit"):
        await client.send_event("git", "PUSH", "x" * 4_000_000)


async def test_the_plain_face(door: ScriptedDoor, server: WorkerServer) -> None:
    def plain() -> tuple[bool, list[str], str]:
        with SyncClient(server.address) as client:
            handle = client.send_command("Git", "CREATE")
            client.send_event("CREATE", "SUCCES", reference=handle.uuid)
            reply = handle.reply(10)
            client.send_event("git", "PUSH")
            names = []
            for event in client.events("git"):
                names.append(event.event)
                break
            door.refuse("send_command", Reason.NO_SUCH_TYPE)
            with pytest.raises(Rejected) as caught:
                client.admin_command("Nope", "ADMIN_UPDATE")
            return reply.ok, names, caught.value.reason

    done = await asyncio.get_running_loop().run_in_executor(None, plain)
    assert done == (True, ["PUSH"], "NO_SUCH_TYPE")
