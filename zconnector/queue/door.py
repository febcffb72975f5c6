"""The door of the local queue: a ROUTER shell over the process core (WIRE.md section 14).

A client sends CALL and gets exactly one RESULT, unless it sends CANCEL. A CANCEL that crosses its
RESULT is passed on too: the caller is gone without having used the answer, so what the answer carried
must go back. A client over ipc says `alive` each second: ZeroMQ tells nobody that a ROUTER's peer
has gone, so the calls of a client that was silent for `SILENCE` are cancelled. A CALL that was meant for
another door than this one (its `boot`), which has died, is refused: its caller has been told so. Over
inproc client and door are one process, and nothing of that is needed; the connector's own clients use
`door_inner` instead.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import structlog
import zmq

from zconnector.actions import Caller, Respond
from zconnector.errors import ConfigError, Reason, Refusal, WireError
from zconnector.messages.codec import decode, encode_one
from zconnector.messages.kinds import MAX_FRAME, Kind
from zconnector.messages.message import Message, clipped
from zconnector.queue.asking import MAX_PENDING
from zconnector.queue.door_client import ALIVE, BEAT, SILENCE, DoorClient
from zconnector.shoset.drain import Drain

__all__ = ["DoorClient", "DoorServer"]

OnCall = Callable[[Caller, str, Mapping[str, Any], bytes], None]
OnCancel = Callable[[Caller], None]

_log = structlog.get_logger("zconnector.door")


class DoorServer:
    """Takes calls in, gives answers out; decides nothing.

    `on_call` and `on_cancel` are called on the loop; `respond` performs a Respond action, at once or later.

    Invariant: a call is in `_pending` from its CALL until its RESULT was handed to the socket or it was
    cancelled; `stop` leaves none.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        endpoint: str,
        on_call: OnCall,
        on_cancel: OnCancel,
        *,
        beat: float = BEAT,
        silence: float = SILENCE,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._on_call = on_call
        self._on_cancel = on_cancel
        self._beat = beat
        self._silence = silence
        self._boot = uuid.uuid4().hex
        self._pending: dict[bytes, set[int]] = {}
        self._heard: dict[bytes, float] = {}
        """Clients that say `alive`, and when they last said anything (monotonic seconds)."""
        self._swept = 0.0
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._drain: Drain | None = None
        self.refused = 0
        """Transmissions that broke the protocol, and were dropped."""

    def start(self) -> None:
        """Bind and begin to take calls. Must be called on the running loop.

        Raises:
            ConfigError: the endpoint cannot be bound.
        """
        self._loop = asyncio.get_running_loop()
        socket = self._context.socket(zmq.ROUTER)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
        # Not bounded by ZeroMQ: MAX_PENDING bounds the calls, and each gets one RESULT.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        try:
            socket.bind(self._endpoint)
        except zmq.ZMQError as error:
            socket.close()
            raise ConfigError(f"cannot bind the door {self._endpoint}: {error}") from None
        self._socket = socket
        self._drain = Drain(socket, self._received, self._loop)
        self._drain.start()

    def stop(self) -> None:
        """Answer what waits with SHUTTING_DOWN, and close."""
        if self._socket is None or self._drain is None:
            return
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        for client, calls in list(self._pending.items()):
            for call in sorted(calls):
                self.respond(
                    Respond(Caller(client, call), error=Refusal(Reason.SHUTTING_DOWN, "the queue is closing"))
                )
        self._drain.stop()
        self._socket.close(linger=100)
        self._socket = None

    def respond(self, action: Respond) -> None:
        """Answer one call. An answer to a call that was cancelled meanwhile goes nowhere."""
        caller = action.caller
        if not self._forget(caller):
            return
        try:
            frames = encode_one(_result(action))
        except WireError as error:
            # Nothing the core took in can be too large to hand out, but for what breaks that rule.
            frames = encode_one(_result(Respond(caller, error=error)))
            self._loop.call_soon(self._on_cancel, caller)
        if not self._send(caller.client, frames):
            # The client is gone and never saw the answer. Not at once: the core is still acting.
            self._loop.call_soon(self._on_cancel, caller)

    def _send(self, client: bytes, frames: list[bytes]) -> bool:
        if self._socket is None or self._drain is None:
            return False
        try:
            self._socket.send_multipart([client, *frames], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        finally:
            self._drain.rearm()
        return True

    def _received(self, frames: list[bytes]) -> None:
        client = frames[0]
        if client in self._heard:
            self._heard[client] = self._loop.time()
        try:
            messages = decode(frames[1:])
        except WireError as error:
            self.refused += 1
            _log.warning("door.bad_frame", reason=error.reason, detail=error.detail)
            return
        for message in messages:
            caller = Caller(client, message.number("call"))
            if message.kind is Kind.CALL:
                self._call(caller, message)
            elif message.kind is Kind.CANCEL:
                self._forget(caller)
                self._on_cancel(caller)
            else:
                self.refused += 1
                _log.warning("door.unexpected", kind=message.kind.name)

    def _call(self, caller: Caller, message: Message) -> None:
        op = message.text("op")
        calls = self._pending.setdefault(caller.client, set())
        if caller.call in calls:
            self.refused += 1
            _log.warning("door.call_repeated", call=caller.call, op=op)
            return
        calls.add(caller.call)
        if op == ALIVE:
            self._alive(caller)
        elif message.header.get("boot", self._boot) != self._boot:
            refusal = Refusal(Reason.SHUTTING_DOWN, "the call was for the door before this one")
            self.respond(Respond(caller, error=refusal))
        elif len(calls) > MAX_PENDING:
            self.respond(Respond(caller, error=Refusal(Reason.BUSY, f"{MAX_PENDING} calls are waiting")))
        else:
            self._on_call(caller, op, message.header.get("args", {}), message.payload)

    def _alive(self, caller: Caller) -> None:
        now = self._loop.time()
        self._heard[caller.client] = now
        if self._sweep_timer is None:
            self._swept = now
            self._sweep_timer = self._loop.call_later(self._beat, self._sweep)
        self.respond(Respond(caller, {"boot": self._boot}))

    def _sweep(self) -> None:
        """Cancel the calls of clients that have been silent for too long."""
        now = self._loop.time()
        if now - self._swept > self._beat + self._silence / 2:
            # It was this process that stood still: what the clients said meanwhile is still unread.
            self._heard = dict.fromkeys(self._heard, now)
        self._swept = now
        for client, heard in list(self._heard.items()):
            if now - heard > self._silence:
                self._gone(client)
        self._sweep_timer = self._loop.call_later(self._beat, self._sweep) if self._heard else None

    def _gone(self, client: bytes) -> None:
        del self._heard[client]
        calls = sorted(self._pending.pop(client, ()))
        _log.warning("door.client_gone", calls=len(calls))
        for call in calls:
            caller = Caller(client, call)
            self._on_cancel(caller)
            # Should it live after all, its callers hear of it and call again.
            refusal = Refusal(Reason.SHUTTING_DOWN, "the client was silent for too long")
            self._send(client, encode_one(_result(Respond(caller, error=refusal))))

    def _forget(self, caller: Caller) -> bool:
        """Take a call off the pending ones. Returns whether it was one."""
        calls = self._pending.get(caller.client)
        if calls is None or caller.call not in calls:
            return False
        calls.discard(caller.call)
        if not calls:
            del self._pending[caller.client]
        return True


def _result(action: Respond) -> Message:
    header: dict[str, Any] = {"call": action.caller.call}
    if action.error is None:
        header["args"] = dict(action.args)
        return Message(Kind.RESULT, header, action.payload)
    error = action.error
    header["error"] = {"code": str(error.reason), "detail": clipped(error.detail), "uuid": error.uuid}
    return Message(Kind.RESULT, header)
