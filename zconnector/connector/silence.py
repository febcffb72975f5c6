"""Workers that are silent, or whose process has ended: others get what they held. Pure."""

from __future__ import annotations

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.connector.aside import Aside
from zconnector.connector.versions import Versions
from zconnector.connector.workers import Workers
from zconnector.queue.local import LocalQueue


class Silence:
    """Takes the leases of workers that are gone, and puts aside what they wait for."""

    def __init__(self, queue: LocalQueue, workers: Workers, versions: Versions, aside: Aside) -> None:
        self._queue = queue
        self._workers = workers
        self._versions = versions
        self._aside = aside

    def look(self, now: Instant) -> Actions:
        """Take their leases from workers that are silent."""
        self._workers.agenda.doubt()
        actions: Actions = []
        for gone in (silent := self._workers.tick(now)):
            actions.append(Note("info", "worker gone", {"worker": gone.who}))
            self._set_aside(gone.worker, now)
        actions += self._versions.follow(now)  # what comes back goes where it goes without them
        for gone in silent:
            actions += self._queue.release(gone.held, f"{gone.who} is silent", now)
        if overdue := self._workers.overdue(now):
            actions += self._queue.release(overdue, "its worker never registered, and is silent", now)
        return actions

    def ended(self, worker: str, now: Instant) -> Actions:
        """The process of a supervised worker has ended, as its supervisor saw: no silence is waited for."""
        gone = self._workers.forget(worker)
        self._set_aside(worker, now)
        return self._versions.follow(now) + self._queue.release(gone.held, f"{gone.who} has ended", now)

    def _set_aside(self, worker: str, now: Instant) -> None:
        """Hand nothing to the waits of a worker that is silent, until it is heard again."""
        for waiter in self._queue.pass_over(worker, now) if worker else ():
            args = {"iterator": waiter.iterator, "command": waiter.name, "major": waiter.major}
            # Who may have that name was looked at when the wait came.
            self._aside.put(worker, waiter.caller, {**args, "worker": worker, "own": True})
