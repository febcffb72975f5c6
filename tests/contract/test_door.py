"""The door: one suite over inproc, ipc, and without a socket."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq

from zconnector.actions import Call, Caller, Respond
from zconnector.errors import Reason, Refusal
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.asking import MAX_PENDING, Answered
from zconnector.queue.door import DoorClient, DoorServer
from zconnector.queue.door_inner import InnerDoor

NUMBERS = itertools.count()


class Core:
    """Echoes; `wait` is answered when the test says so."""

    def __init__(self) -> None:
        self.waiting: dict[Caller, bytes] = {}
        self.steps: list[int] = []
        """How many calls came together, where the door tells them so."""
        self.cancelled: list[Caller] = []
        self.changed = asyncio.Condition()
        self.door: DoorServer | InnerDoor | None = None

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes) -> None:
        assert self.door is not None
        if op == "wait":
            self.waiting[caller] = payload
        elif op == "refuse":
            self.door.respond(Respond(caller, error=Refusal(Reason.CONFLICT, "näin", "u-1")))
        elif op == "huge":
            self.door.respond(Respond(caller, {}, b"x" * 4_000_000))
        else:
            self.door.respond(Respond(caller, {"op": op, **args}, payload))
        self._wake()

    def calls(self, calls: Sequence[Call]) -> None:
        self.steps.append(len(calls))
        for call in calls:
            self.call(*call)

    def cancel(self, caller: Caller) -> None:
        self.cancelled.append(caller)
        self.waiting.pop(caller, None)
        self._wake()

    def _wake(self) -> None:
        async def wake() -> None:
            async with self.changed:
                self.changed.notify_all()

        asyncio.ensure_future(wake())  # noqa: RUF006  # ends by itself at once

    def stop(self) -> None:
        if isinstance(self.door, InnerDoor):
            self.door.close()
        elif self.door is not None:
            self.door.stop()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)


@pytest.fixture
def context() -> Any:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)  # also after a failed test that left sockets open


@pytest.fixture(params=["inproc", "ipc", "inner"])
def endpoint(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "inner":
        return ""
    if request.param == "inproc":
        return f"inproc://door-{next(NUMBERS)}"
    return f"ipc://{tmp_path}/door.sock"


@pytest.fixture
async def core(context: Any, endpoint: str) -> AsyncIterator[Core]:
    made = Core()
    if endpoint:
        made.door = DoorServer(context, endpoint, made.call, made.cancel)
        made.door.start()
    else:
        made.door = InnerDoor(made.calls, made.cancel)
    yield made
    made.stop()


@pytest.fixture
async def client(context: Any, endpoint: str, core: Core) -> AsyncIterator[DoorClient | InnerDoor]:
    if isinstance(core.door, InnerDoor):
        yield core.door
        return
    made = DoorClient(context, endpoint)
    made.start()
    yield made
    made.close()


async def test_a_call_and_its_result(client: DoorClient | InnerDoor) -> None:
    assert await client.call("echo", {"x": 1}, b"\xff\x00") == ({"op": "echo", "x": 1}, b"\xff\x00")


async def test_a_refusal_comes_back_whole(client: DoorClient | InnerDoor) -> None:
    with pytest.raises(Refusal) as caught:
        await client.call("refuse", {})
    assert (caught.value.reason, caught.value.detail, caught.value.uuid) == (Reason.CONFLICT, "näin", "u-1")


async def test_many_calls_at_once_are_not_confused(client: DoorClient | InnerDoor) -> None:
    answers = await asyncio.gather(*(client.call("echo", {"n": n}, str(n).encode()) for n in range(1_000)))
    assert [(args["n"], payload) for args, payload in answers] == [(n, str(n).encode()) for n in range(1_000)]


async def test_answers_may_come_in_another_order(client: DoorClient | InnerDoor, core: Core) -> None:
    calls = [asyncio.ensure_future(client.call("wait", {}, str(n).encode())) for n in range(50)]
    await core.until(lambda: len(core.waiting) == 50)
    assert core.door is not None
    for caller, payload in reversed(list(core.waiting.items())):
        core.door.respond(Respond(caller, {}, payload))
    assert [payload for _, payload in await asyncio.gather(*calls)] == [str(n).encode() for n in range(50)]


async def test_cancelling_the_task_takes_the_call_back(client: DoorClient | InnerDoor, core: Core) -> None:
    call = asyncio.ensure_future(client.call("wait", {}))
    await core.until(lambda: len(core.waiting) == 1)
    [caller] = core.waiting
    call.cancel()
    await core.until(lambda: core.cancelled == [caller])
    # An answer that the core gives nevertheless goes nowhere, and hurts no later call.
    assert core.door is not None
    core.door.respond(Respond(caller, {}, b"late"))
    assert (await client.call("echo", {}))[1] == b""


async def test_an_answer_that_nobody_used_is_cancelled(client: DoorClient | InnerDoor, core: Core) -> None:
    """The answer had come, but the task was cancelled before it ran again."""
    call = asyncio.ensure_future(client.call("wait", {}))
    await core.until(lambda: len(core.waiting) == 1)
    [caller] = core.waiting
    assert core.door is not None
    core.door.respond(Respond(caller, {}, b"command"))
    call.cancel()
    await core.until(lambda: core.cancelled == [caller])
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_question_without_a_task_and_its_answer(client: DoorClient | InnerDoor) -> None:
    assert await client.ask("echo", {"a": 1}, b"p") == ({"op": "echo", "a": 1}, b"p")
    with pytest.raises(Refusal) as caught:
        await client.ask("refuse", {})
    assert caught.value.reason is Reason.CONFLICT


async def test_cancelling_a_question_takes_it_back(client: DoorClient | InnerDoor, core: Core) -> None:
    asked = client.ask("wait", {})
    await core.until(lambda: core.waiting)
    caller = next(iter(core.waiting))
    asked.cancel()
    await core.until(lambda: core.cancelled == [caller])


async def test_an_answered_question_is_the_askers(client: DoorClient | InnerDoor, core: Core) -> None:
    asked = client.ask("echo", {})
    await asked
    assert not asked.cancel()
    assert await client.call("echo", {}) == ({"op": "echo"}, b"")  # whatever went before it has been heard
    assert core.cancelled == []


async def test_a_question_to_a_closed_door_is_refused(client: DoorClient | InnerDoor) -> None:
    client.close()
    with pytest.raises(Refusal) as caught:
        await client.ask("echo", {})
    assert caught.value.reason is Reason.SHUTTING_DOWN


async def test_stopping_answers_what_waits(client: DoorClient | InnerDoor, core: Core) -> None:
    call = asyncio.ensure_future(client.call("wait", {}))
    await core.until(lambda: len(core.waiting) == 1)
    core.stop()
    with pytest.raises(Refusal) as caught:
        await asyncio.wait_for(call, 10)
    assert caught.value.reason is Reason.SHUTTING_DOWN


async def test_closing_the_client_ends_its_calls(client: DoorClient | InnerDoor, core: Core) -> None:
    call = asyncio.ensure_future(client.call("wait", {}))
    await core.until(lambda: len(core.waiting) == 1)
    client.close()
    with pytest.raises(Refusal) as caught:
        await call
    assert caught.value.reason is Reason.SHUTTING_DOWN
    with pytest.raises(Refusal) as caught:
        await client.call("echo", {})
    assert caught.value.reason is Reason.SHUTTING_DOWN


async def test_what_is_too_large_is_refused_on_both_ways(client: DoorClient | InnerDoor, core: Core) -> None:
    if isinstance(client, InnerDoor):
        pytest.skip("what is not encoded has no size here: the core and the queue know the limits")
    with pytest.raises(Refusal) as caught:
        await client.call("echo", {}, b"x" * 4_000_000)
    assert caught.value.reason is Reason.TOO_LARGE
    with pytest.raises(Refusal) as caught:
        await client.call("huge", {})
    assert caught.value.reason is Reason.TOO_LARGE
    await core.until(lambda: len(core.cancelled) == 1)


async def test_garbage_is_dropped_and_others_are_served(
    context: Any, endpoint: str, core: Core, client: DoorClient | InnerDoor
) -> None:
    if not isinstance(core.door, DoorServer):
        pytest.skip("nobody else can reach it")
    stranger = context.socket(zmq.DEALER)
    stranger.linger = 1000
    stranger.connect(endpoint)
    for frames in ([b"x"], [b"ZC", b"{}", b""], [b"\0" * 8, b"{}", b""]):
        stranger.send_multipart(frames)
    stranger.send_multipart(encode_one(Message(Kind.EVENT, {"uuid": "1", "topic": "t", "event": "e"})))
    stranger.send_multipart(encode_one(Message(Kind.CALL, {"call": 1, "op": "echo"}, b"after")))
    answered = asyncio.get_running_loop().run_in_executor(None, stranger.recv_multipart)
    frames = await asyncio.wait_for(answered, 10)
    assert decode(frames)[0].payload == b"after"
    assert core.door.refused == 4
    assert (await client.call("echo", {}, b"fine"))[1] == b"fine"
    stranger.close()


class TestOtherProcess:
    """What only an ipc door needs."""

    @pytest.fixture
    def endpoint(self, tmp_path: Path) -> str:
        return f"ipc://{tmp_path}/door.sock"

    async def test_a_client_that_falls_silent_takes_its_calls_with_it(
        self, context: Any, endpoint: str
    ) -> None:
        core = Core()
        core.door = DoorServer(context, endpoint, core.call, core.cancel, beat=0.1, silence=3.0)
        core.door.start()
        silent = DoorClient(context, endpoint, beat=100, silence=100)
        lively = DoorClient(context, endpoint, beat=0.05, silence=5)
        silent.start()
        lively.start()
        call = asyncio.ensure_future(silent.call("wait", {}, b"silent"))
        other = asyncio.ensure_future(lively.call("wait", {}, b"lively"))
        await core.until(lambda: len(core.waiting) == 2)
        await core.until(lambda: len(core.cancelled) == 1)
        assert list(core.waiting.values()) == [b"lively"]
        with pytest.raises(Refusal) as caught:
            await asyncio.wait_for(call, 10)  # it lives after all: it hears that its call has ended
        assert caught.value.reason is Reason.SHUTTING_DOWN
        other.cancel()
        silent.close()
        lively.close()
        core.door.stop()

    async def test_a_door_that_is_gone_ends_the_calls_and_a_new_one_is_found(
        self, context: Any, endpoint: str
    ) -> None:
        first = Core()
        first.door = DoorServer(context, endpoint, first.call, first.cancel)
        first.door.start()
        client = DoorClient(context, endpoint, beat=0.05, silence=0.3)
        client.start()
        call = asyncio.ensure_future(client.call("wait", {}))
        await first.until(lambda: len(first.waiting) == 1)
        first.waiting.clear()
        first.door._pending.clear()  # as if killed: nobody answers
        first.door.stop()
        with pytest.raises(Refusal) as caught:
            await asyncio.wait_for(call, 10)
        assert caught.value.reason is Reason.SHUTTING_DOWN
        second = Core()
        second.door = DoorServer(context, endpoint, second.call, second.cancel)
        second.door.start()
        assert (await asyncio.wait_for(_call_until_taken(client), 10))[1] == b"again"
        client.close()
        second.door.stop()

    async def test_what_was_said_to_a_door_that_died_is_not_done_by_the_next_one(
        self, context: Any, endpoint: str
    ) -> None:
        """ZeroMQ keeps it for whoever binds the socket: that one would hand out a command to nobody."""
        first = Core()
        first.door = DoorServer(context, endpoint, first.call, first.cancel)
        first.door.start()
        client = DoorClient(context, endpoint, beat=0.05, silence=30)
        client.start()
        assert (await client.call("echo", {}, b"first"))[1] == b"first"
        first.door.stop()  # as if killed: nothing waits there
        calls = [asyncio.ensure_future(client.call("wait", {}, b"stale")) for _ in range(3)]
        bunch: list[Answered] = []
        client.ask_all([("wait", {}, b"stale")], bunch.extend)
        await asyncio.sleep(0)  # the calls are on the socket
        second = Core()
        second.door = DoorServer(context, endpoint, second.call, second.cancel)
        second.door.start()
        assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [Refusal] * 3
        fresh = asyncio.ensure_future(client.call("wait", {}, b"fresh"))
        await second.until(lambda: b"fresh" in second.waiting.values())
        assert list(second.waiting.values()) == [b"fresh"]
        assert [each.refusal is not None and each.refusal.reason for each in bunch] == [Reason.SHUTTING_DOWN]
        fresh.cancel()
        client.close()
        second.door.stop()

    async def test_calls_before_there_is_a_door_are_made_when_there_is_one(
        self, context: Any, endpoint: str
    ) -> None:
        client = DoorClient(context, endpoint, beat=0.05, silence=30)
        client.start()
        calls = [asyncio.ensure_future(client.call("echo", {}, str(n).encode())) for n in range(3)]
        given_up = asyncio.ensure_future(client.call("wait", {}, b"given up"))
        await asyncio.sleep(0)  # they have been asked
        given_up.cancel()
        core = Core()
        core.door = DoorServer(context, endpoint, core.call, core.cancel)
        core.door.start()
        assert [payload for _, payload in await asyncio.gather(*calls)] == [b"0", b"1", b"2"]
        assert not core.waiting
        client.close()
        core.door.stop()


async def _call_until_taken(client: DoorClient) -> tuple[dict[str, Any], bytes]:
    while True:
        try:
            return await client.call("echo", {}, b"again")
        except Refusal as refusal:
            assert refusal.reason is Reason.SHUTTING_DOWN  # noqa: PT017  # the old door's last call


async def test_a_question_without_a_task_is_answered_refused_or_taken_back(
    client: DoorClient | InnerDoor, core: Core
) -> None:
    """What `call` does by a task, `ask` does by a future."""
    assert await client.ask("echo", {"x": 1}, b"\xff") == ({"op": "echo", "x": 1}, b"\xff")
    with pytest.raises(Refusal, match="näin"):
        await client.ask("refuse", {})
    asked = client.ask("wait", {})
    await core.until(lambda: len(core.waiting) == 1)
    (caller,) = core.waiting
    assert asked.cancel()
    await core.until(lambda: core.cancelled == [caller])
    client.close()
    with pytest.raises(Refusal) as caught:
        await client.ask("echo", {})
    assert caught.value.reason is Reason.SHUTTING_DOWN


class Bunch:
    """An asker of many at once."""

    def __init__(self) -> None:
        self.told: list[list[Answered]] = []
        self.changed = asyncio.Event()

    def hear(self, answers: list[Answered]) -> None:
        self.told.append(answers)
        self.changed.set()

    @property
    def answers(self) -> dict[int, Answered]:
        return {answered.number: answered for answers in self.told for answered in answers}

    async def until(self, count: int) -> dict[int, Answered]:
        async with asyncio.timeout(10):
            while len(self.answers) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.answers


async def test_a_bunch_is_answered_each_by_its_number(client: DoorClient | InnerDoor, core: Core) -> None:
    bunch = Bunch()
    echo, refused, waits = client.ask_all(
        [("echo", {"x": 1}, b"p"), ("refuse", {}, b""), ("wait", {}, b"w")], bunch.hear
    )
    assert bunch.told == []  # never before their numbers are known
    answers = await bunch.until(2)
    assert (answers[echo].args, answers[echo].payload) == ({"op": "echo", "x": 1}, b"p")
    assert answers[echo].refusal is None
    refusal = answers[refused].refusal
    assert refusal is not None
    assert (refusal.reason, refusal.detail, refusal.uuid) == (Reason.CONFLICT, "näin", "u-1")
    await core.until(lambda: len(core.waiting) == 1)
    (caller,) = core.waiting
    assert core.door is not None
    core.door.respond(Respond(caller, {"late": True}, b""))
    assert (await bunch.until(3))[waits].args == {"late": True}


async def test_calls_that_come_together_are_one_step_and_one_telling(core: Core) -> None:
    if not isinstance(core.door, InnerDoor):
        pytest.skip("a socket hands over one after the other")
    bunch = Bunch()
    core.door.ask_all([("echo", {}, b"")] * 20, bunch.hear)
    core.door.ask_all([("echo", {}, b"")] * 3, bunch.hear)
    await bunch.until(23)
    assert core.steps == [20, 3]
    assert [len(answers) for answers in bunch.told] == [23]


async def test_one_of_a_bunch_is_taken_back_unless_it_is_answered(
    client: DoorClient | InnerDoor, core: Core
) -> None:
    bunch = Bunch()
    gone, answered = client.ask_all([("wait", {}, b"1"), ("wait", {}, b"2")], bunch.hear)
    await core.until(lambda: len(core.waiting) == 2)
    first, second = core.waiting
    client.take_back(gone)
    client.take_back(gone)
    await core.until(lambda: core.cancelled == [first])
    assert core.door is not None
    core.door.respond(Respond(first, {}, b""))
    core.door.respond(Respond(second, {}, b""))
    assert set(await bunch.until(1)) == {answered}
    client.take_back(answered)
    assert await client.call("echo", {}) == ({"op": "echo"}, b"")  # whatever went before it has been heard
    assert core.cancelled == [first]


async def test_an_answer_on_its_way_to_the_asker_is_not_taken_back(core: Core) -> None:
    if not isinstance(core.door, InnerDoor):
        pytest.skip("only here is it known when it comes")
    bunch = Bunch()
    (number,) = core.door.ask_all([("echo", {}, b"")], bunch.hear)
    core.door.take_back(number)
    assert set(await bunch.until(1)) == {number}
    assert core.cancelled == []


async def test_a_closed_door_ends_a_bunch_and_refuses_the_next(
    client: DoorClient | InnerDoor, core: Core
) -> None:
    bunch = Bunch()
    client.ask_all([("wait", {}, b""), ("wait", {}, b"")], bunch.hear)
    await core.until(lambda: len(core.waiting) == 2)
    client.close()
    client.ask_all([("echo", {}, b"")], bunch.hear)
    answers = await bunch.until(3)
    assert {each.refusal.reason for each in answers.values() if each.refusal} == {Reason.SHUTTING_DOWN}
    assert all(each.refusal for each in answers.values())


async def test_of_a_bunch_what_there_is_no_room_for_is_refused() -> None:
    asked: list[Call] = []
    door, bunch = InnerDoor(asked.extend, lambda _: None), Bunch()
    numbers = door.ask_all([("wait", {}, b"")] * (MAX_PENDING + 2), bunch.hear)
    assert len(asked) == MAX_PENDING
    answers = await bunch.until(2)
    assert list(answers) == list(numbers[-2:])
    assert {each.refusal.reason for each in answers.values() if each.refusal} == {Reason.BUSY}
    with pytest.raises(Refusal, match="calls are waiting"):
        await door.call("wait", {})
    door.take_back(numbers[0])
    (last,) = door.ask_all([("wait", {}, b"")], bunch.hear)
    assert asked[-1][0] == Caller(b"", last)


async def test_of_a_bunch_only_what_is_too_large_is_refused(client: DoorClient | InnerDoor) -> None:
    if isinstance(client, InnerDoor):
        pytest.skip("what is not encoded has no size here")
    bunch = Bunch()
    large, small = client.ask_all([("echo", {}, b"x" * 4_000_001), ("echo", {}, b"")], bunch.hear)
    answers = await bunch.until(2)
    refusal = answers[large].refusal
    assert refusal is not None
    assert refusal.reason is Reason.TOO_LARGE
    assert answers[small].refusal is None


async def test_a_burst_stays_in_order(client: DoorClient | InnerDoor, core: Core) -> None:
    """What is said in one turn of the loop goes together, a CANCEL after its CALL too."""
    await client.call("echo", {})  # before the door is known nothing is said that could be taken back
    asked = [client.ask("wait", {}, str(number).encode()) for number in range(200)]
    assert all(each.cancel() for each in asked[:100])
    await core.until(lambda: len(core.cancelled) == 100)
    assert list(core.waiting.values()) == [str(n).encode() for n in range(100, 200)]
    large = [client.ask("echo", {}, b"x" * 3_900_000) for _ in range(5)]  # beyond one transmission's bytes
    assert [len((await each)[1]) for each in large] == [3_900_000] * 5
