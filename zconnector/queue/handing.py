"""Handing out: waiters meet commands, the oldest one that fits goes to whoever waits longest.

Header and payload are read when a command is handed out. Nothing here walks the backlog: waiters and
commands meet in the lines of their name (`lines.py`).
"""

from __future__ import annotations

import random

from zconnector.actions import Actions, Caller, Note, Reach, Respond
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.messages import Message
from zconnector.queue.bodies import Messages
from zconnector.queue.burials import Burials
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.envelope import unfit, unpack
from zconnector.queue.iterators import Iterators
from zconnector.queue.leases import Command, Lease, Version
from zconnector.queue.lines import Line, Waiter
from zconnector.queue.pauses import ALL, Pauses
from zconnector.queue.register import LineKey, Register
from zconnector.queue.returns import Returns
from zconnector.queue.states import State
from zconnector.queue.store import COMMANDS, Put


class Handing:
    """Waits, and what they are answered with."""

    def __init__(
        self,
        commits: Commits,
        messages: Messages,
        iterators: Iterators,
        register: Register,
        burials: Burials,
        returns: Returns,
        pauses: Pauses,
        rng: random.Random,
    ) -> None:
        self._commits = commits
        self._messages = messages
        self._iterators = iterators
        self._register = register
        self._burials = burials
        self._returns = returns
        self._pauses = pauses
        self._rng = rng
        self._waiting: dict[Caller, Waiter] = {}
        self._parked: dict[str, dict[Caller, None]] = {}
        """Callers that wait, by iterator."""
        self._order = 0
        self._unreadable: dict[LineKey, None] = {}
        self._retry_at: float | None = None
        register.on_ready = self._ready

    def wait(
        self,
        caller: Caller,
        iterator: str,
        name: str,
        major: int,
        worker: str,
        serving: Version | None,
        now: Instant,
        *,
        seen: str | None = None,
    ) -> Actions:
        """Answer with the oldest command of that name and version, now or when there is one."""
        refusal = self._iterators.check(iterator, "command")
        if refusal is None and caller in self._waiting:
            refusal = Refusal(Reason.BAD_ARGUMENT, f"call {caller.call} is pending already")
        if refusal is not None:
            return [Respond(caller, error=refusal)]
        before = self._start_over(iterator, seen, now) if seen is not None else []
        self._order += 1
        waiter = Waiter(caller, iterator, name, major, worker, serving, self._order)
        self._iterators.hold(iterator)
        self._waiting[caller] = waiter
        self._parked.setdefault(iterator, {})[caller] = None
        key = (name, waiter.admin)
        line = self._register.line(key)
        line.park(waiter)
        return before + self._serve(key, line, waiter, now)

    def _start_over(self, iterator: str, seen: str, now: Instant) -> Actions:
        """Whoever takes one command at a time waits: what this iterator took after `seen` has not reached it.

        So it was lost with a connection, a front end or this process, and nobody works on it; an
        older wait can reach nobody any more. `seen` itself did reach it: that it could not be
        completed is no reason to run it again at once.
        """
        actions: Actions = []
        for caller in list(self._parked.get(iterator, ())):
            self._leave(self._waiting[caller], now)
            refusal = Refusal(Reason.REPLACED, "a newer wait of this iterator took its place")
            actions.append(Respond(caller, error=refusal))
        held = [command for command in self._register.held_by(iterator) if command.uuid != seen]
        return actions + self._returns.give_back(held, "lost on the way to its worker", now)

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        """The caller is gone without an answer, or without having used it; so are its iterator's leases.

        On a shared socket this is the only sign that a worker died. A command just handed to that call goes
        back as well: its RESULT and the CANCEL crossed.
        """
        waiter = self._waiting.get(caller)
        if waiter is not None:
            self._leave(waiter, now)
            iterator = waiter.iterator
        else:
            held = self._register.handed_to(caller)
            if held is None or held.lease is None:
                return []
            iterator = held.lease.iterator
        return self._returns.give_back(self._register.held_by(iterator), "wait cancelled", now)

    def pass_over(self, worker: str, now: Instant) -> list[Waiter]:
        """Hand nothing to the waits of this worker; who they are. Whoever cancels them cancels nothing."""
        waiters = [waiter for waiter in self._waiting.values() if waiter.worker == worker]
        for waiter in waiters:
            self._leave(waiter, now)
        return waiters

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        if self._retry_at is not None and now.mono >= self._retry_at:
            self._retry_at = None
            lines, self._unreadable = self._unreadable, {}
            for key in lines:
                actions += self._serve_all(key, now)
        return actions

    def deadline(self) -> float | None:
        return self._retry_at

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _ready(self, command: Command, now: Instant) -> Actions:
        """A command has become ready: it may be the one that a waiter waits for."""
        key = (command.name, command.admin)
        line = self._register.line(key)
        line.push(command.major, command.key)
        waiter = line.first(command.major)
        return [] if waiter is None else self._serve(key, line, waiter, now)

    def resumed(self, name: str, now: Instant) -> Actions:
        """Commands of that name ("*": of any) may be handed out again."""
        actions: Actions = []
        for key in self._register.line_keys():
            if name in (ALL, key[0]):
                actions += self._serve_all(key, now)
        return actions

    def _serve_all(self, key: LineKey, now: Instant) -> Actions:
        actions: Actions = []
        line = self._register.line(key)
        for waiter in sorted(line.waiters(), key=lambda waiter: waiter.order):
            actions += self._serve(key, line, waiter, now)
        return actions

    def _serve(self, key: LineKey, line: Line, waiter: Waiter, now: Instant) -> Actions:
        """Hand the oldest command that fits to a parked waiter; it stays parked if there is none."""
        if self._pauses.holds(key[0], admin=key[1]):
            return []
        actions: Actions = []
        while (number := line.take(waiter.major, self._register.is_ready)) is not None:
            command = self._register.get(number)
            try:
                body = self._messages.body(COMMANDS, number)
                message = unpack(body)
            except DamagedError as error:
                actions += self._burials.bury_damaged(command, body, now, error)
                continue
            except StorageError as error:
                # The wait stays: an error would leave a Gandalf worker deaf for ever.
                line.push(command.major, number)
                return [*actions, self._unread(key, command, error, now)]
            if broken := unfit(message):
                actions += self._burials.bury(command, message, now, *broken)
                continue
            return actions + self._lease(command, message, waiter, now)
        self._register.tidy(key)
        return actions

    def _unread(self, key: LineKey, command: Command, error: StorageError, now: Instant) -> Note:
        self._commits.failed()
        self._unreadable[key] = None
        self._retry_at = now.mono + RETRY
        return Note("error", "command cannot be read", {"uuid": command.uuid, "error": str(error)})

    def _lease(self, command: Command, message: Message, waiter: Waiter, now: Instant) -> Actions:
        self._leave(waiter, now)
        self._iterators.hold(waiter.iterator)
        command.attempt += 1
        lease = Lease(
            iterator=waiter.iterator,
            worker=waiter.worker,
            client=waiter.caller.client,
            version=waiter.serving,
            attempt=command.attempt,
            token=f"{self._rng.getrandbits(64):016x}",
            since=now.mono,
        )
        self._register.lease(command, lease, waiter.caller)
        self._commits.ride(Put(COMMANDS, command.key, command.as_meta(State.LEASED)))
        return [
            *self._commits.flush(now),
            Respond(waiter.caller, message.header, message.payload),
            Reach("target.after_lease"),
        ]

    def _leave(self, waiter: Waiter, now: Instant) -> None:
        key = (waiter.name, waiter.admin)
        self._register.line(key).leave(waiter)
        self._register.tidy(key)
        del self._waiting[waiter.caller]
        parked = self._parked[waiter.iterator]
        del parked[waiter.caller]
        if not parked:
            del self._parked[waiter.iterator]
        self._iterators.let_go(waiter.iterator, now)
