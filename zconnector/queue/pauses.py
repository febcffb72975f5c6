"""Command names that an operator has paused: their commands are stored and receipted, and handed to nobody.

A pause holds from when it is asked for (and no longer, should it not be stored); a resumption from when it is
stored. Admin commands are never paused: what an operator does about workers goes through them.
"""

from __future__ import annotations

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.queue.commits import Commits
from zconnector.queue.outcomes import Done
from zconnector.queue.store import DOCUMENTS, Delete, Put

PREFIX = "pause/"
ALL = "*"
"""Every command name."""
MAX_PAUSES = 10_000


class Pauses:
    """Paused names, and since when."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._since: dict[str, int] = {}

    def restore(self, name: str, at: int) -> None:
        self._since[name] = at

    def holds(self, name: str) -> bool:
        """Whether commands of that name are handed to nobody."""
        return bool(self._since) and (name in self._since or ALL in self._since)

    def since(self, name: str) -> int | None:
        """Wall clock, ms, from which commands of that name are paused; None: they are not."""
        found = [self._since[key] for key in (name, ALL) if key in self._since]
        return min(found, default=None)

    def names(self) -> list[str]:
        """What is paused, by name."""
        return sorted(self._since)

    def pause(self, name: str, now: Instant, done: Done) -> Actions:
        if not self._commits.is_settled(DOCUMENTS, PREFIX + name):
            return done(now, _busy(name))
        if name in self._since:
            return done(now, None)
        if len(self._since) >= MAX_PAUSES:
            return done(now, Refusal(Reason.BUSY, f"{MAX_PAUSES} command names are paused already"))
        self._since[name] = now.wall

        def then(now: Instant) -> Actions:
            return done(now, None)

        def failed(now: Instant, error: StorageError) -> Actions:
            self._since.pop(name, None)
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error)))

        return [self._commits.commit([Put(DOCUMENTS, PREFIX + name, {"at": now.wall})], then, failed)]

    def resume(self, name: str, now: Instant, done: Done) -> Actions:
        """`ALL` resumes everything, also what was paused by its name. `done` comes after it is in force."""
        names = self.names() if name == ALL else [name] if name in self._since else []
        for each in names:
            if not self._commits.is_settled(DOCUMENTS, PREFIX + each):
                return done(now, _busy(each))
        if not names:
            return done(now, None)

        def then(now: Instant) -> Actions:
            for each in names:
                self._since.pop(each, None)
            return done(now, None)

        def failed(now: Instant, error: StorageError) -> Actions:
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error)))

        writes = [Delete(DOCUMENTS, PREFIX + each) for each in names]
        return [self._commits.commit(writes, then, failed)]


def _busy(name: str) -> Refusal:
    return Refusal(Reason.BUSY, f"another change of the pause of {name!r:.80} is being stored: ask again")
