"""`forward`: what an aggregator forwards beside a bare pyzmq forwarder, in turns, both without CURVE.

client -> forwarder -> end, and a receipt back: the same client, the same end, the same frames; only the
forwarder differs. A command counts as two forwarded messages. In a turn of batches a transmission carries 16
messages, as the system's own do under load.

Three processes on two cores: the bare forwarder's rate is also its ends' rate. So the CPU time of the
forwarder for a message is told beside it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from tests.benchmarks.cpu import used
from tests.benchmarks.figures import ratio
from tests.benchmarks.forward_end import CREDIT
from tests.benchmarks.results import Results
from tests.benchmarks.topology import Process
from tests.benchmarks.workload import PAYLOAD_BYTES
from zconnector.messages.codec import decode, encode, encode_one
from zconnector.messages.kinds import VERSION, Kind
from zconnector.messages.message import Message

HERE = Path(__file__).parent
IN_FLIGHT = 32
"""As many as an instance took of one connector when this bench was made: its figures stay comparable."""
WAIT_MS = 10_000
GOAL = 0.5


class Client:
    """A connector that sends prepared commands, and counts receipts. Blocking."""

    def __init__(self, endpoint: str, *, greets: bool) -> None:
        """Raises RuntimeError: no session comes about within 10 s."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVTIMEO, WAIT_MS)
        if greets:
            self._socket.setsockopt(zmq.PLAIN_USERNAME, b"key-of-a")
            self._socket.setsockopt(zmq.PLAIN_PASSWORD, b"-")
        self._socket.connect(endpoint)
        self._number = 0
        mark = "@" * 36
        header = {
            "uuid": mark,
            "type": "B",
            "command": "BENCH",
            "timeout": 600_000,
            "budget": 600_000,
            "accept_until": int(time.time() * 1000) + 600_000,
            "source": "a",
            "tenant": "bench",
        }
        message = Message(Kind.COMMAND, header, b"x" * PAYLOAD_BYTES)
        self._prefix, encoded, self._payload = encode_one(message)
        self._header = encoded.replace(mark.encode(), b"%036d")
        if greets:
            self._greet()

    def _greet(self) -> None:
        hello = {
            "versions": [VERSION],
            "kind": "connector",
            "tenant": "bench",
            "name": "a",
            "instance": "0",
            "type": "A",
            "boot": "1",
            "session": "1",
            "credit": CREDIT,
        }
        secret = Message(Kind.SECRET, {"uuid": "secret", "command": "VALIDATE"}, b"-")
        for frames in encode([Message(Kind.HELLO, hello), secret]):
            self._socket.send_multipart(frames)
        try:
            while True:
                for message in decode(self._socket.recv_multipart()):
                    if message.kind is Kind.WELCOME and message.header["validated"]:
                        return
        except zmq.Again:
            raise RuntimeError("the aggregator of the bench has not welcomed its connector") from None

    def _send(self, batch: int) -> None:
        frames: list[bytes] = []
        for _ in range(batch):
            self._number += 1
            frames += [self._prefix, self._header % self._number, self._payload]
        self._socket.send_multipart(frames)

    def turn(self, seconds: float, batch: int) -> int:
        """Commands receipted within so many seconds. Raises RuntimeError: 10 s without any."""
        receipts = open_ = 0
        end = time.perf_counter() + seconds
        while True:
            going = time.perf_counter() < end
            while going and open_ + batch <= IN_FLIGHT:
                self._send(batch)
                open_ += batch
            if not open_:
                return receipts
            try:
                frames = self._socket.recv_multipart()
            except zmq.Again:
                raise RuntimeError(f"{open_} commands have no receipt after {WAIT_MS} ms") from None
            came = sum(b'"ON_GOING"' in frames[at] for at in range(1, len(frames), 3))
            open_ -= came
            receipts += came

    def close(self) -> None:
        self._context.destroy(linger=0)


@dataclass
class Way:
    """One forwarder with its client, and what it has forwarded."""

    client: Client
    pid: int
    rates: dict[int, list[float]] = field(default_factory=dict)
    """Messages forwarded a second, by size of batch."""
    cpu: dict[int, list[float]] = field(default_factory=dict)
    """CPU microseconds of the forwarder for a message."""

    def turn(self, seconds: float, batch: int) -> None:
        before, begun = used(self.pid), time.perf_counter()
        messages = 2 * self.client.turn(seconds, batch)
        if not messages:
            raise RuntimeError("nothing was forwarded")
        self.rates.setdefault(batch, []).append(messages / (time.perf_counter() - begun))
        self.cpu.setdefault(batch, []).append((used(self.pid) - before) / messages * 1e6)


async def bench(
    results: Results, state: Path, *, turns: int, seconds: float, batches: Sequence[int] = (1, 16)
) -> None:
    """Measure. Raises RuntimeError: nothing comes back."""
    async with AsyncExitStack() as stack:
        ways: dict[str, Way] = {}
        for name in ("aggregator", "bare"):
            end = Process(HERE / "forward_end.py", log=state / f"{name}-end.log")
            await end.start()
            stack.push_async_callback(end.stop)
            argv = [await end.line(), *([str(state)] if name == "aggregator" else [])]
            forwarder = Process(HERE / f"forward_{name}.py", *argv, log=state / f"{name}.log")
            await forwarder.start()
            stack.push_async_callback(forwarder.stop)
            endpoint = await forwarder.line()
            client = await asyncio.to_thread(Client, endpoint, greets=name == "aggregator")
            stack.callback(client.close)
            ways[name] = Way(client, forwarder.pid)
            await asyncio.to_thread(client.turn, min(1.0, seconds), 1)  # warm
        for _ in range(turns):
            for batch in batches:
                for way in ways.values():
                    await asyncio.to_thread(way.turn, seconds, batch)
    ours, theirs = ways["aggregator"], ways["bare"]
    for batch in batches:
        rate = ratio(ours.rates[batch], theirs.rates[batch])
        results.add(
            "forward",
            f"messages a transmission: {batch}",
            ours_per_second=[round(value) for value in ours.rates[batch]],
            bare_per_second=[round(value) for value in theirs.rates[batch]],
            ratio=round(rate, 3),
            ours_cpu_us=[round(value, 1) for value in ours.cpu[batch]],
            bare_cpu_us=[round(value, 1) for value in theirs.cpu[batch]],
            cpu_ratio=round(ratio(ours.cpu[batch], theirs.cpu[batch]), 2),
        )
        results.judge(
            f"forwarding by a bare forwarder's, {batch} a transmission", rate, f">= {GOAL}", rate >= GOAL
        )
        results.judge(
            f"the same by CPU time of the forwarder, {batch} a transmission",
            ratio(theirs.cpu[batch], ours.cpu[batch]),
        )
