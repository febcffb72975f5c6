"""Calls that come one by one though they belong together are gathered; pure.

Answers go out in bunches (sixteen commands that one commit stored, sixteen replies), and each mostly brings
a call: a command that was handed out its completion, a reply the sender's next command. Over streams those
come back in one frame; over the Gandalf API each is a call of its own, in a turn of the loop of its own, and
would travel alone from there on: a transmission and a transaction of its own at every hop.

So a call waits while another is **expected**: one that an answer of a moment ago will bring.

| state | event | next |
|---|---|---|
| nothing expected | a call | it goes at once |
| n expected | a call | n - 1 expected; none left, or `MOST` wait: all that wait go, and it with them |
| | | else it waits |
| calls wait | `LIMIT` after the first of them began to | all go |
| | the same, and no other call had come meanwhile | all go, and nothing is expected any more |
| any | an answer that mostly brings a call | one more expected, for `MEMORY` |

Beside a lone command nothing is expected: it never waits.
"""

from __future__ import annotations

from collections import deque

LIMIT = 0.01
"""Seconds that a call waits for others at most. One millisecond is too few: at 500 commands a second it
brings half a command."""
MEMORY = 0.1
"""Seconds after an answer in which its call is expected: handlers that take longer end each by itself."""
MOST = 32
"""Calls that go together; of more the share of each in what they save is small."""


class Gathering:
    """Invariant: calls wait only while one is expected, fewer than `MOST`, and until `due` at the latest."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._expected: deque[float] = deque()
        """When each of them was brought about."""
        self.waiting = 0
        self.due = 0.0
        """Seconds, as given to `comes`; of no meaning while nothing waits."""

    def answered(self, now: float) -> None:
        """An answer went out that mostly brings a call."""
        self._forget(now)
        self._expected.append(now)

    def comes(self, now: float) -> bool:
        """A call. True: it waits. False: it goes, and all that wait with it (tell `gone`)."""
        if self._expected:
            self._expected.popleft()
        self._forget(now)
        if not self._expected or self.waiting + 1 >= MOST:
            return False
        if not self.waiting:
            self.due = now + self._limit
        self.waiting += 1
        return True

    def over(self) -> None:
        """The time of those that wait is over: they go (tell `gone`)."""
        if self.waiting == 1:
            self._expected.clear()

    def gone(self) -> None:
        """All that waited went."""
        self.waiting = 0

    def _forget(self, now: float) -> None:
        while self._expected and self._expected[0] <= now - MEMORY:
            self._expected.popleft()
