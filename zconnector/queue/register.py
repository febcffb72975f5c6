"""All commands that the queue knows, live and ended, and the indexes over them.

Invariants:
- a live command is in `_live`, an ended one in `_ended` until its dedupe window is over; both are
  in `_by_uuid`;
- a command has a lease while LEASED; while COMPLETING it keeps the lease it had, until that ends;
- counts and bytes are those of live commands; ended ones have a bound of their own;
- of the live commands with one name and order key only the first may stand in a line;
- only what is live has alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

from zconnector.actions import Actions, Caller
from zconnector.alarms import Alarms
from zconnector.clock import Deadlines, Instant
from zconnector.errors import Refusal
from zconnector.queue.bodies import Messages
from zconnector.queue.chains import Chains
from zconnector.queue.commits import Commits
from zconnector.queue.ended import FLOOR, Ended
from zconnector.queue.history import noted
from zconnector.queue.leases import Command, Lease
from zconnector.queue.lines import Line
from zconnector.queue.room import Room
from zconnector.queue.routing import Routing
from zconnector.queue.states import ENDED, READY, TRANSITIONS, WAITING, State, Step
from zconnector.queue.tally import Tally
from zconnector.settings import QueueSettings

__all__ = ["FLOOR", "Alarm", "LineKey", "Register", "line_key", "rank"]

LineKey = tuple[str, bool]
"""A command's name, and whether it is for the admin worker."""

_KEY_BITS = 56
_KEY = (1 << _KEY_BITS) - 1


class Alarm(IntEnum):
    """What the clock does to a command."""

    DUE = 0
    LEASE = 1
    TTL = 2


_LEASE_OVER, _LEASE = Alarm.LEASE, Step.LEASE


def line_key(command: Command) -> LineKey:
    """The line that a command stands in."""
    return (command.name, command.admin)


def rank(command: Command) -> int:
    """Its place in its line, the lowest first: by priority, then by arrival."""
    return (9 - command.priority) << _KEY_BITS | command.key


class Register:
    """Commands by uuid, by key, by lease, by call, and in the lines of their names."""

    def __init__(self, settings: QueueSettings, commits: Commits, messages: Messages) -> None:
        self._settings = settings
        self._by_uuid: dict[str, Command] = {}
        self.find: Callable[[str], Command | None] = self._by_uuid.get
        """The command of a uuid, live or ended; None: unknown."""
        self._live: dict[int, Command] = {}
        self._ended = Ended(settings.dedupe_window, commits, messages)
        self.may_be_forgotten = self._ended.may_be_forgotten
        self._leased: dict[int, Command] = {}
        self._handed: dict[Caller, list[Command]] = {}
        self._held: dict[str, dict[int, None]] = {}
        """Keys of leased commands by who took them (`Lease.held_by`)."""
        self._lines: dict[LineKey, Line] = {}
        self.routing = Routing()
        """In force; changed by `route` alone."""
        self._chains = Chains()
        self.tally = Tally()
        self.alarms: Alarms[tuple[int, Alarm]] = Alarms(commits.agenda)
        self._last_key = 0
        self.room = Room(settings)
        self.on_ready: Callable[[Command, Instant], Actions] = lambda command, now: []
        """Told of a command that has become ready, or the first of its order key: a waiter may want it."""

        self.on_waiting: Callable[[Command], None] | None = None
        """Told of each command as it becomes READY or DELAYED."""
        self.on_lost: Callable[[Command, Lease, str, Instant], Actions] = lambda *_: []
        """Told of a stream's lease that ended without its doing, and why."""
        self.on_unlease: Callable[[str], None] | None = None
        """Told whose lease is over, whatever ended it."""

    def restore(self, commands: list[Command], now: Instant) -> None:
        """Everything as it was; in order of keys. Leases and delays last as long as they did at most."""
        for command in commands:
            self._last_key = max(self._last_key, command.key)
            self._by_uuid[command.uuid] = command
            if command.state in ENDED:
                self.tally.count(command, 1)
                self._ended.remember(command, now)
                continue
            self._enter(command)
            if self.on_waiting is not None and command.state in WAITING:
                self.on_waiting(command)
            if command.lease is not None:
                self._hold(command, command.lease)
                length = command.lease.length
                if command.lease.holder:  # its stream comes back soon, or not at all
                    length = min(length, self._settings.adopt_within)
                self.set_alarm(command, Alarm.LEASE, now.mono + length)
            if command.state is State.DELAYED:
                left = min(command.delay, max(0, command.due - now.wall))
                self.set_alarm(command, Alarm.DUE, now.mono + left / 1000)
            if command.ttl:
                left = min(command.ttl, max(0, command.expires - now.wall))
                self.set_time_to_live(command, now.mono + left / 1000)
            if command.state is READY and self._is_used_up(command):
                self.set_alarm(command, Alarm.DUE, now.mono)  # its burial failed before the restart
            elif command.state is READY and command.before is None:
                self.line(line_key(command)).push(command.major, rank(command))

    def restore_floor(self, source: str, floor: int) -> None:
        self._ended.restore_floor(source, floor)

    def next_key(self) -> int:
        self._last_key += 1
        return self._last_key

    def get(self, number: int) -> Command:
        """A live command, by its rank or key."""
        return self._live[number & _KEY]

    def still(self, key: int) -> Command | None:
        """A command, by key, if it is live."""
        return self._live.get(key)

    def live(self, name: str | None = None) -> Iterator[Command]:
        """The live commands of a name, or all, in order of arrival. Walks all of them."""
        return (command for command in self._live.values() if name is None or command.name == name)

    def is_ready(self, number: int) -> bool:
        """Whether a rank (or key) in a line still stands for a command that may be handed out."""
        command = self._live.get(number & _KEY)
        return command is not None and command.state is READY

    def ready(self, number: int) -> Command | None:
        """The command that a rank (or key) in a line stands for, if it may still be handed out."""
        command = self._live.get(number & _KEY)
        return command if command is not None and command.state is READY else None

    def no_room(self, size: int, uuid: str, spare: int = 0) -> Refusal | None:
        """Why a further command of so many bytes cannot be taken, `spare` of which may exceed the bounds."""
        return self.room.refusal(size, uuid, self._ended.count, self._ended.bytes, spare)

    @property
    def remembers_too_much(self) -> bool:
        """Whether no further command can be taken, whoever makes room for it."""
        return self.room.remembers_too_much(self._ended.count, self._ended.bytes)

    def add(self, command: Command) -> None:
        """A new command, STORING."""
        self._by_uuid[command.uuid] = command
        self._enter(command)

    def step(self, command: Command, step: Step, now: Instant | None = None) -> None:
        """The one place where a command changes its state. `now` None: its history goes without it."""
        before = command.state
        after = TRANSITIONS[before, step]
        if after is None:
            self.tally.count(command, -1)
            del self._by_uuid[command.uuid]
            return
        command.state = after
        states = self.tally.kinds[command.name, command.major].states
        states[before] -= 1
        states[after] += 1
        if now is not None:
            command.history = noted(command.history, step, now.wall)
        if self.on_waiting is not None and after in WAITING:
            self.on_waiting(command)

    def drop(self, command: Command, now: Instant) -> Actions:
        """NOT_STORED: it is as if it had never come. Then the next one of its order key may go."""
        self.step(command, Step.NOT_STORED)
        return self._leave(command, now)

    def end(self, command: Command, step: Step, size: int, now: Instant) -> Actions:
        """COMPLETED or BURIED: from now on it is only remembered; `size` is that of its stored reply."""
        if command.lease is not None:
            self.unlease(command)
        self.step(command, step, now)
        actions = self._leave(command, now)
        command.size, command.at = size, now.wall
        self._ended.remember(command, now)
        return actions

    def lease(self, command: Command, lease: Lease, caller: Caller, now: Instant) -> None:
        self.step(command, _LEASE, now)
        command.lease = lease
        command.caller = caller
        self._handed.setdefault(caller, []).append(command)
        self._hold(command, lease)
        self.alarms.set((command.key, _LEASE_OVER), now.mono + lease.length)

    def renew(self, command: Command, lease: Lease, now: Instant, length: float | None = None) -> None:
        """The same lease, with another holder or length. It lasts `length` (else its own) from now on."""
        self._let_go(command)
        command.lease = lease
        self._hold(command, lease)
        length = lease.length if length is None else length
        self.alarms.set((command.key, _LEASE_OVER), now.mono + length)

    def unlease(self, command: Command) -> None:
        """The lease, where there is one, is over; the state is the caller's affair."""
        lease = command.lease
        if lease is None:
            return
        if self.on_unlease is not None:
            self.on_unlease(lease.worker)
        self._let_go(command)
        command.lease = None
        self.alarms.cancel((command.key, _LEASE_OVER))
        caller, command.caller = command.caller, None
        if caller is not None:
            handed = self._handed[caller]
            handed.remove(command)
            if not handed:
                del self._handed[caller]

    def leased(self) -> list[Command]:
        """Commands with a lease, by key."""
        return [self._leased[key] for key in sorted(self._leased)]

    def held_by(self, holder: str) -> list[Command]:
        """Commands leased to an iterator or stream (`Lease.held_by`), in the order in which it took them."""
        return [self._leased[key] for key in self._held.get(holder, ())]

    def handed_to(self, caller: Caller) -> list[Command]:
        """What a call was answered with, as far as these leases last."""
        return list(self._handed.get(caller, ()))

    def forget_ended(self, now: Instant) -> None:
        """Drop the ended commands whose dedupe window is over."""
        self._ended.forget(now, lambda command: self.step(command, Step.FORGOTTEN))

    def set_time_to_live(self, command: Command, over_at: float) -> None:
        """From then on it is handed to nobody, whatever else comes at that moment; and soon it expires."""
        command.over_at = over_at
        self.set_alarm(command, Alarm.TTL, over_at)

    def set_alarm(self, command: Command, alarm: Alarm, at: float) -> None:
        if alarm is not _LEASE_OVER:
            command.timed = True
        self.alarms.set((command.key, alarm), at)

    @property
    def deadlines(self) -> Deadlines:
        return (self.alarms.deadline, self._ended.deadline)

    def line(self, key: LineKey) -> Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
            free = self.routing.free
            if free is not None and key[0] not in free and not key[1]:
                line.follow(self.routing.rule(key[0]))
        return line

    def route(self, routing: Routing) -> None:
        """Other versions, shares or pins hold from now on; who waits may wait beside a command by that."""
        self.routing = routing
        for key, line in self._lines.items():
            if not key[1]:
                line.follow(routing.rule(key[0]))

    def tidy(self, key: LineKey) -> None:
        """Keep no line for a name at which nothing stands."""
        line = self._lines.get(key)
        if line is not None and line.empty:
            del self._lines[key]

    def lines_of(self, name: str | None) -> list[LineKey]:
        """The lines of a name, or all, at which anything stands."""
        return [key for key in self._lines if name is None or key[0] == name]

    def depths(self) -> dict[str, Any]:
        return {
            "count": len(self._live),
            "bytes": self.room.bytes,
            "ended": self._ended.count,
            **self.tally.as_status(),
        }

    def _is_used_up(self, command: Command) -> bool:
        attempts = command.policy.attempts if command.policy else self._settings.retry_attempts
        return command.attempt >= attempts

    def _enter(self, command: Command) -> None:
        self._live[command.key] = command
        self.room.enter(command)
        self.tally.enter(command)
        if command.order_key:
            self._chains.add(command)

    def _leave(self, command: Command, now: Instant) -> Actions:
        """It is live no more, and has no lease; who waited for that may be ready now."""
        del self._live[command.key]
        self.room.leave(command)
        self.tally.weigh(command, -command.size)
        if command.timed:
            self.alarms.cancel((command.key, Alarm.DUE))
            self.alarms.cancel((command.key, Alarm.TTL))
        if not command.order_key:
            return []
        first = self._chains.remove(command)
        return [] if first is None or first.state is not READY else self.on_ready(first, now)

    def _hold(self, command: Command, lease: Lease) -> None:
        self._leased[command.key] = command
        holder = lease.held_by
        if holder:
            self._held.setdefault(holder, {})[command.key] = None

    def _let_go(self, command: Command) -> None:
        self._leased.pop(command.key, None)
        lease = command.lease
        holder = "" if lease is None else lease.held_by
        if holder:
            held = self._held[holder]
            del held[command.key]
            if not held:
                del self._held[holder]
