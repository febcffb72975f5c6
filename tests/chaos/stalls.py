"""How long this machine did not let anybody work: what the runner itself measures.

Three things delay an answer that the system is not to blame for: this process was not run (its loop woke
late), a component was ready to run and was not (the kernel's count), the disk took long for a sync.
"""

from __future__ import annotations

import asyncio
import bisect
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

TICK = 0.02
CHAIN = 3
"""Processes through which an answer goes, one after the other: a connector, its front end, the client's."""
VOID = 1.0
"""Seconds of stalls in a measurement that make it one of the machine."""
LATE = 0.01
"""Seconds: what is less than this is no stall."""
SYNC_EVERY, SYNC_QUICK = 0.2, 0.02


class Stalls:
    """Measures from `start` to `stop`. Loop times."""

    def __init__(
        self,
        directory: Path,
        answering: Callable[[], Iterable[int]],
        beating: Callable[[], Iterable[int]] = tuple,
    ) -> None:
        """`directory` is on the disk that counts; `answering`: ids of processes that an answer passes,
        `beating`: of those that are given up when they are silent."""
        self._probe = directory / "sync-probe"
        self._answering = answering
        self._beating = beating
        self._spans: list[tuple[float, float]] = []
        """(end, seconds) of each stall of this process or of the disk."""
        self._waits: list[tuple[float, float]] = []
        """(end, seconds) that processes that answer were ready and not run."""
        self._wanted: float | None = None
        """When this process is next to look at its clock: what woke before it after a stall is as late."""
        self._silences: list[tuple[float, float]] = []
        """The same of one that beats, or of one that hears beats."""
        self.void = 0
        """Deadlines that were passed in a time of which the machine took too much."""
        self._stopping = threading.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._sync, daemon=True)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._tick()), asyncio.create_task(self._queued())]
        self._thread.start()

    async def stop(self) -> None:
        self._stopping.set()
        self._wanted = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    def within(self, begin: float, end: float) -> float:
        """Seconds of stalls that lie (in part) in a span of time; never more than that span."""
        spans = self._spans
        if self._wanted is not None and (late := time.monotonic() - self._wanted) > LATE:
            spans = [*spans, (self._wanted + late, late)]
        return min(end - begin, _within(spans, begin, end) + _within(self._waits, begin, end))

    def excuse(self, begun: float, due: float, heard: float) -> float:
        """Seconds that are the machine's of what was begun, due, and heard later; 0: it was not late.

        Where more than `VOID` passed since it was begun, nothing was measured: all of its being late.
        """
        if heard <= due:
            return 0.0
        stalled = self.within(begun, heard)
        if stalled > VOID:
            self.void += 1
            return heard - due
        return stalled

    def long_ones(self, seconds: float, begin: float, end: float) -> list[float]:
        """Times, half a second apart, that had stalls of so many seconds in the four before them."""
        times = [begin + half / 2 for half in range(round((end - begin) * 2) + 1)]
        return [
            at
            for at in times
            if max(self.within(at - 4.0, at), _within(self._silences, at - 4.0, at)) >= seconds
        ]

    @property
    def longest(self) -> float:
        return max((seconds for _, seconds in self._spans), default=0.0)

    @property
    def total(self) -> float:
        return sum(seconds for _, seconds in self._spans)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            wanted = self._wanted = loop.time() + TICK
            await asyncio.sleep(TICK)
            now = loop.time()
            if now - wanted > LATE:
                bisect.insort(self._spans, (now, now - wanted))

    async def _queued(self) -> None:
        loop = asyncio.get_running_loop()
        before: dict[str, int] = {}
        while True:
            now = loop.time()
            answering = set(self._answering())
            everybody = answering | set(self._beating())
            counts = {path: count for pid in everybody for path, count in _waits_of(pid)}
            waits: Counter[int] = Counter()
            for path, count in counts.items():
                process = int(path.split("/")[2])
                waited = count - before.get(path, count)
                waits[process] += waited  # its threads wait one after the other for the interpreter
            chain = sum(sorted(ns for process, ns in waits.items() if process in answering)[-CHAIN:])
            for ns, spans in ((chain, self._waits), (max(waits.values(), default=0), self._silences)):
                if ns > LATE * 1e9:
                    spans.append((now, ns / 1e9))
            before = counts
            await asyncio.sleep(0.1)

    def _sync(self) -> None:
        with self._probe.open("wb", buffering=0) as probe:
            while not self._stopping.wait(SYNC_EVERY):
                begun = time.monotonic()
                os.pwrite(probe.fileno(), b"\0" * 4096, 0)
                os.fsync(probe.fileno())
                took = time.monotonic() - begun
                if took > SYNC_QUICK:
                    bisect.insort(self._spans, (time.monotonic(), took))


def _waits_of(pid: int) -> list[tuple[str, int]]:
    """Of each thread of a process: nanoseconds that it was ready to run, and another one ran."""
    with suppress(OSError):  # it has ended
        threads = [thread.path for thread in os.scandir(f"/proc/{pid}/task")]
        return [(path, int(Path(path, "schedstat").read_text().split()[1])) for path in threads]
    return []


def _within(spans: list[tuple[float, float]], begin: float, end: float) -> float:
    """Seconds of the union of these spans, each (its end, how long), that lie between two times."""
    total, upto = 0.0, begin
    found = sorted((ended - seconds, ended) for ended, seconds in spans[bisect.bisect(spans, (begin,)) :])
    for since, until in found:
        since = max(since, upto)
        until = min(until, end)
        if until > since:
            total += until - since
            upto = until
    return total
