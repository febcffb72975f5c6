"""The bounded drain: order of events on the loop, with inproc sockets whose messages are there at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from zconnector.shoset import drain as module
from zconnector.shoset.drain import MAX_MESSAGES, Drain

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
