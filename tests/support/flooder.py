"""A validated peer that sends as fast as it can and keeps to no credit; run by test_hostile as a process."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from tests.support.stranger import Stranger
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.keys import KeyPair

BATCH = 10
BODY = b"x" * 256


def command(type_: str) -> Message:
    header = {
        "uuid": str(uuid.uuid4()),
        "type": type_,
        "command": "ANYTHING",
        "timeout": 5000,
        "budget": 5000,
    }
    return Message(Kind.COMMAND, {**header, "accept_until": int(time.time() * 1000) + 5000}, BODY)


def event() -> Message:
    return Message(Kind.EVENT, {"uuid": str(uuid.uuid4()), "topic": "t", "event": "E"}, BODY)


MAKE: dict[str, Callable[[], Message]] = {
    "beats": lambda: Message(Kind.HEARTBEAT, {"received": 0}),
    "commands for nobody": lambda: command("Nobody"),
    "commands": lambda: command("Ci"),
    "events": event,
}


def main() -> int:
    os.nice(19)  # it stands for another machine, whose cores are not these
    kind, seconds = sys.argv[1], float(sys.argv[2])
    enrolment, public, secret = (sys.stdin.readline().strip() for _ in range(3))
    declared = Enrolment.decode(enrolment)
    with Stranger(declared.endpoints[0], KeyPair(public, secret)) as peer:
        peer.greet(declared)
        print("begun", flush=True)
        peer.socket.setsockopt(zmq.SNDTIMEO, 0)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if kind == "garbage":
                    peer.frames([b"x" * 8, b"{}", BODY])
                else:
                    peer.say(*(MAKE[kind]() for _ in range(BATCH)))
            except zmq.Again:  # the connection is full: wait until it is not
                peer.socket.poll(100, zmq.POLLOUT)
            while peer.socket.poll(0):
                peer.socket.recv_multipart()
    return 0


if __name__ == "__main__":
    sys.exit(main())
