"""What is asked of the admin worker, by command or by an operator: begun, refused, answered. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason
from zconnector.supervision.states import AT_REST, State
from zconnector.versions.asks import AskBook, Verb
from zconnector.versions.commits import Commits
from zconnector.versions.rollouts import Attempts, Over, Rollouts
from zconnector.versions.states import (
    Actions,
    Answer,
    Ended,
    Install,
    Look,
    Outcome,
    Plan,
    Start,
    Step,
    Versions,
    numbers,
    ordered,
)
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
        self._about: dict[str, Version] = {}
        """Of asks that wait for a rollout: the version that they are about, which may be one of several."""

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
            return [Install(version, attempt)]
        running = self._commits.memory.running
        if verb is Verb.START:
            return self._start(ask, version, uuid)
        if verb is Verb.STOP:
            if version not in running and not self._concerns(version):
                return [Answer(ask, numbers(version), f"version {version} does not run")]
            new = ordered(v for v in running if v != version)
            return self._want(ask, version, Plan(running, new, verb, uuid))
        return self._update(ask, version, uuid)

    def forget(self, ask: str) -> None:
        """Who asked has gone: it is not answered; what it asked for goes on."""
        self._asks.forget(ask)
        self._about.pop(ask, None)

    # ---- what some wait for

    def installed(self, version: Version, attempt: int, result: Mapping[str, Any], error: str) -> Actions:
        """A version can be started, or `error` says why not."""
        asks = self._asks.take(("get", attempt))
        return [Answer(ask, {**numbers(version), **result}, error) for ask in asks]

    def moved(self, version: Version, state: State, reason: str) -> Actions:
        """A version's process is in another state."""
        if state is not State.RUNNING and state not in AT_REST:
            return []
        why = "" if state is State.RUNNING else f"version {version} {reason or f'is {state}'}"
        return [Answer(ask, numbers(version), why) for ask in self._asks.take(_runs(version))]

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
        if version in running and self._rollouts.going is None:
            if self._rollouts.states.get(version) is State.RUNNING:
                return [Answer(ask, numbers(version))]
            self._asks.add(_runs(version), ask)
            return [Start(version)]  # it begins anew where it had given up
        return self._want(ask, version, Plan(running, ordered((*running, version)), Verb.START, uuid))

    def _update(self, ask: str, version: Version, uuid: str) -> Actions:
        running = self._commits.memory.running
        if version in running and self._rollouts.going is None:
            return self._start(ask, version, uuid)  # nothing is replaced; it is answered when it runs
        alike = [v for v in running if v.major == version.major] or list(running)
        new = ordered((*(v for v in running if v not in alike[-1:]), version))
        return self._want(ask, version, Plan(running, new, Verb.UPDATE, uuid))

    def _want(self, ask: str, version: Version, plan: Plan) -> Actions:
        """Begin this rollout for who asked, or say why not."""
        rollout = self._rollouts.going
        if rollout is not None:
            going = rollout.plan
            if going.new == plan.new and rollout.step is not Step.ROLLING_BACK:
                self._asks.add(("rollout", 0), ask)
                self._about[ask] = version
                return []
            reason = f"{going.why} from {going} goes on ({rollout.step})"
            return [Answer(ask, numbers(version), reason, Reason.BUSY)]
        if not self._named_source(plan):
            reason = "no repository is configured (zconnector config set CONNECTOR repository=...)"
            return [Answer(ask, numbers(version), reason)]
        self._asks.add(("rollout", 0), ask)
        self._about[ask] = version
        return self._rollouts.roll(plan)

    def _concerns(self, version: Version) -> bool:
        """Whether the rollout that goes on starts or stops a version."""
        going = self._rollouts.going
        return going is not None and version in (*going.plan.old, *going.plan.new)

    def _named_source(self, plan: Plan) -> bool:
        wanted = self._wanted()
        return not plan.added or (wanted is not None and bool(wanted.repository))

    def _roll_back(self, ask: str) -> Actions:
        if self._rollouts.going is not None:
            self._asks.add(("rolled back", 0), ask)
            return self._rollouts.going.abandon("an operator rolled it back")
        memory = self._commits.memory
        if memory.previous is None or memory.previous == memory.running:
            return [Answer(ask, {}, "there is nothing to go back to")]
        self._asks.add(("rollout", 0), ask)
        return self._rollouts.roll(Plan(memory.running, memory.previous, Verb.ROLLBACK))

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
