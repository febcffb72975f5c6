"""The ZAP handler: who gets past the handshake of our ROUTER, and under which name.

Any CURVE key is admitted, because a key is bound to a component only by its first validated HELLO
(DESIGN section 6); it becomes the User-Id of every frame that its connection brings. Every other
mechanism is denied, in every domain. It runs on the loop as all else does: no thread, and a
process that is frozen admits nobody.
"""

from __future__ import annotations

import asyncio

import zmq
from zmq.utils import z85

from zconnector.runtime.options import DOMAIN
from zconnector.shoset.drain import Drain

_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by ZeroMQ RFC 27
_VERSION = b"1.0"
_KEY_LENGTH = 32


class ZapHandler:
    """Answers the ZAP requests of one context. There is one before any ROUTER binds."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], loop: asyncio.AbstractEventLoop) -> None:
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ENDPOINT)
        self._drain = Drain(self._socket, self._asked, loop)
        self._drain.start()

    def close(self) -> None:
        self._drain.stop()
        self._socket.close()

    def _asked(self, frames: list[bytes]) -> None:
        # libzmq itself asks, through a REQ-like pipe: address, empty frame, then the request.
        if len(frames) < 8:
            return
        address, empty, _version, request, domain, _peer_address, _identity, mechanism = frames[:8]
        credentials = frames[8:]
        key = credentials[0] if len(credentials) == 1 else b""
        if mechanism == b"CURVE" and domain == DOMAIN and len(key) == _KEY_LENGTH:
            answer = [b"200", b"OK", z85.encode(key), b""]
        else:
            answer = [b"400", b"CURVE only", b"", b""]
        try:
            self._socket.send_multipart([address, empty, _VERSION, request, *answer], zmq.NOBLOCK)
        except zmq.Again:
            return  # the connection that asked has gone
        self._drain.rearm()
