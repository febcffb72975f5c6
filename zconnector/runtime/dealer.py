"""One DEALER and its monitor: a single try to reach one remote instance."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import zmq

from zconnector.runtime.options import set_dealer
from zconnector.shoset.drain import Drain
from zconnector.shoset.keys import KeyPair

_EVENT = struct.Struct("=HI")

_LOST = {
    zmq.EVENT_CLOSED: "connection refused or not possible",
    zmq.EVENT_DISCONNECTED: "disconnected",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "handshake failed",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "handshake failed: broken protocol, or another key than expected",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "handshake failed: not admitted",
}
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED
for _each in _LOST:
    _EVENTS |= _each


class Dealer:
    """Tells once that its connection stands, and once that it is lost; then it is of no more use.

    What had arrived and was not read when the connection broke is gone (measured on libzmq 4.3.5: it
    drops the pipe with IMMEDIATE=1, and with RECONNECT_IVL=-1): last words are a courtesy, no more.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        loop: asyncio.AbstractEventLoop,
        keys: KeyPair,
        server_key: str,
        *,
        received: Callable[[list[Any]], None],
        opened: Callable[[], None],
        lost: Callable[[str], None],
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        """Raises zmq.ZMQError or UnicodeEncodeError when no such socket can be made."""
        self._opened = opened
        self._lost = lost
        self._why = ""
        self.server_key = server_key
        self.socket = context.socket(zmq.DEALER)
        self._monitor: zmq.Socket[bytes] | None = None
        try:
            set_dealer(self.socket, keys, server_key)
            endpoint = f"inproc://monitor-{id(self)}"
            self.socket.monitor(endpoint, _EVENTS)
            self._monitor = context.socket(zmq.PAIR)
            self._monitor.setsockopt(zmq.LINGER, 0)
            self._monitor.connect(endpoint)
        except (zmq.ZMQError, UnicodeEncodeError):
            self._close_sockets(None)
            raise
        self.drain = Drain(self.socket, received, loop, before=before, after=after)
        self._events = Drain(self._monitor, self._event, loop, before=before, after=after)

    def connect(self, endpoint: str) -> None:
        """Begin. Raises zmq.ZMQError when ZeroMQ does not take the endpoint."""
        self._events.start()
        self.drain.start()
        self.socket.connect(endpoint)

    def close(self, linger: int | None = None) -> None:
        """Close at once, or wait for up to `linger` ms (in the context's end) for what was sent."""
        self.drain.stop()
        self._events.stop()
        self._close_sockets(linger)

    def _close_sockets(self, linger: int | None) -> None:
        if self._monitor is not None:
            self.socket.disable_monitor()
            self._monitor.close()
        self.socket.close(linger)

    def _event(self, frames: list[bytes]) -> None:
        number, value = _EVENT.unpack(frames[0])
        if number == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            if not self._why:
                self._opened()
        elif number in _LOST and not self._why:
            self._why = _LOST[zmq.Event(number)]
            if number == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._why += f" (status {value})"
            self._events.stop()
            self._lost(self._why)
