"""The admin worker's core: what runs, one rollout at a time, admin commands, updates by themselves. Pure.

Inputs take the time and return what to do, in order. What must outlive a restart is committed (`Keep`) before
what follows from it is asked for; a commit that fails is tried again, and all waits for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from zconnector.actions import Note
from zconnector.clock import Instant, earliest
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason
from zconnector.supervision.states import AT_REST, State
from zconnector.versions.asks import AskBook, Verb
from zconnector.versions.rollout import Gate, Rollout
from zconnector.versions.schedule import Schedule
from zconnector.versions.states import (
    BEFORE_SHIFT,
    CRASH_LOOP,
    Actions,
    Advance,
    Answer,
    Clean,
    Ended,
    Install,
    Keep,
    Look,
    Memory,
    Outcome,
    Plan,
    Start,
    Steer,
    Step,
    Stop,
    Versions,
    numbers,
    ordered,
)
from zconnector.versions.wanted import Wanted

KEEP_AGAIN = 1.0
"""Seconds until a commit that failed is tried again."""
AGAIN = 5.0
AGAIN_MAX = 300.0
"""Seconds until a configuration that could not be applied for a passing reason is tried again; doubling."""

ON_TRIAL = 600.0
"""Seconds after an update in which a crash loop of the new version brings the old one back."""

Then = Callable[[Instant], Actions]


class Manager:
    """Invariant: `memory` is what was committed last or is being committed; at most one rollout goes on."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.problem = ""
        """What is wrong with the configuration, for people."""
        self._wanted: Wanted | None = None
        self._rollout: Rollout | None = None
        self._states: dict[Version, State] = {}
        self._reasons: dict[Version, str] = {}
        self._kept = self._number = 0
        self._thens: list[tuple[int, Then]] = []
        self._keep_again: float | None = None
        self._attempts = 0
        self._passing = self._restored = self._stale = False
        self._again: float | None = None
        self._pause = AGAIN
        self._schedule = Schedule()
        self._asks = AskBook()
        self._about: dict[str, Version] = {}
        """Of asks that wait for a rollout: the version that they are about, which may be one of several."""
        self._looks: dict[int, Callable[[Versions | None, str, Instant], Actions]] = {}

    # ---- what the router is to be told

    @property
    def held(self) -> Versions:
        """Versions that get no traffic yet."""
        return self._rollout.held if self._rollout else ()

    @property
    def drained(self) -> Versions:
        """Versions that get nothing new."""
        return self._rollout.drained if self._rollout else ()

    @property
    def canary_of(self) -> Versions:
        """Versions that a canary command is meant for now."""
        return self._rollout.canary_of if self._rollout else ()

    @property
    def wanted(self) -> Wanted | None:
        return self._wanted

    # ---- beginning

    def restore(self, document: Mapping[str, Any] | None, now: Instant) -> Actions:
        """Take up what was committed, once, after the first `configured`. Raises DamagedError."""
        if document is not None:
            self.memory = Memory.from_dict(document)
        self._restored = True
        actions: Actions = [Steer(), *(Start(version) for version in self.memory.running)]
        plan, step = self.memory.plan, self.memory.step
        if plan is not None and step is not None:
            self._begin(plan)
            actions += self._digest(self._entered(Step.FETCHING if step in BEFORE_SHIFT else step, now), now)
            return actions
        return actions + self._apply(now)

    def configured(self, wanted: Wanted | str, now: Instant) -> Actions:
        """The logical configuration in force; a text says why it is wrong: nothing changes then."""
        if isinstance(wanted, str):
            if wanted == self.problem:
                return []
            self.problem = wanted
            return [Note("error", "logical configuration refused", {"error": wanted})]
        before, self._wanted, self.problem = self._wanted, wanted, ""
        self._schedule.set(wanted.update, now)
        self._again, self._pause = None, AGAIN
        if not self._restored:
            return []
        actions: Actions = [Steer()]
        if before is None:  # the first one that can be understood
            actions += [Start(version) for version in self.memory.running]
        elif (before.keys, before.worker) != (wanted.keys, wanted.worker):
            actions += self._start_anew(before.versions == wanted.versions)
        return actions + self._apply(now, again=before != wanted and self._failed_before(wanted))

    def _start_anew(self, same: bool) -> Actions:
        """What a process reads at its start is another: those that stay are started again.

        One that a rollout has started meanwhile is when that is over, lest it be taken for a crash.
        """
        rollout, wanted = self._rollout, self._wanted
        if rollout is not None and not rollout.shifted:
            self._stale = True
        stays = (v for v in self.memory.running if same or (wanted is not None and v in wanted.versions))
        return [action for version in stays for action in (Stop(version), Start(version))]

    def _failed_before(self, wanted: Wanted) -> bool:
        """Whether these versions were tried, and may do now that something else was changed."""
        last = self.memory.last
        return (
            last is not None
            and last.outcome is Outcome.ROLLED_BACK
            and last.plan.why == "configuration"
            and last.plan.new == wanted.versions
            and self.memory.running != wanted.versions
        )

    # ---- from those who perform

    def kept(self, number: int, ok: bool, now: Instant) -> Actions:
        """A commit has succeeded, or failed."""
        if not ok:
            self._keep_again = now.mono + KEEP_AGAIN
            return []
        self._kept = max(self._kept, number)
        due = [then for at, then in self._thens if at <= self._kept]
        self._thens = [(at, then) for at, then in self._thens if at > self._kept]
        actions: Actions = []
        for then in due:
            actions += self._digest(then(now), now)
        return actions

    def installed(
        self,
        version: Version,
        attempt: int,
        result: Mapping[str, Any],
        error: str,
        passing: bool,
        now: Instant,
    ) -> Actions:
        """A version can be started (`result`: what there is to tell), or `error` says why not."""
        actions: Actions = []
        for ask in self._asks.take(("get", attempt)):
            actions.append(Answer(ask, {**numbers(version), **result}, error))
        if self._rollout is not None:
            actions += self._digest(self._rollout.installed(version, attempt, error, passing), now)
        return actions

    def moved(self, version: Version, state: State, reason: str, now: Instant) -> Actions:
        """A version's process is in another state."""
        self._states[version] = state
        if reason:
            self._reasons[version] = reason
        elif state is State.RUNNING:
            self._reasons.pop(version, None)
        actions: Actions = []
        if state is State.RUNNING or state in AT_REST:
            why = "" if state is State.RUNNING else f"version {version} {reason or f'is {state}'}"
            actions += [Answer(ask, numbers(version), why) for ask in self._asks.take(_runs(version))]
        if self._rollout is not None:
            actions += self._digest(self._rollout.moved(version, state, now), now)
        elif state is State.FAILED:
            actions += self._gave_up(version, reason, now)
        return actions

    def _gave_up(self, version: Version, reason: str, now: Instant) -> Actions:
        """A version that took another's place a while ago has crashed too often: that one takes it back."""
        memory = self.memory
        last = memory.last
        if last is None or last.outcome is not Outcome.DONE or last.plan.back or not last.plan.removed:
            return []
        late = now.wall - last.at > ON_TRIAL * 1000
        if late or version not in last.plan.added or memory.running != last.plan.new:
            return []
        self.memory = replace(memory, rejected={**memory.rejected, version: f"version {version} {reason}"})
        return self._roll(Plan(memory.running, last.plan.old, CRASH_LOOP), now)

    def refused(self, version: Version, detail: str, now: Instant) -> Actions:
        """The router refused a version's command list."""
        self._reasons[version] = detail
        return self._digest(self._rollout.refused(version, detail), now) if self._rollout else []

    def beat(self, version: Version, now: Instant) -> Actions:
        """A version was heard."""
        return self._digest(self._rollout.beat(version, now), now) if self._rollout else []

    def canaried(self, version: Version, attempt: int, error: str, passing: bool, now: Instant) -> Actions:
        """How it answered its canary; "" for SUCCES. `passing`: it was not its doing."""
        if self._rollout is None:
            return []
        return self._digest(self._rollout.canaried(version, attempt, error, passing), now)

    def found(self, number: int, versions: Versions | None, error: str, now: Instant) -> Actions:
        """What the repository has; None: `error` says why that is not known."""
        then = self._looks.pop(number, None)
        return [] if then is None else self._digest(then(versions, error, now), now)

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        if self._keep_again is not None and self._keep_again <= now.mono:
            self._keep_again = None
            actions.append(Keep(self._number, self.memory.to_dict()))
        if self._rollout is not None:
            actions += self._digest(self._rollout.tick(now), now)
        if self._again is not None and self._again <= now.mono:
            self._again = None
            actions += self._apply(now, again=True)
        if self._schedule.due(now):
            actions += self._look(self._update_found)
        return actions

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due."""
        return earliest(
            self._keep_again,
            self._rollout.deadline() if self._rollout else None,
            self._again,
            self._schedule.deadline(),
        )

    # ---- who asks

    def ask(self, ask: str, verb: Verb, version: Version | None, uuid: str, now: Instant) -> Actions:
        """Someone wants something; one `Answer` with that `ask` follows. `uuid`: of the admin command."""
        if uuid and (known := self._answered_before(ask, uuid)) is not None:
            return known
        if verb is Verb.LATEST:
            return self._look(lambda found, error, later: self._told_latest(ask, found, error))
        if verb is Verb.ROLLBACK:
            return self._digest(self._roll_back(ask, now), now)
        if verb is Verb.UPDATE and version is None:
            return self._look(lambda found, error, later: self._update_to(ask, found, error, uuid, later))
        if version is None:
            return [Answer(ask, {}, f"{verb} needs a version", Reason.BAD_ARGUMENT)]
        if verb is Verb.GET:
            self._attempts += 1
            self._asks.add(("get", self._attempts), ask)
            return [Install(version, self._attempts)]
        running = self.memory.running
        if verb is Verb.START:
            return self._digest(self._start(ask, version, uuid, now), now)
        if verb is Verb.STOP:
            if version not in running and not self._concerns(version):
                return [Answer(ask, numbers(version), f"version {version} does not run")]
            new = ordered(v for v in running if v != version)
            return self._digest(self._want(ask, version, Plan(running, new, verb, uuid), now), now)
        return self._digest(self._update(ask, version, uuid, now), now)

    def forget_ask(self, ask: str) -> None:
        """Who asked has gone: it is not answered; what it asked for goes on."""
        self._asks.forget(ask)
        self._about.pop(ask, None)

    def _answered_before(self, ask: str, uuid: str) -> Actions | None:
        """The command came again after a restart."""
        last = self.memory.last
        if self._rollout is not None and self._rollout.plan.uuid == uuid:
            self._asks.add(("rollout", 0), ask)
            return []
        if last is not None and last.plan.uuid == uuid:
            return [Answer(ask, _result(last.plan), _fault(last))]
        return None

    def _start(self, ask: str, version: Version, uuid: str, now: Instant) -> Actions:
        running = self.memory.running
        if version in running and self._rollout is None:
            if self._states.get(version) is State.RUNNING:
                return [Answer(ask, numbers(version))]
            self._asks.add(_runs(version), ask)
            return [Start(version)]  # it begins anew where it had given up
        return self._want(ask, version, Plan(running, ordered((*running, version)), Verb.START, uuid), now)

    def _update(self, ask: str, version: Version, uuid: str, now: Instant) -> Actions:
        running = self.memory.running
        if version in running and self._rollout is None:
            return self._start(ask, version, uuid, now)  # nothing is replaced; it is answered when it runs
        alike = [v for v in running if v.major == version.major] or list(running)
        new = ordered((*(v for v in running if v not in alike[-1:]), version))
        return self._want(ask, version, Plan(running, new, Verb.UPDATE, uuid), now)

    def _want(self, ask: str, version: Version, plan: Plan, now: Instant) -> Actions:
        """Begin this rollout for who asked, or say why not."""
        if self._rollout is not None:
            going = self._rollout.plan
            if going.new == plan.new and self._rollout.step is not Step.ROLLING_BACK:
                self._asks.add(("rollout", 0), ask)
                self._about[ask] = version
                return []
            reason = f"{going.why} from {going} goes on ({self._rollout.step})"
            return [Answer(ask, numbers(version), reason, Reason.BUSY)]
        if not self._named_source(plan):
            reason = "no repository is configured (zconnector config set CONNECTOR repository=...)"
            return [Answer(ask, numbers(version), reason)]
        self._asks.add(("rollout", 0), ask)
        self._about[ask] = version
        return self._roll(plan, now)

    def _concerns(self, version: Version) -> bool:
        """Whether the rollout that goes on starts or stops a version."""
        return self._rollout is not None and version in (*self._rollout.plan.old, *self._rollout.plan.new)

    def _named_source(self, plan: Plan) -> bool:
        return not plan.added or (self._wanted is not None and bool(self._wanted.repository))

    def _roll_back(self, ask: str, now: Instant) -> Actions:
        if self._rollout is not None:
            self._asks.add(("rolled back", 0), ask)
            return self._rollout.abandon("an operator rolled it back")
        previous = self.memory.previous
        if previous is None or previous == self.memory.running:
            return [Answer(ask, {}, "there is nothing to go back to")]
        self._asks.add(("rollout", 0), ask)
        return self._roll(Plan(self.memory.running, previous, Verb.ROLLBACK), now)

    def _told_latest(self, ask: str, found: Versions | None, error: str) -> Actions:
        if not found:
            return [Answer(ask, {}, error or "the repository has no version of this worker")]
        return [Answer(ask, {**numbers(found[-1]), "versions": [str(version) for version in found]})]

    # ---- updates by themselves

    def _update_to(self, ask: str, found: Versions | None, error: str, uuid: str, now: Instant) -> Actions:
        """An update without a version: to the newest of the newest running major, of all if nothing runs."""
        running = self.memory.running
        alike = [v for v in found or () if not running or v.major == running[-1].major]
        if not alike:
            return [Answer(ask, {}, error or "the repository has no version to update to")]
        return self._update(ask, alike[-1], uuid, now)

    def _update_found(self, found: Versions | None, error: str, now: Instant) -> Actions:
        """By interval or plan: the newest of each running major to a newer minor that was not rolled back."""
        if found is None:
            return [Note("warning", "no update: the repository cannot be read", {"error": error})]
        if self._rollout is not None:
            return []
        newest = {v.major: v for v in found if v not in self.memory.rejected}
        running = self.memory.running
        last = {v.major: v for v in running}  # what runs beside the newest of its major is somebody's wish
        new = ordered(max(v, newest.get(v.major, v)) if last[v.major] == v else v for v in running)
        if new == self.memory.running:
            return []
        return self._roll(Plan(self.memory.running, new, "update"), now)

    def _look(self, then: Callable[[Versions | None, str, Instant], Actions]) -> Actions:
        self._attempts += 1
        self._looks[self._attempts] = then
        return [Look(self._attempts)]

    # ---- rollouts

    def _apply(self, now: Instant, again: bool = False) -> Actions:
        """Act on the configuration's `versions` where they changed (or could not be had for the moment)."""
        wanted, memory = self._wanted, self.memory
        if wanted is None or self._rollout is not None:
            return []
        if not again and wanted.versions == (memory.applied or ()):
            return []
        if wanted.versions == memory.running:
            return self._commit(replace(memory, applied=wanted.versions), lambda later: [])
        return self._roll(Plan(memory.running, wanted.versions, "configuration"), now)

    def _roll(self, plan: Plan, now: Instant) -> Actions:
        applied = self.memory.applied
        if plan.why == "configuration":
            applied = plan.new
        self._begin(plan)
        memory = replace(self.memory, applied=applied, plan=plan, step=Step.FETCHING, reason="")
        note = Note("info", "rollout begins", {"why": plan.why, "rollout": str(plan)})
        return [note, Steer(), *self._commit(memory, lambda later: self._entered(Step.FETCHING, later))]

    def _begin(self, plan: Plan) -> None:
        self._passing = False
        self._rollout = Rollout(plan, self._gate, self._next_attempt, self._states, self._reasons)
        self._rollout.leaving = True  # until its first step is committed

    def _entered(self, step: Step, now: Instant) -> Actions:
        return [] if self._rollout is None else self._rollout.enter(step, now)

    def _digest(self, actions: Actions, now: Instant) -> Actions:
        """Commit the steps that a rollout asks for; all else is for who performs."""
        done: Actions = []
        for action in actions:
            if isinstance(action, Advance):
                done += self._digest(self._advance(action, now), now)
            else:
                done.append(action)
        return done

    def _advance(self, advance: Advance, now: Instant) -> Actions:
        rollout = self._rollout
        if rollout is None:
            return []
        step = advance.step
        if step is None:
            return self._end(rollout, now)
        memory = replace(self.memory, step=step)
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
            *self._commit(memory, lambda later: self._entered(step, later)),
        ]

    def _end(self, rollout: Rollout, now: Instant) -> Actions:
        plan, memory = rollout.plan, self.memory
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
            self._rollout = None
            actions: Actions = [Steer()]
            for ask in self._asks.take(("rollout", 0)):
                about = self._about.pop(ask, None)
                actions.append(Answer(ask, numbers(about) if about else _result(plan), _fault(ended)))
            rolled = "" if back else f"too late: {plan.why} from {plan} is done"
            actions += [Answer(ask, _result(plan), rolled) for ask in self._asks.take(("rolled back", 0))]
            if self._stale:
                self._stale = False
                anew = [version for version in plan.added if version in self.memory.running]
                actions += [action for version in anew for action in (Stop(version), Start(version))]
            keep = ordered((*plan.old, *plan.new))
            if not back and keep:  # what ran before stays, for a rollback
                actions.append(Clean(keep, tuple(rejected)))
            if back and self._passing and plan.why == "configuration":
                self._again = later.mono + self._pause
                self._pause = min(AGAIN_MAX, 2 * self._pause)
            return actions + self._apply(later)

        return self._commit(memory, committed)

    def _gate(self) -> Gate:
        wanted = self._wanted
        return Gate() if wanted is None else Gate(wanted.gate.seconds, wanted.gate.canary is not None)

    def _next_attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    def _commit(self, memory: Memory, then: Then) -> Actions:
        self.memory = memory
        self._number += 1
        self._thens.append((self._number, then))
        if self._keep_again is not None:
            return []  # the one that is tried again takes this with it
        return [Keep(self._number, memory.to_dict())]

    # ---- for people

    def view(self) -> dict[str, Any]:
        """What there is to know, as JSON."""
        memory, rollout = self.memory, self._rollout
        last = memory.last
        known = ordered((*self._states, *memory.running, *(rollout.plan.new if rollout else ())))
        return {
            "versions": [self._row(version) for version in known],
            "configured": None if self._wanted is None else [str(v) for v in self._wanted.versions],
            "problem": self.problem,
            "rollout": rollout
            and {
                "old": [str(v) for v in rollout.plan.old],
                "new": [str(v) for v in rollout.plan.new],
                "why": rollout.plan.why,
                "step": rollout.step,
                "reason": memory.reason,
            },
            "last": last
            and {
                "old": [str(v) for v in last.plan.old],
                "new": [str(v) for v in last.plan.new],
                "why": last.plan.why,
                "outcome": last.outcome,
                "reason": last.reason,
                "at": last.at,
            },
            "previous": None if memory.previous is None else [str(v) for v in memory.previous],
            "rejected": {str(version): why for version, why in memory.rejected.items()},
        }

    def _row(self, version: Version) -> dict[str, Any]:
        traffic = "all" if version in self.memory.running else "none"
        if version in self.held:
            traffic = "held back"
        elif version in self.drained:
            traffic = "drained"
        return {
            "version": str(version),
            "wanted": version in self.memory.running,
            "state": self._states.get(version, State.STOPPED),
            "traffic": traffic,
            "reason": self._reasons.get(version, ""),
        }


def _runs(version: Version) -> tuple[str, int]:
    """What somebody waits for who wants a version to run."""
    return (f"runs {version}", 0)


def _result(plan: Plan) -> dict[str, Any]:
    """The version that a rollout was about."""
    about = plan.added or plan.removed
    return numbers(about[-1]) if about else {}


def _fault(ended: Ended) -> str:
    if ended.outcome is Outcome.DONE:
        return ""
    return f"rolled back: {ended.reason}"
