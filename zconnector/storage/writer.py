"""Group commit: one thread that makes commits durable, as many at a time as have come meanwhile.

An idle writer commits at once what one turn of the loop submits; whatever arrives during that fsync is the
next transaction. Only what nobody awaits (`lazy`) waits for company, at most `LINGER`: alone it would cost a
transaction of its own, and hold up the one behind it that somebody awaits. Order is kept. When a merged
transaction fails, each of its commits is tried again alone, so that a bad one (too big, cannot be encoded)
harms nobody else.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zconnector.errors import StorageError
from zconnector.storage.port import Store

OnDone = Callable[[list[Any] | StorageError], None]

MAX_MERGED = 1_024
"""Commits in one transaction: beyond that, merging saves little and delays the first one."""


LINGER = 0.02
"""Seconds that commits wait which nobody awaits."""


@dataclass(slots=True)
class _Job:
    writes: Sequence[Any]
    on_done: OnDone
    lazy: bool = False


class GroupCommit:
    """Drives a store from its own thread and calls back on the loop, in the order of submission."""

    def __init__(
        self,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
    ) -> None:
        """`before` and `after` are called around the outcomes that are told in one turn of the loop."""
        self._before = before
        self._after = after
        self._store = store
        self._loop = loop
        self._wake = threading.Condition()
        self._jobs: deque[_Job] = deque()  # guarded by _wake
        self._awaited = 0  # guarded by _wake: of these, those that are not lazy
        self._lingering = False  # guarded by _wake: the thread waits for company
        self._stopping = False  # guarded by _wake
        self._broken: StorageError | None = None  # guarded by _wake
        self._gathered: list[_Job] = []  # loop only: submitted in this turn, not yet handed to the thread
        self._taken: list[_Job] = []  # the thread's only: what it is working on
        self._finished: deque[tuple[OnDone, list[Any] | StorageError]] = deque()
        self._outstanding = 0  # loop only: submitted and not yet called back
        self._idle: asyncio.Future[None] | None = None
        self._closed = False
        self.transactions = 0
        """Transactions tried so far (statistics)."""
        self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
        self._thread.start()

    def submit(self, writes: Sequence[Any], on_done: OnDone, *, lazy: bool = False) -> None:
        """Make writes durable; `on_done` gets a result for each write, or the error. Loop thread only.

        `lazy`: nobody awaits it.
        """
        self._outstanding += 1
        self._gathered.append(_Job(writes, on_done, lazy))
        if len(self._gathered) == 1:
            # Once a turn: to wake the thread is dear, and awake it wants the lock that the turn still needs.
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        jobs, self._gathered = self._gathered, []
        with self._wake:
            broken = self._broken
            if broken is None and not self._closed:
                self._jobs.extend(jobs)
                awaited = sum(not job.lazy for job in jobs)
                self._awaited += awaited
                if awaited or not self._lingering or len(self._jobs) >= MAX_MERGED:
                    self._wake.notify()
                return
        error = broken or StorageError("the store is closed")
        self._finished.extend((job.on_done, error) for job in jobs)
        self._deliver()

    async def close(self) -> None:
        """Wait until all that was submitted is durable and called back, then end the thread.

        Commits that callbacks submit meanwhile are taken too. The store is not closed.
        """
        while self._outstanding:
            self._idle = self._loop.create_future()
            await self._idle
        self._closed = True
        with self._wake:
            self._stopping = True
            self._wake.notify()
        # The thread has nothing left to do: it ends without touching the disk.
        self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                with self._wake:
                    while not self._jobs and not self._stopping:
                        self._wake.wait()
                    if not self._jobs:
                        return
                    self._linger()
                    self._taken = [self._jobs.popleft() for _ in range(min(len(self._jobs), MAX_MERGED))]
                    self._awaited -= sum(not job.lazy for job in self._taken)
                self._perform(self._taken)
        except BaseException as error:
            # A defect of the store, not of the disk. Nobody may wait for ever for this thread.
            self._break(error)
            raise

    def _linger(self) -> None:
        """Wait for a commit that somebody awaits, while there is none; the lock is held."""
        self._lingering = True
        until = time.monotonic() + LINGER
        while not (self._awaited or self._stopping or len(self._jobs) >= MAX_MERGED):
            if (left := until - time.monotonic()) <= 0:
                break
            self._wake.wait(left)
        self._lingering = False

    def _perform(self, jobs: list[_Job]) -> None:
        done: list[tuple[OnDone, list[Any] | StorageError]] = []
        try:
            merged = self._commit([write for job in jobs for write in job.writes])
        except StorageError as error:
            if len(jobs) == 1:
                done.append((jobs[0].on_done, error))
            else:
                done.extend((job.on_done, self._alone(job)) for job in jobs)
        else:
            start = 0
            for job in jobs:
                end = start + len(job.writes)
                done.append((job.on_done, merged[start:end]))
                start = end
        self._taken = []
        self._hand_back(done)

    def _commit(self, writes: list[Any]) -> list[Any]:
        self.transactions += 1
        return self._store.commit(writes)

    def _alone(self, job: _Job) -> list[Any] | StorageError:
        try:
            return self._commit(list(job.writes))
        except StorageError as error:
            return error

    def _hand_back(self, done: list[tuple[OnDone, list[Any] | StorageError]]) -> None:
        self._finished.extend(done)
        self._loop.call_soon_threadsafe(self._deliver)

    def _break(self, error: BaseException) -> None:
        with self._wake:
            self._broken = StorageError(f"the writer ended: {error!r}")
            left = [*self._taken, *self._jobs]
            self._jobs.clear()
            self._awaited = 0
        self._hand_back([(job.on_done, self._broken) for job in left])

    def _deliver(self) -> None:
        if self._before is not None:
            self._before()
        try:
            while self._finished:
                on_done, outcome = self._finished.popleft()
                self._outstanding -= 1
                on_done(outcome)
        finally:
            # A callback that raised is reported by the loop; the others still hear.
            if self._finished:
                self._loop.call_soon(self._deliver)
            if self._after is not None:
                self._after()
            if not self._outstanding and self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
