"""Performs the actions of a core, in order and never recursively."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol, TypeVarTuple

import structlog

from zconnector.actions import (
    Action,
    Actions,
    Close,
    Commit,
    Hash,
    Note,
    Open,
    Reach,
    Respond,
    Serve,
    Slow,
    Stop,
    Transmit,
    Verify,
)
from zconnector.clock import Clock, Instant
from zconnector.errors import StorageError, ZConnectorError
from zconnector.runtime.hashing import HashPool
from zconnector.runtime.outbox import Flushed, Outbox
from zconnector.runtime.sockets import Sockets
from zconnector.storage.writer import GroupCommit

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_TAKEN_NAMES = ("event", "level", "timestamp", "exc_info", "stack_info")
"""Keys of a log line that mean something to structlog: a field of that name gets an underscore."""

Args = TypeVarTuple("Args")


class Enter(Protocol):
    """Takes a step of the core with its arguments: a closure for each would cost as much again."""

    def __call__(self, step: Callable[[*Args], Actions], *args: *Args) -> None: ...


class Performer:
    """One queue of actions for one core.

    What actions lead to (a commit's outcome, a refusal) runs in the same queue, after what is there
    already. Transmits are gathered by link to the end of what one wake brings (up to a hundred
    transmissions, as many outcomes of a group commit: their answers travel together), elsewhere for one turn
    of the loop, and handed over earlier where their order to something else matters: Close of that link, a
    crash point, Stop.
    """

    def __init__(
        self,
        sockets: Sockets,
        clock: Clock,
        *,
        enter: Enter,
        stop: Callable[[ZConnectorError | None], None],
        serve: Callable[[], None],
        crash_at: str,
        log: Any = None,
    ) -> None:
        """`enter` runs a step of the core that comes from outside, guarded, and performs what it returns."""
        self.respond: Callable[[Respond], None] | None = None
        self.commits: GroupCommit | None = None
        self._sockets = sockets
        self._clock = clock
        self._enter = enter
        self._stop = stop
        self._serve = serve
        self._crash_at = crash_at
        self._log = log or structlog.get_logger().bind()  # else each line would make a logger first
        self._pool = HashPool()
        self._queue: list[Action] = []
        self._outbox = Outbox(sockets.transmit)
        self._performing = False
        self._in_wake = False
        self._outcomes: list[tuple[Commit, list[Any] | StorageError]] = []
        """Of commits, that this wake has brought and the core has not heard of."""
        self._flushing: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()

    def perform(self, actions: Iterable[Action]) -> None:
        """Perform actions and all that follows from them; called while performing, only queue them."""
        queue = self._queue
        queue.extend(actions)
        if self._performing:
            return
        self._performing = True
        try:
            for action in queue:  # to its end, which moves on while they are performed
                if type(action) is Respond:  # most of what there is to do is looked for first
                    if self.respond is None:
                        raise RuntimeError("Respond without a door")
                    self.respond(action)
                elif type(action) is Commit:
                    if self.commits is None:
                        raise RuntimeError("Commit without a store")
                    self.commits.submit(action.writes, partial(self._committed, action), lazy=action.lazy)
                elif type(action) is Transmit:
                    self._outbox.add(action)
                elif type(action) is not Reach:
                    self._one(action)
                elif action.point == self._crash_at:
                    self._crash()
        finally:
            queue.clear()
            self._performing = False
        if self._outbox.waiting and self._flushing is None and not self._in_wake:
            self._flushing = self._loop.call_soon(self._flush)

    def begin_wake(self) -> None:
        """Several steps follow one another; `end_wake` follows in the same turn of the loop."""
        self._in_wake = True

    def end_wake(self) -> None:
        """Hand over what the wake has brought: a lone message is not held up for a turn of the loop.

        Where more is to be sent at the end of this turn anyway, it goes along with that.
        """
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            self._enter(_told, outcomes, self._clock.now())
        if self._outbox.waiting and self._flushing is None:
            self._flush()
        self._in_wake = False
        if self._outbox.waiting and self._flushing is None:  # what was refused has taken another way
            self._flushing = self._loop.call_soon(self._flush)

    def close(self, *, flush: bool) -> None:
        """Perform nothing more; hand over, or not, what waits to be sent."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
            if flush:
                self._outbox.flush()
        self._queue.clear()
        self._pool.close()

    def _one(self, action: Action) -> None:
        match action:
            case Note():
                self._note(action)
            case Slow():
                self._sockets.slow(action.seconds)
            case Open():
                self._sockets.open(action.link, action.endpoint, action.server_key)
            case Close():
                self._queue.extend(self._follow(self._outbox.flush(action.link)))
                self._sockets.close_link(action.link)
            case Verify():
                self._pool.verify(action.secret, action.hashed, partial(self._verified, action))
            case Hash():
                self._pool.hash(action.secret, partial(self._hashed, action))
            case Serve():
                self._serve()
            case Stop():
                self._outbox.flush()
                self._queue.clear()
                self._stop(action.error)

    def _flush(self) -> None:
        self._flushing = None
        self._enter(self._flushed)

    def _flushed(self) -> Actions:
        return self._follow(self._outbox.flush())

    def _follow(self, flushed: Flushed) -> Actions:
        actions = list(flushed.notes)
        for then in flushed.refused:
            actions += then(self._clock.now())
        return actions

    def _note(self, note: Note) -> None:
        if not self._log.is_enabled_for(_LEVELS[note.level]):
            return
        fields = {f"{name}_" if name in _TAKEN_NAMES else name: value for name, value in note.fields.items()}
        self._log.log(_LEVELS[note.level], note.event, **fields)

    def _crash(self) -> None:
        self._outbox.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    def _committed(self, commit: Commit, outcome: list[Any] | StorageError) -> None:
        """The outcomes of one transaction are one step of the core: it has some twenty commits, and to enter,
        read the clocks and perform for each costs as much as what the core does with it."""
        if self._in_wake:
            self._outcomes.append((commit, outcome))
        else:
            self._enter(_told, ((commit, outcome),), self._clock.now())

    def _verified(self, action: Verify, matches: Callable[[], bool]) -> None:
        self._enter(lambda: action.then(self._clock.now(), matches()))

    def _hashed(self, action: Hash, hashed: Callable[[], str]) -> None:
        self._enter(lambda: action.then(self._clock.now(), hashed()))


def _told(outcomes: Iterable[tuple[Commit, list[Any] | StorageError]], now: Instant) -> Actions:
    """What follows from the outcomes of commits, in their order."""
    actions: Actions = []
    for commit, outcome in outcomes:
        if isinstance(outcome, StorageError):
            actions += commit.failed(now, outcome)
        else:
            actions += commit.then(now, outcome)
    return actions
