"""Iterators: what a worker reads through. Bounded; one in use is never taken away.

An iterator is **busy** while a wait is pending on it or a command is leased to it; otherwise it
is idle since some time, and goes after `iterator_idle`, or earlier when there is no room, least recent first.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.queue.commits import Commits
from zconnector.queue.store import ITERATORS, Delete, Put
from zconnector.settings import QueueSettings

Created = Callable[[Instant, str | Refusal], Actions]
KINDS = ("command", "event")


@dataclass(slots=True)
class _Entry:
    kind: str
    busy: int = 0


class Iterators:
    """All iterators of the queue."""

    def __init__(self, settings: QueueSettings, commits: Commits, rng: random.Random) -> None:
        self._settings = settings
        self._commits = commits
        self._rng = rng
        self._entries: dict[str, _Entry] = {}
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._creating = 0
        self.evicted = 0
        self.on_evict: Callable[[str], None] = lambda _: None
        """Told of each iterator that goes."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def restore(self, name: str, kind: str, now: Instant) -> None:
        self._entries[name] = _Entry(kind)
        self._rest(name, now)

    def create(self, kind: str, now: Instant, done: Created) -> Actions:
        """Make an iterator; `done` gets its id once it is stored, or why there is none."""
        if kind not in KINDS:
            return done(now, Refusal(Reason.BAD_ARGUMENT, f"kind must be one of {KINDS}, not {kind!r}"))
        limit = self._settings.max_iterators
        while len(self._entries) + self._creating >= limit and self._idle:
            self._evict(next(iter(self._idle)))
        if len(self._entries) + self._creating >= limit:
            return done(now, Refusal(Reason.QUEUE_FULL, f"all {limit} iterators are in use"))
        name = f"{self._rng.getrandbits(128):032x}"
        self._creating += 1

        def then(now: Instant) -> Actions:
            self._creating -= 1
            self._entries[name] = _Entry(kind)
            self._rest(name, now)
            return done(now, name)

        def failed(now: Instant, error: StorageError) -> Actions:
            self._creating -= 1
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error)))

        return [self._commits.commit([Put(ITERATORS, name, {"kind": kind})], then, failed)]

    def check(self, name: str, kind: str) -> Refusal | None:
        """Why nobody can wait on it: no such iterator, or one for something else."""
        entry = self._entries.get(name)
        if entry is None:
            return Refusal(Reason.NOT_FOUND, f"no such iterator: {name[:64]!r}")
        if entry.kind != kind:
            return Refusal(Reason.NOT_FOUND, f"iterator {name} is for {entry.kind}s, not for {kind}s")
        return None

    def hold(self, name: str) -> None:
        """One more wait or lease. A lease may outlive its iterator over a restart."""
        entry = self._entries.get(name)
        if entry is not None:
            entry.busy += 1
            self._idle.pop(name, None)

    def let_go(self, name: str, now: Instant) -> None:
        """One wait or lease less."""
        entry = self._entries.get(name)
        if entry is not None and entry.busy:
            entry.busy -= 1
            if not entry.busy:
                self._rest(name, now)

    def tick(self, now: Instant) -> Actions:
        while self._idle:
            name, since = next(iter(self._idle.items()))
            if since + self._settings.iterator_idle > now.mono:
                break
            self._evict(name)
        return []

    def deadline(self) -> float | None:
        if not self._idle:
            return None
        return next(iter(self._idle.values())) + self._settings.iterator_idle

    def _rest(self, name: str, now: Instant) -> None:
        self._idle[name] = now.mono
        self._commits.agenda.by(now.mono + self._settings.iterator_idle)

    def _evict(self, name: str) -> None:
        del self._entries[name]
        self._idle.pop(name, None)
        self._commits.ride(Delete(ITERATORS, name))
        self.evicted += 1
        self.on_evict(name)
