"""Dead letters: what was refused, poisoned or undeliverable after it had been taken. Bounded."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Any

from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.queue.commits import Commits
from zconnector.queue.store import DEAD, Delete, Put
from zconnector.settings import QueueSettings


class DeadLetters:
    """Keys and reasons in memory, the letters in the store. Beyond the bound the oldest goes, counted."""

    def __init__(self, settings: QueueSettings, commits: Commits) -> None:
        self._limit = settings.max_dead
        self._commits = commits
        self._letters: OrderedDict[int, str] = OrderedDict()
        self._next = 1
        self.dropped = 0

    def restore(self, key: int, meta: dict[str, Any]) -> None:
        self._letters[key] = meta["reason"]
        self._next = max(self._next, key + 1)

    def bury(
        self,
        body: bytes,
        uuid: str,
        name: str,
        reason: Reason,
        now: Instant,
        *,
        detail: str = "",
        attempts: int = 0,
        error: str = "",
    ) -> Put:
        """The write that makes a message a dead letter; call `undo` when its commit fails.

        `attempts` leases it had, and `error` is what the last of them said.
        """
        key = self._next
        self._next += 1
        self._letters[key] = reason
        while len(self._letters) > self._limit:
            oldest, _ = self._letters.popitem(last=False)
            self._commits.ride(Delete(DEAD, oldest))
            self.dropped += 1
        meta = {"reason": reason, "uuid": uuid, "name": name, "at": now.wall}
        told = {"detail": detail, "attempts": attempts, "error": error}
        return Put(DEAD, key, {**meta, **{name: value for name, value in told.items() if value}}, body)

    def undo(self, letter: Put) -> None:
        if isinstance(letter.key, int):
            self._letters.pop(letter.key, None)

    def depths(self) -> dict[str, Any]:
        return {
            "count": len(self._letters),
            "dropped": self.dropped,
            "by_reason": dict(Counter(self._letters.values())),
        }
