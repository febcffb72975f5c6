"""Pace: how fast one party may go on, so that no other waits behind it (WIRE.md section 5)."""

from __future__ import annotations

COMMANDS_IN_FLIGHT = 64
"""Commands of one connector without a receipt that an aggregator instance has under way."""
EVENTS_PER_SECOND = 500.0
"""Broadcast events of one connector."""
EVENTS_AT_ONCE = 64
EVENTS_LEAVE_FREE = 0.75
"""Share of a peer's credit that broadcast events are not given."""
_ROUNDING = 1e-6
"""Seconds; beyond what a float of monotonic time may be wrong by, below what anybody notices."""


class Bucket:
    """A token bucket: `burst` at once, then `rate` a second. What is spent beyond that is a debt.

    Invariant: the level is at most `burst`, as of the monotonic time of the last call.
    """

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def level(self, now: float) -> float:
        """Tokens there are; below 0: tokens owed."""
        if now > self._at:
            self._level = min(self._burst, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level

    def take(self, count: float, now: float) -> bool:
        """Take so many tokens, or (False) none."""
        if self.level(now) < count:
            return False
        self._level -= count
        return True

    def spend(self, count: float, now: float) -> None:
        """Take so many tokens, there or not."""
        self._level = self.level(now) - count

    def ready_at(self, level: float) -> float:
        """Monotonic time from which there are so many tokens; a hair later, so that rounding leaves none out.

        Else a tick at that very time finds a hair too few, and asks for the same time again.
        """
        lacking = level - self._level
        return self._at + lacking / self._rate + _ROUNDING if lacking > 0 else self._at
