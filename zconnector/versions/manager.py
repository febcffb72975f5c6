"""The admin worker's core: what runs, as the logical configuration, admin commands and updates want it. Pure.

Inputs take the time and return what to do, in order. What must outlive a restart is committed (`Keep`) before
what follows from it is asked for; a commit that fails is tried again, and all waits for it.

`applying.py` acts on the configuration, `commits.py` keeps, `rollouts.py` changes what runs, `requests.py`
answers who asks, `view.py` shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zconnector.actions import Note
from zconnector.clock import Instant, earliest
from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.actions import Actions, Clean, Consult, Start, Steer
from zconnector.versions.applying import Applying, values_of
from zconnector.versions.asks import Verb
from zconnector.versions.commits import Commits
from zconnector.versions.editions import Edition, Editions, Values, edition_of, ordered, versions_of
from zconnector.versions.expiry import Expiry, Signed
from zconnector.versions.requests import Looks, Requests
from zconnector.versions.rollout import Gate
from zconnector.versions.rollouts import Attempts, Over, Rollouts
from zconnector.versions.schedule import Schedule
from zconnector.versions.states import CRASH_LOOP, UPDATE, Memory, Plan, Versions
from zconnector.versions.stock import Stock
from zconnector.versions.view import view
from zconnector.versions.wanted import Wanted

ON_TRIAL = 600.0
"""Seconds after an update in which a crash loop of the new version brings the old one back."""


class Manager:
    """Invariant: what runs differs from what is remembered only by the rollout that goes on."""

    def __init__(self) -> None:
        self.problem = ""
        """What is wrong with the configuration, for people."""
        self.commits = Commits()
        attempts = Attempts()
        self.rollouts = Rollouts(
            self.commits, self._gate, attempts, lambda: values_of(self._wanted), self._over
        )
        self._applying = Applying(self.commits, self.rollouts, lambda: self._wanted)
        self._looks = Looks(attempts)
        self.requests = Requests(self.commits, self.rollouts, self._looks, attempts, lambda: self._wanted)
        self._wanted: Wanted | None = None
        self._restored = False
        self._schedule = Schedule()
        self.expiry = Expiry(self.commits, self._looks, lambda: self._wanted)

    @property
    def memory(self) -> Memory:
        return self.commits.memory

    @property
    def wanted(self) -> Wanted | None:
        return self._wanted

    # ---- what the router is to be told

    @property
    def held(self) -> Editions:
        """Those that get no traffic yet."""
        return self.rollouts.held

    @property
    def drained(self) -> Editions:
        """Those that get nothing new."""
        return self.rollouts.drained

    @property
    def canary_of(self) -> Editions:
        """Those that a canary command is meant for now."""
        return self.rollouts.canary_of

    # ---- what is wanted

    def restore(self, document: Mapping[str, Any] | None, now: Instant) -> Actions:
        """Take up what was committed, once, after the first `configured`. Raises DamagedError."""
        if document is not None:
            self.commits.restore(Memory.from_dict(document))
        self._restored = True
        self._applying.begin_values()
        actions: Actions = [Steer(), *(Start(edition) for edition in self.memory.running)]
        actions += self.expiry.configured(now)
        if document is not None and self._wanted is not None and self._wanted.product:
            # The router may have been killed before the last one was done, also when another rollout has
            # begun: that one does it only if it succeeds.
            actions.append(Clean())
        plan, step = self.memory.plan, self.memory.step
        if plan is not None and step is not None:
            return actions + self.rollouts.take_up(plan, step, now)
        actions += self._applying.apply()
        self._applying.arrange(now)
        return actions

    def configured(self, wanted: Wanted | str, now: Instant) -> Actions:
        """The logical configuration in force; a text says why it is wrong: nothing changes then."""
        if isinstance(wanted, str):
            if wanted == self.problem:
                return []
            self.problem = wanted
            return [Note("error", "logical configuration refused", {"error": wanted})]
        before, self._wanted, self.problem = self._wanted, wanted, ""
        self._schedule.set(wanted.update, now)
        if not self._restored:
            return []
        self._applying.begin_values()
        actions: Actions = [Steer(), *self.expiry.configured(now)]
        if before is None:  # the first one that can be understood
            actions += [Start(edition) for edition in self.memory.running]
        new_word = before != wanted
        again = self._applying.failed_before() if new_word else None
        actions += self._applying.apply(again, new_word=new_word)
        if before is not None and wanted.product not in ("", before.product) and self.rollouts.going is None:
            actions.append(Clean())  # what runs is of that product already; the other one was tried in vain
        self._applying.arrange(now)
        return actions

    def wanted_for(self, edition: Edition) -> Wanted | None:
        """The configuration that an edition is started by: its own values, all else as it is now."""
        return self._applying.wanted_for(edition)

    def content(self, edition: Edition) -> str:
        """The archive that an edition is started from, by its SHA-256; "": whatever is on the disk."""
        return self.rollouts.content(edition)

    def stock(self) -> Stock:
        """What has to stay on the disk as things stand, and as they stand after a kill now."""
        product = self._wanted.product if self._wanted is not None else ""
        return Stock.of(self.memory, self.commits.durable, configured=product)

    def pin(self, edition: Edition, sha256: str) -> Actions:
        """What an edition is started from whose content was not settled: since before contents were kept."""
        memory = self.memory
        if not sha256 or edition not in memory.running or self.content(edition) or self.rollouts.going:
            return []
        contents = {**memory.contents, edition: sha256}
        return self.commits.commit(replace(memory, contents=contents), lambda later: [])

    def _values(self) -> Values:
        return values_of(self._wanted)

    def _gate(self) -> Gate:
        wanted = self._wanted
        if wanted is None:
            return Gate()
        start = wanted.gate.start or 2 * wanted.worker.start + 60
        return Gate(wanted.gate.seconds, wanted.gate.canary is not None, start)

    # ---- from those who perform

    def kept(self, number: int, ok: bool, now: Instant) -> Actions:
        """A commit has succeeded, or failed."""
        return self.commits.kept(number, ok, now)

    def installed(
        self,
        edition: Edition,
        attempt: int,
        result: Mapping[str, Any],
        error: str,
        passing: bool,
        now: Instant,
        away: bool = False,
    ) -> Actions:
        """An edition can be started (`result`: what there is to tell), or `error` says why not.

        `passing`: another try may succeed as it is; `away`: repository or cluster could not be asked.
        """
        if not error:
            self.rollouts.settle(edition, str(result.get("sha256", "")))
        actions: Actions = []
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.installed(edition, attempt, error, passing), now)
        return [*self.requests.installed(edition, attempt, result, error, away), *actions, Consult()]

    def moved(self, edition: Edition, state: State, reason: str, now: Instant) -> Actions:
        """An edition's process is in another state."""
        self.rollouts.states[edition] = state
        if reason:
            self.rollouts.reasons[edition] = reason
        elif state is State.RUNNING:
            self.rollouts.reasons.pop(edition, None)
        actions = self.requests.moved(edition, state, reason)
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.moved(edition, state, now), now)
        elif state is State.FAILED:
            actions += self._gave_up(edition, now)
        return actions

    def _gave_up(self, edition: Edition, now: Instant) -> Actions:
        """One that took another's place a while ago has crashed too often: that one takes it back.

        What has come or gone beside it since stays as it is.
        """
        memory, trial = self.memory, self.memory.trial
        if trial is None or now.wall - trial.at > ON_TRIAL * 1000:
            return []
        added, removed = trial.plan.added, trial.plan.removed
        if edition not in added or edition not in memory.running:
            return []
        reason = f"version {edition} {self.rollouts.reasons.get(edition, State.FAILED)}"
        stay = [one for one in memory.running if one not in added]
        back = [one for one in removed if edition_of(one.version, tuple(stay)) is None]
        more: dict[str, Any] = {"trial": None}
        if edition.version in versions_of(removed):
            more["unfit"] = reason
        else:
            more["rejected"] = {**memory.rejected, edition.version: reason}
        return self.rollouts.roll(Plan(memory.running, ordered((*stay, *back)), CRASH_LOOP), **more)

    def refused(self, edition: Edition, detail: str, now: Instant) -> Actions:
        """The router refused its command list."""
        self.rollouts.reasons[edition] = detail
        rollout = self.rollouts.going
        return self.rollouts.digest(rollout.refused(edition, detail), now) if rollout else []

    def beat(self, edition: Edition, now: Instant) -> Actions:
        """An edition was heard."""
        rollout = self.rollouts.going
        return self.rollouts.digest(rollout.beat(edition, now), now) if rollout else []

    def canaried(self, edition: Edition, attempt: int, error: str, passing: bool, now: Instant) -> Actions:
        """How it answered its canary; "" for SUCCES. `passing`: it was not its doing."""
        rollout = self.rollouts.going
        if rollout is None:
            return []
        return self.rollouts.digest(rollout.canaried(edition, attempt, error, passing), now)

    def found(self, number: int, versions: Versions | None, error: str, now: Instant) -> Actions:
        """What the repository has; None: `error` says why that is not known."""
        actions = self._looks.found(number, versions, error, now)
        return [*self.rollouts.digest(actions, now), Consult()]

    def consulted(self, signed: Signed | None, now: Instant) -> Actions:
        """The manifest of the repository that was accepted last; None: none was, or it cannot be read."""
        return self.expiry.consulted(signed, now)

    def tick(self, now: Instant) -> Actions:
        actions = self.commits.tick(now)
        if (rollout := self.rollouts.going) is not None:
            actions += self.rollouts.digest(rollout.tick(now), now)
        actions += self._applying.tick(now)
        actions += self.expiry.tick(now)
        if self._schedule.due(now):
            actions += self._looks.look(self._update_found)
        return actions

    def deadline(self) -> float | None:
        """Monotonic time of the next thing due."""
        rollout = self.rollouts.going
        return earliest(
            self.commits.deadline(),
            rollout.deadline() if rollout else None,
            self._applying.deadline(),
            self._schedule.deadline(),
            self.expiry.deadline(),
        )

    def _over(self, over: Over, now: Instant) -> Actions:
        """A rollout has ended."""
        memory, actions = self.memory, self.requests.over(over)
        if not over.back:
            actions.append(Clean())
        for edition in memory.running:  # while it went on, nobody could give its place back
            if self.rollouts.going is None and self.rollouts.states.get(edition) is State.FAILED:
                actions += self._gave_up(edition, now)
        actions += self._applying.apply()
        self._applying.arrange(now)
        return actions

    # ---- who asks

    def ask(self, ask: str, verb: Verb, version: Version | None, uuid: str, now: Instant) -> Actions:
        """Someone wants something; one `Answer` with that `ask` follows. `uuid`: of the admin command."""
        return self.rollouts.digest(self.requests.ask(ask, verb, version, uuid, now), now)

    def forget_ask(self, ask: str) -> None:
        """Who asked has gone: it is not answered; what it asked for goes on."""
        self.requests.forget(ask)

    def view(self) -> dict[str, Any]:
        """What there is to know, as JSON."""
        return view(self.memory, self.rollouts, self._wanted, self.problem, self._applying.again_wall)

    # ---- updates by themselves

    def _update_found(self, found: Versions | None, error: str, now: Instant) -> Actions:
        """By interval or plan: the newest of each running major to a newer minor that was not rolled back."""
        if found is None:
            return [Note("warning", "no update: the repository cannot be read", {"error": error})]
        memory = self.memory
        if self.rollouts.going is not None or memory.waits is not None:  # what somebody said comes first
            return []
        newest = {v.major: v for v in found if v not in memory.rejected}
        running = memory.running
        last = {v.major: v for v in running}  # what runs beside the newest of its major is somebody's wish
        new = []
        for one in running:
            best = newest.get(one.major, one.version)
            newer = best > one.version and last[one.major] == one
            new.append(Edition(*best, memory.number) if newer else one)
        if ordered(new) == running:
            return []
        return self.rollouts.roll(Plan(running, ordered(new), UPDATE))
