"""The bounded drain: how every ZeroMQ socket of ours is read on the event loop.

A ZeroMQ FD is edge-triggered: it says that something may have changed, once, and any call on the
socket (a send too) may swallow that news. So a wake reads until nothing is left (`zmq_poll` says so in half
the time that pyzmq takes to look the option EVENTS up, and a fifth of the exception for EAGAIN), and after
sends one has to look again (`rearm`). And a wake is bounded, because a peer that floods a socket would
otherwise keep the loop from its timers and from everybody else for seconds.

| state | event | action | next |
|---|---|---|---|
| IDLE | FD readable, nothing to read | | IDLE |
| IDLE | FD readable, something to read | `before`, then read | DRAINING |
| IDLE | rearm, nothing to read | | IDLE |
| IDLE | rearm, something to read | go on with the next turn of the loop | CONTINUING |
| DRAINING | nothing more to read | `after` | IDLE |
| DRAINING | bound reached | go on with the next turn of the loop | CONTINUING |
| DRAINING | bound reached (a lower one), after `slow` | go on after a pause | CONTINUING |
| CONTINUING | the turn comes, the pause is over | `before`, then read | DRAINING |

Invariant: while CONTINUING exactly one callback is pending, so that a turn of the loop reads at most one
bound's worth of each socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import zmq

_NOBLOCK, _POLLIN = int(zmq.NOBLOCK), int(zmq.POLLIN)  # plain: enum arithmetic is slow

_FEW = 3

MAX_MESSAGES = 100
"""Transmissions read in one wake."""
SLOWED_MESSAGES = 16
"""The same after `slow`: short wakes and short pauses, so that who is read in turn waits for neither long."""
MAX_SECONDS = 0.002
"""Seconds that one wake goes on reading."""


class Drain:
    """Reads one socket on the loop; `on_message` gets each transmission as a list of frames.

    With `copy=False` the first frame comes as a zmq.Frame, whose properties (User-Id) can be read,
    and the rest as bytes: Frames for all would cost a fifth of the throughput. `before` is called
    once a wake before anything is read, `after` once after that. An exception out of a callback goes to the
    loop's exception handler; what was not read yet is read afterwards.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        on_message: Callable[[list[Any]], None],
        loop: asyncio.AbstractEventLoop,
        *,
        copy: bool = True,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        self._socket = socket
        self._readables = [(socket, _POLLIN)]
        self._on_message = on_message
        self._loop = loop
        self._copy = copy
        self._before = before
        self._after = after
        self._fd = -1
        self._pending: asyncio.Handle | None = None
        self._draining = False
        self._pause = 0.0
        """Seconds between this wake and the next one, if its bound is reached."""

    def start(self) -> None:
        """Begin to read; what has arrived before is read on the next turn of the loop."""
        if self._fd >= 0:
            return
        self._fd = self._socket.fileno()
        self._loop.add_reader(self._fd, self._readable)
        self.rearm()

    def stop(self) -> None:
        """Read nothing more. To be called before the socket is closed; may be called in `on_message`."""
        if self._fd < 0:
            return
        self._loop.remove_reader(self._fd)
        self._fd = -1
        self._pause = 0.0
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def slow(self, seconds: float) -> None:
        """Pause after this wake if there is more to read then; ZeroMQ still reads of everybody in turn."""
        self._pause = max(self._pause, seconds)

    def rearm(self) -> None:
        """Look again, since a call on the socket may have swallowed the FD's news. Call after every send."""
        # Looked at here and not a turn later: a turn of the loop costs several looks.
        if self._pending is None and not self._draining and self._fd >= 0 and self._something():
            self._pending = self._loop.call_soon(self._continue)

    def _readable(self) -> None:
        if self._pending is None and self._something():
            self._drain()

    def _something(self) -> bool:
        """Whether there is something to read."""
        return bool(zmq.zmq_poll(self._readables, 0))

    def _continue(self) -> None:
        self._pending = None
        self._drain()

    def _go_on(self) -> None:
        """Go on with the next turn of the loop, or after the pause that was asked for."""
        if not self._pause:
            self._pending = self._loop.call_soon(self._continue)
            return
        # The FD stays readable meanwhile, and would be reported in every turn.
        self._loop.remove_reader(self._fd)
        self._pending = self._loop.call_later(self._pause, self._after_pause)

    def _after_pause(self) -> None:
        self._loop.add_reader(self._fd, self._readable)
        self._continue()

    def _drain(self) -> None:
        self._draining = True
        more = True
        try:
            if self._before is not None:
                self._before()
            more = self._read()
        finally:
            self._draining = False
            if more and self._fd >= 0 and self._pending is None:
                self._go_on()
            self._pause = 0.0
            if self._after is not None:
                self._after()

    def _read(self) -> bool:
        """Read up to the bound. Returns whether there may be more."""
        until = time.monotonic() + MAX_SECONDS
        for number in range(MAX_MESSAGES):
            if self._fd < 0:
                return False
            if self._pause and number >= SLOWED_MESSAGES:
                return True
            try:
                frames = self._receive()
            except zmq.Again:
                return False
            self._on_message(frames)
            # Of a long wake the one exception at its end is cheaper than a look after each message.
            if self._fd < 0 or (number < _FEW and not self._something()):
                return False
            if time.monotonic() >= until:
                return True
        return True

    def _receive(self) -> list[Any]:
        # Frames know whether more follow; to ask the socket after each costs more than to copy them here.
        recv = self._socket.recv
        frame = recv(_NOBLOCK, copy=False)
        frames: list[Any] = [frame.bytes if self._copy else frame]
        while frame.more:
            frame = recv(_NOBLOCK, copy=False)
            frames.append(frame.bytes)
        return frames
