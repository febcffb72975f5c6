"""Leases that end without a completion: the command goes back to the queue."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.queue.commits import Commits
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command, Lease
from zconnector.queue.register import Register
from zconnector.queue.states import State, Step
from zconnector.queue.store import COMMANDS, Put


class Returns:
    """Holders that are gone, limits that are reached."""

    def __init__(self, commits: Commits, iterators: Iterators, register: Register) -> None:
        self._commits = commits
        self._iterators = iterators
        self._register = register

    def release(self, holder: Callable[[Lease], bool], why: str, now: Instant) -> Actions:
        """Give back what matching leases hold."""
        held = [c for c in self._register.leased() if c.lease is not None and holder(c.lease)]
        return self.give_back(held, why, now)

    def give_back(self, held: Iterable[Command], why: str, now: Instant) -> Actions:
        actions: Actions = []
        for command in held:
            actions += self._end_lease(command, why, now)
        return actions + self._commits.flush(now)

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        for command in self._register.overdue(now):
            actions += self._end_lease(command, "lease limit reached", now)
        return actions

    def _end_lease(self, command: Command, why: str, now: Instant) -> Actions:
        """A lease is over without a completion. While COMPLETING it decides only where a failure leads."""
        lease = command.lease
        if lease is None:
            return []
        self._register.unlease(command)
        self._iterators.let_go(lease.iterator, now)
        fields = {"uuid": command.uuid, "worker": lease.worker, "attempt": lease.attempt, "why": why}
        note = Note("warning", "command returned to the queue", fields)
        if command.state is State.COMPLETING:
            return [note]
        self._register.step(command, Step.LEASE_ENDED)
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(State.READY)))
        return [note, *self._register.on_ready(command, now), *self._commits.flush(now)]
