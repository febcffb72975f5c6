"""The bounded drain: order of events on the loop, with inproc sockets whose messages are there at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from zconnector.shoset import drain as module
from zconnector.shoset.drain import MAX_MESSAGES, SLOWED_MESSAGES, Drain

WAIT = 10.0


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(0)


def pair(context: zmq.Context[Any], name: str) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Two ends: what the first sends, the second has."""
    ends = context.socket(zmq.DEALER), context.socket(zmq.DEALER)
    for end in ends:
        end.setsockopt(zmq.SNDHWM, 0)
        end.setsockopt(zmq.RCVHWM, 0)
    ends[1].bind(f"inproc://{name}")
    ends[0].connect(f"inproc://{name}")
    return ends


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the count bounds: the machine's speed plays no part."""
    monkeypatch.setattr(module, "MAX_SECONDS", 3_600.0)


@pytest.mark.usefixtures("slow_clock")
async def test_a_flood_lets_timers_and_other_sockets_through(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    flooder, flooded = pair(context, "flood")
    quiet, heard = pair(context, "quiet")
    order: list[str] = []
    done = asyncio.Event()
    flood = 10 * MAX_MESSAGES

    def flooded_by(frames: list[bytes]) -> None:
        order.append("flood")
        if order.count("flood") == 1:
            loop.call_later(0, order.append, "timer")
            quiet.send(b"command")
        if order.count("flood") == flood:
            done.set()

    for _ in range(flood):
        flooder.send(b"x")
    first = Drain(flooded, flooded_by, loop)
    second = Drain(heard, lambda frames: order.append("command"), loop)
    first.start()
    second.start()
    await asyncio.wait_for(done.wait(), WAIT)
    first.stop()
    second.stop()
    assert order.index("timer") <= 2 * MAX_MESSAGES + 1
    assert order.index("command") <= 3 * MAX_MESSAGES
    assert order.count("flood") == flood


async def test_a_wake_is_bounded_in_time_too(
    context: zmq.Context[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", 0.0)
    loop = asyncio.get_running_loop()
    sender, receiver = pair(context, "time")
    order: list[str] = []
    done = asyncio.Event()

    def heard(frames: list[bytes]) -> None:
        order.append(frames[0].decode())
        if frames == [b"2"]:
            done.set()

    for number in range(3):
        sender.send(b"%d" % number)
    drain = Drain(receiver, heard, loop, before=lambda: order.append("wake"))
    drain.start()
    await asyncio.wait_for(done.wait(), WAIT)
    drain.stop()
    assert " ".join(order).startswith("wake 0 wake 1 wake 2")


@pytest.mark.usefixtures("slow_clock")
async def test_before_comes_once_a_wake_and_before_the_first_message(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    sender, receiver = pair(context, "before")
    order: list[str] = []
    done = asyncio.Event()

    def heard(frames: list[bytes]) -> None:
        order.append(frames[0].decode())
        if frames == [b"c"]:
            done.set()

    for name in (b"a", b"b", b"c"):
        sender.send(name)
    drain = Drain(receiver, heard, loop, before=lambda: order.append("before"))
    drain.start()
    await asyncio.wait_for(done.wait(), WAIT)
    drain.stop()
    assert order[:4] == ["before", "a", "b", "c"]


@pytest.mark.usefixtures("slow_clock")
async def test_after_comes_once_a_wake_behind_the_last_message_or_failure(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, told: order.append("failed"))
    sender, receiver = pair(context, "after")
    order: list[str] = []
    done = asyncio.Event()

    def heard(frames: list[bytes]) -> None:
        order.append(frames[0].decode())
        if frames == [b"b"]:
            raise ValueError
        if frames == [b"d"]:
            loop.call_soon(done.set)

    for name in (b"a", b"b", b"c", b"d"):
        sender.send(name)
    drain = Drain(receiver, heard, loop, after=lambda: order.append("after"))
    drain.start()
    await asyncio.wait_for(done.wait(), WAIT)
    drain.stop()
    loop.set_exception_handler(None)
    assert order == ["a", "b", "after", "failed", "c", "d", "after"]


async def test_news_swallowed_by_a_send_is_found_after_rearm(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    peer, socket = pair(context, "rearm")
    heard: asyncio.Queue[list[bytes]] = asyncio.Queue()
    drain = Drain(socket, heard.put_nowait, loop)
    drain.start()
    peer.send(b"first")
    assert await asyncio.wait_for(heard.get(), WAIT) == [b"first"]
    peer.send(b"second")
    # Takes the FD's news, as any call on the socket may: the loop will not be woken.
    assert int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN
    socket.send(b"answer")
    drain.rearm()
    assert await asyncio.wait_for(heard.get(), WAIT) == [b"second"]
    drain.stop()


async def test_a_callback_may_stop_the_drain_and_close_the_socket(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    sender, receiver = pair(context, "stop")
    heard: list[bytes] = []
    stopped = asyncio.Event()

    def on_message(frames: list[bytes]) -> None:
        heard.append(frames[0])
        drain.stop()
        receiver.close(0)
        stopped.set()

    sender.send(b"a")
    sender.send(b"b")
    drain = Drain(receiver, on_message, loop)
    drain.start()
    await asyncio.wait_for(stopped.wait(), WAIT)
    drain.rearm()
    await asyncio.wait_for(turns(loop, 3), WAIT)
    assert heard == [b"a"]


async def test_an_exception_loses_only_its_message(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    sender, receiver = pair(context, "raise")
    errors: list[Any] = []
    done = asyncio.Event()
    loop.set_exception_handler(lambda _, problem: errors.append(problem["exception"]))

    def on_message(frames: list[bytes]) -> None:
        if frames == [b"bad"]:
            raise ValueError("bad")
        done.set()

    sender.send(b"bad")
    sender.send(b"good")
    drain = Drain(receiver, on_message, loop)
    drain.start()
    await asyncio.wait_for(done.wait(), WAIT)
    drain.stop()
    loop.set_exception_handler(None)
    assert [type(each) for each in errors] == [ValueError]


async def test_without_copy_the_first_frame_is_a_frame(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    sender, receiver = pair(context, "copy")
    heard: asyncio.Queue[list[Any]] = asyncio.Queue()
    drain = Drain(receiver, heard.put_nowait, loop, copy=False)
    drain.start()
    sender.send_multipart([b"id", b"a", b""])
    sender.send(b"alone")
    first, *rest = await asyncio.wait_for(heard.get(), WAIT)
    alone = await asyncio.wait_for(heard.get(), WAIT)
    drain.stop()
    assert isinstance(first, zmq.Frame)
    assert (first.bytes, rest) == (b"id", [b"a", b""])
    assert [each.bytes for each in alone] == [b"alone"]


async def turns(loop: asyncio.AbstractEventLoop, count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


# ---- pauses


class Turns:
    """A loop that the test turns by hand: readers and callbacks are kept, time stands still."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.due: list[tuple[float, asyncio.Handle]] = []
        self._handles = asyncio.new_event_loop()
        self._handles.close()

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> bool:
        return self.readers.pop(fd, None) is not None

    def call_soon(self, callback: Callable[[], None]) -> asyncio.Handle:
        return self.call_later(0.0, callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(callback, (), self._handles)
        self.due.append((delay, handle))
        return handle

    def delays(self) -> list[float]:
        """Of what is to be called: in how many seconds."""
        return [delay for delay, handle in self.due if not handle.cancelled()]

    def turn(self) -> None:
        """Call what is to be called, however long it was to wait; what that asks for waits a turn."""
        due, self.due = self.due, []
        for _, handle in due:
            if not handle.cancelled():
                handle._run()


class Slowed:
    """A drain on such a loop, with so many messages to read; the first wakes ask for these pauses."""

    def __init__(self, context: zmq.Context[Any], count: int, *pauses: float) -> None:
        self.sender, self.receiver = pair(context, "slow")
        for _ in range(count):
            self.sender.send(b"x")
        self.loop = Turns()
        self.heard = 0
        self.pauses = list(pauses)
        self.fresh = True
        self.drain = Drain(self.receiver, self.on_message, self.loop, before=self.wake)  # type: ignore[arg-type]
        self.drain.start()

    def wake(self) -> None:
        self.fresh = True

    def on_message(self, frames: list[bytes]) -> None:
        if self.fresh and self.pauses:
            self.drain.slow(self.pauses.pop(0))
        self.fresh = False
        self.heard += 1

    @property
    def reads(self) -> bool:
        """Whether the loop would report what can be read."""
        return bool(self.loop.readers)


@pytest.mark.usefixtures("slow_clock")
def test_a_wake_that_was_slowed_and_left_something_is_followed_by_a_pause(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 3 * MAX_MESSAGES, 0.25)
    slowed.loop.turn()
    assert slowed.heard == SLOWED_MESSAGES
    assert slowed.loop.delays() == [0.25]
    assert not slowed.reads, "the FD stays readable, and would be reported in every turn"
    slowed.loop.turn()
    assert slowed.reads
    assert slowed.heard == SLOWED_MESSAGES + MAX_MESSAGES
    assert slowed.loop.delays() == [0.0], "a pause is asked for again, or is none"


@pytest.mark.usefixtures("slow_clock")
def test_the_longest_pause_that_was_asked_for_counts(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 2 * MAX_MESSAGES, 0.25)
    slowed.drain.slow(0.5)
    slowed.drain.slow(0.1)
    slowed.loop.turn()
    assert slowed.loop.delays() == [0.5]


@pytest.mark.usefixtures("slow_clock")
def test_a_wake_that_read_everything_is_followed_by_no_pause(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, SLOWED_MESSAGES - 1, 0.25)
    slowed.loop.turn()
    assert slowed.heard == SLOWED_MESSAGES - 1
    assert (slowed.loop.delays(), slowed.reads) == ([], True)
    for _ in range(2 * MAX_MESSAGES):
        slowed.sender.send(b"x")
    slowed.drain.rearm()
    slowed.loop.turn()
    assert slowed.loop.delays() == [0.0], "nor is a later one"


@pytest.mark.usefixtures("slow_clock")
def test_pauses_go_on_as_long_as_they_are_asked_for(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 3 * SLOWED_MESSAGES + MAX_MESSAGES, 0.01, 0.02, 0.03)
    seen = []
    for _ in range(3):
        slowed.loop.turn()
        seen += slowed.loop.delays()
    assert seen == [0.01, 0.02, 0.03]
    slowed.loop.turn()
    slowed.loop.turn()
    assert slowed.heard == 3 * SLOWED_MESSAGES + MAX_MESSAGES
    assert (slowed.loop.delays(), slowed.reads) == ([], True)


@pytest.mark.usefixtures("slow_clock")
def test_a_stop_during_a_pause_reads_nothing_more_and_a_start_reads_the_rest(
    context: zmq.Context[Any],
) -> None:
    slowed = Slowed(context, SLOWED_MESSAGES + MAX_MESSAGES, 0.25)
    slowed.loop.turn()
    slowed.drain.stop()
    assert (slowed.loop.delays(), slowed.reads) == ([], False)
    slowed.loop.turn()
    assert (slowed.heard, slowed.reads) == (SLOWED_MESSAGES, False)
    slowed.drain.start()
    slowed.loop.turn()
    assert (slowed.heard, slowed.reads) == (SLOWED_MESSAGES + MAX_MESSAGES, True)


@pytest.mark.usefixtures("slow_clock")
def test_a_wake_that_stops_the_drain_is_followed_by_no_pause(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 2 * MAX_MESSAGES)
    slowed.drain._on_message = lambda frames: slowed.drain.slow(0.25) or slowed.drain.stop()
    slowed.loop.turn()
    assert (slowed.loop.delays(), slowed.reads) == ([], False)


@pytest.mark.usefixtures("slow_clock")
def test_a_rearm_during_a_pause_does_nothing(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 3 * MAX_MESSAGES, 0.25)
    slowed.loop.turn()
    slowed.drain.rearm()
    assert (slowed.loop.delays(), slowed.reads) == ([0.25], False)
    assert slowed.heard == SLOWED_MESSAGES


@pytest.mark.usefixtures("slow_clock")
def test_an_exception_in_a_slowed_wake_is_followed_by_its_pause(context: zmq.Context[Any]) -> None:
    slowed = Slowed(context, 3)

    def bad(frames: list[bytes]) -> None:
        slowed.drain.slow(0.25)
        raise ValueError("bad")

    slowed.drain._on_message = bad
    errors: list[Any] = []
    slowed.loop._handles.set_exception_handler(lambda _, problem: errors.append(problem["exception"]))
    slowed.loop.turn()
    assert [type(each) for each in errors] == [ValueError]
    assert (slowed.loop.delays(), slowed.reads) == ([0.25], False)


@pytest.mark.usefixtures("slow_clock")
async def test_while_one_drain_pauses_the_loop_has_time_for_others(context: zmq.Context[Any]) -> None:
    loop = asyncio.get_running_loop()
    flooder, flooded = pair(context, "flood")
    heard: list[float] = []
    done = asyncio.Event()

    def on_message(frames: list[bytes]) -> None:
        heard.append(loop.time())
        drain.slow(0.02)
        if len(heard) == 2 * MAX_MESSAGES:
            done.set()

    for _ in range(2 * MAX_MESSAGES):
        flooder.send(b"x")
    drain = Drain(flooded, on_message, loop)
    drain.start()
    await asyncio.wait_for(done.wait(), WAIT)
    drain.stop()
    assert heard[MAX_MESSAGES] - heard[0] >= 0.015
