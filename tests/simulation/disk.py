"""Disks: what survives a process, what a commit costs, and how it fails.

A transaction is atomic. It is under way for a while; a process that is killed meanwhile finds all of it or
nothing, by chance (killed before the fsync, or after it and before its continuation ran). What had not been
begun is gone.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.simulation.scheduler import MS, Scheduler
from zconnector.actions import Commit
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.store import Component, Recorded, Resolved, Trail
from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import StorageError
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.store import Key, Row
from zconnector.storage.writer import LINGER

MAX_MERGED = 1_024
_LINGER = int(LINGER * 1e6)
COMMIT_LEAST, COMMIT_MORE = 200, 600
"""Microseconds of a transaction: at least, and at most more."""

Outcomes = list[tuple[Commit, list[Any] | StorageError]]


class Disk:
    """One machine's disk. `rows` (or the cluster's store) is what is on it."""

    def __init__(self, store: MemoryQueueStore | MemoryStore, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.failing = 0.0
        """Share of the transactions that fail (ENOSPC, EIO)."""
        self.unreadable = 0.0
        """Share of the reads that fail."""
        self.slow = 0
        """Microseconds that a transaction takes at most beyond the usual."""
        self.transactions = 0
        self.seen: Callable[[Sequence[Any]], None] | None = None
        """Told of what has become durable."""

    def delay(self) -> int:
        more = COMMIT_MORE + self.slow
        return COMMIT_LEAST + int(self.rng.random() * more)

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        """One durable transaction. Raises StorageError."""
        self.transactions += 1
        if self.failing and self.rng.random() < self.failing:
            raise StorageError("disk full, says the simulation")
        results = self.store.commit(writes)
        if self.seen is not None:
            self.seen(writes)
        return results

    def read(self) -> None:
        """A read is about to happen. Raises StorageError."""
        if self.unreadable and self.rng.random() < self.unreadable:
            raise StorageError("input/output error, says the simulation")


class Writer:
    """A process's group commit: one transaction at a time, what comes meanwhile is the next one.

    As `storage/writer.py`: what nobody awaits waits a while for company.
    """

    def __init__(self, scheduler: Scheduler, disk: Disk, finished: Callable[[Writer], None]) -> None:
        """`finished` is called when the transaction under way is over; it then calls `take`."""
        self._scheduler = scheduler
        self._disk = disk
        self._finished = finished
        self._jobs: deque[Commit] = deque()
        self._taken: list[Commit] = []
        self._awaited = 0
        """Of the jobs, those that somebody awaits."""
        self._lingering = False

    def submit(self, commit: Commit) -> None:
        self._jobs.append(commit)
        if not commit.lazy:
            self._awaited += 1
        if not self._taken:
            self._begin_or_linger()

    def _begin_or_linger(self) -> None:
        if self._awaited or len(self._jobs) >= MAX_MERGED:
            self._begin()
        elif not self._lingering:
            self._lingering = True
            self._scheduler.after(_LINGER, self._lingered)

    def _lingered(self) -> None:
        self._lingering = False
        if self._jobs and not self._taken:
            self._begin()

    def _begin(self) -> None:
        jobs = self._jobs
        if len(jobs) == 1:  # as it mostly is
            self._taken = [jobs.popleft()]
            self._awaited = 0
        else:
            self._taken = [jobs.popleft() for _ in range(min(len(jobs), MAX_MERGED))]
            self._awaited -= sum(not job.lazy for job in self._taken)
        self._scheduler.after(self._disk.delay(), self._finished, self)

    @property
    def pending(self) -> int:
        return len(self._jobs) + len(self._taken)

    def take(self) -> Outcomes:
        """The outcomes of the transaction that is over; the next one begins."""
        taken, self._taken = self._taken, []
        if len(taken) == 1:  # as it mostly is
            outcomes: Outcomes = [(taken[0], self._try(taken[0].writes))]
        else:
            outcomes = self._perform(taken)
        if self._jobs:
            self._begin_or_linger()
        return outcomes

    def _perform(self, taken: list[Commit]) -> Outcomes:
        """A merged transaction that fails is tried again, each commit alone."""
        if len(taken) == 1:
            return [(taken[0], self._try(taken[0].writes))]
        merged = self._try([write for commit in taken for write in commit.writes])
        if isinstance(merged, StorageError):
            return [(commit, self._try(commit.writes)) for commit in taken]
        outcomes: Outcomes = []
        start = 0
        for commit in taken:
            end = start + len(commit.writes)
            outcomes.append((commit, merged[start:end]))
            start = end
        return outcomes

    def _try(self, writes: Sequence[Any]) -> list[Any] | StorageError:
        try:
            return self._disk.commit(writes)
        except StorageError as error:
            return error

    def killed(self) -> None:
        """SIGKILL: the transaction under way is on the disk or not; the rest never was."""
        taken, self._taken = self._taken, []
        self._jobs.clear()
        self._awaited = 0
        if taken and self._disk.rng.random() < 0.5:
            self._perform(taken)

    def closed(self) -> None:
        """The process ends by itself: all it has asked for is made durable, nobody hears of it."""
        while self._taken or self._jobs:
            taken, self._taken = self._taken, []
            self._perform(taken)
            while self._jobs:
                self._perform([self._jobs.popleft()])


class QueueReads:
    """A local queue's reads, which may fail."""

    def __init__(self, disk: Disk, store: MemoryQueueStore) -> None:
        self._disk = disk
        self._store = store

    def body(self, space: str, key: Key) -> bytes:
        self._disk.read()
        return self._store.body(space, key)

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        self._disk.read()
        return self._store.bodies(space, first, last, most)

    def scan(self, space: str) -> Iterator[Row]:
        return self._store.scan(space)


class ClusterReads:
    """A member's reads, which may fail while it runs (at its start it would not come up)."""

    def __init__(self, disk: Disk, store: MemoryStore) -> None:
        self._disk = disk
        self._store = store

    def events(self, tenant: str, after: int, upto: int, limit: int, max_bytes: int) -> list[Recorded]:
        self._disk.read()
        return self._store.events(tenant, after, upto, limit, max_bytes)

    def latest(self, tenant: str) -> int:
        self._disk.read()
        return self._store.latest(tenant)

    def oldest(self, tenant: str) -> int:
        self._disk.read()
        return self._store.oldest(tenant)

    def resolution(self, tenant: str, uuid: str) -> Resolved | None:
        self._disk.read()
        return self._store.resolution(tenant, uuid)

    def has_reply(self, tenant: str, uuid: str) -> bool:
        self._disk.read()
        return self._store.has_reply(tenant, uuid)

    def trails(self, uuid: str, limit: int) -> list[Trail]:
        self._disk.read()
        return self._store.trails(uuid, limit)

    def components(self) -> list[Component]:
        return self._store.components()

    def pivots(self) -> list[tuple[str, Pivot]]:
        return self._store.pivots()

    def products(self) -> list[tuple[str, ProductConnector]]:
        return self._store.products()

    def configuration(self, tenant: str, name: str) -> Layers:
        self._disk.read()
        return self._store.configuration(tenant, name)

    def latest_of_all(self) -> dict[str, int]:
        return self._store.latest_of_all()


SLOW_DISK = 400 * MS
"""How slow a disk under the fault of that name is."""
