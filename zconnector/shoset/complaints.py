"""Log lines about peers that do what they must not: few, however much they do it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Link, Note
from zconnector.clock import Instant

_EVERY = 1.0
"""Seconds between two lines about one link."""


class Complaints:
    """Bounded by count: beyond it all links may be complained of anew."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: dict[Link, float] = {}

    def __len__(self) -> int:
        return len(self._last)

    def about(self, link: Link, event: str, fields: Mapping[str, Any], now: Instant) -> Actions:
        """A line, or none if there was one a moment ago."""
        if now.mono - self._last.get(link, -_EVERY) < _EVERY:
            return []
        if len(self._last) >= self._limit:
            self._last.clear()
        self._last[link] = now.mono
        return [Note("warning", event, fields)]

    def forget(self, link: Link) -> None:
        """The link is gone."""
        self._last.pop(link, None)
