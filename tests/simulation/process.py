"""One process of the simulated system: the shell that performs a core's actions (see `runtime/`).

As the real one: one queue of actions, never recursive; Transmits are gathered for a turn and handed over in
few transmissions, earlier before Close of that link, a crash point, Stop; due times come before
frames; commits end in order, and what a group commit brings is one turn.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from typing import Any

from tests.simulation.clock import NodeClock
from tests.simulation.disk import Disk, Writer
from tests.simulation.network import Connection, Network, Pipe
from tests.simulation.scheduler import MS, Scheduler
from tests.simulation.trace import Trace
from zconnector.actions import (
    Action,
    Actions,
    Caller,
    Close,
    Commit,
    ControlReply,
    Hash,
    Link,
    Machine,
    Note,
    Open,
    Reach,
    Respond,
    Serve,
    Slow,
    Stop,
    Then,
    Transmit,
    Verify,
)
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError, ZConnectorError
from zconnector.messages.codec import Frames
from zconnector.runtime.outbox import Outbox

Answered = Callable[[Mapping[str, Any], bytes, Refusal | None], None]
"""What a call at the door leads to: result, payload, or the refusal."""

Given = Callable[[Mapping[str, Any], bytes], None]

VERIFY = 40 * MS
"""An argon2id check."""
DRAIN_LIMIT = 3_000 * MS
GONE = Refusal(Reason.SHUTTING_DOWN, "the connector is gone")
_ENDLESS = 1_000
"""Turns of the flush after which a core is held to go round in circles."""


class KilledError(Exception):
    """SIGKILL in the middle of a step."""


class Process:
    """Runs one machine until it ends, is killed, or raises."""

    def __init__(
        self,
        name: str,
        node: str,
        key: str,
        clock: NodeClock,
        scheduler: Scheduler,
        network: Network,
        trace: Trace,
        disk: Disk | None,
        ended: Callable[[Process, str, ZConnectorError | None], None],
    ) -> None:
        """`name` tells this incarnation apart; `ended` hears how it ended: stopped, killed or defect."""
        self.name = name
        self.node = node
        self.key = key
        self.machine: Machine
        self.alive = True
        self.frozen = False
        self.serving = False
        self.crash_at = ""
        """Name of the crash point at which it is killed."""
        self.fuse = -1
        """Actions until it is killed; -1: it is not."""
        self.on_serve: Callable[[], None] | None = None
        self.told = 0
        """Transmissions of which the core was told that they were not taken."""
        self.defect = ""
        self._clock = clock
        self._scheduler = scheduler
        self._network = network
        self._trace = trace
        self._disk = disk
        self._ended = ended
        self._writer = Writer(scheduler, disk, self._committed) if disk is not None else None
        self._queue: deque[Action] = deque()
        self._outbox = Outbox(self._transmit)
        self._dealers: dict[int, Connection] = {}
        self._routes: dict[bytes, Connection] = {}
        self._backlog: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timer = -1
        """Virtual time of the timer that is set; -1: none."""
        self._due = 0.0
        self._calls: dict[int, tuple[Answered, Given | None]] = {}
        self._giving = False
        """`given` of a call is being told, in the midst of a step."""
        self._crossing: dict[int, None] = {}
        self._last_call = 0
        self._slow_until = 0
        """Nothing from below is read before this time."""

    # ---- life

    def start(self, machine: Machine) -> None:
        self.machine = machine
        self._enter("start", machine.start)

    def kill(self) -> None:
        """SIGKILL, between two steps."""
        if self.alive:
            self._die("killed")

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        """What was due comes first, then what has piled up, in wakes of at most 100."""
        self.frozen = False
        if not self.alive:
            return
        self._tick()
        backlog, self._backlog = self._backlog, deque()
        for call, args in backlog:
            if self.alive:
                call(*args)

    def drain(self) -> None:
        """SIGTERM."""
        if self.frozen:
            self._backlog.append((self.drain, ()))
            return
        self._enter("drain", self.machine.drain)
        self._scheduler.after(DRAIN_LIMIT, self._drained_too_long)

    def _drained_too_long(self) -> None:
        if self.alive:
            self._stop(None)

    def _stop(self, error: ZConnectorError | None) -> None:
        """An end in good order: answers at the door, commits and last words still go out."""
        self.alive = False
        self._queue.clear()
        for call in list(self._calls):
            self._answer(call, {}, b"", GONE)
        if self._writer is not None:
            self._writer.closed()
        self._network.ended(self, lingers=True)
        self._ended(self, "stopped", error)

    def _die(self, how: str) -> None:
        self.alive = False
        self._queue.clear()
        self._outbox = Outbox(self._transmit)
        for call in list(self._calls):
            self._answer(call, {}, b"", GONE)
        if self._writer is not None:
            self._writer.killed()
        self._network.ended(self, lingers=False)
        self._ended(self, how, None)

    # ---- what comes in

    def arrived(self, pipe: Pipe, frames: list[bytes]) -> None:
        """A transmission."""
        link = pipe.link
        if self.frozen:
            self._backlog.append((self.arrived, (pipe, frames)))
            return
        moment = self._scheduler.now
        below = isinstance(link, bytes)
        if below and moment < self._slow_until:
            self._scheduler.at(self._slow_until, self.arrived, pipe, frames)
            return
        pipe.held -= 1
        if not self.alive or not (below or pipe.connection.dealer_open):
            return  # a DEALER that has lost its connection has lost what it had not read
        self._trace.frames(moment, self.name, pipe.source.node, frames)
        if isinstance(link, bytes) and link not in self._routes:
            self._routes[link] = pipe.connection
        now = self._clock.now()
        try:
            machine = self.machine
            due = now.mono >= self._due and self._is_due(now)
            if due:
                self._perform(machine.tick(now))
            actions = machine.frames(link, pipe.source.key, frames, now)
            if actions or due or not machine.quiet:
                self._perform(actions)
                self._end_turn()
        except KilledError:
            self._die("killed")
        except Exception:  # noqa: BLE001  a defect of the core, whatever it is
            self._broken()

    def opened(self, connection: Connection) -> None:
        if self.frozen:
            self._backlog.append((self.opened, (connection,)))
        elif connection.dealer_open:
            self._enter("opened", self.machine.link_opened, connection.link, before=True)

    def lost(self, connection: Connection, why: str) -> None:
        if self.frozen:
            self._backlog.append((self.lost, (connection, why)))
            return
        link = connection.link
        if self._dealers.pop(link, None) is not None:
            self._enter("lost", self.machine.link_lost, link, why, before=True)

    def call(
        self,
        op: str,
        args: Mapping[str, Any],
        payload: bytes,
        answered: Answered,
        given: Given | None = None,
    ) -> int:
        """A call at the door; returns its number.

        `given` is called as the core gives the answer, `answered` when it reaches the caller (unless
        it is cancelled before). `given` is told in the midst of a step: it only notes, and calls nothing.
        """
        if self._giving:
            raise RuntimeError(f"{op} is called from within a step of {self.name}")
        self._last_call += 1
        number = self._last_call
        self._calls[number] = (answered, given)
        if self.frozen:
            self._backlog.append((self._called, (number, op, args, payload)))
        else:
            self._called(number, op, args, payload)
        return number

    def _called(self, number: int, op: str, args: Mapping[str, Any], payload: bytes) -> None:
        if number in self._calls:
            self._enter(op, self.machine.call, Caller(b"grpc", number), op, args, payload)

    def control(self, op: str, args: Mapping[str, Any], reply: ControlReply) -> None:
        """A request from the control socket."""
        if self.frozen:
            self._backlog.append((self.control, (op, args, reply)))
        else:
            self._enter(op, lambda now: self.machine.control(op, args, now, reply))

    def cancel(self, number: int) -> None:
        """The caller has gone, also when its answer is just on the way to it."""
        if self._calls.pop(number, None) is None and number not in self._crossing:
            return
        self._crossing.pop(number, None)
        if self.frozen:
            self._backlog.append((self._cancelled, (number,)))
        else:
            self._cancelled(number)

    def _cancelled(self, number: int) -> None:
        self._enter("cancel", self.machine.cancel, Caller(b"grpc", number))

    # ---- one step

    def _enter(
        self,
        what: str,
        step: Callable[..., Actions],
        *args: Any,
        before: bool = False,
        at: Instant | None = None,
    ) -> None:
        """Let the core take one step, with these arguments and the time, and perform what it asks for.

        `before`: what is due comes first. `at`: the time, where it is known.
        """
        if not self.alive:
            return
        self._trace.step(self._scheduler.now, self.name, what)
        now = self._clock.now() if at is None else at
        try:
            if before and now.mono >= self._due and self._is_due(now):
                self._perform(self.machine.tick(now))
            self._perform(step(*args, now))
            self._end_turn()
        except KilledError:
            self._die("killed")
        except Exception:  # noqa: BLE001  a defect of the core, whatever it is
            self._broken()

    def _tick(self) -> None:
        self._enter("tick", self.machine.tick)

    def _broken(self) -> None:
        self.defect = traceback.format_exc()
        self._die("defect")

    def _perform(self, actions: Actions) -> None:
        queue = self._queue
        queue.extend(actions)
        while queue:
            action = queue.popleft()
            if self.fuse >= 0:
                self._burn()
            kind = type(action)
            if kind is Transmit:
                self._outbox.add(action)  # type: ignore[arg-type]
            elif kind is Respond:
                self._respond(action)  # type: ignore[arg-type]
            elif kind is not Note and not (kind is Reach and action.point != self.crash_at):  # type: ignore[union-attr]
                self._one(action)

    def _burn(self) -> None:
        self.fuse -= 1
        if self.fuse < 0:
            raise KilledError

    def _one(self, action: Action) -> None:
        match action:
            case Commit():
                if self._writer is None:
                    raise RuntimeError("Commit without a store")
                self._writer.submit(action)
            case Reach():
                self._outbox.flush()
                raise KilledError
            case Open():
                self._dealers[action.link] = self._network.open(
                    self, action.link, action.endpoint, action.server_key
                )
            case Close():
                self._follow(action.link)
                connection = self._dealers.pop(action.link, None) if type(action.link) is int else None
                if connection is not None:
                    self._network.close(connection)
            case Verify():
                right = action.hashed == f"hash of {action.secret.decode()}"
                self._scheduler.after(VERIFY, self._later, "verified", partial(_given, action.then, right))
            case Hash():
                text = f"hash of {action.secret.decode()}"
                self._scheduler.after(VERIFY, self._later, "hashed", partial(_given, action.then, text))
            case Serve():
                if not self.serving:
                    self.serving = True
                    if self.on_serve is not None:
                        self._scheduler.after(0, self.on_serve)
            case Slow():
                self._slow_until = self._scheduler.now + int(action.seconds * 1e6)
            case Stop():
                self._outbox.flush()
                self._stop(action.error)

    def _later(self, what: str, then: Then) -> None:
        if self.frozen:
            self._backlog.append((self._later, (what, then)))
        else:
            self._enter(what, then)

    def feed(self, actions: Actions) -> None:
        """Perform what another shell got from the core."""
        self._enter("feed", lambda _now: actions)

    def _follow(self, link: Link | None = None) -> None:
        flushed = self._outbox.flush(link)
        if flushed.refused:
            now = self._clock.now()
            for then in flushed.refused:
                self._queue.extend(then(now))

    def _end_turn(self) -> None:
        turns = 0
        outbox = self._outbox
        while outbox.waiting and self.alive:
            turns += 1
            if turns > _ENDLESS:
                raise RuntimeError("sending leads to sending without end")
            self._follow()
            if self._queue:
                self._perform([])
        if self.alive:
            deadline = self.machine.soon()
            if deadline != self._due or self._timer < 0:  # mostly it is as it was
                self._reschedule(deadline)

    def _transmit(self, link: Link, frames: Frames) -> bool:
        pipe = None
        if type(link) is bytes:
            connection = self._routes.get(link)
            if connection is not None and connection.router_open:
                pipe = connection.down
        else:
            connection = self._dealers.get(link)  # type: ignore[arg-type]
            if connection is not None and connection.dealer_open:
                pipe = connection.up
        if self._network.send(pipe, frames):
            return True
        self.told += 1
        return False

    # ---- time

    def _reschedule(self, deadline: float) -> None:
        self._due = deadline
        if deadline == inf:
            return
        at = self._clock.when(deadline)
        timer = self._timer
        if timer < 0 or at < timer:
            now = self._scheduler.now
            self._timer = at = at if at > now else now
            self._scheduler.at(at, self._timed, at)

    def _timed(self, at: int) -> None:
        if at != self._timer or not self.alive:
            return  # an earlier one took its place
        self._timer = -1
        if self.frozen:
            return  # thawing begins with a tick
        now = self._clock.now()
        if now.mono >= self._due and self._is_due(now):
            self._enter("tick", self.machine.tick, at=now)
        else:
            self._reschedule(self.machine.soon())

    def _is_due(self, now: Instant) -> bool:
        """The time that the core has named has come: whether anything is due indeed."""
        if self.machine.due(now):
            return True
        self._due = self.machine.soon()
        return False

    # ---- commits and answers

    def _committed(self, writer: Writer) -> None:
        if not self.alive:
            return
        if self.frozen:
            self._backlog.append((self._committed, (writer,)))
            return
        self._trace.step(self._scheduler.now, self.name, "committed")
        try:
            now = self._clock.now()
            for commit, outcome in writer.take():
                if isinstance(outcome, StorageError):
                    self._perform(commit.failed(now, outcome))
                else:
                    self._perform(commit.then(now, outcome))
                if not self.alive:
                    return
            self._end_turn()
        except KilledError:
            self._die("killed")
        except Exception:  # noqa: BLE001  a defect of the core, whatever it is
            self._broken()

    def _respond(self, action: Respond) -> None:
        number, args, payload, error = action.caller.call, action.args, action.payload, action.error
        call = self._calls.pop(number, None)
        if call is None:
            return
        answered, given = call
        if given is not None and error is None:
            self._giving = True
            given(args, payload)
            self._giving = False
        self._crossing[number] = None
        self._scheduler.after(100, self._reaches, number, answered, args, payload, error)

    def _answer(self, number: int, args: Mapping[str, Any], payload: bytes, error: Refusal | None) -> None:
        answered = self._calls.pop(number)[0]
        self._crossing[number] = None
        self._scheduler.after(100, self._reaches, number, answered, args, payload, error)

    def _reaches(
        self,
        number: int,
        answered: Answered,
        args: Mapping[str, Any],
        payload: bytes,
        error: Refusal | None,
    ) -> None:
        if number in self._crossing:
            del self._crossing[number]
            answered(args, payload, error)

    @property
    def commits_pending(self) -> int:
        return 0 if self._writer is None else self._writer.pending

    @property
    def backlog(self) -> int:
        return len(self._backlog)


def _given(then: Callable[[Instant, Any], Actions], outcome: Any, now: Instant) -> Actions:
    return then(now, outcome)
