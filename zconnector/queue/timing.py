"""What the clock does to commands: delays and times to live are over, leases reach their limit."""

from __future__ import annotations

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.queue.burials import Burials
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.leases import Command
from zconnector.queue.register import Alarm, Register
from zconnector.queue.returns import Returns
from zconnector.queue.states import State, Step
from zconnector.queue.store import COMMANDS, Put


class Timing:
    """Answers the alarms of the register."""

    def __init__(self, commits: Commits, register: Register, returns: Returns, burials: Burials) -> None:
        self._commits = commits
        self._register = register
        self._returns = returns
        self._burials = burials

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        due = self._register.alarms.due(now.mono)
        for key, alarm in due:
            command = self._register.still(key)
            if command is None:
                continue
            if alarm is Alarm.LEASE:
                actions += self._limit_reached(command, now)
            elif alarm is Alarm.DUE:
                actions += self._due(command, now)
            else:
                actions += self._expired(command, now)
        return actions + self._commits.flush(now) if due else []

    def _limit_reached(self, command: Command, now: Instant) -> Actions:
        lease = command.lease
        if lease is None:
            return []
        why = "lease limit reached"
        lost = self._register.on_lost(command, lease, str(Reason.FENCED), now) if lease.holder else []
        return lost + self._returns.end_lease(command, why, now)

    def _due(self, command: Command, now: Instant) -> Actions:
        """Not when its end is being stored: should that fail, the alarm is set anew."""
        if command.state is State.READY and self._returns.is_used_up(command):
            return self._returns.bury_used_up(command, "its worker is gone", now)
        if command.state is not State.DELAYED:
            return []
        command.due = command.delay = 0
        self._register.step(command, Step.DUE, now)
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(State.READY)))
        return self._register.on_ready(command, now)

    def _expired(self, command: Command, now: Instant) -> Actions:
        if command.state is State.COMPLETING:
            self._register.set_alarm(command, Alarm.TTL, now.mono + RETRY)  # that may fail
            return []
        return self._burials.expire(command, now)
