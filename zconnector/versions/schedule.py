"""When the repository is looked at by itself: never, every so often, or at a time of day. Pure."""

from __future__ import annotations

from zconnector.clock import Instant
from zconnector.versions.wanted import Update, next_due


class Schedule:
    """Invariant: `_at` is set exactly while something is due by itself."""

    def __init__(self) -> None:
        self._update: Update | None = None
        self._at: float | None = None
        self._wall: int | None = None
        """Of a planned update: the wall clock's time, ms."""

    def set(self, update: Update, now: Instant) -> None:
        """The settings; unchanged ones change nothing. By interval it begins at once."""
        if update == self._update:
            return
        self._update = update
        self._wall = None
        self._at = now.mono if update.mode == "auto" else None
        if update.mode == "planned":
            self._plan(now)

    def due(self, now: Instant) -> bool:
        """Whether it is time, once each time."""
        if self._update is None or self._at is None or now.mono < self._at:
            return False
        if self._update.mode == "auto":
            self._at = now.mono + self._update.interval
            return True
        reached = self._wall is not None and now.wall >= self._wall
        if reached:
            self._plan(now)
        else:  # the wall clock was set back
            self._wait(now)
        return reached

    def deadline(self) -> float | None:
        return self._at

    def _plan(self, now: Instant) -> None:
        if self._update is not None:
            self._wall = next_due(self._update, now.wall)
            self._wait(now)

    def _wait(self, now: Instant) -> None:
        self._at = None if self._wall is None else now.mono + max(0.0, (self._wall - now.wall) / 1000)
