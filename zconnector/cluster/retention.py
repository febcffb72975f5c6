"""The journal's bounds, days and bytes, kept in small steps so that no commit waits long."""

from __future__ import annotations

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.cluster.health import Commits
from zconnector.cluster.settled import Settled
from zconnector.cluster.store import Trim, Trimmed

CHUNK = 500
"""Lines of one step."""
_PAUSE = 0.02
"""Seconds between two steps while there is more to do: others' commits come between them."""
_INTERVAL = 30.0
_DAY_MS = 86_400_000


class Retention:
    """Deletes what is too old or too much, a chunk at a time. At most one step is under way.

    What is too old is told by a clock that has been right for an hour: one wrong by days would
    take the events that connectors still need, and the resolutions that keep a command at one target.
    """

    def __init__(self, commits: Commits, days: float, max_bytes: int) -> None:
        self._commits = commits
        self._keep_ms = int(days * _DAY_MS)
        self._max_bytes = max_bytes
        self._settled = Settled()
        self._due: float | None = None
        self.bytes = 0
        """What the journal held after the last step."""
        self.deleted = 0
        """Lines and resolutions deleted since the start."""

    def start(self, now: Instant) -> None:
        self._due = now.mono

    def deadline(self) -> float | None:
        """When `tick` is due; None while a step is under way."""
        return self._due

    def tick(self, now: Instant) -> Actions:
        """Begin a step if it is time."""
        if self._due is None or now.mono < self._due:
            return []
        self._due = None
        settled = self._settled.read(now)
        trim = Trim(settled - self._keep_ms, self._max_bytes, CHUNK, settled)
        return self._commits.commit(
            [trim], lambda later, results: self._done(results[0], later), self._failed
        )

    def _done(self, trimmed: Trimmed, now: Instant) -> Actions:
        self.bytes = trimmed.bytes
        self.deleted += trimmed.rows
        more = trimmed.rows >= CHUNK
        self._due = now.mono + (_PAUSE if more else _INTERVAL)
        if not trimmed.rows:
            return []
        return [Note("info", "journal trimmed", {"deleted": trimmed.rows, "bytes": trimmed.bytes})]

    def _failed(self, now: Instant) -> Actions:
        self._due = now.mono + _INTERVAL
        return []
