"""How the queue's parts write: commits that somebody awaits, and riders that nobody does.

A **rider** is a write that must become durable soon but holds nobody up (a lease, a position, the
removal of something forgotten). It goes along with the next commit; `flush` makes that one now. Of several
riders for one row only the last is written; one whose commit failed rides again, unless the row
was written anew meanwhile.

Invariant: the writes of one row reach the store in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zconnector.actions import Actions, Commit, Note, Then
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.errors import StorageError
from zconnector.queue.store import DEAD, Key, Write

Failed = Callable[[Instant, StorageError], Actions]
RETRY = 1.0
"""Seconds until what nobody awaits is tried again after a failure."""


class Commits:
    """Makes the Commit actions of the queue and watches how they end."""

    def __init__(self) -> None:
        self.agenda = Agenda()
        """Where the parts of this queue, all of which write by way of here, say when they are due."""
        self.healthy = True
        """False after a failed commit or read, True again after a commit that succeeded."""
        self.failures = 0
        self._riders: dict[tuple[str, Key], Write] = {}
        self._under_way: dict[tuple[str, Key], Write] = {}
        self._flushing = False
        self._lingering = False
        """A lazy flush is under way."""
        self._retry_at: float | None = None

    def commit(self, writes: Sequence[Write], then: Then, failed: Failed, *, lazy: bool = False) -> Commit:
        """A commit that somebody awaits (`lazy`: nobody does), with all that rides along."""
        riders: tuple[Write, ...] = ()
        writes = tuple(writes)
        if self._riders:
            for write in writes:
                self._riders.pop((write.space, write.key), None)  # superseded
            riders = tuple(self._riders.values())
            self._riders.clear()
        everything = riders + writes
        rows = [(write.space, write.key) for write in everything]
        under_way = self._under_way
        under_way.update(zip(rows, everything, strict=True))

        def committed(now: Instant, results: Sequence[Any]) -> Actions:
            self.healthy = True
            self._settled(rows, everything)
            return then(now)

        def refused(now: Instant, error: StorageError) -> Actions:
            self.failed()
            again = [write for write in riders if under_way.get((write.space, write.key)) is write]
            self._settled(rows, everything)
            for write in again:
                self._riders.setdefault((write.space, write.key), write)
            if self._riders:
                self._retry_at = now.mono + RETRY
            note = Note("error", "commit failed", {"error": str(error), "writes": len(everything)})
            return [note, *failed(now, error)]

        return Commit(everything, committed, refused, lazy)

    def is_settled(self, space: str, key: Key) -> bool:
        """Whether the outcome of everything that was written to a row is known."""
        return (space, key) not in self._under_way and (space, key) not in self._riders

    def failed(self) -> None:
        """The store did not do what it must (also: a read failed)."""
        self.healthy = False
        self.failures += 1

    def ride(self, *writes: Write) -> None:
        """Write with the next commit, or at the next `flush`."""
        for write in writes:
            self._riders[write.space, write.key] = write

    def flush(self, now: Instant, *, lazy: bool = False) -> Actions:
        """Commit the riders now, unless such a commit is under way: then right after it.

        `lazy`: in a moment would do. Not for a lease: a restart must know who has it.
        """
        if not self._riders or self._flushing or self._retry_at is not None or (lazy and self._lingering):
            return []
        if lazy:
            self._lingering = True
        else:
            self._flushing = True

        def over() -> None:
            if lazy:
                self._lingering = False
            else:
                self._flushing = False

        def then(now: Instant) -> Actions:
            over()
            return self.flush(now, lazy=lazy)

        def failed(now: Instant, error: StorageError) -> Actions:
            over()
            return []

        return [self.commit((), then, failed, lazy=lazy)]

    def last(self) -> Actions:
        """Commit the riders whatever is under way: the process ends, and after that nothing follows."""
        if not self._riders:
            return []
        return [self.commit((), lambda _now: [], lambda _now, _error: [])]

    def tick(self, now: Instant) -> Actions:
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
        return self.flush(now, lazy=True)  # whoever was in a hurry has flushed

    def deadline(self) -> float | None:
        """When to tick. Riders that came without a flush are overdue: time 0."""
        if not self._riders or self._flushing or self._lingering:
            return None
        return 0.0 if self._retry_at is None else self._retry_at

    def _settled(self, rows: Sequence[tuple[str, Key]], writes: Sequence[Write]) -> None:
        """The outcome of these, of these rows, is known."""
        under_way = self._under_way
        for row, write in zip(rows, writes, strict=True):
            if under_way.get(row) is write:
                del under_way[row]
                if row[0] is DEAD:
                    self.agenda.doubt()  # of letters that are stored there may be one too many now
