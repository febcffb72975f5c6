"""The pipes to a worker: its stdin, fed as it reads, and its output, read no faster than it may be logged."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from zconnector.clock import Clock
from zconnector.supervision.masking import Mask
from zconnector.supervision.output import CHUNK, Output

LAST_CHUNKS = 64
"""Read at most so many more of a stream when everything that wrote to it is gone."""

Say = Callable[[str, Mapping[str, int]], None]
"""Log one line; with `dropped`, lines that were left out before it."""


class Feed:
    """Writes bytes to a pipe as they are read, and closes it. Owns the descriptor."""

    def __init__(self, descriptor: int, data: bytes) -> None:
        self._descriptor = descriptor
        self._data = memoryview(data)
        self._open = True
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_writer(descriptor, self._write)
        self._write()

    def _write(self) -> None:
        try:
            while self._data:
                self._data = self._data[os.write(self._descriptor, self._data) :]
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            pass
        self.close()

    def close(self) -> None:
        """What was not written is forgotten."""
        if self._open:
            self._open = False
            self._data = memoryview(b"")
            asyncio.get_running_loop().remove_writer(self._descriptor)
            os.close(self._descriptor)


class Reader:
    """Reads a pipe line by line. Owns the descriptor."""

    def __init__(self, descriptor: int, hide: Mask, clock: Clock, say: Say) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._output = Output(hide, clock.now().mono)
        self._resume: asyncio.TimerHandle | None = None
        self._open = True
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> None:
        """One chunk a wake, so that a flood leaves the loop to others."""
        if not self._take():
            return
        pause = self._output.pause(self._clock.now().mono)
        if pause:
            self._loop.remove_reader(self._descriptor)
            self._resume = self._loop.call_later(pause, self._go_on)

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._descriptor, self._read)

    def _take(self) -> bool:
        """Whether there may be more."""
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end()
            return False
        for line in self._output.feed(data, self._clock.now().mono):
            self._tell(line)
        return True

    def _tell(self, line: str) -> None:
        more = {"dropped": self._output.dropped} if self._output.dropped else {}
        self._output.dropped = 0
        self._say(line, more)

    def close(self) -> None:
        """Nobody writes any more: take what is left."""
        for _ in range(LAST_CHUNKS):
            if not self._open or not self._take():
                break
        self._end()

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        for line in self._output.end(self._clock.now().mono):
            self._tell(line)
        if self._output.dropped:
            self._tell("")
