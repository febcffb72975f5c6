"""One rollout at a time: begun, committed step after step, ended (docs/versions.md, "Rollout"). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from zconnector.actions import Note
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.commits import Commits, Then
from zconnector.versions.rollout import Gate, Rollout
from zconnector.versions.states import (
    BEFORE_SHIFT,
    Actions,
    Advance,
    Ended,
    Memory,
    Outcome,
    Plan,
    Steer,
    Step,
    Versions,
)


class Attempts:
    """Numbers of what is asked for, never twice the same."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        self._last += 1
        return self._last


@dataclass(frozen=True, slots=True)
class Over:
    """How a rollout went, for those that waited for its end."""

    ended: Ended
    passing: bool
    """Of one that was rolled back: another try may succeed as it is."""

    @property
    def plan(self) -> Plan:
        return self.ended.plan

    @property
    def back(self) -> bool:
        return self.ended.outcome is Outcome.ROLLED_BACK


class Rollouts:
    """Invariants: at most one goes on; each of its steps is committed before it is entered.

    `over` hears of each end, once that is committed.
    """

    def __init__(
        self,
        commits: Commits,
        gate: Callable[[], Gate],
        attempts: Attempts,
        over: Callable[[Over, Instant], Actions],
    ) -> None:
        """`gate` says what it is now."""
        self.going: Rollout | None = None
        self.states: dict[Version, State] = {}
        """Of each version's process."""
        self.reasons: dict[Version, str] = {}
        """Why it last ended."""
        self._commits = commits
        self._gate = gate
        self._attempts = attempts
        self._over = over
        self._passing = False

    # ---- what it means for traffic

    @property
    def held(self) -> Versions:
        """Versions that get no traffic yet."""
        return self.going.held if self.going else ()

    @property
    def drained(self) -> Versions:
        """Versions that get nothing new."""
        return self.going.drained if self.going else ()

    @property
    def canary_of(self) -> Versions:
        """Versions that a canary command is meant for now."""
        return self.going.canary_of if self.going else ()

    # ---- from its beginning to its end

    def roll(self, plan: Plan) -> Actions:
        """Begin this one; none goes on."""
        memory = self._commits.memory
        applied = plan.new if plan.why == "configuration" else memory.applied
        self._begin(plan)
        memory = replace(memory, applied=applied, plan=plan, step=Step.FETCHING, reason="")
        note = Note("info", "rollout begins", {"why": plan.why, "rollout": str(plan)})
        return [note, Steer(), *self._commit(memory, lambda later: self.entered(Step.FETCHING, later))]

    def take_up(self, plan: Plan, step: Step, now: Instant) -> Actions:
        """The one that went on when the router ended."""
        self._begin(plan)
        return self.digest(self.entered(Step.FETCHING if step in BEFORE_SHIFT else step, now), now)

    def entered(self, step: Step, now: Instant) -> Actions:
        """A step was committed."""
        return [] if self.going is None else self.going.enter(step, now)

    def digest(self, actions: Actions, now: Instant) -> Actions:
        """Commit the steps that a rollout asks for; all else is for who performs."""
        done: Actions = []
        for action in actions:
            if isinstance(action, Advance):
                done += self.digest(self._advance(action, now), now)
            else:
                done.append(action)
        return done

    def _begin(self, plan: Plan) -> None:
        self._passing = False
        self.going = Rollout(plan, self._gate, self._attempts.next, self.states, self.reasons)
        self.going.leaving = True  # until its first step is committed

    def _commit(self, memory: Memory, then: Then) -> Actions:
        return self._commits.commit(memory, lambda later: self.digest(then(later), later))

    def _advance(self, advance: Advance, now: Instant) -> Actions:
        rollout = self.going
        if rollout is None:
            return []
        step = advance.step
        if step is None:
            return self._end(rollout, now)
        memory = replace(self._commits.memory, step=step)
        if step is Step.SHIFTING:
            rollout.step = step
            step = Step.DRAINING
            memory = replace(memory, running=rollout.plan.new, step=step)
        if step is Step.ROLLING_BACK:
            self._passing = advance.passing
            memory = replace(memory, running=rollout.plan.old, reason=advance.reason)
        fields = {"step": str(step), "rollout": str(rollout.plan), "reason": advance.reason}
        level = "warning" if advance.reason else "info"
        return [
            Note(level, "rollout", fields),
            *self._commit(memory, lambda later: self.entered(step, later)),
        ]

    def _end(self, rollout: Rollout, now: Instant) -> Actions:
        plan, memory = rollout.plan, self._commits.memory
        back = rollout.step is Step.ROLLING_BACK
        ended = Ended(plan, Outcome.ROLLED_BACK if back else Outcome.DONE, memory.reason, now.wall)
        rejected = {v: why for v, why in memory.rejected.items() if back or v not in plan.new}
        if back and not self._passing:
            rejected |= dict.fromkeys(plan.added, memory.reason)
        previous = memory.previous if back else plan.old
        memory = replace(
            memory, plan=None, step=None, reason="", previous=previous, last=ended, rejected=rejected
        )

        def committed(later: Instant) -> Actions:
            self.going = None
            return [Steer(), *self._over(Over(ended, self._passing), later)]

        return self._commit(memory, committed)
