"""The cursor in the tenant's event sequence: up to here, everything is stored (WIRE.md section 8).

Invariant: every number up to `value` is stored here, or was said to be beyond retention; `_held` are
the numbers above it that are stored too (`_above` the same as a set). A number is told to `sequenced`
only after its event was committed, so a stored cursor never runs ahead of the stored events.
"""

from __future__ import annotations

import heapq

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.queue.commits import Commits
from zconnector.queue.store import DOCUMENTS, Put

KEY = "cursor"
MISSING_FOR = 0.2
"""Seconds that a number may be missing before it is fetched: most come by themselves."""
MAX_HELD = 100_000
"""Numbers remembered above a gap; what is beyond is asked for again, and is then a duplicate by uuid."""
ASK_AGAIN = 1.0
"""Seconds until an unanswered fetch is asked for again."""


class Cursor:
    """`value` is None until the first number is told."""

    def __init__(self, commits: Commits) -> None:
        self._commits = commits
        self.value: int | None = None
        self.missed = 0
        """Numbers that retention had dropped before they could be fetched."""
        self._held: list[int] = []
        self._above: set[int] = set()
        self._latest = 0
        self._due: float | None = None
        """When what is missing now has been missing for long enough."""
        self._woken = False
        self._asked: int | None = None
        """The cursor when a span was last given to fetch, until that is answered."""

    def restore(self, value: int, missed: int) -> None:
        self.value = value
        self.missed = missed

    def includes(self, seq: int) -> bool:
        """Whether the event of that number is accounted for."""
        return self.value is not None and 0 < seq <= self.value

    def sequenced(self, seq: int, now: Instant) -> None:
        """The event of that number is stored here."""
        if seq < 1 or self.includes(seq):
            return
        self._latest = max(self._latest, seq)
        if self.value is None:
            self._move(seq, now)
            return
        if seq not in self._above and len(self._held) < MAX_HELD:
            heapq.heappush(self._held, seq)
            self._above.add(seq)
        if seq == self.value + 1:
            self._move(seq, now)
        elif self._due is None:
            self._arm(now, MISSING_FOR)

    def gap(self, latest: int, now: Instant) -> tuple[int, int] | None:
        """What to fetch now: (after, upto), or None when nothing has been missing for long enough.

        A connector without a cursor begins at the `latest` it is told first. The same span is given
        again after a second, unless `fetched` was told meanwhile.
        """
        self._latest = max(self._latest, latest)
        if self.value is None:
            self._move(latest, now)
            return None
        if self._latest <= self.value:
            self._due = None
            return None
        if self._due is None:
            self._arm(now, MISSING_FOR)
            return None
        if now.mono < self._due:
            return None
        self._arm(now, ASK_AGAIN)
        self._asked = self.value
        return self.value, self._held[0] - 1 if self._held else self._latest

    def fetched(self, upto: int, latest: int, missed: int, now: Instant) -> Actions:
        """A FETCH was answered for numbers up to `upto`; its first `missed` numbers are gone for good.

        The numbers that came were told to `sequenced`, one by one. Those that did not are asked for again:
        the journal has no holes, so they were dropped on the way.
        """
        self._latest = max(self._latest, latest)
        self.missed += max(0, missed)
        begin = self.value if self._asked is None else self._asked
        gone = upto if begin is None else min(upto, begin + max(0, missed))
        if self.value is None or gone > self.value:
            self._move(gone, now)
        if self._due is not None and self._asked is not None and (self.value or 0) > self._asked:
            self._arm(now, 0.0)  # the rest has been missing for long enough already
        self._asked = None
        return self._commits.flush(now)

    def tick(self, now: Instant) -> None:
        """The caller asks `gap` after each tick; the deadline that led here is over either way."""
        if self._due is not None and now.mono >= self._due:
            self._woken = True

    def deadline(self) -> float | None:
        return None if self._woken else self._due

    def _move(self, to: int, now: Instant) -> None:
        value = max(to, self.value or 0)
        while self._held and self._held[0] <= value + 1:
            held = heapq.heappop(self._held)
            self._above.discard(held)
            value = max(value, held)
        self.value = value
        self._due = None
        if self._latest > value:
            self._arm(now, MISSING_FOR)
        self._commits.ride(Put(DOCUMENTS, KEY, {"value": value, "missed": self.missed}))

    def _arm(self, now: Instant, seconds: float) -> None:
        self._due = now.mono + seconds
        self._commits.agenda.by(self._due)
        self._woken = False
