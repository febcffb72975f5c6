"""What is asked of the admin worker, by command or by an operator: begun, refused, answered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason
from zconnector.supervision.states import AT_REST, State
from zconnector.versions.actions import Actions, Answer, Install, Look, Start
from zconnector.versions.asks import AskBook, Verb
from zconnector.versions.commits import Commits
from zconnector.versions.editions import Edition, edition_of, ordered, versions_of
from zconnector.versions.rollouts import Attempts, Over, Rollouts
from zconnector.versions.states import Ended, Outcome, Plan, Step, Versions, numbers
from zconnector.versions.wanted import Wanted

Found = Callable[[Versions | None, str, Instant], Actions]
"""Told what the repository has, or None and why that is not known."""


class Looks:
    """Looks at the repository that are under way."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts
        self._thens: dict[int, Found] = {}

    def look(self, then: Found) -> Actions:
        number = self._attempts.next()
        self._thens[number] = then
        return [Look(number)]

    def found(self, number: int, versions: Versions | None, error: str, now: Instant) -> Actions:
        then = self._thens.pop(number, None)
        return [] if then is None else then(versions, error, now)


class Requests:
    """Invariant: each ask gets one `Answer`, unless who asked has gone."""

    def __init__(
        self,
        commits: Commits,
        rollouts: Rollouts,
        looks: Looks,
        attempts: Attempts,
        wanted: Callable[[], Wanted | None],
    ) -> None:
        """`wanted`: the logical configuration in force."""
        self._commits = commits
        self._rollouts = rollouts
        self._looks = looks
        self._attempts = attempts
        self._wanted = wanted
        self._asks = AskBook()
        self._updates: dict[int, tuple[str, Edition, str]] = {}
        """Of updates to a version that runs, by the attempt that looks for another content: who asked, what
        runs, and the command's uuid."""
        self._about: dict[str, Version] = {}
        """Of asks that wait for a rollout: the version that they are about, which may be one of several."""
        self._unchecked: dict[str, str] = {}
        """Of asks that wait for an edition to run: what could not be looked at."""

    def ask(self, ask: str, verb: Verb, version: Version | None, uuid: str, now: Instant) -> Actions:
        """Someone wants something. `uuid`: of the admin command."""
        if uuid and (known := self._answered_before(ask, uuid)) is not None:
            return known
        if verb is Verb.LATEST:
            return self._looks.look(lambda found, error, later: self._told_latest(ask, found, error))
        if verb is Verb.ROLLBACK:
            return self._roll_back(ask)
        if verb is Verb.UPDATE and version is None:
            return self._looks.look(lambda found, error, later: self._update_to(ask, found, error, uuid))
        if version is None:
            return [Answer(ask, {}, f"{verb} needs a version", Reason.BAD_ARGUMENT)]
        if verb is Verb.GET:
            attempt = self._attempts.next()
            self._asks.add(("get", attempt), ask)
            return [Install(Edition(*version, self._commits.memory.number), attempt)]
        running = self._commits.memory.running
        if verb is Verb.START:
            return self._start(ask, version, uuid)
        if verb is Verb.STOP:
            if edition_of(version, running) is None and not self._concerns(version):
                return [Answer(ask, numbers(version), f"version {version} does not run")]
            new = ordered(edition for edition in running if edition.version != version)
            return self._want(ask, version, Plan(running, new, verb, uuid))
        return self._update(ask, version, uuid)

    def forget(self, ask: str) -> None:
        """Who asked has gone: it is not answered; what it asked for goes on."""
        self._asks.forget(ask)
        self._about.pop(ask, None)
        self._unchecked.pop(ask, None)

    # ---- what some wait for

    def installed(
        self, edition: Edition, attempt: int, result: Mapping[str, Any], error: str, away: bool
    ) -> Actions:
        """An edition can be started, or `error` says why not; `away`: nobody was there to ask."""
        asks = self._asks.take(("get", attempt))
        actions: Actions = [Answer(ask, {**numbers(edition), **result}, error) for ask in asks]
        if (update := self._updates.pop(attempt, None)) is not None:
            actions += self._seen(*update, str(result.get("sha256", "")), error, away)
        return actions

    def moved(self, version: Edition, state: State, reason: str) -> Actions:
        """An edition's process is in another state."""
        if state is not State.RUNNING and state not in AT_REST:
            return []
        why = "" if state is State.RUNNING else f"version {version} {reason or f'is {state}'}"
        return [Answer(ask, self._told(ask, version), why) for ask in self._asks.take(_runs(version))]

    def over(self, over: Over) -> Actions:
        """A rollout has ended."""
        actions: Actions = []
        plan = over.plan
        for ask in self._asks.take(("rollout", 0)):
            about = self._about.pop(ask, None)
            actions.append(Answer(ask, numbers(about) if about else _result(plan), _fault(over.ended)))
        rolled = "" if over.back else f"too late: {plan.why} from {plan} is done"
        actions += [Answer(ask, _result(plan), rolled) for ask in self._asks.take(("rolled back", 0))]
        return actions

    # ---- each verb

    def _answered_before(self, ask: str, uuid: str) -> Actions | None:
        """The command came again after a restart."""
        going, last = self._rollouts.going, self._commits.memory.last
        if going is not None and going.plan.uuid == uuid:
            self._asks.add(("rollout", 0), ask)
            return []
        if last is not None and last.plan.uuid == uuid:
            return [Answer(ask, _result(last.plan), _fault(last))]
        return None

    def _start(self, ask: str, version: Version, uuid: str) -> Actions:
        running = self._commits.memory.running
        edition = edition_of(version, running)
        if edition is not None and self._rollouts.going is None:
            return self._run(ask, edition)
        if edition is None:
            running_too = ordered((*running, Edition(*version, self._commits.memory.number)))
        else:
            running_too = running
        return self._want(ask, version, Plan(running, running_too, Verb.START, uuid))

    def _run(self, ask: str, edition: Edition, unchecked: str = "") -> Actions:
        """Of one that should run: it is answered when it does."""
        if unchecked:
            self._unchecked[ask] = unchecked
        if self._rollouts.states.get(edition) is State.RUNNING:
            return [Answer(ask, self._told(ask, edition))]
        self._asks.add(_runs(edition), ask)
        return [Start(edition)]  # it begins anew where it had given up

    def _told(self, ask: str, edition: Edition) -> dict[str, Any]:
        """What who asked for an edition to run is told."""
        unchecked = self._unchecked.pop(ask, "")
        return {**numbers(edition), "unchecked": unchecked} if unchecked else numbers(edition)

    def _update(self, ask: str, version: Version, uuid: str) -> Actions:
        running = self._commits.memory.running
        edition = edition_of(version, running)
        if edition is not None and self._rollouts.going is None:
            if not self._named_source():
                return self._run(ask, edition)
            attempt = self._attempts.next()
            self._updates[attempt] = (ask, edition, uuid)
            return [Install(edition, attempt)]
        alike = [v for v in running if v.major == version.major] or list(running)
        added = edition or Edition(*version, self._commits.memory.number)
        new = ordered((*(v for v in running if v not in alike[-1:]), added))
        return self._want(ask, version, Plan(running, new, Verb.UPDATE, uuid))

    def _seen(self, ask: str, edition: Edition, uuid: str, sha256: str, error: str, away: bool) -> Actions:
        """What the repository has of a version that runs: another content is an update.

        With nobody to ask what runs is what was wanted, as far as anybody can know.
        """
        memory = self._commits.memory
        if error and not away:
            return [Answer(ask, numbers(edition), error)]
        if edition not in memory.running or self._rollouts.going is not None:
            return self._update(ask, edition.version, uuid)  # something else has happened meanwhile
        if error:
            unchecked = f"whether the repository has another content of {edition.version} now ({error})"
            return self._run(ask, edition, unchecked)
        if sha256 == self._rollouts.content(edition):
            return self._run(ask, edition)
        fresh = edition._replace(number=memory.given + 1)
        new = ordered((*(one for one in memory.running if one != edition), fresh))
        values = {**memory.values, fresh.number: memory.values[edition.number]}
        contents = {**memory.contents, fresh: sha256}
        number = fresh.number if memory.number == edition.number else memory.number
        plan = Plan(memory.running, new, Verb.UPDATE, uuid)
        self._asks.add(("rollout", 0), ask)
        self._about[ask] = edition.version
        return self._rollouts.roll(plan, values=values, contents=contents, number=number)

    def _want(self, ask: str, version: Version, plan: Plan) -> Actions:
        """Begin this rollout for who asked, or say why not."""
        rollout = self._rollouts.going
        if rollout is not None:
            going = rollout.plan
            if _alike(going, plan) and rollout.step is not Step.ROLLING_BACK:
                self._asks.add(("rollout", 0), ask)
                self._about[ask] = version
                return []
            reason = f"{going.why} from {going} goes on ({rollout.step})"
            return [Answer(ask, numbers(version), reason, Reason.BUSY)]
        if plan.added and not self._named_source():
            reason = "no repository is configured (zconnector config set CONNECTOR repository=...)"
            return [Answer(ask, numbers(version), reason)]
        self._asks.add(("rollout", 0), ask)
        self._about[ask] = version
        return self._rollouts.roll(plan)

    def _concerns(self, version: Version) -> bool:
        """Whether the rollout that goes on starts or stops a version."""
        going = self._rollouts.going
        return going is not None and version in versions_of((*going.plan.old, *going.plan.new))

    def _named_source(self) -> bool:
        wanted = self._wanted()
        return wanted is not None and bool(wanted.repository)

    def _roll_back(self, ask: str) -> Actions:
        if self._rollouts.going is not None:
            self._asks.add(("rolled back", 0), ask)
            return self._rollouts.going.abandon("an operator rolled it back")
        memory = self._commits.memory
        if memory.previous is None or memory.previous == memory.running:
            return [Answer(ask, {}, "there is nothing to go back to")]
        self._asks.add(("rollout", 0), ask)
        plan = Plan(memory.running, memory.previous, Verb.ROLLBACK)
        return self._rollouts.roll(plan, unfit="an operator went back to what ran before")

    def _told_latest(self, ask: str, found: Versions | None, error: str) -> Actions:
        if not found:
            return [Answer(ask, {}, error or "the repository has no version of this worker")]
        return [Answer(ask, {**numbers(found[-1]), "versions": [str(version) for version in found]})]

    def _update_to(self, ask: str, found: Versions | None, error: str, uuid: str) -> Actions:
        """An update without a version: to the newest of the newest running major, of all if nothing runs."""
        running = self._commits.memory.running
        alike = [v for v in found or () if not running or v.major == running[-1].major]
        if not alike:
            return [Answer(ask, {}, error or "the repository has no version to update to")]
        return self._update(ask, alike[-1], uuid)


def _alike(going: Plan, plan: Plan) -> bool:
    """Whether a rollout ends with the versions that another one wants, and changes which run."""
    wanted = versions_of(plan.new)
    return wanted == versions_of(going.new) and wanted != versions_of(going.old)


def _runs(edition: Edition) -> tuple[str, int]:
    """What somebody waits for who wants an edition to run."""
    return (f"runs {edition}", 0)


def _result(plan: Plan) -> dict[str, Any]:
    """The version that a rollout was about."""
    about = plan.added or plan.removed
    return numbers(about[-1]) if about else {}


def _fault(ended: Ended) -> str:
    if ended.outcome is Outcome.DONE:
        return ""
    return f"rolled back: {ended.reason}"
