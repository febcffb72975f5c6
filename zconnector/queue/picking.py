"""The next command of a line that can be handed out; what cannot is buried on the way.

Header and payload are read here, when a command is handed out.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, StorageError
from zconnector.messages import Message
from zconnector.queue.bodies import Messages
from zconnector.queue.burials import Burials
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.envelope import is_small_and_flat, unfit
from zconnector.queue.leases import Command, Lease
from zconnector.queue.lines import Waiter
from zconnector.queue.register import LineKey, Register, line_key, rank
from zconnector.queue.returns import Returns
from zconnector.queue.states import LEASED
from zconnector.queue.store import COMMANDS, Put

Picked = tuple[Command, Message]
"""A command that left its line, and is not leased yet."""


class Picking:
    """Takes commands out of lines, and leases them."""

    def __init__(
        self,
        lease_limit: float,
        commits: Commits,
        messages: Messages,
        register: Register,
        burials: Burials,
        returns: Returns,
        rng: random.Random,
    ) -> None:
        self.held: Callable[[str], bool] = lambda name: False
        """Whether nothing of a name is to be handed out now (it is paused). Not asked of admin commands."""
        self._lease_limit = lease_limit
        self._commits = commits
        self._messages = messages
        self._register = register
        self._burials = burials
        self._returns = returns
        self._rng = rng
        self._unreadable: dict[LineKey, None] = {}
        self._retry_at: float | None = None

    def pick(self, key: LineKey, waiter: Waiter, now: Instant, actions: Actions) -> Picked | None:
        """The first command of a line that fits a waiter; what has to be done besides goes to `actions`."""
        if not key[1] and self.held(key[0]):
            return None
        register = self._register
        line = register.line(key)
        sorting = line.sorting
        while (
            number := line.take(waiter.major, register.is_ready)
            if sorting is None
            else sorting.take(waiter, register.ready)
        ) is not None:
            command = self._register.get(number)
            if command.over_at and command.over_at <= now.mono:  # whose alarm rings in a moment
                actions += self._burials.expire(command, now)
                continue
            # Its burial failed, and then the process ended. (At least one attempt everything has.)
            if command.attempt and self._returns.is_used_up(command):
                actions += self._returns.bury_used_up(command, "its worker is gone", now)
                continue
            try:
                message = self._messages.message(COMMANDS, command.key)
            except DamagedError as error:
                actions += self._burials.bury(command, Reason.STORAGE_FAILED, str(error), now)
                continue
            except StorageError as error:
                # The wait stays: an error would leave a Gandalf worker deaf for ever.
                line.push(command.major, number)
                actions.append(self._unread(key, command, error, now))
                return None
            # Those who wait by names are workers of zconnector.v1, to whom most commands are plainly fit.
            if not (waiter.names and is_small_and_flat(message, command.size)) and (
                broken := unfit(message, text=waiter.text, size=command.size)
            ):
                actions += self._burials.bury(command, *broken, now)
                continue
            return command, message
        return None

    def put_back(self, picked: Picked) -> None:
        """It is not handed out after all, and takes its old place."""
        command = picked[0]
        self._register.line(line_key(command)).push(command.major, rank(command))

    def lease(self, command: Command, waiter: Waiter, now: Instant) -> Lease:
        """It is the waiter's from now on; the caller flushes."""
        command.attempt += 1
        length = (waiter.lease_ms or command.lease_ms) / 1000 or self._lease_limit
        lease = Lease(
            iterator=waiter.iterator,
            worker=waiter.worker,
            client=waiter.caller.client,
            version=waiter.serving,
            attempt=command.attempt,
            token=f"{self._rng.getrandbits(64):016x}",
            since=now.mono,
            length=length,
            holder=waiter.holder,
        )
        self._register.lease(command, lease, waiter.caller, now)
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(LEASED)))
        return lease

    def readable_again(self, now: Instant) -> list[LineKey]:
        """Lines at which a command could not be read, once it is time to try that again."""
        if self._retry_at is None or now.mono < self._retry_at:
            return []
        self._retry_at = None
        lines, self._unreadable = self._unreadable, {}
        return list(lines)

    def deadline(self) -> float | None:
        return self._retry_at

    def _unread(self, key: LineKey, command: Command, error: StorageError, now: Instant) -> Note:
        self._commits.failed()
        self._unreadable[key] = None
        self._retry_at = now.mono + RETRY
        self._commits.agenda.by(self._retry_at)
        return Note("error", "command cannot be read", {"uuid": command.uuid, "error": str(error)})
