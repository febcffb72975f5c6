"""The SDK's client over zconnector.v1, and what it does on a connector that has only the Gandalf API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.cable import Cable
from tests.support.scripted_door import ScriptedDoor
from zconnector.errors import Reason
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings
from zconnector.worker import (
    CallFailed,
    Client,
    NoReply,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Reply,
    RetryPolicy,
    Unsupported,
)


class Connector:
    def __init__(self, path: Path, *, v1: bool = True) -> None:
        self.door = ScriptedDoor()
        self.path = path
        self.settings = ServiceSettings(hold=60.0, v1=v1)
        self.server: WorkerServer | None = None

    async def start(self) -> None:
        self.server = WorkerServer(self.door, "b", self.settings)
        await self.server.start(f"unix:{self.path}")

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None


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


@pytest.fixture
async def client(connector: Connector) -> AsyncIterator[Client]:
    async with Client(f"unix:{connector.path}") as made:
        yield made


async def replied(connector: Connector, uuid: str, payload: bytes) -> None:
    """A worker has answered, whichever way it is asked for."""
    door = connector.door
    door.queue.replies[uuid] = ({"event": "SUCCES", "reference": uuid}, payload)
    await door.event("CREATE", "SUCCES", payload, reference=uuid)


async def test_a_command_its_receipt_and_its_reply_on_either_api(either: Connector) -> None:
    async with Client(f"unix:{either.path}") as client:
        await replied(either, "u-1", b'{"id":7}')
        reply = await client.send(
            "Git", "CREATE", {"title": "x"}, reply=True, uuid="u-1", major=1, context="c"
        )
        assert (reply.ok, reply.json()) == (True, {"id": 7})
        _, asked, payload = next(call for call in either.door.calls if call[0] == "send_command")
        assert payload == b'{"title":"x"}'
        assert (asked["type"], asked["command"], asked["major"], asked["context"]) == (
            "Git",
            "CREATE",
            1,
            "c",
        )
        handle = await client.send("Git", "CREATE", uuid="u-2")
        await replied(either, "u-2", b"later")
        assert (await handle.reply(10)).payload == "later"
        assert await client.publish("git", "PUSH", {"n": 1}, uuid="e-1") == "e-1"
        assert either.door.asked("send_event")[-1]["topic"] == "git"
        with pytest.raises(NoReply):
            await client.send("Git", "CREATE", reply=True, reply_timeout=0.2)


async def test_a_thousand_sends_share_one_stream(connector: Connector, client: Client) -> None:
    door = connector.door
    for number in range(1_000):
        door.queue.replies[f"u-{number}"] = ({"event": "SUCCES"}, str(number).encode())
    sends = [client.send("Git", "CREATE", reply=True, uuid=f"u-{number}") for number in range(1_000)]
    replies = await asyncio.gather(*sends)
    assert [reply.payload for reply in replies] == [str(number) for number in range(1_000)]
    assert connector.server is not None
    assert connector.server.v1 is not None
    assert len(connector.server.v1) == 1
    kept = client.sender._receipts, client.sender._replies, client.sender._wanted
    assert not any(kept)


async def test_all_wishes_travel(connector: Connector, client: Client) -> None:
    await client.send(
        "",
        "CREATE",
        b"\xff",
        target="self",
        ttl=1.5,
        delay=2,
        priority=9,
        order_key="k",
        lease=3,
        retry=RetryPolicy(attempts=3, first=0.5),
    )
    asked = connector.door.asked("send_command")[0]
    assert asked["target"] == "self"
    assert "type" not in asked
    assert (asked["ttl"], asked["delay"], asked["priority"], asked["order_key"]) == (1_500, 2_000, 9, "k")
    assert (asked["lease"], asked["retry"]) == (3_000, {"attempts": 3, "first": 500})


async def test_what_gandalf_cannot_do_is_named(tmp_path: Path) -> None:
    connector = Connector(tmp_path / "grpc" / "w.sock", v1=False)
    await connector.start()
    async with Client(f"unix:{connector.path}") as client:
        with pytest.raises(Unsupported, match="a command with delay, ttl needs zconnector"):
            await client.send("Git", "CREATE", ttl=1, delay=1)
        with pytest.raises(Unsupported, match="a durable subscription"):
            await anext(client.subscribe("s", "git"))
    assert connector.door.asked("send_command") == []
    await connector.stop()


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        (Reason.NO_SUCH_TYPE, Rejected),
        (Reason.QUEUE_FULL, Rejected),
        (Reason.NO_CLUSTER, NotSent),
    ],
)
async def test_a_definite_error_is_raised_at_once(
    connector: Connector, client: Client, reason: Reason, error: type[Exception]
) -> None:
    connector.door.refuse("send_command", reason, "why")
    with pytest.raises(error, match="why") as caught:
        await client.send("Git", "CREATE", reply=True, uuid="u-1")
    assert caught.value.reason == reason  # type: ignore[attr-defined]


async def test_an_unknown_outcome_is_raised(connector: Connector, client: Client) -> None:
    connector.door.answers["send_command"] = lambda args: {"uuid": args["uuid"], "outcome": "UNKNOWN"}
    with pytest.raises(OutcomeUnknown):
        await client.send("Git", "CREATE")


async def test_a_restart_of_the_connector_is_waited_out_under_one_uuid(
    connector: Connector, client: Client
) -> None:
    await client.send("Git", "CREATE")
    await connector.stop()
    sending = asyncio.ensure_future(client.send("Git", "CREATE", uuid="u-1", reply=True))
    connector.door.refuse("send_command", Reason.DRAINING)
    await connector.start()
    door = connector.door
    await door.until(lambda: bool(door.asked("await_reply")))
    await connector.stop()  # again, while the reply is awaited
    await replied(connector, "u-1", b"done")
    await connector.start()
    assert (await asyncio.wait_for(sending, 10)).payload == "done"
    assert {args["uuid"] for args in door.asked("send_command")[1:]} == {"u-1"}


async def test_nobody_there_is_heard_by_the_timeout(tmp_path: Path) -> None:
    async with Client(f"unix:{tmp_path / 'nobody.sock'}") as client:
        with pytest.raises(NotSent):
            await client.send("Git", "CREATE", timeout=0.3)
        with pytest.raises(CallFailed):
            await client.publish("git", "PUSH", timeout=0.3)


async def test_a_reply_that_nobody_waits_for_is_forgotten(connector: Connector, client: Client) -> None:
    waiting = asyncio.ensure_future(client.send("Git", "CREATE", reply=True))
    await connector.door.until(lambda: bool(connector.door.asked("await_reply")))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await connector.door.until(lambda: connector.door.waiting == 0)
    assert client.sender._replies == {}


async def test_a_reply_may_be_asked_for_by_its_uuid(connector: Connector, client: Client) -> None:
    with pytest.raises(NoReply):
        await client.await_reply("u-1", 0.2)
    waiting = [asyncio.ensure_future(client.await_reply("u-1")) for _ in range(2)]
    await connector.door.until(lambda: connector.door.waiting == 1)
    with pytest.raises(NoReply):  # who gives up, or sends it again, takes it from nobody
        await client.await_reply("u-1", 0.2)
    await client.send("Git", "CREATE", uuid="u-1")
    await replied(connector, "u-1", b"done")
    assert [reply.payload for reply in await asyncio.gather(*waiting)] == ["done", "done"]


async def test_publish_tells_what_was_refused(connector: Connector, client: Client) -> None:
    connector.door.refuse("send_event", Reason.STORAGE_FAILED)
    connector.door.refuse("send_event", Reason.TOO_LARGE, "too much")
    with pytest.raises(CallFailed, match="too much") as caught:
        await client.publish("git", "PUSH")  # the first refusal passes, the second does not
    assert (caught.value.code, caught.value.reason) == ("INVALID_ARGUMENT", "TOO_LARGE")


async def test_a_subscription_is_read_and_acknowledged(connector: Connector, client: Client) -> None:
    door = connector.door
    for number in range(4):
        await door.event("git", "PUSH", str(number).encode(), source="ci")
    seen: list[tuple[str, int]] = []
    async for event in client.subscribe("s", ("git", "PUSH"), start="oldest", credits=2):
        seen.append((event.payload, event.attempt))
        if seen == [("0", 1)]:
            event.again()
        if len(seen) == 5:
            break
    assert sorted(seen) == [("0", 1), ("0", 2), ("1", 1), ("2", 1), ("3", 1)]
    await door.until(lambda: not door.asking)
    left = [number for number in range(1, 5) if number not in door.queue.subscriptions["s"].acknowledged]
    assert len(left) == 1  # the one at which it left comes again


async def test_a_subscription_goes_on_after_a_restart(connector: Connector, client: Client) -> None:
    door = connector.door
    events = client.subscribe("s", "git", start="oldest")
    await door.event("git", "PUSH", b"0")
    assert (await anext(events)).payload == "0"
    following = asyncio.ensure_future(anext(events))
    await door.until(lambda: bool(door.asked("acknowledge")))
    await connector.stop()
    await connector.start()
    await door.event("git", "PUSH", b"1")
    assert (await asyncio.wait_for(following, 10)).payload == "1"
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_uuid_sent_again_after_a_timeout_is_sent_anew_and_has_its_reply(
    connector: Connector, client: Client
) -> None:
    """It was answered by what was left of the first try, whose reply nobody had asked for: for ever."""
    door = connector.door
    late: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def answers_late(args: Mapping[str, Any]) -> dict[str, object]:
        return await late

    door.answers["send_command"] = answers_late
    with pytest.raises(OutcomeUnknown):
        await client.send("Git", "CREATE", uuid="u-1", timeout=0.1)
    del door.answers["send_command"]
    late.set_result({"uuid": "u-1", "outcome": "ACCEPTED"})
    await client.send("Git", "CREATE", uuid="u-2")  # behind the late receipt
    await replied(connector, "u-1", b"done")
    again = await asyncio.wait_for(client.send("Git", "CREATE", uuid="u-1", reply=True), 10)
    assert again.payload == "done"
    assert [args["uuid"] for args in door.asked("send_command")] == ["u-1", "u-2", "u-1"]
    assert client.sender._receipts == client.sender._replies == {}


async def test_another_body_is_not_accepted_by_the_receipt_of_the_first(
    connector: Connector, client: Client
) -> None:
    """A receipt names a uuid and no body: one left of the first tries told ACCEPTED of another command."""
    door = connector.door
    late: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def answers_late(args: Mapping[str, Any]) -> dict[str, object]:
        return await late

    door.answers["send_command"] = answers_late
    first = asyncio.ensure_future(client.send("Git", "CREATE", "one", uuid="u-1"))
    again = asyncio.ensure_future(client.send("Git", "CREATE", "one", uuid="u-1"))
    await door.until(lambda: len(door.asked("send_command")) == 2)
    with pytest.raises(Rejected) as caught:
        await client.send("Git", "CREATE", "another", uuid="u-1")
    assert caught.value.reason == Reason.CONFLICT
    late.set_result({"uuid": "u-1", "outcome": "ACCEPTED"})
    assert {(await first).uuid, (await again).uuid} == {"u-1"}
    del door.answers["send_command"]
    await client.send("Git", "CREATE", uuid="u-2")  # behind both receipts
    door.refuse("send_command", Reason.CONFLICT)
    with pytest.raises(Rejected):
        await client.send("Git", "CREATE", "another", uuid="u-1")
    assert len(door.asked("send_command")) == 4  # now it is the connector's to say
    assert client.sender._owed == {}


async def test_what_is_owed_ends_with_its_stream(connector: Connector, client: Client) -> None:
    door = connector.door
    never: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def never_answers(args: Mapping[str, Any]) -> dict[str, object]:
        return await never

    door.answers["send_command"] = never_answers
    with pytest.raises(OutcomeUnknown):
        await client.send("Git", "CREATE", "one", uuid="u-1", timeout=0.1)
    assert set(client.sender._owed) == {"u-1"}
    await connector.stop()
    del door.answers["send_command"]
    await connector.start()
    await client.send("Git", "CREATE", "another", uuid="u-2")
    assert client.sender._owed == {}
    never.cancel()


async def test_one_uuid_sent_twice_at_once_has_its_reply(connector: Connector, client: Client) -> None:
    sends = [client.send("Git", "CREATE", uuid="u-1", reply=reply) for reply in (False, True)]
    sending = asyncio.gather(*sends)
    await connector.door.until(lambda: bool(connector.door.asked("await_reply")))
    await replied(connector, "u-1", b"done")
    _, reply = await asyncio.wait_for(sending, 10)
    assert isinstance(reply, Reply)
    assert reply.payload == "done"


async def test_what_a_torn_stream_carried_may_have_been_taken(connector: Connector, tmp_path: Path) -> None:
    """It was called NOT_SENT when the next try was refused, although the first one ran."""
    door = connector.door
    never: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def never_answers(args: Mapping[str, Any]) -> dict[str, object]:
        return await never

    door.answers["send_command"] = never_answers
    cable = Cable(connector.path)
    async with await asyncio.start_unix_server(cable.plug, tmp_path / "cable"):
        async with Client(f"unix:{tmp_path / 'cable'}") as client:
            sending = asyncio.ensure_future(client.send("Git", "CREATE", uuid="u-1"))
            await door.until(lambda: bool(door.asked("send_command")))
            del door.answers["send_command"]
            door.refuse("send_command", Reason.NO_CLUSTER)
            cable.tear()
            with pytest.raises(OutcomeUnknown):
                await asyncio.wait_for(sending, 10)
        cable.tear()


async def test_an_event_is_acknowledged_when_the_next_is_asked_for(
    connector: Connector, client: Client
) -> None:
    """It was when all that had come with it was read: of a slow reader the leases ended meanwhile."""
    door = connector.door
    for number in range(3):
        await door.event("git", "PUSH", str(number).encode())
    events = client.subscribe("s", "git", start="oldest")
    assert [(await anext(events)).payload, (await anext(events)).payload] == ["0", "1"]
    await door.until(lambda: bool(door.asked("acknowledge")))
    assert door.queue.subscriptions["s"].acknowledged == {1}
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_client_that_leaves_has_acknowledged_what_it_has_done(connector: Connector) -> None:
    """What it had done of the last frame came again, and again to whoever left as early."""
    door = connector.door
    for number in range(8):
        await door.event("git", "PUSH", str(number).encode())
    for first in ("0", "3"):
        async with Client(f"unix:{connector.path}") as client:
            seen: list[str] = []
            async for event in client.subscribe("s", "git", start="oldest"):
                seen.append(event.payload)
                if len(seen) == 4:
                    break
        assert seen[0] == first
        await door.until(lambda: not door.asking)
    assert door.queue.subscriptions["s"].acknowledged == {1, 2, 3, 4, 5, 6}
