"""One rollout: from one set of running versions to another (docs/versions.md, "Rollout"). Pure.

It says what to do and when a step is over (`Advance`); its manager commits each step before it is entered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zconnector.clock import Instant
from zconnector.supervision.states import AT_REST, State
from zconnector.versions.actions import Actions, Advance, Canary, Install, Start, Steer, Stop
from zconnector.versions.editions import Edition, Editions
from zconnector.versions.states import BEFORE_SHIFT, Plan, Step, listed

GAP = 2.5
"""Seconds between two beats that are too many for the gate: workers beat each second."""
GATE_SLACK = 20.0
"""Seconds beyond three times the gate's within which a version has to pass it."""


_RUNS = frozenset({State.RUNNING})
_BEGINNING = frozenset({State.STARTING, State.RUNNING})
_TRIED = frozenset({State.RUNNING, State.BACKOFF, State.FAILED})
_AGAIN = frozenset({State.STARTING, State.RUNNING, State.BACKOFF, State.STOPPING, State.KILLING})
"""Of one that hung or crashed and is started again."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a new version has to show."""

    seconds: float = 3.0
    """Of steady beats."""
    canary: bool = False
    """Whether it has to answer a canary command too."""
    start: float = 120.0
    """Within so many seconds it has to register its commands."""


class Rollout:
    """Invariant: `step` is what was committed last; inputs that come late, or twice, change nothing.

    `states` and `reasons` are shared: what is known of each version's process, and why it last ended.
    """

    def __init__(
        self,
        plan: Plan,
        gate: Callable[[], Gate],
        attempts: Callable[[], int],
        states: Mapping[Edition, State],
        reasons: Mapping[Edition, str],
        content: Callable[[Edition], str],
    ) -> None:
        """`gate` says what it is now; `attempts` counts, never twice the same. `content`: see `Install`."""
        self.plan = plan
        self.step = Step.FETCHING
        self.leaving = False
        """It has asked for its next step, which is not committed yet."""
        self.shifted = False
        self.began_here = False
        """It has come to its shift in this process: what runs is known to run."""
        self._current_gate = gate
        self._gate = gate()
        self._attempts = attempts
        self._states = states
        self._reasons = reasons
        self._content = content
        self._attempt = 0
        self._missing: set[Edition] = set()
        self._began = self._ends = 0.0
        self._beats: dict[Edition, float] = {}
        self._canaries: set[Edition] = set()
        self._asked = False
        self._abandoned = ""

    # ---- what it means for traffic

    @property
    def held(self) -> Editions:
        """Editions that get no traffic yet, or no more since they are given up."""
        if self.step in BEFORE_SHIFT or (self.step is Step.ROLLING_BACK and not self.shifted):
            return self.plan.added
        return ()

    @property
    def drained(self) -> Editions:
        """Editions that get nothing new."""
        if self.step is Step.DRAINING:
            return self.plan.removed
        return self.plan.added if self.step is Step.ROLLING_BACK else ()

    @property
    def canary_of(self) -> Editions:
        """Editions that a canary command is meant for now."""
        return tuple(sorted(self._canaries)) if self.step is Step.GATING else ()

    # ---- inputs

    def enter(self, step: Step, now: Instant) -> Actions:
        """The step was committed: do what it asks for."""
        self.step, self.leaving = step, False
        if self._abandoned and step is not Step.ROLLING_BACK:
            self.shifted = step is Step.DRAINING
            return self._fail(self._abandoned)
        self._asked = False
        if step is Step.FETCHING:
            self.began_here = True
            self._attempt = self._attempts()
            self._missing = set(self.plan.added)
            if not self._missing:
                return self._next(Step.SHIFTING)
            return [Install(v, self._attempt, self._content(v)) for v in self.plan.added]
        if step is Step.STARTING:
            self._gate = self._current_gate()
            self._ends = now.mono + self._gate.start
            return [Steer(), *(Start(version) for version in self.plan.added), *self._all_run()]
        if step is Step.GATING:
            self._attempt = self._attempts()
            self._gate = self._current_gate()
            self._canaries = set()
            self._beats = dict.fromkeys(self.plan.added, now.mono)
            self._began = now.mono
            self._ends = now.mono + 3 * self._gate.seconds + GATE_SLACK
            return self._setback() or self.tick(now)
        if step is Step.DRAINING:
            self.shifted = True
            if self.began_here and (setback := self._setback()):
                return setback
            return [Steer(), *(Stop(version) for version in self.plan.removed), *self._drained()]
        back = [v for v in self.plan.old if self._states.get(v, State.STOPPED) is not State.RUNNING]
        stops = [Stop(version, drain=self.shifted) for version in self.plan.added]
        return [Steer(), *stops, *(Start(version) for version in back), *self._rolled_back()]

    def installed(self, version: Edition, attempt: int, error: str, passing: bool) -> Actions:
        """A version is ready to start, or `error` says why not."""
        if self.step is not Step.FETCHING or attempt != self._attempt or self.leaving:
            return []
        if error:
            return self._fail(error, passing)
        self._missing.discard(version)
        return [] if self._missing else self._next(Step.STARTING)

    def moved(self, version: Edition, state: State, now: Instant) -> Actions:
        """A version's process is in another state, which `states` has already."""
        if self.leaving:
            return []
        if self.step is Step.DRAINING:
            if version in self.plan.added and state is State.FAILED:
                return self._fail(self._fault(version))
            return self._drained()
        if self.step is Step.ROLLING_BACK:
            return self._rolled_back()
        if version not in self.plan.added or self.step not in (Step.STARTING, Step.GATING):
            return []
        if self.step is Step.STARTING:
            allowed = _BEGINNING if not self.plan.patient else _BEGINNING | _AGAIN
            return self._all_run() if state in allowed else self._fail(self._fault(version))
        if setback := self._setback():
            return setback
        self._beats[version] = self._began = now.mono  # patient: the gate begins anew
        return []

    def _setback(self) -> Actions:
        """What ends the try of versions that ran: all but a new start of what takes nobody's place."""
        allowed = _AGAIN if self.plan.patient else _RUNS
        bad = [version for version in self.plan.added if self._states.get(version) not in allowed]
        return self._fail(self._fault(bad[0])) if bad else []

    def _fault(self, version: Edition) -> str:
        return f"version {version} {self._reasons.get(version) or self._states.get(version)}"

    def refused(self, version: Edition, detail: str) -> Actions:
        """The router did not take the version's command list."""
        if self.leaving or self.step not in (Step.STARTING, Step.GATING) or version not in self.plan.added:
            return []
        return self._fail(detail)

    def beat(self, version: Edition, now: Instant) -> Actions:
        """A version was heard."""
        if self.leaving or self.step is not Step.GATING or version not in self._beats:
            return []
        if now.mono - self._beats[version] > GAP:
            self._began = now.mono
        self._beats[version] = now.mono
        return self.tick(now)

    def canaried(self, version: Edition, attempt: int, error: str, passing: bool) -> Actions:
        """How a version answered its canary command; "" for SUCCES."""
        if self.leaving or self.step is not Step.GATING or attempt != self._attempt:
            return []
        if error:
            return self._fail(f"version {version} failed its canary: {error}", passing)
        self._canaries.discard(version)
        return [] if self._canaries else self._next(Step.SHIFTING)

    def abandon(self, reason: str) -> Actions:
        """An operator does not want it any more."""
        if self.step is Step.ROLLING_BACK:
            return []
        if self.leaving:
            self._abandoned = reason  # once the commit under way is over
            return []
        return self._fail(reason)

    def tick(self, now: Instant) -> Actions:
        if self.leaving:
            return []
        if self.step is Step.STARTING and now.mono >= self._ends:
            return self._fail(self._late())
        if self.step is not Step.GATING or self._asked:
            return []
        runs = all(self._states.get(version) is State.RUNNING for version in self.plan.added)
        if runs and min(self._beats.values()) - self._began >= self._gate.seconds:
            if not self._gate.canary:
                return self._next(Step.SHIFTING)
            self._asked = True
            self._canaries = set(self.plan.added)
            return [Steer(), *(Canary(version, self._attempt) for version in self.plan.added)]
        if now.mono >= self._ends:
            return self._fail(
                f"version {listed(self.plan.added)} was not heard steadily for {self._gate.seconds:g} s"
            )
        return []

    def deadline(self) -> float | None:
        if self.leaving or self._asked or self.step not in (Step.STARTING, Step.GATING):
            return None
        return self._ends

    def _late(self) -> str:
        """Why it takes too long to start: who is not there, and what is known of that."""
        late = [v for v in self.plan.added if self._states.get(v) is not State.RUNNING]
        known = [f"{v} {self._reasons[v]}" for v in late if v in self._reasons]
        said = f" ({'; '.join(known)})" if known else ""
        return f"version {listed(late)} did not register its commands within {self._gate.start:g} s{said}"

    # ---- verdicts

    def _all_run(self) -> Actions:
        if all(self._states.get(version) is State.RUNNING for version in self.plan.added):
            return self._next(Step.GATING)
        return []

    def _drained(self) -> Actions:
        """Over once the removed rest, and the added run (after a restart they are started again)."""
        rest = all(self._states.get(v, State.STOPPED) in AT_REST for v in self.plan.removed)
        run = all(self._states.get(version) is State.RUNNING for version in self.plan.added)
        return self._over() if rest and run else []

    def _rolled_back(self) -> Actions:
        """Over once the added rest, and of the old each runs again, or has shown that it does not."""
        rest = all(self._states.get(v, State.STOPPED) in AT_REST for v in self.plan.added)
        back = all(self._states.get(version) in _TRIED for version in self.plan.old)
        return self._over() if rest and back else []

    def _next(self, step: Step) -> Actions:
        self.leaving = True
        return [Advance(step)]

    def _over(self) -> Actions:
        self.leaving = True
        return [Advance(None)]

    def _fail(self, reason: str, passing: bool = False) -> Actions:
        self.leaving = True
        return [Advance(Step.ROLLING_BACK, reason, passing)]
