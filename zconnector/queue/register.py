"""All commands that the queue knows, live and ended, and the indexes over them.

Invariants:
- a live command is in `_live`, an ended one in `_ended` until its dedupe window is over; both are
  in `_by_uuid`;
- a command has a lease while LEASED; while COMPLETING it keeps the lease it had, until that ends;
- counts and bytes are those of live commands; ended ones have a bound of their own.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from zconnector.actions import Actions, Caller
from zconnector.clock import Instant, earliest
from zconnector.errors import Reason, Refusal
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.leases import Command, Lease
from zconnector.queue.lines import Line
from zconnector.queue.states import ENDED, LIVE, TRANSITIONS, State, Step
from zconnector.queue.store import COMMANDS, DOCUMENTS, Delete, Put
from zconnector.settings import QueueSettings

LineKey = tuple[str, bool]
"""A command's name, and whether it is for the admin worker."""

FLOOR = "floor/"
REMEMBERED_PER_ROOM = 10
"""Ended commands remembered at most, as a multiple of the bound on live ones: beyond it new
commands are refused, since forgetting an ended one early would let a late copy run again."""


class Register:
    """Commands by uuid, by key, by lease, by call, and in the lines of their names.

    Dedupe does not hang on clocks alone: when an ended command is forgotten, the `accept_until` of its source
    up to which that has happened is kept as a **floor**; an unknown command at or below it is
    refused. A clock that jumps there and back can cause refusals, but no second execution.
    """

    def __init__(self, settings: QueueSettings, commits: Commits, messages: Messages) -> None:
        self._settings = settings
        self._commits = commits
        self._messages = messages
        self._by_uuid: dict[str, Command] = {}
        self._live: dict[int, Command] = {}
        self._ended: deque[tuple[float, Command]] = deque()
        self._leased: dict[int, Command] = {}
        self._handed: dict[Caller, Command] = {}
        self._held: dict[str, dict[int, None]] = {}
        """Keys of leased commands by the iterator that took them."""
        self._limits: list[tuple[float, int, str]] = []
        self._lines: dict[LineKey, Line] = {}
        self._floors: dict[str, int] = {}
        self._tally: Counter[tuple[str, State]] = Counter()
        self._last_key = 0
        self._bytes = 0
        self._ended_bytes = 0
        self.on_ready: Callable[[Command, Instant], Actions] = lambda command, now: []
        """Told of a command that has become ready: a waiter may wait for it."""

    def restore(self, commands: list[Command], now: Instant) -> None:
        """Everything as it was; in order of keys. Leases last `lease_limit` from now at most."""
        for command in commands:
            self._last_key = max(self._last_key, command.key)
            self._by_uuid[command.uuid] = command
            self._tally[command.name, command.state] += 1
            if command.state in ENDED:
                self._remember(command, now)
                continue
            self._live[command.key] = command
            self._bytes += command.size
            if command.lease is not None:
                self._hold(command, command.lease)
            else:
                self.line((command.name, command.admin)).push(command.major, command.key)

    def restore_floor(self, source: str, floor: int) -> None:
        self._floors[source] = floor

    def next_key(self) -> int:
        self._last_key += 1
        return self._last_key

    def find(self, uuid: str) -> Command | None:
        return self._by_uuid.get(uuid)

    def get(self, key: int) -> Command:
        """A live command."""
        return self._live[key]

    def is_ready(self, key: int) -> bool:
        command = self._live.get(key)
        return command is not None and command.state is State.READY

    def no_room(self, size: int, uuid: str) -> Refusal | None:
        """Why a further command of so many bytes cannot be taken."""
        limit, byte_limit = self._settings.max_commands, self._settings.max_command_bytes
        if len(self._live) + 1 > limit:
            return Refusal(Reason.QUEUE_FULL, f"the queue holds {limit} commands", uuid)
        if self._bytes + size > byte_limit:
            return Refusal(Reason.QUEUE_FULL, f"the queue holds {self._bytes} of {byte_limit} bytes", uuid)
        if len(self._ended) >= REMEMBERED_PER_ROOM * limit or self._ended_bytes > byte_limit:
            return Refusal(Reason.QUEUE_FULL, "too many commands have ended within the dedupe window", uuid)
        return None

    def may_be_forgotten(self, source: str, accept_until: int) -> bool:
        """Whether a command unknown here may have been known, and ended, before."""
        return accept_until <= self._floors.get(source, -1)

    def add(self, command: Command) -> None:
        """A new command, STORING."""
        self._by_uuid[command.uuid] = command
        self._live[command.key] = command
        self._bytes += command.size
        self._tally[command.name, command.state] += 1

    def step(self, command: Command, step: Step) -> None:
        """The one place where a command changes its state."""
        before, after = command.state, TRANSITIONS[command.state, step]
        self._count(command, before, -1)
        if after is None:
            del self._by_uuid[command.uuid]
            if before in LIVE:
                self._unlive(command)
            return
        command.state = after
        self._count(command, after, 1)

    def end(self, command: Command, step: Step, size: int, now: Instant) -> None:
        """COMPLETED or BURIED: from now on it is only remembered; `size` is that of its stored reply."""
        self.unlease(command)
        self._unlive(command)
        self.step(command, step)
        command.size = size
        self._remember(command, now)

    def lease(self, command: Command, lease: Lease, caller: Caller) -> None:
        self.step(command, Step.LEASE)
        command.lease = lease
        command.caller = caller
        self._handed[caller] = command
        self._hold(command, lease)

    def unlease(self, command: Command) -> None:
        """The lease, where there is one, is over; the state is the caller's affair."""
        lease, command.lease = command.lease, None
        self._leased.pop(command.key, None)
        if lease is not None:
            held = self._held[lease.iterator]
            del held[command.key]
            if not held:
                del self._held[lease.iterator]
        if command.caller is not None:
            if self._handed.get(command.caller) is command:
                del self._handed[command.caller]
            command.caller = None

    def leased(self) -> list[Command]:
        """Commands with a lease, by key."""
        return [self._leased[key] for key in sorted(self._leased)]

    def held_by(self, iterator: str) -> list[Command]:
        """Commands leased to an iterator, in the order in which it took them."""
        return [self._leased[key] for key in self._held.get(iterator, ())]

    def handed_to(self, caller: Caller) -> Command | None:
        """What a call was answered with, while that lease lasts."""
        return self._handed.get(caller)

    def overdue(self, now: Instant) -> list[Command]:
        """Commands whose lease has reached its limit."""
        overdue: list[Command] = []
        while self._limits and self._limits[0][0] <= now.mono:
            _, key, token = heapq.heappop(self._limits)
            if self._is_lease(key, token):
                overdue.append(self._leased[key])
        return overdue

    def forget_ended(self, now: Instant) -> None:
        """Drop the ended commands whose dedupe window is over, and raise the floors in the same commit."""
        floors: dict[str, int] = {}
        while self._ended and self._ended[0][0] <= now.mono:
            _, command = self._ended.popleft()
            self._ended_bytes -= command.size
            self.step(command, Step.FORGOTTEN)
            self._messages.forget(COMMANDS, command.key)
            self._commits.ride(Delete(COMMANDS, command.key))
            if command.accept_until > max(
                self._floors.get(command.source, -1), floors.get(command.source, -1)
            ):
                floors[command.source] = command.accept_until
        for source, floor in floors.items():
            self._floors[source] = floor
            self._commits.ride(Put(DOCUMENTS, FLOOR + source, {"accept_until": floor}))

    def deadline(self) -> float | None:
        while self._limits and not self._is_lease(self._limits[0][1], self._limits[0][2]):
            heapq.heappop(self._limits)
        limit = self._limits[0][0] if self._limits else None
        forget = self._ended[0][0] if self._ended else None
        return forget if limit is None else earliest(limit, forget)

    def line(self, key: LineKey) -> Line:
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = Line()
        return line

    def line_keys(self) -> list[LineKey]:
        """Names at which something stands."""
        return list(self._lines)

    def tidy(self, key: LineKey) -> None:
        """Keep no line for a name at which nothing stands."""
        line = self._lines.get(key)
        if line is not None and line.empty:
            del self._lines[key]

    def depths(self) -> dict[str, Any]:
        states: Counter[str] = Counter()
        names: dict[str, dict[str, int]] = {}
        for (name, state), count in self._tally.items():
            states[state] += count
            names.setdefault(name, {})[state] = count
        return {
            "count": len(self._live),
            "bytes": self._bytes,
            "ended": len(self._ended),
            "states": {state: states[state] for state in State},
            "names": names,
        }

    def _hold(self, command: Command, lease: Lease) -> None:
        self._leased[command.key] = command
        self._held.setdefault(lease.iterator, {})[command.key] = None
        heapq.heappush(self._limits, (lease.since + self._settings.lease_limit, command.key, lease.token))

    def _is_lease(self, key: int, token: str) -> bool:
        command = self._leased.get(key)
        return command is not None and command.lease is not None and command.lease.token == token

    def _unlive(self, command: Command) -> None:
        del self._live[command.key]
        self._bytes -= command.size

    def _remember(self, command: Command, now: Instant) -> None:
        self._ended.append((now.mono + self._settings.dedupe_window, command))
        self._ended_bytes += command.size

    def _count(self, command: Command, state: State, by: int) -> None:
        key = (command.name, state)
        self._tally[key] += by
        if not self._tally[key]:
            del self._tally[key]
