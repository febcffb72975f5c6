"""A peer spoken by hand at an aggregator instance: whatever it wants to say, validated or not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import zmq

from zconnector.messages.codec import decode, encode
from zconnector.messages.kinds import VERSION, Kind
from zconnector.messages.message import Message
from zconnector.shoset.enrolment import Endpoint, Enrolment
from zconnector.shoset.keys import KeyPair

DEADLINE = 15.0
BEAT = 0.25
"""Seconds between its heartbeats, while it listens."""


class Stranger:
    """One DEALER to one instance, with a key pair of its own. Blocking: for use in a thread or a process."""

    def __init__(self, at: Endpoint, keys: KeyPair | None = None) -> None:
        self.at = at
        self.keys = keys or KeyPair.fresh()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDTIMEO, int(DEADLINE * 1000))
        self.socket.setsockopt(zmq.CURVE_SERVERKEY, at.key.encode())
        self.socket.setsockopt(zmq.CURVE_PUBLICKEY, self.keys.public.encode())
        self.socket.setsockopt(zmq.CURVE_SECRETKEY, self.keys.secret.encode())
        self.socket.connect(at.endpoint)
        self._unread: list[Message] = []
        self._received = 0
        self._beat_at = 0.0
        self._greeted = False

    def __enter__(self) -> Stranger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)

    def say(self, *messages: Message) -> None:
        self._greeted = self._greeted or any(message.kind is Kind.HELLO for message in messages)
        for frames in encode(messages):
            self.frames(frames)

    def frames(self, frames: Sequence[bytes]) -> None:
        self.socket.send_multipart(frames)

    def hears(self, wanted: Callable[[Message], bool], seconds: float = DEADLINE) -> Message:
        """The first message that is wanted; those before it are gone. It beats meanwhile, like any peer."""
        end = time.monotonic() + seconds
        while True:
            while self._unread:
                message = self._unread.pop(0)
                if wanted(message):
                    return message
            now = time.monotonic()
            if now >= end:
                raise TimeoutError("the message did not come")
            if self._greeted and now >= self._beat_at:
                self._beat_at = now + BEAT
                self.say(Message(Kind.HEARTBEAT, {"received": self._received}))
            if self.socket.poll(int(BEAT * 1000)):
                self._unread += decode(self.socket.recv_multipart())
                self._received = self._received + len(self._unread)

    def hears_error(self) -> tuple[str, str]:
        """Reason and reference of the next ERROR."""
        error = self.hears(lambda m: m.kind is Kind.ERROR)
        return error.text("reason"), error.reference

    def greet(self, enrolment: Enrolment) -> None:
        """HELLO and SECRET of a declared connector; back when its session is live."""
        self.say(hello(enrolment), secret(enrolment))
        self.hears(lambda m: m.kind is Kind.WELCOME and bool(m.header["validated"]))


def hello(enrolment: Enrolment, **fields: Any) -> Message:
    header = {
        "versions": [VERSION],
        "kind": "connector",
        "tenant": enrolment.tenant,
        "name": enrolment.name,
        "instance": enrolment.instance,
        "type": enrolment.type,
        "boot": "stranger",
        "session": str(uuid.uuid4()),
        "credit": 1024,
        **fields,
    }
    return Message(Kind.HELLO, header)


def secret(enrolment: Enrolment) -> Message:
    return Message(Kind.SECRET, {"uuid": "secret", "command": "VALIDATE"}, enrolment.secret.encode())
