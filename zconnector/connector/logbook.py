"""The last lines of what supervised workers write, for `zconnector worker logs`. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from zconnector.versions.editions import MARK

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
        """At most `limit` lines: the first after number `after`, or the last.

        `worker`: of a version, all editions of it; "": of all.
        """
        found = [line for line in self._lines if line["n"] > after and _is_of(worker, line)]
        limit = min(limit, MAX_SHOWN)
        return found[:limit] if after else found[-limit:]


def _is_of(worker: str, line: Mapping[str, Any]) -> bool:
    return not worker or str(line.get("worker")).rpartition(MARK)[0] == worker or line.get("worker") == worker
