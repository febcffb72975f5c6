"""The shell of supervision: performs what the core asks, wakes it in time, tells the connector.

Everything runs in one event loop; no method blocks. Inputs that arrive while actions are performed are
performed after them, in order.
"""

from __future__ import annotations

import asyncio
import random as randomness
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Protocol

import structlog

from zconnector.actions import Note
from zconnector.clock import Clock, SystemClock
from zconnector.supervision.core import Supervisor
from zconnector.supervision.launch import Processes
from zconnector.supervision.states import (
    AT_REST,
    Action,
    Actions,
    Drain,
    Moved,
    Policy,
    Signal,
    Spawn,
    State,
    View,
)


class Listener(Protocol):
    """The connector, as supervision sees it. Neither method may raise."""

    def drain(self, name: str, run: int) -> None:
        """Hand this run nothing new; call `Supervision.drained` when it has finished what it runs."""

    def moved(self, moved: Moved) -> None:
        """A worker is in another state."""


class Supervision:
    """Supervised workers. The methods mean what those of `core.Supervisor` do."""

    def __init__(
        self,
        processes: Processes,
        listener: Listener,
        *,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
        log: Any = None,
    ) -> None:
        self._processes = processes
        self._listener = listener
        self._clock = clock or SystemClock()
        self._log = log or structlog.get_logger("zconnector.supervision")
        self._core = Supervisor(random)
        self._todo: deque[Action] = deque()
        self._performing = False
        self._alarm: asyncio.Handle | None = None
        self._rings_at = 0.0
        """When the alarm rings (monotonic). Handles of uvloop do not know, where that is at once; and its
        time stands still within a turn, so what is said by it is early by as much as that turn lasted."""
        self._changed = asyncio.Event()
        self._closing = False

    def add(self, name: str, policy: Policy | None = None) -> None:
        self._perform(self._core.add(name, policy or Policy(), self._clock.now()))

    def set_policy(self, name: str, policy: Policy) -> None:
        self._core.set_policy(name, policy)

    def remove(self, name: str) -> None:
        self._core.remove(name)

    def start(self, name: str) -> None:
        """Nothing is started any more once `close` was called."""
        if not self._closing:
            self._perform(self._core.start(name, self._clock.now()))

    def stop(self, name: str, drain: bool = True) -> None:
        self._perform(self._core.stop(name, self._clock.now(), drain))

    def registered(self, name: str, run: int) -> None:
        self._perform(self._core.registered(name, run, self._clock.now()))

    def beat(self, name: str, run: int) -> None:
        self._perform(self._core.beat(name, run, self._clock.now()))

    def drained(self, name: str, run: int) -> None:
        self._perform(self._core.drained(name, run, self._clock.now()))

    def started(self, name: str, run: int, pid: int) -> None:
        """Of the port Events, as the two below: for `Processes` alone."""
        self._perform(self._core.started(name, run, pid, self._clock.now()))

    def spawn_failed(self, name: str, run: int, reason: str, permanent: bool) -> None:
        self._perform(self._core.spawn_failed(name, run, reason, permanent, self._clock.now()))

    def exited(self, name: str, run: int, status: int | None) -> None:
        self._perform(self._core.exited(name, run, status, self._clock.now()))

    def serves(self, name: str, run: int) -> bool:
        return self._core.serves(name, run)

    def view(self, name: str) -> View:
        return self._core.view(name)

    def views(self) -> list[View]:
        return self._core.views()

    async def reached(self, name: str, states: Collection[State]) -> View:
        """Wait until the worker is in one of the states. Raises Refusal: NOT_FOUND."""
        while (view := self._core.view(name)).state not in states:
            await self._changed.wait()
        return view

    async def close(self, drain: bool = True) -> None:
        """Stop every worker and wait until all are at rest: at most as long as their policies say.

        One that outlives SIGKILL is waited for: give up with a timeout. Its guard goes on when this
        process ends.
        """
        self._closing = True
        for view in self._core.views():
            self.stop(view.name, drain)
        while any(view.state not in AT_REST for view in self._core.views()):
            await self._changed.wait()
        if self._alarm is not None:
            self._alarm.cancel()

    def _perform(self, actions: Actions) -> None:
        self._todo.extend(actions)
        if self._performing:
            return
        self._performing = True
        try:
            while self._todo:
                self._act(self._todo.popleft())
        finally:
            self._performing = False
            self._set_alarm()

    def _act(self, action: Action) -> None:
        match action:
            case Spawn(name, run):
                self._processes.spawn(name, run, self)
            case Signal(name, run, level):
                self._processes.signal(name, run, level)
            case Drain(name, run):
                self._listener.drain(name, run)
            case Moved():
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
                self._listener.moved(action)
            case Note():
                getattr(self._log, action.level)(action.event, **action.fields)

    def _set_alarm(self) -> None:
        """Wake in time. One that rings early, since the deadline has moved, finds nothing to do."""
        due = self._core.deadline()
        loop = asyncio.get_running_loop()
        if due is None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            return
        if self._alarm is not None:
            if self._rings_at <= due:
                return
            self._alarm.cancel()
        self._rings_at = due
        self._alarm = loop.call_later(max(0.0, due - self._clock.now().mono), self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self._perform(self._core.tick(self._clock.now()))
