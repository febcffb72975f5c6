"""The driver and its sockets, with toy cores over real CURVE connections."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.integration.toys import WAIT, Toy, event, opening
from zconnector.actions import Close, Commit, Hash, Note, Reach, Serve, Stop, Transmit, Verify
from zconnector.errors import ConfigError, Reason, Refusal, StorageError
from zconnector.messages import Message
from zconnector.messages.codec import encode
from zconnector.messages.kinds import MAX_FRAME
from zconnector.runtime.driver import DefectError, Driver, InterruptedByUserError
from zconnector.settings import ProcessSettings
from zconnector.shoset.keys import KeyPair

LOCAL = "tcp://127.0.0.1:0"


class Node:
    """A toy core in a driver that runs."""

    def __init__(self, state_dir: Path, **settings: Any) -> None:
        self.keys = KeyPair.fresh()
        self.driver = Driver(ProcessSettings(state_dir, **settings), self.keys)
        self.toy = Toy()
        self.driver.attach(self.toy)
        self.endpoint = ""
        self.running: asyncio.Task[Any] | None = None

    def run(self, *, signals: bool = False) -> asyncio.Task[Any]:
        self.running = asyncio.ensure_future(self.driver.run(signals=signals))
        return self.running

    async def end(self) -> None:
        self.driver.stop()
        if self.running is None:
            await self.driver.close()
        else:
            await self.running


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def make(*, bind: bool = False, **settings: Any) -> Node:
        made = Node(tmp_path, **settings)
        nodes.append(made)
        if bind:
            made.endpoint = made.driver.bind(LOCAL)
        return made

    yield make
    for each in nodes:
        await each.end()


Make = Callable[..., Node]


async def connected(node: Make) -> tuple[Node, Node]:
    """A node that bound and one whose link 1 to it stands."""
    below, above = node(), node(bind=True)
    above.run()
    below.toy.at_start = [opening(above.endpoint, above.keys)]
    below.run()
    await below.toy.hear("opened")
    return below, above


async def test_frames_go_both_ways_and_carry_the_key_of_the_peer(node: Make) -> None:
    below, above = await connected(node)
    above.toy.on_frames = lambda link, key, messages: [Transmit(link, (event("back"),))]
    below.driver.feed([Transmit(1, (event("there", b"\x00payload"),))])
    _, link, key, messages = await above.toy.hear("frames")
    assert isinstance(link, bytes)
    assert key == below.keys.public
    assert [(m.uuid, m.payload) for m in messages] == [("there", b"\x00payload")]
    _, link, key, messages = await below.toy.hear("frames")
    assert (link, key) == (1, above.keys.public)
    assert [m.uuid for m in messages] == ["back"]


async def test_transmits_of_one_batch_are_merged_in_order(node: Make) -> None:
    below, above = await connected(node)
    names = [f"e{number}" for number in range(150)]
    below.driver.feed([Transmit(1, (event(name),)) for name in names])
    sizes: list[int] = []
    seen: list[Any] = []
    while len(seen) < len(names):
        _, _, _, messages = await above.toy.hear("frames")
        sizes.append(len(messages))
        seen += [m.uuid for m in messages]
    assert seen == names
    assert sizes == [64, 64, 22]


async def test_a_message_too_large_is_refused_alone(node: Make) -> None:
    below, above = await connected(node)
    refused: list[str] = []

    def transmit(name: str, payload: bytes = b"") -> Transmit:
        return Transmit(1, (event(name, payload),), lambda now: refused.append(name) or [])

    below.driver.feed([transmit("a"), transmit("big", bytes(4_000_000)), transmit("b")])
    seen: list[str] = []
    while len(seen) < 2:
        _, _, _, messages = await above.toy.hear("frames")
        seen += [m.uuid for m in messages]
    assert seen == ["a", "b"]
    assert refused == ["big"]


async def test_a_close_follows_what_was_transmitted_before_it(node: Make) -> None:
    below, _above = await connected(node)
    refused: asyncio.Queue[str] = asyncio.Queue()
    below.driver.feed(
        [
            Transmit(1, (event("before"),), lambda now: refused.put_nowait("before") or []),
            Close(1),
            Transmit(1, (event("after"),), lambda now: refused.put_nowait("after") or []),
        ]
    )
    async with asyncio.timeout(WAIT):
        assert await refused.get() == "after"
    assert refused.empty()


async def test_a_transmit_that_no_socket_takes_is_refused_and_recursion_is_none(node: Make) -> None:
    below = node(bind=True)
    below.run()
    rounds = 0

    def again(now: Any) -> list[Any]:
        nonlocal rounds
        rounds += 1
        return [Transmit(b"nobody", (event("x"),), again)] if rounds < 5_000 else [Stop()]

    below.driver.feed([Transmit(7, (event("x"),), again)])
    assert below.running is not None
    assert await below.running is None
    assert rounds == 5_000


async def test_a_refused_connection_is_lost_at_once(node: Make) -> None:
    below, gone = node(), node(bind=True)
    await gone.end()
    below.toy.at_start = [opening(gone.endpoint, gone.keys, 1)]
    below.run()
    began = time.monotonic()
    heard = await below.toy.hear("lost")
    assert heard[1] == 1
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("endpoint", ["nonsense", "tcp://127.0.0.1", "tcp://127.0.0.1:notaport"])
async def test_an_endpoint_that_is_none_is_a_lost_link(node: Make, endpoint: str) -> None:
    below = node()
    below.toy.at_start = [opening(endpoint, KeyPair.fresh(), 3)]
    below.run()
    heard = await below.toy.hear("lost")
    assert heard[1] == 3
    assert endpoint in heard[2]


async def test_a_server_with_another_key_is_a_lost_link(node: Make) -> None:
    below, above = node(), node(bind=True)
    above.run()
    below.toy.at_start = [opening(above.endpoint, KeyPair.fresh())]
    below.run()
    assert (await below.toy.hear("lost"))[1] == 1


async def test_a_closed_link_says_nothing_more(node: Make) -> None:
    below, above = await connected(node)
    below.driver.feed([Close(1), opening(above.endpoint, above.keys, 2)])
    assert (await below.toy.hear("opened"))[1] == 2
    await above.end()
    assert (await below.toy.hear("lost"))[1] == 2
    assert below.toy.heard.empty()


CHILD = """
import asyncio, sys
from pathlib import Path
from zconnector.actions import Serve
from tests.integration.toys import Toy
from zconnector.runtime.driver import Driver
from zconnector.settings import ProcessSettings
from zconnector.shoset.keys import KeyPair

async def main():
    keys = KeyPair.fresh()
    driver = Driver(ProcessSettings(Path(sys.argv[1]), crash_at="target.after_receipt"), keys)
    toy = Toy()
    {wiring}
    driver.attach(toy)
    endpoint = driver.bind("tcp://127.0.0.1:0")
    async def serve():
        print(endpoint, keys.public, flush=True)
    driver.serve = serve
    toy.at_start = [Serve()]
    error = await driver.run()
    sys.exit(error.exit_code if error else 0)

asyncio.run(main())
"""


@asynccontextmanager
async def child(tmp_path: Path, wiring: str = "") -> AsyncIterator[tuple[subprocess.Popen[str], str, str]]:
    """A process with a toy core; gives it, its endpoint and its key."""
    process = subprocess.Popen(  # noqa: ASYNC220 - its pipes are read in threads, with a deadline
        [sys.executable, "-c", CHILD.format(wiring=wiring), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), WAIT)
        endpoint, key = line.split()
        yield process, endpoint, key
    finally:
        process.kill()
        process.communicate()


async def test_a_peer_that_is_killed_is_lost_within_milliseconds(node: Make, tmp_path: Path) -> None:
    below = node()
    async with child(tmp_path) as (process, endpoint, key):
        below.toy.at_start = [opening(endpoint, KeyPair(key, ""))]
        below.run()
        await below.toy.hear("opened")
        process.kill()
        began = time.monotonic()
        heard = await below.toy.hear("lost")
        assert heard[1:] == (1, "disconnected")
        assert time.monotonic() - began < 1.0


async def test_a_crash_point_kills_the_process_and_another_one_does_not(node: Make, tmp_path: Path) -> None:
    wiring = """
    from zconnector.actions import Reach, Transmit
    from tests.integration.toys import event
    toy.on_frames = lambda link, key, messages: [
        Reach("target.before_commit"), Transmit(link, (event("receipt"),)), Reach("target.after_receipt"),
        Transmit(link, (event("never"),)),
    ]
    """
    below = node()
    async with child(tmp_path, wiring.strip()) as (process, endpoint, key):
        below.toy.at_start = [opening(endpoint, KeyPair(key, ""))]
        below.toy.on_opened = lambda link: [Transmit(link, (event("command"),))]
        below.run()
        await below.toy.hear("lost")
        assert await asyncio.to_thread(process.wait, WAIT) == -signal.SIGKILL


def test_crash_points_that_are_not_asked_for_kill_nobody(tmp_path: Path) -> None:
    async def main() -> Any:
        one = Node(tmp_path, crash_at="source.after_send")
        one.toy.at_start = [Reach("source.before_send"), Stop()]
        return await one.driver.run(signals=False)

    assert asyncio.run(main()) is None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
async def test_a_signal_drains(tmp_path: Path, name: str) -> None:
    async with child(tmp_path) as (process, _, _):
        process.send_signal(getattr(signal, name))
        assert await asyncio.to_thread(process.wait, WAIT) == 0


async def test_a_second_signal_ends_a_drain(tmp_path: Path) -> None:
    wiring = 'toy.on_drain = lambda: print("draining", flush=True) or []'
    async with child(tmp_path, wiring) as (process, _, _):
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "draining\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, WAIT) == InterruptedByUserError.exit_code
        assert time.monotonic() - began < 2.0


async def test_a_drain_that_does_not_end_is_cut_short(node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zconnector.runtime.driver.DRAIN_SECONDS", 0.05)
    one = node()
    one.toy.on_drain = list
    running = one.run()
    one.driver.drain()
    async with asyncio.timeout(WAIT):
        assert await running is None


async def test_the_timer_ticks_at_the_deadline(node: Make) -> None:
    one = node()
    one.toy.due_at = wanted = one.driver.now().mono + 0.05
    one.run()
    _, at = await one.toy.hear("due")
    assert wanted <= at < wanted + 1.0


async def test_a_deadline_that_moves_earlier_moves_the_timer(node: Make) -> None:
    one = node()
    one.toy.due_at = one.driver.now().mono + 3_600
    one.run()
    one.toy.due_at = one.driver.now().mono + 0.01
    one.driver.feed([])
    await one.toy.hear("due")


class ListStore:
    """A store in memory; refuses what is named "bad"."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.closed = False

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        if "bad" in writes:
            raise StorageError("disk full")
        self.rows += writes
        return [len(self.rows)] * len(writes)

    def close(self) -> None:
        self.closed = True


async def test_commits_answer_in_order_and_failures_are_told(node: Make) -> None:
    one, store = node(), ListStore()
    one.driver.use_store(store)
    told: list[Any] = []

    def commit(*writes: str) -> Commit:
        return Commit(
            writes,
            lambda now, results: told.append((writes, "stored", store.rows[-1])) or [],
            lambda now, error: told.append((writes, str(error))) or [],
        )

    last = Commit((), lambda now, results: [Stop()], lambda now, error: [Stop(error)])
    running = one.run()
    one.driver.feed([commit("a", "b"), commit("bad"), commit("c"), last])
    async with asyncio.timeout(WAIT):
        assert await running is None
    assert [each[0] for each in told] == [("a", "b"), ("bad",), ("c",)]
    assert told[1][1] == "disk full"
    assert store.rows == ["a", "b", "c"]
    assert store.closed


async def test_secrets_are_hashed_and_verified_in_the_pool(node: Make) -> None:
    one = node()
    verdicts: asyncio.Queue[bool] = asyncio.Queue()

    def hashed(now: Any, text: str) -> list[Any]:
        def told(valid: bool) -> list[Any]:
            verdicts.put_nowait(valid)
            return []

        return [Verify(word, text, lambda now, valid: told(valid)) for word in (b"right", b"wrong")]

    one.run()
    one.driver.feed([Hash(b"right", hashed)])
    async with asyncio.timeout(WAIT):
        assert sorted([await verdicts.get(), await verdicts.get()]) == [False, True]


async def test_an_exception_out_of_the_core_ends_the_process(
    node: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    below, above = await connected(node)

    def broken(link: Any, key: str, messages: list[Message]) -> list[Any]:
        raise ZeroDivisionError("in the core")

    above.toy.on_frames = broken
    below.driver.feed([Transmit(1, (event("x"),))])
    assert above.running is not None
    async with asyncio.timeout(WAIT):
        error = await above.running
    assert isinstance(error, DefectError)
    assert error.exit_code == 70
    assert "ZeroDivisionError" not in str(error)
    assert "ZeroDivisionError" in "".join(capsys.readouterr())


async def test_serve_runs_once_and_its_error_ends_the_process(node: Make) -> None:
    one = node()
    served = 0

    async def serve() -> None:
        nonlocal served
        served += 1
        raise ConfigError("socket in use")

    one.driver.serve = serve
    one.toy.at_start = [Serve(), Serve()]
    async with asyncio.timeout(WAIT):
        error = await one.run()
    assert str(error) == "socket in use"
    assert served == 1


async def test_the_supervisor_hears_when_it_serves(node: Make, tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(WAIT)
        one = node(notify=str(tmp_path / "notify"))
        one.toy.at_start = [Serve()]
        one.run()
        assert await asyncio.to_thread(supervisor.recv, 100) == b"READY=1\n"


async def test_a_note_may_have_fields_of_any_name(node: Make) -> None:
    one = node()
    one.toy.at_start = [Note("warning", "x", {"event": "e", "level": 1, "timestamp": 2, "uuid": "u"}), Stop()]
    assert await one.run() is None


async def test_an_address_in_use_is_a_clear_error(node: Make) -> None:
    one, other = node(bind=True), node()
    with pytest.raises(ConfigError, match=f"cannot bind {one.endpoint}: Address already in use"):
        other.driver.bind(one.endpoint)


# ---- strangers on the port


async def test_garbage_and_strangers_harm_nobody(node: Make) -> None:
    below, above = await connected(node)
    host, port = above.endpoint.removeprefix("tcp://").split(":")
    plain = zmq.Context()
    writers: list[asyncio.StreamWriter] = []
    readers: list[asyncio.StreamReader] = []
    try:
        for content in (
            b"GET / HTTP/1.0\r\n\r\n",
            os.urandom(4096),
            b"\xff" + bytes(8) + b"\x7f" + bytes(60),
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writers.append(writer)
            readers.append(reader)
            writer.write(content)
        dealer = plain.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(above.endpoint)  # NULL mechanism
        for frames in encode([event("stranger")]):
            dealer.send_multipart(frames)
        name = plain.socket(zmq.DEALER)
        name.linger = 0
        name.plain_username, name.plain_password = b"root", b"root"
        name.connect(above.endpoint)
        # Every stranger is shown the door, at once or when the handshake's time is over.
        async with asyncio.timeout(WAIT):
            for reader in readers:
                with suppress(ConnectionResetError):
                    await reader.read()
        below.driver.feed([Transmit(1, (event("friend"),))])
        _, _, key, messages = await above.toy.hear("frames")
        assert (key, messages[0].uuid) == (below.keys.public, "friend")
        assert above.toy.heard.empty()
    finally:
        for writer in writers:
            writer.close()
        plain.destroy(0)


async def test_an_oversized_frame_costs_its_sender_the_connection_only(node: Make) -> None:
    below, above = await connected(node)
    rogue = node()
    rogue.toy.at_start = [opening(above.endpoint, above.keys)]
    rogue.run()
    await rogue.toy.hear("opened")
    assert rogue.driver._sockets.transmit(1, [bytes(MAX_FRAME + 1)])
    assert (await rogue.toy.hear("lost"))[2] == "disconnected"
    below.driver.feed([Transmit(1, (event("friend"),))])
    _, _, key, messages = await above.toy.hear("frames")
    assert (key, messages[0].uuid) == (below.keys.public, "friend")


async def test_a_flood_lets_timers_and_others_through(node: Make) -> None:
    flooder, above = await connected(node)
    other = node()
    other.toy.at_start = [opening(above.endpoint, above.keys)]
    other.run()
    await other.toy.hear("opened")
    order: list[str] = []
    flood = 20_000

    def heard(link: Any, key: str, messages: list[Message]) -> list[Any]:
        order.append("other" if key == other.keys.public else "flood")
        return []

    above.toy.on_frames = heard
    loop = asyncio.get_running_loop()
    sockets = flooder.driver._sockets
    frames = encode([event("flood")])[0]
    sent = 0

    def pour() -> None:
        nonlocal sent
        while sent < flood and sockets.transmit(1, frames):
            sent += 1
        if sent < flood:
            loop.call_soon(pour)

    pour()
    # The pipes are full now. What comes after must not wait for all that.
    other.driver.feed([Transmit(1, (event("command"),))])
    loop.call_later(0.001, order.append, "timer")
    async with asyncio.timeout(60):
        while len(order) < flood + 2:
            await above.toy.hear("frames")
    assert order.index("timer") < flood // 2
    assert order.index("other") < flood // 2


# ---- the control socket, through the driver


async def test_control_requests_reach_the_core(node: Make) -> None:
    one = node()
    one.toy.on_control = lambda op, args, reply: reply({"op": op, **args}) or []
    one.run()
    answers: list[Any] = []
    one.driver.control("status", {}, answers.append)
    one.driver.control("secret.list", {"a": 1}, answers.append)
    await one.end()
    one.driver.control("status", {}, answers.append)
    assert answers[0] == {"pid": os.getpid(), "toy": True}
    assert answers[1] == {"op": "secret.list", "a": 1}
    assert isinstance(answers[2], Refusal)
    assert answers[2].reason is Reason.SHUTTING_DOWN


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:22x", "tcp://127.0.0.1:99999", "127.0.0.1:1", "tcp://:1"]
)
async def test_what_is_no_endpoint_is_refused_by_its_rule(node: Make, endpoint: str) -> None:
    """ZeroMQ itself would listen on port 22 for the first of them."""
    with pytest.raises(ConfigError, match="an endpoint is tcp://HOST:PORT"):
        node().driver.bind(endpoint)
