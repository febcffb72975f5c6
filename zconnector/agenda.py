"""When something is due next in a core, known without asking all its parts after every step.

A part that comes to wait for a time says so (`by`); that it waits no longer, or for a later time, nobody need
say. So what is known is never too late and at times too early: when that time has come, the parts are asked
(`due`), and what they say is known from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf


class Agenda:
    """Shared by the parts of one core. Invariant: `at` is not later than any of their deadlines."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0.0
        """Monotonic time before which nothing is due; `inf`: nothing waits for time; 0: ask the parts."""

    def by(self, at: float) -> None:
        """Something is due at that time."""
        if at < self.at:
            self.at = at

    def doubt(self) -> None:
        """Much has changed: the parts have to be asked."""
        self.at = 0.0

    def learn(self, deadline: float | None) -> None:
        """What the parts say, all of them asked."""
        self.at = inf if deadline is None else deadline

    def soon(self, deadline: Callable[[], float | None]) -> float:
        """`at`, after asking the parts if need be; `deadline` asks them."""
        if self.at <= 0.0:
            self.learn(deadline())
        return self.at

    def due(self, mono: float, deadline: Callable[[], float | None]) -> bool:
        """Whether something is due indeed."""
        if self.at > mono:
            return False
        self.learn(deadline())
        return self.at <= mono
