"""When a command that was not done is tried again: wishes, the policy they make, the pause. Pure.

A **wish** is what a sender (header field `retry`) or a pivot (`retry:` of a command type) asks for: any of
the keys of `RULES`. The sender's goes over the pivot's, and that over the settings.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

MAX_PAUSE_MS = 30 * 86_400_000
"""30 days: of a delay, a time to live, and a pause."""

RULES: dict[str, tuple[int, int]] = {
    "attempts": (1, 1_000),
    "first": (0, MAX_PAUSE_MS),
    "factor": (1, 10),
    "limit": (0, MAX_PAUSE_MS),
}
"""Least and greatest value of each key; all are whole numbers but `factor`."""


class RetryPolicy(NamedTuple):
    """How often, and how long apart."""

    attempts: int = 5
    """Leases in all; a lease given back unseen does not count."""
    first: int = 1_000
    """Milliseconds after the first attempt."""
    factor: float = 2
    """What each further pause is of the one before."""
    limit: int = 100_000
    """No pause is longer, in milliseconds."""

    def pause(self, attempt: int, rng: random.Random) -> int:
        """Milliseconds until the next attempt, after attempt number `attempt`: half of it to all of it."""
        whole = float(self.first)
        for _ in range(attempt - 1):
            if whole >= self.limit or self.factor == 1 or not whole:
                break
            whole *= self.factor
        return round(min(whole, self.limit) * (0.5 + rng.random() / 2))

    def over(self, wish: Mapping[str, Any]) -> RetryPolicy:
        """This policy with what a (checked) wish asks for; equal ones are one object."""
        wished = wish.get
        return _shared(
            wished("attempts", self.attempts),
            wished("first", self.first),
            wished("factor", self.factor),
            wished("limit", self.limit),
        )


@lru_cache(4096)
def _shared(attempts: int, first: int, factor: float, limit: int) -> RetryPolicy:
    return RetryPolicy(attempts, first, factor, limit)


def broken_rule(wish: object) -> str:
    """The rule that a wish breaks, in words; "" when it keeps them all."""
    if not isinstance(wish, Mapping):
        return f"retry must be an object, not {type(wish).__name__}"
    for name, value in wish.items():
        if name not in RULES:
            return f"retry has no {str(name)[:40]!r}; there are {', '.join(RULES)}"
        least, greatest = RULES[name]
        kinds = (int, float) if name == "factor" else (int,)
        if type(value) not in kinds or not least <= value <= greatest:
            number = "a number" if name == "factor" else "an int"
            return f"retry.{name} must be {number} from {least:,} to {greatest:,} (got {str(value)[:40]})"
    return ""
