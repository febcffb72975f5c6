"""All ZeroMQ sockets of one process: the ROUTER below, one DEALER for each session above."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import zmq

from zconnector.actions import Link
from zconnector.errors import ConfigError
from zconnector.runtime.dealer import Dealer
from zconnector.runtime.options import set_router
from zconnector.runtime.zap import ZapHandler
from zconnector.shoset.drain import Drain
from zconnector.shoset.keys import KeyPair

_MORE, _LAST = int(zmq.NOBLOCK | zmq.SNDMORE), int(zmq.NOBLOCK)  # plain: enum arithmetic is slow

_send_frame: Any = zmq.backend.Socket.send
"""Without the wrapper of `zmq.Socket`, which costs twice as much again."""

_ENDPOINT = re.compile(
    r"tcp://[^\s:/]+:(\d{1,4}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d\d|655[0-2]\d|6553[0-5])|tcp://\[[0-9a-fA-F:]+\]:\d{1,5}"
)


class Sockets:
    """Frames in and out, by link. Callbacks come from the loop, never from inside a call made here."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: KeyPair,
        loop: asyncio.AbstractEventLoop,
        *,
        received: Callable[[Link, str, list[bytes]], None],
        opened: Callable[[int], None],
        lost: Callable[[int, str], None],
        before: Callable[[], None],
        after: Callable[[], None],
    ) -> None:
        """`received` gets link, the peer's CURVE key (Z85) and the frames; `before`, `after`: see Drain."""
        self._context = context
        self._keys = keys
        self._loop = loop
        self._received = received
        self._opened = opened
        self._lost = lost
        self._before = before
        self._after = after
        self._dealers: dict[int, Dealer] = {}
        self._router: zmq.Socket[bytes] | None = None
        self._router_drain: Drain | None = None
        self._zap: ZapHandler | None = None

    @property
    def router(self) -> zmq.Socket[bytes] | None:
        """The socket that binds, once there is one."""
        return self._router

    def dealer(self, link: int) -> zmq.Socket[bytes]:
        """The socket of an open link. Raises KeyError where there is none."""
        return self._dealers[link].socket

    def bind(self, endpoint: str) -> str:
        """Bind the ROUTER to an endpoint (port 0: any free one); returns it with the actual port.

        Nothing is read from it before `start`.

        Raises:
            ConfigError: the endpoint cannot be bound.
        """
        if not _ENDPOINT.fullmatch(endpoint):  # ZeroMQ would take 127.0.0.1:22x for port 22
            raise ConfigError(f"cannot bind {endpoint}: an endpoint is tcp://HOST:PORT, port 0 to 65535")
        if self._zap is None:
            self._zap = ZapHandler(self._context, self._loop)
        if self._router is None:
            self._router = self._context.socket(zmq.ROUTER)
            set_router(self._router, self._keys)
            self._router_drain = Drain(
                self._router, self._below, self._loop, copy=False, before=self._before, after=self._after
            )
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(f"cannot bind {endpoint}: {error.strerror}") from None
        last = self._router.getsockopt(zmq.LAST_ENDPOINT)
        return bytes(last).rstrip(b"\0").decode() if isinstance(last, bytes) else endpoint

    def start(self) -> None:
        """Begin to read what peers below send."""
        if self._router_drain is not None:
            self._router_drain.start()

    def open(self, link: int, endpoint: str, server_key: str) -> None:
        """Open a DEALER; `opened` or `lost` follows, `lost` also after `opened`."""
        try:
            dealer = Dealer(
                self._context,
                self._loop,
                self._keys,
                server_key,
                received=partial(self._received, link, server_key),
                opened=partial(self._opened, link),
                lost=partial(self._gone, link),
                before=self._before,
                after=self._after,
            )
        except (zmq.ZMQError, UnicodeEncodeError) as error:
            self._loop.call_soon(self._lost, link, f"cannot connect to {endpoint}: {error}")
            return
        self._dealers[link] = dealer
        try:
            dealer.connect(endpoint)
        except zmq.ZMQError as error:
            self._loop.call_soon(self._gone, link, f"cannot connect to {endpoint}: {error.strerror}")

    def close_link(self, link: Link) -> None:
        """Close a DEALER at once; no `lost` follows. Nothing to do for a peer of the ROUTER."""
        if isinstance(link, int):
            dealer = self._dealers.pop(link, None)
            if dealer is not None:
                dealer.close()

    def transmit(self, link: Link, frames: Sequence[bytes]) -> bool:
        """Hand one transmission to a link: all of it is taken, or (False) none of it."""
        if isinstance(link, bytes):
            if self._router is None or self._router_drain is None:
                return False
            taken = _send(self._router, [link, *frames])
            self._router_drain.rearm()
            return taken
        dealer = self._dealers.get(link)
        if dealer is None:
            return False
        taken = _send(dealer.socket, frames)
        dealer.drain.rearm()
        return taken

    def slow(self, seconds: float) -> None:
        """Pause between two wakes that read from below, if the first one left something."""
        if self._router_drain is not None:
            self._router_drain.slow(seconds)

    def close(self, linger: int = 0) -> None:
        """Close all sockets; what was sent may still leave for up to `linger` ms."""
        for dealer in self._dealers.values():
            dealer.close(linger)
        self._dealers.clear()
        if self._router_drain is not None:
            self._router_drain.stop()
            self._router_drain = None
        if self._router is not None:
            self._router.close(linger)
            self._router = None
        if self._zap is not None:
            self._zap.close()
            self._zap = None

    def _below(self, frames: list[Any]) -> None:
        address = frames[0]
        # CURVE and an enforced ZAP domain: there is no frame here without a User-Id.
        self._received(address.bytes, str(address.get("User-Id")), frames[1:])

    def _gone(self, link: int, why: str) -> None:
        dealer = self._dealers.pop(link, None)
        if dealer is not None:
            dealer.close()
            self._lost(link, why)


def _send(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> bool:
    """Send all frames, or (False) none. Only the first of them can be refused."""
    for first_try in (True, False):
        try:
            for frame in frames[:-1]:
                _send_frame(socket, frame, _MORE)
            _send_frame(socket, frames[-1], _LAST)
        except zmq.Again:
            # A send looks at what its io thread has told it only now and then; EVENTS always does. The
            # connection may stand, or the pipe have room, without the socket having noticed yet.
            if not first_try or not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLOUT:
                return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        else:
            return True
    return False
