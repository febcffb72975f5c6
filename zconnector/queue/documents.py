"""Small documents kept beside the queue: cached pivots, logical configuration, validation state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import StorageError
from zconnector.queue.commits import Commits
from zconnector.queue.store import DOCUMENTS, Put

PREFIX = "document/"


class Documents:
    """By name; the last one remembered is recalled at once and after a restart."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self._documents: dict[str, dict[str, Any]] = {}

    def restore(self, name: str, document: dict[str, Any]) -> None:
        self._documents[name] = document

    def remember(self, name: str, document: dict[str, Any], now: Instant) -> Actions:
        self._commits.ride(self._put(name, document))
        return self._commits.flush(now)

    def remember_then(self, name: str, document: dict[str, Any], then: Callable[[], Actions]) -> Actions:
        """As `remember`; `then` is called when it is stored, or could not be."""

        def stored(now: Instant) -> Actions:
            return then()

        def failed(now: Instant, error: StorageError) -> Actions:
            return then()

        return [self._commits.commit([self._put(name, document)], stored, failed)]

    def keep(
        self, name: str, document: Any, done: Callable[[Instant, StorageError | None], Actions]
    ) -> Actions:
        """As `remember`; `done` hears whether it is stored."""

        def stored(now: Instant) -> Actions:
            return done(now, None)

        return [self._commits.commit([self._put(name, document)], stored, done)]

    def _put(self, name: str, document: dict[str, Any]) -> Put:
        # A copy through JSON: what is recalled is the same before and after a restart.
        kept = orjson.loads(orjson.dumps(document))
        self._documents[name] = kept
        return Put(DOCUMENTS, PREFIX + name, kept)

    def recall(self, name: str) -> dict[str, Any] | None:
        return self._documents.get(name)
