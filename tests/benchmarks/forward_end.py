"""The far end of the forwarding bench: a member that answers each command with a receipt, and no more.

The same program ends both ways. The aggregator greets it (HELLO, SECRET) as it greets any member; the bare
forwarder does not. Run as: python forward_end.py; it prints its endpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import orjson
import zmq

from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import Flag, Kind, Outcome
from zconnector.messages.message import Message

UUID = slice(9, 45)
"""Where the uuid stands in a header that begins with it."""
CREDIT = 2**52
_BEGINS = b'{"uuid":"'


def template() -> tuple[bytes, bytes]:
    """Prefix of a receipt, and its header with two places for the uuid."""
    mark = "@" * 36
    header = {
        "uuid": mark,
        "topic": "BENCH",
        "event": str(Outcome.ON_GOING),
        "reference": mark,
        "digest": "0" * 64,
        "tenant": "bench",
        "recipient": "a",
        "source": "b",
    }
    prefix, encoded, _ = encode_one(Message(Kind.EVENT, header, b"", Flag.RECEIPT))
    return prefix, encoded.replace(b"%", b"%%").replace(mark.encode(), b"%(uuid)b")


def main() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    print(f"tcp://127.0.0.1:{port}", flush=True)
    prefix, header = template()
    payload = b"x" * 256
    while True:
        frames = socket.recv_multipart()
        at = (
            len(frames) % 3
        )  # routing ids: one through the aggregator, none else of it; two through the bare one
        at = at or 3
        answer = frames[:at]
        for index in range(at, len(frames), 3):
            told = frames[index + 1]
            if told.startswith(_BEGINS) and b'"command":"BENCH"' in told:
                answer += [prefix, header % {b"uuid": told[UUID]}, payload]
            else:
                answer += greeting(frames[index : index + 3])
        if len(answer) > at:
            socket.send_multipart(answer)


def greeting(frames: list[bytes]) -> list[bytes]:
    """What a member says to an aggregator that greets it; nothing to what needs no answer."""
    (message,) = decode(frames)
    if message.kind is Kind.HELLO:
        header = {
            "boot": "end",
            "name": "cluster",
            "instance": "1",
            "session": message.text("session"),
            "validated": True,
            "credit": CREDIT,
            "heartbeat": 750,
        }
        return encode_one(Message(Kind.WELCOME, header))
    if message.kind is Kind.SECRET and "key" in message.header:
        told = {"reference": message.uuid, "valid": True, "permissions": ["*"]}
        return encode_one(Message(Kind.SECRET, told, orjson.dumps({}), Flag.ANSWER))
    return []


if __name__ == "__main__":
    main()
