"""The admin worker's core: what runs, as the logical configuration, admin commands and updates want it. Pure.

Inputs take the time and return what to do, in order. What must outlive a restart is committed (`Keep`) before
what follows from it is asked for; a commit that fails is tried again, and all waits for it.

`commits.py` keeps, `rollouts.py` changes what runs, `requests.py` answers who asks, `view.py` shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zconnector.actions import Note
from zconnector.clock import Instant, earliest
from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.asks import Verb
from zconnector.versions.commits import Commits
from zconnector.versions.requests import Looks, Requests
from zconnector.versions.rollout import Gate
from zconnector.versions.rollouts import Attempts, Over, Rollouts
from zconnector.versions.schedule import Schedule
from zconnector.versions.states import (
    CRASH_LOOP,
    Actions,
    Clean,
    Memory,
    Outcome,
    Plan,
    Start,
    Steer,
    Stop,
    Versions,
    ordered,
)
from zconnector.versions.view import view
from zconnector.versions.wanted import Wanted

AGAIN = 5.0
AGAIN_MAX = 300.0
"""Seconds until a configuration that could not be applied for a passing reason is tried again; doubling."""

ON_TRIAL = 600.0
"""Seconds after an update in which a crash loop of the new version brings the old one back."""


class Manager:
    """Invariant: what runs differs from what is remembered only by the rollout that goes on."""

    def __init__(self) -> None:
        self.problem = ""
        """What is wrong with the configuration, for people."""
        self.commits = Commits()
        attempts = Attempts()
        self.rollouts = Rollouts(self.commits, self._gate, attempts, self._over)
        self._looks = Looks(attempts)
        self.requests = Requests(self.commits, self.rollouts, self._looks, attempts, lambda: self._wanted)
        self._wanted: Wanted | None = None
        self._restored = self._stale = False
        self._again: float | None = None
        self._pause = AGAIN
        self._schedule = Schedule()

    @property
    def memory(self) -> Memory:
        return self.commits.memory

    @property
    def wanted(self) -> Wanted | None:
        return self._wanted

    # ---- what the router is to be told

    @property
    def held(self) -> Versions:
        """Versions that get no traffic yet."""
        return self.rollouts.held

    @property
    def drained(self) -> Versions:
        """Versions that get nothing new."""
        return self.rollouts.drained

    @property
    def canary_of(self) -> Versions:
        """Versions that a canary command is meant for now."""
        return self.rollouts.canary_of

    # ---- what is wanted

    def restore(self, document: Mapping[str, Any] | None, now: Instant) -> Actions:
        """Take up what was committed, once, after the first `configured`. Raises DamagedError."""
        if document is not None:
            self.commits.memory = Memory.from_dict(document)
        self._restored = True
        actions: Actions = [Steer(), *(Start(version) for version in self.memory.running)]
        plan, step = self.memory.plan, self.memory.step
        if plan is not None and step is not None:
            return actions + self.rollouts.take_up(plan, step, now)
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
        rollout, wanted = self.rollouts.going, self._wanted
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

    def _apply(self, now: Instant, again: bool = False) -> Actions:
        """Act on the configuration's `versions` where they changed (or could not be had for the moment)."""
        wanted, memory = self._wanted, self.memory
        if wanted is None or self.rollouts.going is not None:
            return []
        if not again and wanted.versions == (memory.applied or ()):
            return []
        if wanted.versions == memory.running:
            return self.commits.commit(replace(memory, applied=wanted.versions), lambda later: [])
        return self.rollouts.roll(Plan(memory.running, wanted.versions, "configuration"))

    def _gate(self) -> Gate:
        wanted = self._wanted
        return Gate() if wanted is None else Gate(wanted.gate.seconds, wanted.gate.canary is not None)

    # ---- from those who perform

    def kept(self, number: int, ok: bool, now: Instant) -> Actions:
        """A commit has succeeded, or failed."""
        return self.commits.kept(number, ok, now)

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
        actions = self.requests.installed(version, attempt, result, error)
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.installed(version, attempt, error, passing), now)
        return actions

    def moved(self, version: Version, state: State, reason: str, now: Instant) -> Actions:
        """A version's process is in another state."""
        self.rollouts.states[version] = state
        if reason:
            self.rollouts.reasons[version] = reason
        elif state is State.RUNNING:
            self.rollouts.reasons.pop(version, None)
        actions = self.requests.moved(version, state, reason)
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.moved(version, state, now), now)
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
        rejected = {**memory.rejected, version: f"version {version} {reason}"}
        self.commits.memory = replace(memory, rejected=rejected)
        return self.rollouts.roll(Plan(memory.running, last.plan.old, CRASH_LOOP))

    def refused(self, version: Version, detail: str, now: Instant) -> Actions:
        """The router refused a version's command list."""
        self.rollouts.reasons[version] = detail
        rollout = self.rollouts.going
        return self.rollouts.digest(rollout.refused(version, detail), now) if rollout else []

    def beat(self, version: Version, now: Instant) -> Actions:
        """A version was heard."""
        rollout = self.rollouts.going
        return self.rollouts.digest(rollout.beat(version, now), now) if rollout else []

    def canaried(self, version: Version, attempt: int, error: str, passing: bool, now: Instant) -> Actions:
        """How it answered its canary; "" for SUCCES. `passing`: it was not its doing."""
        rollout = self.rollouts.going
        if rollout is None:
            return []
        return self.rollouts.digest(rollout.canaried(version, attempt, error, passing), now)

    def found(self, number: int, versions: Versions | None, error: str, now: Instant) -> Actions:
        """What the repository has; None: `error` says why that is not known."""
        return self.rollouts.digest(self._looks.found(number, versions, error, now), now)

    def tick(self, now: Instant) -> Actions:
        actions = self.commits.tick(now)
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.tick(now), now)
        if self._again is not None and self._again <= now.mono:
            self._again = None
            actions += self._apply(now, again=True)
        if self._schedule.due(now):
            actions += self._looks.look(self._update_found)
        return actions

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due."""
        rollout = self.rollouts.going
        return earliest(
            self.commits.deadline(),
            rollout.deadline() if rollout else None,
            self._again,
            self._schedule.deadline(),
        )

    def _over(self, over: Over, now: Instant) -> Actions:
        """A rollout has ended."""
        plan, actions = over.plan, self.requests.over(over)
        if self._stale:
            self._stale = False
            anew = [version for version in plan.added if version in self.memory.running]
            actions += [action for version in anew for action in (Stop(version), Start(version))]
        keep = ordered((*plan.old, *plan.new))
        if not over.back and keep:  # what ran before stays, for a rollback
            actions.append(Clean(keep, tuple(self.memory.rejected)))
        if over.back and over.passing and plan.why == "configuration":
            self._again = now.mono + self._pause
            self._pause = min(AGAIN_MAX, 2 * self._pause)
        return actions + self._apply(now)

    # ---- who asks

    def ask(self, ask: str, verb: Verb, version: Version | None, uuid: str, now: Instant) -> Actions:
        """Someone wants something; one `Answer` with that `ask` follows. `uuid`: of the admin command."""
        return self.rollouts.digest(self.requests.ask(ask, verb, version, uuid, now), now)

    def forget_ask(self, ask: str) -> None:
        """Who asked has gone: it is not answered; what it asked for goes on."""
        self.requests.forget(ask)

    def view(self) -> dict[str, Any]:
        """What there is to know, as JSON."""
        return view(self.memory, self.rollouts, self._wanted, self.problem)

    # ---- updates by themselves

    def _update_found(self, found: Versions | None, error: str, now: Instant) -> Actions:
        """By interval or plan: the newest of each running major to a newer minor that was not rolled back."""
        if found is None:
            return [Note("warning", "no update: the repository cannot be read", {"error": error})]
        if self.rollouts.going is not None:
            return []
        newest = {v.major: v for v in found if v not in self.memory.rejected}
        running = self.memory.running
        last = {v.major: v for v in running}  # what runs beside the newest of its major is somebody's wish
        new = ordered(max(v, newest.get(v.major, v)) if last[v.major] == v else v for v in running)
        if new == self.memory.running:
            return []
        return self.rollouts.roll(Plan(self.memory.running, new, "update"))
