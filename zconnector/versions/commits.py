"""What must outlive a restart: committed before what follows from it is asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable

from zconnector.clock import Instant
from zconnector.versions.actions import Actions, Keep
from zconnector.versions.states import Memory

KEEP_AGAIN = 1.0
"""Seconds until a commit that failed is tried again."""

Then = Callable[[Instant], Actions]
"""What follows from a commit."""


class Commits:
    """Invariant: `memory` is what was committed last or is being committed; what follows waits, in order."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.durable = Memory()
        """What was committed last: what the router has after a kill now."""
        self._sent: dict[int, Memory] = {}
        """What is being committed, by number."""
        self.thens: list[tuple[int, Then]] = []
        """By the number of their commit."""
        self._kept = self._number = 0
        self._again: float | None = None

    def restore(self, memory: Memory) -> None:
        """Take up what was committed before this process began."""
        self.memory = self.durable = memory

    def commit(self, memory: Memory, then: Then) -> Actions:
        """Keep this, then do that. A commit that fails is tried again, and all waits for it."""
        self.memory = memory
        self._number += 1
        self.thens.append((self._number, then))
        if self._again is not None:
            return []  # the one that is tried again takes this with it
        return self._keep()

    def kept(self, number: int, ok: bool, now: Instant) -> Actions:
        """A commit has succeeded, or failed."""
        if not ok:
            self._again = now.mono + KEEP_AGAIN
            return []
        self._kept = max(self._kept, number)
        for each in sorted(self._sent):
            if each <= number:
                self.durable = self._sent.pop(each)
        due = [then for at, then in self.thens if at <= self._kept]
        self.thens = [(at, then) for at, then in self.thens if at > self._kept]
        return [action for then in due for action in then(now)]

    def _keep(self) -> Actions:
        self._sent[self._number] = self.memory
        return [Keep(self._number, self.memory.to_dict())]

    def tick(self, now: Instant) -> Actions:
        if self._again is None or self._again > now.mono:
            return []
        self._again = None
        return self._keep()

    def deadline(self) -> float | None:
        return self._again
