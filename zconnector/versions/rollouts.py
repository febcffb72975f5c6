"""One rollout at a time: begun, committed step after step, ended (docs/versions.md, "Rollout"). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from zconnector.actions import Note
from zconnector.clock import Instant
from zconnector.supervision.states import State
from zconnector.versions.actions import Actions, Advance, Forget, Steer
from zconnector.versions.commits import Commits, Then
from zconnector.versions.editions import Edition, Editions, Values, ordered, versions_of
from zconnector.versions.remembering import pruned, settled, trial, waiting
from zconnector.versions.rollout import Gate, Rollout
from zconnector.versions.states import (
    BEFORE_SHIFT,
    CONFIGURATION,
    Ended,
    Memory,
    Outcome,
    Plan,
    Step,
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
        values: Callable[[], Values],
        over: Callable[[Over, Instant], Actions],
    ) -> None:
        """`gate` says what it is now; `values` what the configuration has new processes read."""
        self.going: Rollout | None = None
        self.states: dict[Edition, State] = {}
        """Of each edition's process; those of what nobody goes back to leave as the next rollout ends."""
        self.reasons: dict[Edition, str] = {}
        """Why it last ended; the same."""
        self._commits = commits
        self._gate = gate
        self._attempts = attempts
        self._values = values
        self._over = over

    # ---- what it means for traffic

    @property
    def held(self) -> Editions:
        """Those that get no traffic yet."""
        return self.going.held if self.going else ()

    @property
    def drained(self) -> Editions:
        """Those that get nothing new."""
        return self.going.drained if self.going else ()

    @property
    def canary_of(self) -> Editions:
        """Those that a canary command is meant for now."""
        return self.going.canary_of if self.going else ()

    # ---- from its beginning to its end

    def roll(self, plan: Plan, **more: Any) -> Actions:
        """Begin this one; none goes on. `more`: what else of the memory changes with it.

        What is added of a version (and product) that runs has its content, unless `more` says another.
        """
        before, memory = self._commits.memory, replace(self._commits.memory, **more)
        fresh = {number: self._values() for number in _numbers(plan.new) if number not in memory.values}
        memory = replace(
            memory,
            step=Step.FETCHING,
            reason="",
            passing=False,
            values={**memory.values, **fresh},
            given=max(memory.given, *_numbers(plan.new), 0),
        )
        if not plan.back:
            memory, plan = settled(memory, plan, before.contents)
        memory = replace(memory, plan=plan)
        self._begin(plan)
        note = Note("info", "rollout begins", {"why": plan.why, "rollout": str(plan)})
        return [note, Steer(), *self._commit(memory, lambda later: self.entered(Step.FETCHING, later))]

    def take_up(self, plan: Plan, step: Step, now: Instant) -> Actions:
        """The one that went on when the router ended."""
        self._begin(plan)
        return self.digest(self.entered(Step.FETCHING if step in BEFORE_SHIFT else step, now), now)

    def content(self, edition: Edition) -> str:
        """The archive that an edition is started from, by its SHA-256; "": that is not settled."""
        return self._commits.memory.contents.get(edition, "")

    def settle(self, edition: Edition, sha256: str) -> None:
        """The content of an edition that is added; kept with the next step."""
        memory = self._commits.memory
        if sha256 and self.going is not None and edition in self.going.plan.added:
            contents = {edition: sha256, **memory.contents}
            self._commits.memory = replace(memory, contents=contents)

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
        self.going = Rollout(plan, self._gate, self._attempts.next, self.states, self.reasons, self.content)
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
            memory = replace(memory, running=rollout.plan.old, reason=advance.reason, passing=advance.passing)
        fields = {"step": str(step), "rollout": str(rollout.plan), "reason": advance.reason}
        level = "warning" if advance.reason else "info"
        return [
            Note(level, "rollout", fields),
            *self._commit(memory, lambda later: self.entered(step, later)),
        ]

    def _end(self, rollout: Rollout, now: Instant) -> Actions:
        plan, memory = rollout.plan, self._commits.memory
        back = rollout.step is Step.ROLLING_BACK
        reason = memory.reason or self._remark(plan)
        ended = Ended(plan, Outcome.ROLLED_BACK if back else Outcome.DONE, reason, now.wall)
        new, old = versions_of(plan.new), versions_of(plan.old)
        rejected = {v: why for v, why in memory.rejected.items() if back or v not in new}
        unfit, passing = memory.unfit, back and memory.passing
        if back and not passing:
            rejected |= dict.fromkeys((v for v in versions_of(plan.added) if v not in old), reason)
        if back and plan.why == CONFIGURATION:
            unfit = reason
        memory = replace(
            memory,
            plan=None,
            step=None,
            reason="",
            passing=False,
            waits=waiting(memory.waits, ended, passing),
            previous=memory.previous if back else plan.old,
            last=ended,
            trial=trial(memory.trial, ended),
            rejected=rejected,
            unfit=unfit,
        )
        memory = pruned(memory)

        def committed(later: Instant) -> Actions:
            self.going = None
            forget = self._forgotten(plan, memory)
            return [Steer(), *forget, *self._over(Over(ended), later)]

        return self._commit(memory, committed)

    def _remark(self, plan: Plan) -> str:
        """Of a rollout that is done: what stayed, and has failed meanwhile."""
        failed = [v for v in plan.new if v not in plan.added and self.states.get(v) is State.FAILED]
        return "; ".join(f"version {v}, which stayed, has failed: {self.reasons.get(v, '')}" for v in failed)

    def _forgotten(self, plan: Plan, memory: Memory) -> Actions:
        """Editions that nobody goes back to: they are not to be seen any more.

        Of this rollout only those whose version stays: of the others it is shown how it went, until the next
        one is over.
        """
        stay = {*memory.running, *(memory.previous or ()), *(memory.trial.plan.old if memory.trial else ())}
        shown = {v for v in (*plan.old, *plan.new) if v.version not in versions_of(stay)}
        known = ordered((*self.states, *self.reasons, *plan.old, *plan.new))
        gone = [v for v in known if v not in stay and v not in shown]
        for edition in gone:
            self.states.pop(edition, None)
            self.reasons.pop(edition, None)
        return [Forget(edition) for edition in gone]


def _numbers(editions: Editions) -> list[int]:
    return [edition.number for edition in editions]
