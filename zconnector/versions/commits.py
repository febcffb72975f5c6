"""What must outlive a restart: committed before what follows from it is asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable

from zconnector.clock import Instant
from zconnector.versions.states import Actions, Keep, Memory

KEEP_AGAIN = 1.0
"""Seconds until a commit that failed is tried again."""

Then = Callable[[Instant], Actions]
"""What follows from a commit."""


class Commits:
    """Invariant: `memory` is what was committed last or is being committed; what follows waits, in order."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.thens: list[tuple[int, Then]] = []
        """By the number of their commit."""
        self._kept = self._number = 0
        self._again: float | None = None

    def commit(self, memory: Memory, then: Then) -> Actions:
        """Keep this, then do that. A commit that fails is tried again, and all waits for it."""
        self.memory = memory
        self._number += 1
        self.thens.append((self._number, then))
        if self._again is not None:
            return []  # the one that is tried again takes this with it
        return [Keep(self._number, memory.to_dict())]

    def kept(self, number: int, ok: bool, now: Instant) -> Actions:
        """A commit has succeeded, or failed."""
        if not ok:
            self._again = now.mono + KEEP_AGAIN
            return []
        self._kept = max(self._kept, number)
        due = [then for at, then in self.thens if at <= self._kept]
        self.thens = [(at, then) for at, then in self.thens if at > self._kept]
        return [action for then in due for action in then(now)]

    def tick(self, now: Instant) -> Actions:
        if self._again is None or self._again > now.mono:
            return []
        self._again = None
        return [Keep(self._number, self.memory.to_dict())]

    def deadline(self) -> float | None:
        return self._again
