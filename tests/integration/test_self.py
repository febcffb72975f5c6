"""Commands to the own connector, and subscriptions, over real processes, through the door."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
import zmq

from tests.support.scene import DEADLINE, Scene
from zconnector.connector.process import DOOR_SOCKET
from zconnector.errors import Reason, Refusal
from zconnector.queue.door import DoorClient
from zconnector.runtime.statedir import find_socket

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

Open = Callable[[str], DoorClient]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("self") / "dev", aggregators=2)
    try:
        yield await scene.start()
    finally:
        await scene.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def scene(standing: Scene) -> Scene:
    await standing.restore()
    return standing


@pytest_asyncio.fixture(loop_scope="module")
async def door(scene: Scene) -> AsyncIterator[Open]:
    """Opens the door of a connector."""
    context = zmq.Context()
    opened: list[DoorClient] = []

    def open_(name: str) -> DoorClient:
        client = DoorClient(context, f"ipc://{find_socket(scene.directory(name), DOOR_SOCKET)}")
        client.start()
        opened.append(client)
        return client

    try:
        yield open_
    finally:
        for client in opened:
            client.close()
        context.term()


async def send(client: DoorClient, uuid: str, **args: Any) -> Any:
    fields = {"uuid": uuid, "command": "ANYTHING", "target": "self", "timeout": 10_000, **args}
    told, _ = await again(lambda: client.call("send_command", fields, b'{"number":1}'))
    return told


async def again(call: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the connector is there: a door that was opened anew ends what waited at the old one."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await call()
            except Refusal as refusal:
                if refusal.reason is not Reason.SHUTTING_DOWN:
                    raise


async def work(client: DoorClient, *uuids: str) -> None:
    """Take these commands, and acknowledge each with its uuid as the result.

    The leases are short: an answer that was lost with the connector's old door took one along.
    """
    left = set(uuids)
    async with asyncio.timeout(DEADLINE):
        while left:
            args = {"worker": "w", "commands": ["ANYTHING"], "limit": 1, "lease": 1_000, "wait_ms": 0}
            told, _ = await again(partial(client.call, "take", args))
            (command,) = told["commands"]
            outcome = {"uuid": command["uuid"], "token": command["token"], "outcome": "ack"}
            payload = command["uuid"].encode()
            args = {"outcomes": [{**outcome, "size": len(payload)}]}
            told, _ = await client.call("settle", args, payload)
            assert told["results"] == [{"uuid": command["uuid"]}]
            left.discard(command["uuid"])


async def journalled(scene: Scene, name: str) -> None:
    """Wait until a connector has nothing more to tell the journal."""
    await scene.until(name, lambda status: not status["queue"]["journal"]["count"])


def lines(scene: Scene, *references: str) -> list[tuple[str, str, str]]:
    """Kind, source and target or recipient of the journal's lines about these commands."""
    path = scene.directory("cluster/1") / "cluster.db"
    marks = ",".join("?" * len(references))
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        rows = database.execute(
            f"SELECT kind, uuid, header FROM journal WHERE uuid IN ({marks}) OR kind = 'REPLY' ORDER BY id",
            references,
        ).fetchall()
    found = []
    for kind, uuid, header in rows:
        text = header.decode("utf-8", "replace")
        if uuid in references or any(f'"reference":"{r}"' in text for r in references):
            found.append((kind, uuid, text))
    return found


async def test_it_is_answered_run_and_journalled(scene: Scene, door: Open) -> None:
    ci = door("ci")
    assert await send(ci, "own-1") == {"uuid": "own-1", "outcome": "ACCEPTED"}
    reply = asyncio.create_task(ci.call("await_reply", {"uuid": "own-1", "timeout": 15_000}))
    await work(ci, "own-1")
    told, payload = await reply
    assert (told["event"], told["source"], payload) == ("SUCCES", "ci", b"own-1")
    await journalled(scene, "ci")
    command, answer = lines(scene, "own-1")
    assert (command[0], answer[0]) == ("COMMAND", "REPLY")
    assert '"source":"ci"' in command[2]
    assert '"target":"ci"' in command[2]
    counters = (await scene.ask("ci"))["counters"]
    assert counters["journalled"] >= 2
    assert counters.get("sent", 0) == 0


async def test_a_copy_that_another_connector_sends_later_is_the_same(scene: Scene, door: Open) -> None:
    ci, git = door("ci"), door("git")
    await send(ci, "own-2", type="Ci")
    await work(ci, "own-2")
    await journalled(scene, "ci")
    assert (await send(git, "own-2", target="", type="Ci"))["outcome"] == "ACCEPTED"
    args: dict[str, Any] = {"uuid": "own-2", "command": "ANYTHING", "type": "Ci", "timeout": 10_000}
    with pytest.raises(Refusal) as refused:
        await git.call("send_command", args, b'{"number":2}')
    assert refused.value.reason is Reason.CONFLICT
    nothing, _ = await ci.call("take", {"worker": "w", "commands": ["ANYTHING"], "wait_ms": -1})
    assert nothing["commands"] == []


async def test_without_member_and_through_a_sigkill_it_is_told_once(scene: Scene, door: Open) -> None:
    ci = door("ci")
    scene.signal("cluster/1", signal.SIGSTOP)
    uuids = [f"away-{number}" for number in range(20)]
    outcomes = await asyncio.gather(*(send(ci, uuid) for uuid in uuids))
    assert {told["outcome"] for told in outcomes} == {"ACCEPTED"}
    await work(ci, *uuids[:10])
    await scene.kill("ci")
    await scene.bring_back("ci")
    ci = door("ci")  # a client of the new door: the old one may hear only now that its door is gone
    await work(ci, *uuids[10:])
    for uuid in uuids:
        told, payload = await again(partial(ci.call, "await_reply", {"uuid": uuid, "timeout": 15_000}))
        assert (told["event"], payload) == ("SUCCES", uuid.encode())
    assert lines(scene, *uuids) == []
    scene.signal("cluster/1", signal.SIGCONT)
    await journalled(scene, "ci")
    found = lines(scene, *uuids)
    assert sorted(uuid for kind, uuid, _ in found if kind == "COMMAND") == sorted(uuids)
    assert len([kind for kind, _, _ in found if kind == "REPLY"]) == len(uuids)


async def test_it_is_checked_as_one_that_arrives(scene: Scene, door: Open) -> None:
    ci = door("ci")
    with pytest.raises(Refusal) as refused:
        await send(ci, "bad-1", command="BUILD", major=9)
    assert refused.value.reason is Reason.UNKNOWN_VERSION
    args = {"uuid": "bad-2", "command": "BUILD", "target": "self"}
    with pytest.raises(Refusal) as refused:
        await ci.call("send_command", args, b'{"number":0}')
    assert refused.value.reason is Reason.INVALID_PAYLOAD


async def test_a_subscription_goes_on_through_a_sigkill(scene: Scene, door: Open) -> None:
    ci, git = door("ci"), door("git")
    topics = [{"topic": "NEWS"}]
    told, _ = await ci.call("subscribe", {"subscription": "news", "topics": topics, "lease": 2_000})
    assert told == {"created": True, "missed": 0}
    for number in range(10):
        args = {"uuid": f"news-{number}", "topic": "NEWS", "event": "N", "timeout": 0}
        await git.call("send_event", args, str(number).encode())
    seen: list[str] = []

    async def take(holder: str, limit: int) -> list[dict[str, Any]]:
        args = {"subscription": "news", "holder": holder, "limit": limit, "wait_ms": 10_000}
        told, payload = await again(lambda: ci.call("take_events", args))
        assert told["missed"] == 0
        assert sum(event["size"] for event in told["events"]) == len(payload)
        return list(told["events"])

    async with asyncio.timeout(DEADLINE):
        while len(seen) < 4:
            events = await take("first", 1)
            seen += [event["uuid"] for event in events]
            args = {"subscription": "news", "holder": "first", "events": [{"id": e["id"]} for e in events]}
            await ci.call("acknowledge", args)
        unread = await take("first", 2)  # held by whom the SIGKILL takes along
        await scene.kill("ci")
        await scene.bring_back("ci")
        later: dict[str, int] = {}
        while len(later) < 6:
            events = await take("second", 64)
            later |= {event["uuid"]: event["attempt"] for event in events}
            args = {"subscription": "news", "holder": "second", "events": [{"id": e["id"]} for e in events]}
            await ci.call("acknowledge", args)
    assert set(later).isdisjoint(seen)
    assert {event["uuid"] for event in unread} <= set(later)
    assert set(later) | set(seen) == {f"news-{number}" for number in range(10)}
    told, _ = await ci.call("unsubscribe", {"subscription": "news"})
    assert told == {"existed": True}
