"""Commits of a member, counted: whether the disk takes them, and whether any is still on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zconnector.actions import Actions, Commit, Note
from zconnector.clock import Instant
from zconnector.cluster.store import Write
from zconnector.errors import StorageError

Committed = Callable[[Instant, Sequence[Any]], Actions]
Failed = Callable[[Instant], Actions]


class Commits:
    """Makes every `Commit` of the router, so that health and drain see all of them.

    Invariant: `pending` is the number of commits whose outcome has not come.
    """

    def __init__(self) -> None:
        self.healthy = True
        """False after a commit or read that failed, True again after one that did not."""
        self.pending = 0
        self.last_error = ""
        self.idle: Callable[[Instant], Actions] = _nothing
        """Called whenever the last pending commit has come to its end."""

    def commit(
        self, writes: Sequence[Write], then: Committed, failed: Failed, *, lazy: bool = False
    ) -> Actions:
        """A commit; exactly one of the two functions is called with its outcome.

        `lazy`: it may wait a moment for others.
        """
        self.pending += 1

        def done(now: Instant, results: Sequence[Any]) -> Actions:
            self.pending -= 1
            self.healthy = True
            actions = then(now, results)
            return actions if self.pending else actions + self.idle(now)

        def refused(now: Instant, error: StorageError) -> Actions:
            self.pending -= 1
            actions = [*self.broken(error), *failed(now)]
            return actions if self.pending else actions + self.idle(now)

        return [Commit(tuple(writes), done, refused, lazy)]

    def broken(self, error: StorageError) -> Actions:
        """The store failed, in a commit or a read."""
        self.healthy = False
        self.last_error = str(error)
        return [Note("error", "store failed", {"error": str(error)})]


def _nothing(_: Instant) -> Actions:
    return []
