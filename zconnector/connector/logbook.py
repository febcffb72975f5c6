"""The last lines of what supervised workers write, for `zconnector worker logs`. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

MAX_LINES = 2_000
"""Lines of all workers that are kept."""
MAX_SHOWN = 500
"""Lines of one answer."""


class LogBook:
    """Lines by number, the oldest dropped first. Each is what the log got too, in the same words."""

    def __init__(self) -> None:
        self._lines: deque[dict[str, Any]] = deque(maxlen=MAX_LINES)
        self.last = 0
        """Number of the last line; they count from 1."""

    def add(self, at: int, fields: dict[str, Any]) -> None:
        """`at`: wall clock, ms."""
        self.last += 1
        self._lines.append({"n": self.last, "at": at, **fields})

    def read(self, worker: str, after: int, limit: int) -> list[dict[str, Any]]:
        """At most `limit` lines of a worker ("": of all): the first after number `after`, or the last."""
        found = [line for line in self._lines if line["n"] > after and worker in ("", line.get("worker"))]
        limit = min(limit, MAX_SHOWN)
        return found[:limit] if after else found[-limit:]
