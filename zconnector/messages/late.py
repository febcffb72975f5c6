"""Which copies of a command come too late: `accept_until` and the grace beyond it (DESIGN section 3, 3).

A wall clock may be put back. Who refused one copy of a submission as too late has told its sender for certain
that it is not taken; so a further copy, which comes by another way after the clock was put right, is
refused as well.
"""

from __future__ import annotations

from collections import OrderedDict

GRACE_MS = 30_000
"""Beyond `accept_until`: clocks differ."""
REMEMBERED = 4_096
"""Submissions that were refused; copies of one arrive within seconds of each other."""


class Late:
    """Invariant: of the last `REMEMBERED` submissions that came too late each copy is too late.

    In memory only: it is there for copies that are under way at the same time.
    """

    def __init__(self) -> None:
        self._refused: OrderedDict[tuple[str, int], int] = OrderedDict()

    def by(self, key: str, accept_until: int, wall: int) -> int:
        """Milliseconds by which a submission is too late, as its first copy was; 0: it is not.

        `key`: the command; sent again later it is another submission, with a later `accept_until`.
        """
        late = wall - accept_until - GRACE_MS
        if late <= 0:
            return self._refused.get((key, accept_until), 0) if self._refused else 0
        late = self._refused.setdefault((key, accept_until), late)
        if len(self._refused) > REMEMBERED:
            self._refused.popitem(last=False)
        return late
