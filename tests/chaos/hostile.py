"""Peers that mean no good, as a process: python hostile.py KIND SECONDS CHANCE < what it must know

Standard input is one JSON object: `port`, and for those that speak the protocol `enrolment`. Prints what it
did at the end, one JSON object.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from tests.support.stranger import Stranger, hello
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import MAX_FRAME, Kind
from zconnector.messages.message import Message
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.keys import KeyPair

PEERS = 1_000
AT_ONCE = 50
"""Peers of a storm that greet before the next ones come."""
GARBAGE = (
    b"",
    b"\0" * 64,
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03",  # half of a ZMTP greeting
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01NULL".ljust(64, b"\0") + b"\x04\xff\xff\xff\xff\xff\xff\xff\xff" * 9,
    b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01CURVE".ljust(64, b"\0") + b"\x04\xc8\x05HELLO" + b"\x01" * 194,
    b'{"op":' * 1000,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


def garbage(rng: random.Random, end: float, port: int, _: Enrolment) -> dict[str, int]:
    """Junk, again and again, on many connections."""
    thrown = 0
    while time.monotonic() < end:
        content = rng.choice((*GARBAGE, rng.randbytes(rng.randrange(1, 5000))))
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as connection:
            connection.sendall(content)
            thrown += 1
    return {"connections": thrown}


def half_open(rng: random.Random, end: float, port: int, _: Enrolment) -> dict[str, int]:
    """Connections that say nothing, or stop in the middle of their greeting, and stay."""
    held: list[socket.socket] = []
    for _number in range(300):
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), 1.0)
            held.append(connection)
            connection.sendall(GARBAGE[5][: rng.choice((0, 5, 11, 64, 100))])
    time.sleep(max(0.0, end - time.monotonic()))
    return {"connections": len(held)}


def oversized(rng: random.Random, end: float, _: int, enrolment: Enrolment) -> dict[str, int]:
    """Frames over what ZeroMQ lets pass, and messages over what the codec does; before any validation."""
    sent = 0
    while time.monotonic() < end:
        with Stranger(enrolment.endpoints[0]) as peer, suppress(zmq.ZMQError):
            peer.socket.setsockopt(zmq.SNDTIMEO, 200)
            peer.say(hello(enrolment))
            size = rng.choice((MAX_FRAME + 1, 4_100_000, 70_000))
            header = b"{" + b" " * size + b"}" if size == 70_000 else b"{}"
            peer.frames([b"ZC\1\2\0\0\0\0", header, b"x" * size])
            peer.socket.poll(100)
            sent += 1
    return {"messages": sent}


def storm(rng: random.Random, end: float, _: int, enrolment: Enrolment) -> dict[str, int]:
    """A thousand peers, each with a key of its own, that greet, go without a word, and come back."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 2 * PEERS + 100)
    at = enrolment.endpoints[0]
    keys = [KeyPair.fresh() for _number in range(PEERS)]
    peers: list[zmq.Socket[bytes] | None] = [None] * PEERS
    greeting = encode_one(hello(enrolment))
    counts = {"greeted": 0, "welcomed": 0, "most_at_once": 0}
    while time.monotonic() < end:
        poller = zmq.Poller()
        for number in rng.sample(range(PEERS), AT_ONCE):
            before = peers[number]
            if before is not None:
                before.close(0)
            peers[number] = fresh = context.socket(zmq.DEALER)
            fresh.setsockopt(zmq.CURVE_SERVERKEY, at.key.encode())
            fresh.setsockopt(zmq.CURVE_PUBLICKEY, keys[number].public.encode())
            fresh.setsockopt(zmq.CURVE_SECRETKEY, keys[number].secret.encode())
            fresh.setsockopt(zmq.RECONNECT_IVL, 50)
            fresh.connect(at.endpoint)
            fresh.send_multipart(greeting, zmq.NOBLOCK)
            poller.register(fresh, zmq.POLLIN)
            counts["greeted"] += 1
        counts["welcomed"] += _answered(poller)
        counts["most_at_once"] = max(counts["most_at_once"], sum(peer is not None for peer in peers))
    context.destroy(linger=0)
    return counts


def _answered(poller: zmq.Poller, seconds: float = 0.15) -> int:
    """How many of these peers are answered within that time."""
    end = time.monotonic() + seconds
    answered = 0
    while poller.sockets and (left := end - time.monotonic()) > 0:
        for peer, _ in poller.poll(int(left * 1000) + 1):
            poller.unregister(peer)
            answered += 1
    return answered


def flood(rng: random.Random, end: float, _: int, enrolment: Enrolment) -> dict[str, int]:
    """A validated peer that keeps to no credit."""
    kind = rng.choice(("beats", "garbage", "commands", "events"))
    make: dict[str, Callable[[], Message]] = {
        "beats": lambda: Message(Kind.HEARTBEAT, {"received": 0}),
        "commands": lambda: Message(Kind.COMMAND, {**_ids(rng), **_COMMAND}, b"x" * 256),
        "events": lambda: Message(Kind.EVENT, {**_ids(rng), "topic": "t", "event": "E"}, b"x" * 256),
    }
    sent = 0
    with Stranger(enrolment.endpoints[0]) as peer:
        peer.greet(enrolment)
        peer.socket.setsockopt(zmq.SNDTIMEO, 0)
        while time.monotonic() < end:
            try:
                if kind == "garbage":
                    peer.frames([b"x" * 8, b"{}", b"x" * 256])
                else:
                    peer.say(*(make[kind]() for _number in range(10)))
                sent += 1
            except zmq.Again:
                peer.socket.poll(100, zmq.POLLOUT)
            while peer.socket.poll(0):
                peer.socket.recv_multipart()
    return {f"transmissions of {kind}": sent}


_COMMAND = {"type": "Nobody", "command": "X", "timeout": 5000, "budget": 5000, "accept_until": 0}


def _ids(rng: random.Random) -> dict[str, Any]:
    return {"uuid": f"flood-{rng.getrandbits(96):x}"}


DOES = {"garbage": garbage, "half-open": half_open, "oversized": oversized, "storm": storm, "flood": flood}


def main() -> int:
    kind, seconds, chance = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    os.nice(5)  # on a machine of two cores it would else keep everybody from working
    known = json.loads(sys.stdin.read())
    enrolment = Enrolment.decode(known["enrolment"])
    print(json.dumps(DOES[kind](random.Random(chance), time.monotonic() + seconds, known["port"], enrolment)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
