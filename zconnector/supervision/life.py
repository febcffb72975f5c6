"""The life of one supervised worker, decided purely (docs/supervision.md has the table).

Invariants: `run` counts spawns, and there is at most one process: none is asked for before the end of the
last was told. `_fault` is set only while a process ends that nobody wanted to end. `_due` is set in every
state that time may end. Crashes remembered are at most `policy.crashes`.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable

from zconnector.actions import Note
from zconnector.supervision.states import (
    LIVE,
    Actions,
    Drain,
    Level,
    Moved,
    Policy,
    Signal,
    Spawn,
    State,
    View,
)

LOOK = 2.0
"""Seconds (or half a shorter limit) between the two looks after which a worker is called silent."""
LATE = 1.0
"""A look that comes so many seconds late was slept through: what arrived meanwhile is heard first."""

_S = State


def ended(status: int | None) -> str:
    """How a process ended, for people: exit status, minus the number of a signal, None: nobody saw it."""
    if status is None:
        return "its guard was killed"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


class Life:
    """One worker. Every input takes the monotonic time and returns what to do."""

    def __init__(self, name: str, policy: Policy, random: Callable[[], float], now: float) -> None:
        self.name = name
        self.policy = policy
        self.state = _S.STOPPED
        self.run = 0
        self._random = random
        self._pid: int | None = None
        self._wanted = False
        self._fault: str | None = None
        self._reason = ""
        self._crashes: deque[float] = deque()
        self._since = now
        self._due: float | None = None
        self._look: float | None = None
        """Of a limit that is looked at twice: how long after the first look the second comes."""
        self._looked = False

    @property
    def due(self) -> float | None:
        """When `tick` has something to do."""
        return self._due

    @property
    def view(self) -> View:
        return View(
            *(self.name, self.state, self.run, self._pid, self._wanted, self._reason),
            *(len(self._crashes), self._since, self._due),
        )

    # What is wanted.

    def start(self, now: float) -> Actions:
        """It should run."""
        self._wanted = True
        if self.state in (_S.STOPPED, _S.FAILED):
            self._crashes.clear()
            self._reason = ""
            return self._spawn("start", now)
        return []

    def stop(self, now: float, drain: bool = True) -> Actions:
        """It should not run; without `drain`, what it runs is cut off."""
        self._wanted = False
        self._fault = None
        match self.state:
            case _S.RUNNING if drain and self.policy.drain > 0:
                moved = self._move(_S.DRAINING, "stop", now, "told to stop")
                self._watch(self.policy.drain, now)
                return [Drain(self.name, self.run), *moved]
            case _S.STARTING | _S.RUNNING:
                return self._terminate("stop", "told to stop", now)
            case _S.DRAINING if not drain:
                return self._terminate("stop", "told to stop at once", now)
            case _S.BACKOFF | _S.FAILED:
                return self._move(_S.STOPPED, "stop", now, "told to stop")
        return []

    # What its process does.

    def started(self, run: int, pid: int, now: float) -> Actions:
        """The process was made."""
        if self._concerns(run):
            self._pid = pid
        return []

    def spawn_failed(self, run: int, reason: str, permanent: bool, now: float) -> Actions:
        """There is no process; `permanent`: another try would end the same."""
        if not self._concerns(run):
            return []
        if self.state in (_S.STARTING, _S.RUNNING):
            self._fault = f"cannot be started: {reason}"
        return self._over("spawn_failed", now, hopeless=permanent)

    def exited(self, run: int, status: int | None, now: float) -> Actions:
        """The process and all that descended from it are gone."""
        if not self._concerns(run):
            return []
        if self.state is _S.STARTING:
            self._fault = f"{ended(status)} before it had registered its commands"
        elif self.state is _S.RUNNING:
            self._fault = ended(status)
        return self._over("exited", now)

    def registered(self, run: int, now: float) -> Actions:
        """It has declared all its commands."""
        if not self._concerns(run) or self.state is not _S.STARTING:
            return self.beat(run, now)
        moved = self._move(_S.RUNNING, "registered", now, "")
        self._watch(self.policy.hang, now)
        return moved

    def beat(self, run: int, now: float) -> Actions:
        """It was heard. After it was declared hanging that changes nothing any more."""
        if self._concerns(run) and self.state is _S.RUNNING:
            self._watch(self.policy.hang, now)
        return []

    def drained(self, run: int, now: float) -> Actions:
        """It runs nothing any more."""
        if not self._concerns(run) or self.state is not _S.DRAINING:
            return []
        return self._terminate("drained", "drained", now)

    # Time.

    def tick(self, now: float) -> Actions:
        """Do what is due."""
        if self._due is None or now < self._due:
            return []
        if self._look is not None and (not self._looked or now - self._due > LATE):
            self._looked = True
            self._due = now + self._look
            return []
        match self.state:
            case _S.STARTING:
                self._fault = f"did not register its commands within {self.policy.start:g} s"
                return self._terminate("limit", self._fault, now)
            case _S.RUNNING:
                self._fault = f"hung: no beat for {self.policy.hang:g} s"
                return self._terminate("limit", self._fault, now)
            case _S.DRAINING:
                return self._terminate("limit", f"still ran something after {self.policy.drain:g} s", now)
            case _S.STOPPING:
                why = f"ignored SIGTERM for {self.policy.term:g} s"
                moved = self._move(_S.KILLING, "limit", now, why)
                self._arm(self.policy.kill, now)
                return [Signal(self.name, self.run, Level.KILL), *moved]
            case _S.KILLING:
                self._arm(self.policy.kill, now)
                fields = {"worker": self.name, "run": self.run, "pid": self._pid}
                note = Note("error", "worker outlives SIGKILL", fields)
                return [Signal(self.name, self.run, Level.KILL), note]
            case _S.BACKOFF:
                return self._spawn("backoff over", now)
        return []

    def _concerns(self, run: int) -> bool:
        return run == self.run and self.state in LIVE

    def _spawn(self, event: str, now: float) -> Actions:
        self.run += 1
        self._fault = None
        moved = self._move(_S.STARTING, event, now, "")
        self._watch(self.policy.start, now)
        return [Spawn(self.name, self.run), *moved]

    def _terminate(self, event: str, why: str, now: float) -> Actions:
        moved = self._move(_S.STOPPING, event, now, why)
        self._arm(self.policy.term, now)
        return [Signal(self.name, self.run, Level.TERM), *moved]

    def _over(self, event: str, now: float, hopeless: bool = False) -> Actions:
        """There is no process any more: rest, begin again, or pause."""
        self._pid = None
        fault, self._fault = self._fault, None
        if not self._wanted:
            self._reason = ""
            return self._move(_S.STOPPED, event, now, "")
        if fault is None:
            return self._spawn(event, now)
        self._reason = fault
        while self._crashes and self._crashes[0] <= now - self.policy.window:
            self._crashes.popleft()
        self._crashes.append(now)
        count = len(self._crashes)
        if hopeless or count >= self.policy.crashes:
            if not hopeless:
                self._reason = f"crash loop, {count} ends in {self.policy.window:g} s, the last: {fault}"
            return self._move(_S.FAILED, event, now, self._reason)
        longest = min(self.policy.backoff_max, self.policy.backoff * 2.0 ** min(count - 1, 64))
        moved = self._move(_S.BACKOFF, event, now, fault)
        self._arm(longest * (0.5 + 0.5 * self._random()), now)
        return moved

    def _arm(self, limit: float, now: float) -> None:
        self._due, self._look = now + limit, None

    def _watch(self, limit: float | None, now: float) -> None:
        """A limit on what the worker should do in time, looked at twice."""
        if limit is None:
            self._due = self._look = None
            return
        self._look = min(LOOK, limit / 2)
        self._looked = False
        self._due = now + limit - self._look

    def _move(self, state: State, event: str, now: float, reason: str) -> Actions:
        was, self.state = self.state, state
        self._since = now
        self._due = self._look = None
        level = "error" if state is _S.FAILED else "warning" if state in (_S.BACKOFF, _S.KILLING) else "info"
        if state is _S.STOPPING and self._fault:
            level = "warning"
        fields = {"worker": self.name, "run": self.run, "state": str(state), "was": str(was)}
        if self._pid is not None:
            fields["pid"] = self._pid
        if reason:
            fields["reason"] = reason
        return [
            Note(level, "worker state", fields),
            Moved(self.name, self.run, was, state, event, reason),
        ]
