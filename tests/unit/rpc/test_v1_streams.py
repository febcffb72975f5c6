"""Streams of zconnector.v1 whose client and queue are both in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tests.support.bunches import Bunches
from zconnector.errors import Reason, Refusal
from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as c
from zconnector.rpc._gen.zconnector.v1 import events_pb2 as e
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as w
from zconnector.rpc.settings import ServiceSettings
from zconnector.rpc.v1.stream import MANY, Stream
from zconnector.rpc.v1.submit import SubmitStream
from zconnector.rpc.v1.subscribe import SubscribeStream
from zconnector.rpc.v1.work import WorkStream

Answer = tuple[dict[str, Any], bytes]
CLIENTS_TAKE = 4 << 20
"""Bytes of a message, unless a client asks for more."""
LEASE = {"uuid": "c1", "token": "t1", "command": "A", "size": 0}


class Door(Bunches):
    """Answers what opens a stream, and refuses every acknowledgement; the rest waits for the test."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []
        self.replies = b""
        """Payload of every reply; empty: the test answers."""
        self.pending: dict[str, asyncio.Future[Answer]] = {}
        self._asked = asyncio.Event()

    async def call(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        return {"valid": True, "created": True}, b""

    def ask(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> asyncio.Future[Answer]:
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        taken_back = f"{op} taken back"
        asked.add_done_callback(lambda done: self.log.append(taken_back) if done.cancelled() else None)
        self.log.append(" ".join([op, *(lease["uuid"] for lease in args.get("leases", ()))]))
        self.pending[op] = asked
        self._asked.set()
        if op == "await_reply" and self.replies:
            asked.set_result(({"event": "SUCCES"}, self.replies))
        if op == "acknowledge":
            error = {"code": "NOT_FOUND", "detail": "no such event"}
            asked.set_result(({"results": [{"error": error} for _ in args["events"]]}, b""))
        return asked

    async def until_asked(self, op: str) -> asyncio.Future[Answer]:
        while op not in self.pending:
            self._asked.clear()
            await self._asked.wait()
        return self.pending[op]


class Client:
    """A grpc context: frames of the client to read; what is written waits while `reads` is not set."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.reads = asyncio.Event()
        self.written: list[bytes] = []
        self.all_read = asyncio.Event()
        self._more = asyncio.Event()

    def say(self, *frames: Any) -> None:
        self.frames += [frame.SerializeToString() for frame in frames]
        self.all_read.clear()
        self._more.set()

    async def send_initial_metadata(self, _: Any) -> None: ...

    async def read(self) -> bytes:
        while not self.frames:
            self._more.clear()
            self.all_read.set()
            await self._more.wait()
        return self.frames.pop(0)

    async def write(self, frame: bytes) -> None:
        await self.reads.wait()
        self.written.append(frame)


Make = Callable[[Door, Client], Stream]
Check = Callable[[], Awaitable[None]]


async def serving(make: Make, check: Callable[[Door, Client, Stream], Awaitable[None]]) -> None:
    """Run a stream to its end, with the test beside it."""
    door, client = Door(), Client()
    stream = make(door, client)
    running = asyncio.ensure_future(stream.run())
    try:
        await asyncio.wait_for(check(door, client, stream), 20)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def work(door: Door, client: Client) -> Stream:
    topics = [t.Topic(topic="T")]
    register = w.Register(
        worker="w", major=1, commands=["A"], subscriptions=[t.Subscription(name="s", topics=topics)]
    )
    client.say(w.WorkRequest(register=register))
    return WorkStream(door, client, ServiceSettings(), "boot")  # type: ignore[arg-type]


def reader(door: Door, client: Client) -> Stream:
    client.say(e.SubscribeRequest(subscribe=t.Subscription(name="s", topics=[t.Topic(topic="T")])))
    return SubscribeStream(door, client, ServiceSettings())  # type: ignore[arg-type]


async def settled() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_commands_that_come_as_the_stream_ends_go_back_unseen_before_its_holder_is_gone() -> None:
    async def check(door: Door, client: Client, stream: Stream) -> None:
        taking = await door.until_asked("take")
        door.log.clear()
        stream.end(Refusal(Reason.TIMED_OUT, "the client said nothing"))
        taking.set_result(({"commands": [LEASE]}, b""))
        await settled()
        assert "give_back c1" in door.log
        assert door.log.index("give_back c1") < door.log.index("tidings taken back")

    await serving(work, check)


def outcomes(number: int) -> Any:
    return w.WorkRequest(outcomes=[t.Outcome(uuid=f"{number}-{each}") for each in range(1_000)])


def acks(_: int) -> Any:
    return w.WorkRequest(acks=[t.EventAck(subscription="s", id=each) for each in range(1_000)])


def acks_of_a_reader(_: int) -> Any:
    return e.SubscribeRequest(acks=[t.EventAck(id=each) for each in range(1_000)])


@pytest.mark.parametrize(
    ("make", "frame"), [(work, outcomes), (work, acks), (reader, acks_of_a_reader)], ids=lambda f: f.__name__
)
async def test_a_client_that_reads_no_answers_is_not_read_for_ever(
    make: Make, frame: Callable[[int], Any]
) -> None:
    frames = 3 * MANY // 1_000

    async def check(door: Door, client: Client, stream: Stream) -> None:
        await door.until_asked("take_events")
        client.say(*(frame(number) for number in range(frames)))
        await settled()
        assert len(client.frames) > frames // 2, "each frame has a thousand answers, which nobody reads"
        client.reads.set()
        await client.all_read.wait()
        await settled()
        kind = w.WorkReply if make is work else e.SubscribeReply
        replies: list[Any] = [kind.FromString(frame) for frame in client.written]
        told = sum(len(reply.acked) + (len(reply.settled) if make is work else 0) for reply in replies)
        assert told == 1_000 * frames

    await serving(make, check)


@pytest.mark.parametrize("make", [work, reader])
async def test_a_client_that_reads_no_events_gets_no_more_than_so_many_bytes(make: Make) -> None:
    async def check(door: Door, client: Client, stream: Stream) -> None:
        for number in range(3):
            taking = await door.until_asked("take_events")
            del door.pending["take_events"]
            event = {"id": number, "uuid": f"e{number}", "size": 2_500_000}
            taking.set_result(({"events": [event]}, b"x" * 2_500_000))
            await settled()
            if "take_events" not in door.pending:
                break
        assert "take_events" not in door.pending, "seven megabytes are unread"
        client.reads.set()
        await door.until_asked("take_events")

    await serving(make, check)


async def test_what_comes_together_is_in_frames_that_every_client_takes() -> None:
    async def check(door: Door, client: Client, stream: Stream) -> None:
        taking, events = await door.until_asked("take"), await door.until_asked("take_events")
        command = {**LEASE, "size": 900_000}
        taking.set_result(({"commands": [command]}, b"x" * 900_000))
        event = {"id": 1, "uuid": "e1", "size": 3_900_000}
        events.set_result(({"events": [event]}, b"x" * 3_900_000))
        await settled()  # its first frame, the registration, is being written all the while
        client.reads.set()
        await settled()
        replies = [w.WorkReply.FromString(frame) for frame in client.written]
        assert sum(len(reply.commands) for reply in replies) == 1
        assert sum(len(reply.events) for reply in replies) == 1
        assert max(map(len, client.written)) <= CLIENTS_TAKE

    await serving(work, check)


async def test_receipts_and_a_large_reply_too() -> None:
    bad = [t.Submission(uuid=f"bad-{number:056}", target="t" * 40) for number in range(1_900)]

    def sender(door: Door, client: Client) -> Stream:
        client.say(c.SubmitRequest(commands=bad[:1]))
        return SubmitStream(door, client, ServiceSettings())  # type: ignore[arg-type]

    async def check(door: Door, client: Client, stream: Stream) -> None:
        await settled()  # the first receipt is being written all the while
        client.say(c.SubmitRequest(commands=bad[1:], awaits=[c.AwaitRequest(uuid="c1")]))
        waiting = await door.until_asked("await_reply")
        waiting.set_result(({"event": "SUCCES"}, b"x" * 3_999_000))
        client.reads.set()
        await settled()
        replies = [c.SubmitReply.FromString(frame) for frame in client.written]
        assert sum(len(reply.receipts) for reply in replies) == 1_900
        assert sum(len(reply.replies) for reply in replies) == 1
        assert max(map(len, client.written)) <= CLIENTS_TAKE

    await serving(sender, check)


async def test_replies_that_nobody_reads_stay_at_the_queue_and_come_in_the_end() -> None:
    uuids = [f"c{number}" for number in range(20)]

    def sender(door: Door, client: Client) -> Stream:
        door.replies = b"x" * 1_000_000
        client.say(c.SubmitRequest(awaits=[c.AwaitRequest(uuid=uuid) for uuid in uuids]))
        return SubmitStream(door, client, ServiceSettings())  # type: ignore[arg-type]

    async def check(door: Door, client: Client, stream: Stream) -> None:
        await settled()
        assert isinstance(stream, SubmitStream)
        assert stream.unread <= 5_000_000
        client.reads.set()
        await settled()
        replies = [reply for frame in client.written for reply in c.SubmitReply.FromString(frame).replies]
        assert sorted(reply.uuid for reply in replies) == sorted(uuids)
        assert {len(reply.payload) for reply in replies} == {1_000_000}
        assert not stream.busy()

    await serving(sender, check)
