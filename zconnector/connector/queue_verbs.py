"""`queue.*` and `cancel`: what operators see and do of the commands that wait. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.arguments import Args, number, text
from zconnector.connector.operating import Answer, Done, Verb, needed
from zconnector.connector.workers import Workers
from zconnector.errors import Reason, Refusal
from zconnector.queue.leases import Command
from zconnector.queue.lines import ANY
from zconnector.queue.local import LocalQueue
from zconnector.queue.pauses import ALL
from zconnector.queue.states import State

_STATES = {"ready": State.READY, "delayed": State.DELAYED}
_SHOWN = ("ready", "delayed", "leased", "done", "dead")
_MAX_LOOKED = 100_000
"""Commands that are looked at to find the oldest of each name."""


class QueueVerbs:
    """Verbs over the commands of one connector."""

    def __init__(self, queue: LocalQueue, workers: Workers) -> None:
        self._queue = queue
        self._operators = queue.operators
        self._workers = workers
        self.verbs: dict[str, Verb] = {
            "queue.ls": self._ls,
            "queue.peek": self._peek,
            "queue.pause": self._pause,
            "queue.resume": self._resume,
            "queue.purge": self._purge,
            "cancel": self._cancel,
        }

    def _ls(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        states, sizes = self._queue.tally.states, self._queue.tally.bytes
        kinds = {(name, major) for name, major, _ in states}
        waits = self._waits()
        paused = self._operators.pauses.names()
        known = {name for name, _ in kinds}
        kinds |= {(name, ANY) for name in paused if name != ALL and name not in known}
        kinds |= {kind for kind in waits if kind[0] not in known}
        oldest = self._oldest(now)
        rows = [
            {
                "command": name,
                "major": major,
                **{shown: states.get((name, major, State[shown.upper()]), 0) for shown in _SHOWN},
                "bytes": sizes.get((name, major), 0),
                "oldest_ms": oldest.get((name, major)),
                "paused": self._operators.pauses.holds(name),
                "workers": sum(_meet(major, registered) for registered in self._registered(name)),
                "waits": sum(
                    count for (of, other), count in waits.items() if of == name and _meet(major, other)
                ),
            }
            for name, major in sorted(kinds)
        ]
        return done(now, Answer({"rows": rows, "paused": paused}))

    def _oldest(self, now: Instant) -> dict[tuple[str, int], int | None]:
        """How long ago the oldest live command of each name and major arrived, ms."""
        states = {*_STATES.values(), State.LEASED}
        wanted = {(name, major) for name, major, state in self._queue.tally.states if state in states}
        found: dict[tuple[str, int], int | None] = {}
        for command in islice(self._queue.live_commands(), _MAX_LOOKED):
            if len(found) >= len(wanted):
                break
            kind = (command.name, command.major)
            if kind not in found and kind in wanted:
                found[kind] = _age(command, now)
        return found

    def _waits(self) -> Counter[tuple[str, int]]:
        """Pending waits by name and major; not those of the admin worker, which every connector has."""
        return Counter(
            (name, waiter.major)
            for waiter in self._queue.command_waiters()
            if not waiter.admin
            for name in waiter.names or (waiter.name,)
        )

    def _registered(self, name: str) -> list[int]:
        """The majors of those who have registered a command and are not silent."""
        return [
            registration.major
            for registration, silent in self._workers.registrations()
            if not silent and name in registration.commands
        ]

    def _peek(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name = needed(args, "command")
        limit = number(args, "limit", 1, 100, 20)
        commands = islice(self._queue.live_commands(None if name == ALL else name), limit)
        return done(now, Answer({"rows": [_row(command, now) for command in commands]}))

    def _pause(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name = needed(args, "command")
        return self._operators.pause(
            name, now, lambda later, refusal: done(later, refusal or self._paused(name))
        )

    def _resume(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name = needed(args, "command")
        return self._operators.resume(
            name, now, lambda later, refusal: done(later, refusal or self._paused(name))
        )

    def _paused(self, name: str) -> Answer:
        return Answer({"command": name, "paused": self._operators.pauses.names()})

    def _purge(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        name, state = needed(args, "command"), text(args, "state", limit=16)
        if state and state not in _STATES:
            raise Refusal(
                Reason.BAD_ARGUMENT, f"state must be one of {', '.join(_STATES)} (got {state!r:.40})"
            )

        def purged(later: Instant, count: int, refusal: Refusal | None) -> Actions:
            if refusal is not None and not count:
                return done(later, refusal)
            stopped = "" if refusal is None else f"{refusal.reason}: {refusal.detail}"
            return done(later, Answer({"n": count, "stopped_by": stopped}))

        return self._operators.purge(None if name == ALL else name, _STATES.get(state), now, purged)

    def _cancel(self, args: Args, payload: bytes | None, now: Instant, done: Done) -> Actions:
        uuid = needed(args, "uuid")
        return self._queue.cancel_command(
            uuid,
            Reason.CANCELLED,
            "cancelled by an operator",
            now,
            lambda later, refusal: done(later, refusal or Answer({"uuid": uuid, "state": str(State.DEAD)})),
        )


def _meet(major: int, other: int) -> bool:
    """Whether a command of one major may go to a worker of another."""
    return major == other or ANY in (major, other)


def _age(command: Command, now: Instant) -> int | None:
    """Milliseconds since it arrived; None where a version before stored it that did not say."""
    return max(0, now.wall - command.at) if command.at else None


def _row(command: Command, now: Instant) -> dict[str, Any]:
    lease = command.lease
    return {
        "uuid": command.uuid,
        "command": command.name,
        "major": command.major,
        "state": str(command.state),
        "attempt": command.attempt,
        "priority": command.priority,
        "order_key": command.order_key,
        "age_ms": _age(command, now),
        "due_ms": max(0, command.due - now.wall) if command.due else None,
        "source": command.source,
        "size": command.size,
        "error": command.error,
        "lease": None
        if lease is None
        else {"worker": lease.worker, "since_ms": round((now.mono - lease.since) * 1000)},
    }
