"""Pace: how fast one party may go on, so that no other waits behind it (WIRE.md section 5)."""

from __future__ import annotations

import math

COMMANDS_IN_FLIGHT = 48
"""Commands of one connector without a receipt that an aggregator instance has under way.

A bunch beyond what one command name may have of these (`connector/places.py`) is divided among instances,
and each part pays the wakes, transmissions and transactions of its way: 64 commands go in two parts, not in
three. Not more, since others wait behind them at the member; and all of them at once are within a peer's
burst (`SessionSettings.burst`), so that nobody who keeps to this is made to wait for credit.
"""
EVENTS_PER_SECOND = 500.0
"""Broadcast events of one connector."""
EVENTS_AT_ONCE = 32
EVENTS_LEAVE_FREE = 0.75
"""Share of a peer's credit that broadcast events are not given."""


class Bucket:
    """A token bucket: `burst` at once, then `rate` a second. What is spent beyond that is a debt.

    Invariant: the level is at most `burst`, as of the monotonic time of the last call.
    """

    __slots__ = ("_at", "_burst", "_rate", "left")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self.left = burst
        """`level` as of the last call."""
        self._at = now

    def level(self, now: float) -> float:
        """Tokens there are; below 0: tokens owed."""
        if now > self._at:
            level = self.left + (now - self._at) * self._rate
            self.left = level if level < self._burst else self._burst
            self._at = now
        return self.left

    def take(self, count: float, now: float) -> bool:
        """Take so many tokens, or (False) none."""
        if self.level(now) < count:
            return False
        self.left -= count
        return True

    def spend(self, count: float, now: float) -> None:
        """Take so many tokens, there or not."""
        self.left = self.level(now) - count

    def draw(self, count: float, debt: float, now: float) -> bool:
        """Take so many tokens, or (False) none where more than `debt` would be owed then."""
        left = self.left
        if now > self._at:  # as `level`, without a call: whatever a peer sends is drawn
            left += (now - self._at) * self._rate
            if left > self._burst:
                left = self._burst
            self.left = left
            self._at = now
        left -= count
        if left < -debt:
            return False
        self.left = left
        return True

    def ready_at(self, level: float) -> float:
        """Monotonic time from which there are so many tokens (at most `burst`).

        Exact, whatever the rounding: at that time `level` finds them. Who is woken then and finds a
        trace less would be told the same time again.
        """
        ready = self._at + max(0.0, level - self.left) / self._rate
        while self.left + (ready - self._at) * self._rate < level:
            ready = math.nextafter(ready, math.inf)
        return ready
