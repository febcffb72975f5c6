"""The worker API, the door and the real local queue together: nothing swallowed, nothing lost."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import zmq

from zconnector.actions import Actions, Caller, Commit, Respond
from zconnector.clock import Instant, SystemClock
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.door import DoorClient, DoorServer
from zconnector.queue.local import Completed, LocalQueue, Published
from zconnector.queue.memory import MemoryQueueStore
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc as stubs
from zconnector.rpc.server import WorkerServer
from zconnector.settings import QueueSettings

NUMBERS = itertools.count()


class TinyConnector:
    """The least machine that puts a queue behind a door."""

    def __init__(self, context: Any) -> None:
        endpoint = f"inproc://tiny-{next(NUMBERS)}"
        self.clock = SystemClock()
        self.store = MemoryQueueStore()
        self.queue = LocalQueue(QueueSettings(), self.store, random.Random(1))
        self.queue.restore([], self.clock.now())
        self.door = DoorServer(context, endpoint, self.call, self.cancel)
        self.client = DoorClient(context, endpoint)
        self.cancelled: asyncio.Queue[Caller] = asyncio.Queue()
        self.parked: asyncio.Queue[str] = asyncio.Queue()

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes) -> None:
        now = self.clock.now()
        queue = self.queue
        if op == "create_iterator":

            def created(at: Instant, found: Any) -> Actions:
                return [Respond(caller, {"iterator": found})]

            self.perform(queue.create_iterator(args["kind"], now, created))
        elif op == "wait_command":
            actions = queue.wait_command(
                caller, args["iterator"], args["command"], args["major"], args["worker"], None, now
            )
            self.perform(actions)
            self.parked.put_nowait(op)
        elif op == "wait_event":
            actions = queue.wait_event(
                caller,
                args["iterator"],
                args["topic"],
                args.get("event"),
                args["reference"],
                args["worker"],
                now,
            )
            self.perform(actions)
            self.parked.put_nowait(op)
        else:
            self._event(caller, args, payload, now)

    def _event(self, caller: Caller, args: Mapping[str, Any], payload: bytes, now: Instant) -> None:
        names = ("uuid", "topic", "event", "reference")
        event = Message(Kind.EVENT, {name: args[name] for name in names if args[name]}, payload)

        def published(at: Instant, done: Published) -> Actions:
            return [Respond(caller, {"uuid": event.uuid}, error=done.refusal)]

        def completed(at: Instant, done: Completed) -> Actions:
            if done.outcome == "NOT_MINE":
                return self.queue.publish(event, at, outbox=False, done=published)
            return [Respond(caller, {"uuid": event.uuid}, error=done.refusal)]

        if event.reference:
            self.perform(self.queue.complete(event, now, completed))
        else:
            self.perform(self.queue.publish(event, now, outbox=False, done=published))

    def offer(self, name: str, uuid: str, payload: bytes = b"") -> None:
        now = self.clock.now()
        header = {"uuid": uuid, "type": "Git", "command": name, "timeout": 1000, "source": "ci"}
        header |= {"accept_until": now.wall + 1000, "tenant": "acme"}
        command = Message(Kind.COMMAND, header, payload)
        self.perform(self.queue.offer(command, now, lambda at, offered: []))

    def cancel(self, caller: Caller) -> None:
        self.perform(self.queue.cancel(caller, self.clock.now()))
        self.cancelled.put_nowait(caller)

    def perform(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, Commit):
                results = self.store.commit(action.writes)
                self.perform(action.then(self.clock.now(), results))
            elif isinstance(action, Respond):
                self.door.respond(action)


class Workers:
    """Stubs on one channel."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.commands = stubs.ConnectorCommandStub(self.channel)
        self.events = stubs.ConnectorEventStub(self.channel)


@pytest.fixture
async def connector() -> AsyncIterator[TinyConnector]:
    context = zmq.Context()
    made = TinyConnector(context)
    made.door.start()
    made.client.start()
    yield made
    made.client.close()
    made.door.stop()
    context.destroy(linger=0)


@pytest.fixture
async def workers(connector: TinyConnector, tmp_path: Path) -> AsyncIterator[Workers]:
    server = WorkerServer(connector.client, "b1")
    made = Workers(await server.start(f"unix:{tmp_path / 'd' / 's.sock'}"))
    yield made
    await made.channel.close(None)
    await server.stop(1)


async def test_a_command_is_handed_to_one_waiter_and_completed(
    connector: TinyConnector, workers: Workers
) -> None:
    iterators = [(await workers.commands.CreateIteratorCommand(pb.Empty())).Id for _ in range(2)]
    waits = [
        workers.commands.WaitCommandMessage(pb.CommandMessageWait(Value="A", IteratorId=iterator), timeout=10)
        for iterator in iterators
    ]
    for _ in waits:
        await asyncio.wait_for(connector.parked.get(), 10)
    connector.offer("A", "u-1", "é".encode())
    done, pending = await asyncio.wait(
        [asyncio.ensure_future(_message(wait)) for wait in waits],
        return_when=asyncio.FIRST_COMPLETED,
        timeout=10,
    )
    [first] = done
    [other] = pending
    command = first.result()
    assert (command.UUID, command.Payload, command.SourceConnector) == ("u-1", "é", "ci")
    answer = pb.EventMessage(Topic="A", Event="SUCCES", ReferenceUUID="u-1", UUID="r-1")
    await workers.events.SendEventMessage(answer, timeout=10)
    await workers.events.SendEventMessage(answer, timeout=10)  # late: taken, and without effect
    due = connector.queue.outbox_due(connector.clock.now())
    assert [(entry.message.uuid, entry.recipient) for entry in due] == [("r-1", "ci")]
    other.cancel()


async def _message(call: Any) -> Any:
    return await call


async def test_cancels_and_hand_overs_that_cross_lose_nothing(
    connector: TinyConnector, workers: Workers
) -> None:
    """Each command reaches somebody who answers, once.

    gRPC cannot tell a server that a client dropped an answer which it had been sent already: such a
    command stays leased, and is back when its holder is gone.
    """
    rng = random.Random(7)
    total = 60
    iterator = (await workers.commands.CreateIteratorCommand(pb.Empty())).Id
    request = pb.CommandMessageWait(Value="A", IteratorId=iterator)
    seen: set[str] = set()
    for number in range(total):
        wait = workers.commands.WaitCommandMessage(request)
        taken = asyncio.ensure_future(_message(wait))
        await asyncio.wait_for(connector.parked.get(), 10)
        connector.offer("A", f"u-{number}")
        for _ in range(rng.randrange(12)):
            await asyncio.sleep(0)  # gives the loop a turn, no time: the cancel falls anywhere
        wait.cancel()
        await asyncio.wait([taken], timeout=10)
        if not taken.cancelled():
            await _answer(workers, taken.result().UUID, seen)
    released = connector.queue.release(lambda lease: True, "worker gone", connector.clock.now())
    connector.perform(released)
    while len(seen) < total:
        command = await workers.commands.WaitCommandMessage(request, timeout=10)
        await _answer(workers, command.UUID, seen)
    assert len(connector.queue.outbox_due(connector.clock.now())) == total


async def _answer(workers: Workers, uuid: str, seen: set[str]) -> None:
    assert uuid not in seen
    seen.add(uuid)
    await workers.events.SendEventMessage(
        pb.EventMessage(Topic="A", Event="SUCCES", ReferenceUUID=uuid), timeout=10
    )


async def test_a_reply_that_came_first_is_found_by_a_new_iterator(
    connector: TinyConnector, workers: Workers
) -> None:
    await workers.events.SendEventMessage(
        pb.EventMessage(Topic="A", Event="SUCCES", ReferenceUUID="elsewhere", Payload="7"), timeout=10
    )
    iterator = (await workers.events.CreateIteratorEvent(pb.Empty())).Id
    request = pb.EventMessageWait(
        Topic="A", Event="SUCCES", ReferenceUUID="elsewhere", IteratorId=iterator, WorkerSource="w"
    )
    assert (await workers.events.WaitEventMessage(request, timeout=10)).Payload == "7"


async def test_iterators_of_the_wrong_kind_are_not_found(workers: Workers) -> None:
    iterator = (await workers.events.CreateIteratorEvent(pb.Empty())).Id
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await workers.commands.WaitCommandMessage(pb.CommandMessageWait(Value="A", IteratorId=iterator))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_wait_that_the_door_heard_cancelled_swallows_nothing(
    connector: TinyConnector, workers: Workers
) -> None:
    iterator = (await workers.commands.CreateIteratorCommand(pb.Empty())).Id
    request = pb.CommandMessageWait(Value="A", IteratorId=iterator)
    wait = workers.commands.WaitCommandMessage(request)
    gone = asyncio.ensure_future(_message(wait))
    await asyncio.wait_for(connector.parked.get(), 10)
    wait.cancel()
    await asyncio.wait_for(connector.cancelled.get(), 10)
    connector.offer("A", "u-1")
    assert (await workers.commands.WaitCommandMessage(request, timeout=10)).UUID == "u-1"
    await asyncio.wait([gone], timeout=10)
    assert gone.cancelled()
