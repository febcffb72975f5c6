"""What every bidirectional stream has: one reader, one writer, an end.

The reader hands frames to `heard`, one after the other; whatever answers them is put aside by the stream and
fetched by the writer as one frame when the one before it is written. So a lone message goes at once, and
what comes while a write is under way goes together: the batch is as large as the client is slow.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import grpc.aio

from zconnector.errors import Reason, Refusal
from zconnector.rpc.ending import shutting_down
from zconnector.rpc.settings import ServiceSettings

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in its stubs
Context = grpc.aio.ServicerContext[Any, Any]

FRAME = 1_000_000
"""Bytes of a frame, unless a single message is larger: one of 4,000,000 fits into the 4 MiB of a client."""
ANSWERS = 2_000
"""Answers of one frame: each may have a detail of 1 KiB."""
MUCH = 4_000_000
"""Bytes put aside for the client beyond which nothing more is taken from the queue."""
MANY = 10_000
"""Answers under way, or unread by the client, beyond which the client is not read."""


class Stream(ABC):
    """One stream, from its first frame to its end.

    Invariant: when `run` returns or raises, no task, timer or call of the stream is left but what `released`
    left on purpose.
    """

    def __init__(self, context: Context, settings: ServiceSettings) -> None:
        self._context = context
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._main: asyncio.Task[Any] | None = None
        self._why: Refusal | None = None
        self._writing = False
        self._closing = False
        self._beats: asyncio.TimerHandle | None = None
        self._ticked = self._heard_at = 0.0
        self._spoke = False
        self.blank = False
        """The next frame may be empty: it only says that we live."""
        self.over = False
        """The stream has ended: what still comes in for it goes back."""

    # ---- what a kind of stream says

    @abstractmethod
    async def opened(self, raw: bytes) -> None:
        """The first frame. Raises Refusal: the stream ends with it."""

    @abstractmethod
    def heard(self, raw: bytes) -> None:
        """A further frame. Raises Refusal: the stream ends with it."""

    @abstractmethod
    def frame(self) -> bytes | None:
        """The next frame to write, taken from what is put aside; None: nothing."""

    @abstractmethod
    def busy(self) -> bool:
        """Whether something is under way that must be answered before the stream may end well."""

    @abstractmethod
    def ended(self) -> None:
        """The client has closed its sending side."""

    @abstractmethod
    def released(self, closing: bool) -> None:
        """The stream is over: let go of everything. `closing`: because this process ends."""

    # ---- what it does

    def put(self) -> None:
        """Something was put aside for the writer."""
        self._wake.set()

    def looked(self) -> None:
        """`busy` may have become false."""
        self._idle.set()

    def hold(self, full: bool) -> None:
        """Read no further frames while the stream is full."""
        if full:
            self._room.clear()
        else:
            self._room.set()

    def end(self, why: Refusal) -> None:
        """End the stream with an error."""
        if self._why is None and not self.over:
            self._why = why
            if self._main is not None:
                self._main.cancel()

    def close(self) -> None:
        """End it because this process ends: what is under way may still be answered for a moment."""
        self._closing = True
        self.end(shutting_down())

    def start_beats(self) -> None:
        """Speak at least each heartbeat from now on, and end when the client is silent for too long."""
        self._ticked = self._heard_at = self._loop.time()
        self._beats = self._loop.call_later(self._settings.heartbeat, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._ticked > 2 * self._settings.heartbeat:
            self._heard_at = now  # it was this process that stood still: what was said is still unread
        self._ticked = now
        if not self._room.is_set():
            self._heard_at = now  # it is we who do not read
        if now - self._heard_at > self._settings.silence:
            why = f"the client said nothing for {self._settings.silence:g} s"
            self.end(Refusal(Reason.TIMED_OUT, why))
            return
        if not self._spoke:
            self.blank = True
            self.put()
        self._spoke = False
        self._beats = self._loop.call_later(self._settings.heartbeat, self._tick)

    async def run(self) -> None:
        """Serve the stream to its end.

        Raises:
            Refusal: what it is to end with.
            asyncio.CancelledError: the client is gone.
        """
        self._main = asyncio.current_task()
        writer = asyncio.ensure_future(self._write())
        writer.add_done_callback(self._written)
        try:
            try:
                await self._read()
                self.ended()
                await self._finish(None)
            except asyncio.CancelledError:
                if self._why is None or (self._main is not None and self._main.uncancel()):
                    raise
            if self._closing:
                await self._finish(self._settings.closing)
            if self._why is not None:
                raise self._why
        finally:
            self.over = True
            if self._beats is not None:
                self._beats.cancel()
            writer.cancel()
            self.released(self._closing)

    async def _read(self) -> None:
        # Before the writer's first frame: an error could not be sent while metadata is on its way with that.
        await self._context.send_initial_metadata(())
        first = await self._context.read()
        if first is EOF:
            raise Refusal(Reason.BAD_ARGUMENT, "the stream ended before its first frame")
        await self.opened(first)
        while True:
            await self._room.wait()
            raw = await self._context.read()
            if raw is EOF:
                return
            self._heard_at = self._loop.time()
            self.heard(raw)

    async def _finish(self, seconds: float | None) -> None:
        """Wait until everything is answered and written, or so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self.busy() or self._writing or self._wake.is_set():
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._writing = True
            while (frame := self.frame()) is not None:
                await self._context.write(frame)
                self._spoke = True
            self._writing = False
            self._idle.set()

    def _written(self, writer: asyncio.Task[None]) -> None:
        """The writer ends before its stream only when the client is gone."""
        if not writer.cancelled() and (error := writer.exception()) is not None:
            self.end(Refusal(Reason.SHUTTING_DOWN, f"the client takes nothing more: {error}"))
