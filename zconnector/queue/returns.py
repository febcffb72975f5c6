"""Leases that end without a completion: the command goes back to the queue, while it has attempts left."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.burials import Burials
from zconnector.queue.commits import Commits
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command, Lease
from zconnector.queue.register import Register
from zconnector.queue.states import State, Step
from zconnector.queue.store import COMMANDS, Put


class Returns:
    """Holders that are gone, limits that are reached."""

    def __init__(
        self,
        commits: Commits,
        iterators: Iterators,
        register: Register,
        burials: Burials,
        policy: RetryPolicy,
    ) -> None:
        self._commits = commits
        self._iterators = iterators
        self._register = register
        self._burials = burials
        self._policy = policy

    def release(self, holder: Callable[[Lease], bool], why: str, now: Instant) -> Actions:
        """Give back what matching leases of iterators hold."""
        held = [
            c for c in self._register.leased() if c.lease is not None and c.lease.iterator and holder(c.lease)
        ]
        return self.give_back(held, why, now)

    def give_back(self, held: Iterable[Command], why: str, now: Instant, *, unseen: bool = False) -> Actions:
        """These leases are over. `unseen`: no worker has seen the command, so it costs no attempt."""
        actions: Actions = []
        for command in held:
            actions += self.end_lease(command, why, now, unseen=unseen)
        return actions + self._commits.flush(now)

    def is_used_up(self, command: Command) -> bool:
        """Whether it has had all its attempts."""
        return command.attempt >= (command.policy or self._policy).attempts

    def most_attempts(self, command: Command) -> int:
        """How often it may be handed out."""
        return (command.policy or self._policy).attempts

    def bury_used_up(self, command: Command, why: str, now: Instant) -> Actions:
        """All its attempts were in vain."""
        detail = f"{command.attempt} attempts, the last: {command.error or why}"
        return self._burials.bury(command, Reason.ATTEMPTS_EXHAUSTED, detail, now)

    def end_lease(self, command: Command, why: str, now: Instant, *, unseen: bool = False) -> Actions:
        """A lease is over without a completion. While COMPLETING it decides only where a failure leads."""
        lease = command.lease
        if lease is None:
            return []
        self._register.unlease(command)
        self._iterators.let_go(lease.iterator, now)
        fields = {"uuid": command.uuid, "worker": lease.worker, "attempt": lease.attempt, "why": why}
        note = Note("warning", "command returned to the queue", fields)
        if unseen:
            command.attempt -= 1
        if command.state is State.COMPLETING:
            return [note]
        if self.is_used_up(command):
            return [note, *self.bury_used_up(command, why, now)]
        self._register.step(command, Step.LEASE_ENDED, now)
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(State.READY)))
        return [note, *self._register.on_ready(command, now), *self._commits.flush(now)]
