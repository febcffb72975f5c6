"""The driver: runs one pure core over real sockets, timers and disk.

It owns what touches the world and decides nothing. Everything enters the core through one guarded
step (`_enter`): an exception there is a defect, leaves the core half changed, and ends the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any

import structlog
import zmq

from zconnector.actions import Action, Actions, Call, Caller, Link, Machine, Respond
from zconnector.clock import Clock, Instant, SystemClock
from zconnector.errors import Reason, Refusal, ZConnectorError
from zconnector.runtime.notify import say_ready
from zconnector.runtime.options import new_context
from zconnector.runtime.performer import Args, Performer
from zconnector.runtime.sockets import Sockets
from zconnector.settings import ProcessSettings
from zconnector.shoset.keys import KeyPair
from zconnector.storage.port import Store
from zconnector.storage.writer import GroupCommit

DRAIN_SECONDS = 3.0
"""How long a drain may take; with the closing after it the process ends within 5 s of SIGTERM."""
_CLOSE_SECONDS = 1.0
_DOUBT = 1.0
"""Seconds between two times at which the core asks all its parts what they wait for."""
_LINGER_MS = 200
"""A last GOAWAY may take so long to leave."""

_SYSTEM_CLOCK = SystemClock()

Reply = Callable[[Mapping[str, Any] | Refusal], None]


class DefectError(ZConnectorError):
    """A defect of zconnector; the log has the traceback."""


class InterruptedByUserError(ZConnectorError):
    """A second signal cut the drain short."""

    exit_code = 130


class Driver:
    """One process's shell. To be made on a running event loop, then `attach`, then `run`."""

    def __init__(
        self,
        settings: ProcessSettings,
        keys: KeyPair,
        *,
        store: Store | None = None,
        clock: Clock = _SYSTEM_CLOCK,
        respond: Callable[[Respond], None] | None = None,
        serve: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.settings = settings
        self.keys = keys
        self.context: zmq.Context[zmq.Socket[bytes]] = new_context()
        self.serve = serve
        """Awaited once, when the core says Serve; then the supervisor hears that this component serves. An
        error that it raises ends the process."""
        self.log = structlog.get_logger()
        self._loop = asyncio.get_running_loop()
        self.machine: Machine
        """The core; there is none before `attach`."""
        self.now: Callable[[], Instant] = clock.now
        self._store: Store | None = None
        self._ended: asyncio.Future[ZConnectorError | None] = self._loop.create_future()
        self._over = False
        """It is set: the core hears nothing more."""
        self._deadline = inf
        """What the core said last; nothing is due before it unless a step was taken since."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = self._doubt_at = 0.0
        """When the timer fires (monotonic): never later than the deadline, at times earlier."""
        self._rescheduling = False
        self._in_wake = False
        self._serving: asyncio.Task[None] | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._draining = False
        self._closed = False
        self._sockets = Sockets(
            self.context,
            keys,
            self._loop,
            received=self._received,
            opened=lambda link: self._enter(self.machine.link_opened, link, self.now()),
            lost=lambda link, why: self._enter(self.machine.link_lost, link, why, self.now()),
            before=self._before_frames,
            after=self._end_wake,
        )
        self._performer = Performer(
            self._sockets,
            clock,
            enter=self._enter,
            stop=self.stop,
            serve=self._begin_to_serve,
            crash_at=settings.crash_at,
        )
        self._performer.respond = respond
        if store is not None:
            self.use_store(store)

    # ---- wiring

    def attach(self, machine: Machine) -> None:
        """Set the core to run."""
        self.machine = machine

    def use_store(self, store: Store) -> None:
        """Set the store that commits go to; it is closed with the driver."""
        self._store = store
        self._performer.commits = GroupCommit(
            store, self._loop, before=self._begin_wake, after=self._end_wake
        )

    def on_respond(self, respond: Callable[[Respond], None]) -> None:
        """Set who answers calls at the door."""
        self._performer.respond = respond

    def at_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await this when the process ends, the last one given first; each has a second."""
        self._closers.append(closer)

    def bind(self, endpoint: str) -> str:
        """Bind the ROUTER; returns the endpoint with its actual port. Read from within `run` only.

        Raises:
            ConfigError: the endpoint cannot be bound.
        """
        return self._sockets.bind(endpoint)

    # ---- what other shells call

    def feed(self, actions: Iterable[Action]) -> None:
        """Perform actions that another shell got from the core."""
        self._enter(list, actions)

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes) -> None:
        """A call at the door."""
        self._enter(self.machine.call, caller, op, args, payload, self.now())

    def calls(self, calls: Iterable[Call]) -> None:
        """Calls at the door that came together: one step."""
        self._enter(self._called, calls, self.now())

    def _called(self, calls: Iterable[Call], now: Instant) -> Actions:
        call = self.machine.call
        actions: Actions = []
        for caller, op, args, payload in calls:
            actions += call(caller, op, args, payload, now)
        return actions

    def cancel(self, caller: Caller) -> None:
        """A caller at the door has gone."""
        self._enter(self.machine.cancel, caller, self.now())

    def control(self, op: str, args: Mapping[str, Any], reply: Reply) -> None:
        """A request from the control socket."""
        if self._over:
            reply(Refusal(Reason.SHUTTING_DOWN, "the process is ending"))
        elif op == "status":
            self._enter(self._status, reply)
        else:
            self._enter(self.machine.control, op, args, self.now(), reply)

    def drain(self) -> None:
        """What SIGTERM does; a second time: end at once."""
        if self._draining:
            self.stop(InterruptedByUserError("interrupted while draining"))
            return
        self._draining = True
        self._loop.call_later(DRAIN_SECONDS, self._drained_too_long)
        self._enter(self.machine.drain, self.now())

    def stop(self, error: ZConnectorError | None = None) -> None:
        """End `run`; the core hears nothing more."""
        if not self._over:
            self._over = True
            if not self._ended.done():  # as it is when who runs this is cancelled
                self._ended.set_result(error)

    # ---- running

    async def run(self, *, signals: bool = True) -> ZConnectorError | None:
        """Run the core until it stops; returns why, or None when it ended well.

        `signals`: take SIGTERM and SIGINT (one driver a process may).
        """
        taken = (signal.SIGTERM, signal.SIGINT) if signals else ()
        for each in taken:
            self._loop.add_signal_handler(each, self.drain)
        try:
            self._enter(self.machine.start, self.now())
            self._sockets.start()
            error = await self._ended
        finally:
            await self.close()
            for each in taken:
                self._loop.remove_signal_handler(each)
        return error

    def _enter(self, step: Callable[[*Args], Actions], *args: *Args) -> None:
        """Let the core take one step, and perform what it asks for."""
        if self._over:
            return
        try:
            self._performer.perform(step(*args))
        except Exception:
            # Not to carry on: the core may be half changed, so this is its last step.
            self.log.exception("defect: the core raised")
            self._defect()
            return
        if not self._rescheduling and not self._in_wake:
            self._rescheduling = True
            self._loop.call_soon(self._reschedule)

    def _begin_wake(self) -> None:
        """What one wake brings begins; `_end_wake` follows within this turn of the loop."""
        self._in_wake = True
        self._performer.begin_wake()

    def _end_wake(self) -> None:
        """Everything that a wake has brought is done: what follows from it need not wait for another turn."""
        if not self._over:
            self._performer.end_wake()
        self._in_wake = False
        if not self._rescheduling:
            self._reschedule()

    def _before_frames(self) -> None:
        """Deadlines are looked at before frames are read."""
        self._begin_wake()
        if self._rescheduling or self._is_due():
            self._enter(self.machine.tick, self.now())

    def _is_due(self) -> bool:
        """Whether anything is due indeed; the time that the core has named may be too early."""
        now = self.now()
        if self._deadline > now.mono:
            return False
        try:
            due = self.machine.due(now)
            self._deadline = now.mono if due else self.machine.soon()
        except Exception:
            self.log.exception("defect: the core raised")
            self._defect()
            return False
        return due

    def _reschedule(self) -> None:
        """Once a wake, or a turn of the loop, whatever happened in it: ask the core when it may be due."""
        self._rescheduling = False
        if self._over:
            return
        try:
            now = self.now().mono
            if now >= self._doubt_at:  # a time that no part announced (a defect) is found late, not never
                self._doubt_at = now + _DOUBT
                self.machine.doubt()
            self._deadline = self.machine.soon()
        except Exception:
            self.log.exception("defect: the core raised")
            self._defect()
            return
        self._set_timer()

    def _set_timer(self) -> None:
        """A timer that fires early stays: most deadlines move on before they come, and a timer is dear."""
        deadline = self._deadline
        if deadline == inf or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_later(max(0.0, deadline - self.now().mono), self._due)

    def _defect(self) -> None:
        self._performer.close(flush=False)
        self.stop(DefectError("a defect ended this process; its log has the traceback"))

    def _due(self) -> None:
        self._timer = None
        if self._is_due():
            self._enter(self.machine.tick, self.now())
        else:
            self._set_timer()

    def _received(self, link: Link, key: str, frames: list[bytes]) -> None:
        self._enter(self.machine.frames, link, key, frames, self.now())

    def _status(self, reply: Reply) -> Actions:
        reply({"pid": os.getpid(), **self.machine.status(self.now())})
        return []

    def _drained_too_long(self) -> None:
        if not self._over:
            self.log.warning("drain cut short", seconds=DRAIN_SECONDS)
            self.stop()

    # ---- serving and ending

    def _begin_to_serve(self) -> None:
        if self._serving is None:
            self._serving = asyncio.ensure_future(self._served())

    async def _served(self) -> None:
        try:
            if self.serve is not None:
                await self.serve()
            say_ready(self.settings.notify)
        except ZConnectorError as error:
            self.stop(error)
        except Exception:
            self.log.exception("defect: serving failed")
            self._defect()

    async def close(self) -> None:
        """Close all there is, within bounds; `run` ends with it. May be called again."""
        if self._closed:
            return
        self._closed = True
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        for closer in reversed(self._closers):
            await self._bounded(closer())
        commits = self._performer.commits
        # A disk that hangs holds the writer's thread in the store: then it is left as it is.
        if commits is not None and self._store is not None and await self._bounded(commits.close()):
            self._store.close()
        self._performer.close(flush=True)
        self._sockets.close(_LINGER_MS)
        self.context.destroy()

    async def _bounded(self, closing: Awaitable[None]) -> bool:
        try:
            await asyncio.wait_for(closing, _CLOSE_SECONDS)
        except TimeoutError:
            self.log.error("closing took too long", seconds=_CLOSE_SECONDS)
            return False
        return True
