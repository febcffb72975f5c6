"""The client end of the queue's door: a DEALER on the event loop (WIRE.md section 14)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import zmq

from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import MAX_FRAME, MAX_TRANSMISSION, Kind
from zconnector.messages.message import Message
from zconnector.queue.asking import Answered, Asking, Question
from zconnector.shoset.drain import Drain

ALIVE = "alive"
"""The call by which a client in another process shows that it lives; answered by the door itself."""
BEAT = 1.0
"""Seconds between two of them."""
SILENCE = 3.0
"""Seconds after which a client (or, for a client, the door) that said nothing is gone."""
MAX_TOGETHER = 32
"""Messages of one transmission: the door takes one at a go, so not as many as the protocol allows."""


class DoorClient(Asking):
    """Calls a door: a DEALER on the event loop.

    Over ipc it says `alive` each second; a door that is silent for too long, or is another one than
    before, ends all that waits with SHUTTING_DOWN, and the client dials anew on a fresh socket. ZeroMQ hands
    what was said to a door that has died to the next one: so calls say which door they are for, and none is
    made before that is known. Else the next one would give a command, or an event, to a caller who is gone.

    Invariant: over ipc, while `_boot` is None nothing but `alive` was said on this socket, and the calls that
    wait to be made are those of `_early`; then that is empty.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        endpoint: str,
        *,
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        super().__init__()
        self._context = context
        self._endpoint = endpoint
        self._beat = beat
        self._silence = silence
        self._beats = not endpoint.startswith("inproc:")
        self._alive_calls: deque[int] = deque()
        """Those on this socket that are not answered, nor are later ones."""
        self._boot: str | None = None
        """The door's boot id, once it has said it."""
        self._early: dict[int, Question] = {}
        self._heard = 0.0
        self._beaten = 0.0
        self._beat_timer: asyncio.TimerHandle | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._drain: Drain | None = None
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    def start(self) -> None:
        """Connect and begin to listen. Must be called on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._open()
        if self._beats:
            self._beaten = self._loop.time()
            self._say_alive()
            self._beat_timer = self._loop.call_later(self._beat, self._beat_due)

    def close(self) -> None:
        """End what waits with SHUTTING_DOWN, and disconnect."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._early.clear()
        self._end_all("the client is closing")
        self._shut()

    def _put(self, numbers: Sequence[int], questions: Sequence[Question]) -> None:
        calls = zip(numbers, questions, strict=True)
        if self._beats and self._boot is None:
            self._early.update(calls)
        else:
            self._make(calls)

    def _make(self, calls: Iterable[tuple[int, Question]]) -> None:
        for number, (op, args, payload) in calls:
            header: dict[str, Any] = {"call": number, "op": op, "args": dict(args)}
            if self._boot:
                header["boot"] = self._boot
            try:
                frames = encode_one(Message(Kind.CALL, header, payload))
            except WireError as refusal:
                self._answered(Answered(number, {}, b"", refusal))
            else:
                self._send(frames)

    def _withdraw(self, number: int) -> None:
        if self._early.pop(number, None) is None:
            self._send(encode_one(Message(Kind.CANCEL, {"call": number})))

    def _is_closed(self) -> bool:
        return self._socket is None

    def _open(self) -> None:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        # Not bounded by ZeroMQ: a CANCEL must always go out. MAX_PENDING bounds the calls.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.connect(self._endpoint)
        self._socket = socket
        self._heard = self._loop.time()
        self._alive_calls.clear()
        self._boot = None
        self._drain = Drain(socket, self._received, self._loop)
        self._drain.start()

    def _shut(self) -> None:
        if self._socket is None or self._drain is None:
            return
        self._flush()
        self._drain.stop()
        self._socket.close(linger=0)
        self._socket = None

    def _send(self, frames: list[bytes]) -> None:
        """Send with what else is said in this turn of the loop: a burst is one transmission or few."""
        if self._socket is None:
            return
        size = sum(map(len, frames))
        if self._unsent and (
            len(self._unsent) >= 3 * MAX_TOGETHER or self._unsent_bytes + size > MAX_TRANSMISSION
        ):
            self._flush()
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += frames
        self._unsent_bytes += size

    def _flush(self) -> None:
        if not self._unsent:
            return
        frames, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if self._socket is not None and self._drain is not None:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
            self._drain.rearm()

    def _received(self, frames: list[bytes]) -> None:
        self._heard = self._loop.time()
        for message in decode(frames):
            number = message.number("call")
            if number in self._alive_calls:
                self._door_lives(number, str(message.header.get("args", {}).get("boot", "")))
                continue
            error = message.header.get("error")
            refusal = None if error is None else _refusal(error)
            self._answered(Answered(number, message.header.get("args", {}), message.payload, refusal))

    def _beat_due(self) -> None:
        now = self._loop.time()
        stood_still = now - self._beaten > self._beat + self._silence / 2
        self._beaten = now
        if stood_still:
            self._heard = now  # what the door said meanwhile is still unread
        elif now - self._heard > self._silence:
            self._lost("the queue's door is silent")
        self._say_alive()
        self._beat_timer = self._loop.call_later(self._beat, self._beat_due)

    def _say_alive(self) -> None:
        self._calls += 1
        self._alive_calls.append(self._calls)
        self._send(encode_one(Message(Kind.CALL, {"call": self._calls, "op": ALIVE})))

    def _door_lives(self, number: int, boot: str) -> None:
        while self._alive_calls and self._alive_calls[0] <= number:
            self._alive_calls.popleft()
        if self._boot is None:
            self._boot = boot
            calls, self._early = self._early, {}
            self._make(calls.items())
        elif boot != self._boot:
            self._lost("the queue's door was opened anew")
            self._say_alive()

    def _lost(self, why: str) -> None:
        self._early.clear()
        self._end_all(why)
        self._shut()
        self._open()


def _refusal(error: Mapping[str, Any]) -> Refusal:
    code = str(error.get("code", ""))
    detail = str(error.get("detail", ""))
    uuid_ = str(error.get("uuid", ""))
    try:
        return Refusal(Reason(code), detail, uuid_)
    except ValueError:
        why = f"the door answered with the unknown code {code!r}: {detail}"
        return WireError(Reason.BAD_HEADER, why, uuid_)
