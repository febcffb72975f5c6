"""The vocabulary of worker versions: rollouts, and what is remembered of them.

The table of steps is in docs/versions.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, DamagedError
from zconnector.versions.editions import Edition, Editions, Values, ordered, read_edition, versions_of

Versions = tuple[Version, ...]
"""In ascending order, each once."""

CRASH_LOOP = "crash loop"
"""Why a rollout goes back by itself: a version passed its gate, and gave up soon after."""
ROLLBACK = "rollback"
UPDATE = "update"
CONFIGURATION = "configuration"


class Step(StrEnum):
    """Where a rollout is."""

    FETCHING = "FETCHING"
    STARTING = "STARTING"
    GATING = "GATING"
    SHIFTING = "SHIFTING"
    """Its commit is under way; it is never what is remembered."""
    DRAINING = "DRAINING"
    ROLLING_BACK = "ROLLING_BACK"


BEFORE_SHIFT = frozenset({Step.FETCHING, Step.STARTING, Step.GATING, Step.SHIFTING})


class Outcome(StrEnum):
    """How a rollout ended."""

    DONE = "DONE"
    ROLLED_BACK = "ROLLED_BACK"


@dataclass(frozen=True, slots=True)
class Plan:
    """From which set of editions to which."""

    old: Editions
    new: Editions
    why: str
    """Who wanted it: "configuration", "update" (by itself), CRASH_LOOP, or the verb of a command."""
    uuid: str = ""
    """The admin command that wanted it, if one did."""

    @property
    def added(self) -> Editions:
        return tuple(edition for edition in self.new if edition not in self.old)

    @property
    def removed(self) -> Editions:
        return tuple(edition for edition in self.old if edition not in self.new)

    @property
    def back(self) -> bool:
        """Whether it goes back to what ran here before."""
        return self.why in (ROLLBACK, CRASH_LOOP)

    @property
    def patient(self) -> bool:
        """Whether it takes nobody's place: a first crash is no reason to give up then."""
        return not self.removed

    def __str__(self) -> str:
        return f"{listed(self.old)} to {listed(self.new)}"


@dataclass(frozen=True, slots=True)
class Ended:
    """The last rollout."""

    plan: Plan
    outcome: Outcome
    reason: str
    at: int
    """Wall clock, ms."""


@dataclass(frozen=True, slots=True)
class Waits:
    """What of a configuration could not be had for a passing reason, and is tried again."""

    versions: Versions
    reason: str
    """Of the last try."""
    tries: int
    """In vain, so far."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlives a restart. Invariant: after its shift a rollout's `new` is `running`, else its `old`."""

    applied: Versions | None = None
    """The configuration's `versions` that was acted on last; None: none ever."""
    running: Editions = ()
    """What should run now."""
    plan: Plan | None = None
    step: Step | None = None
    reason: str = ""
    """Of ROLLING_BACK."""
    passing: bool = False
    """Of ROLLING_BACK: another try may succeed as it is."""
    waits: Waits | None = None
    previous: Editions | None = None
    """What ran before the last rollout that succeeded."""
    last: Ended | None = None
    trial: Ended | None = None
    """The last one that put something in the place of something else, wherever that may still go back."""
    rejected: Mapping[Version, str] = field(default_factory=dict)
    """Versions that were rolled back, and why: no update by itself tries them again."""
    values: Mapping[int, Values] = field(default_factory=dict)
    """By number; of all editions that are named here, and of `number`."""
    number: int = 0
    """Of the values that were acted on last, whether they did or not."""
    given: int = 0
    """The last number that was given."""
    unfit: str = ""
    """Why those values are not what runs."""
    contents: Mapping[Edition, str] = field(default_factory=dict)
    """SHA-256 of the archive that an edition was installed from: it is started from no other."""
    warned: int = 0
    """When it was last warned that the repository's manifest expires (wall clock, ms); 0: never."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "applied": None if self.applied is None else _texts(self.applied),
            "running": _texts(self.running),
            "plan": None if self.plan is None else _of_plan(self.plan),
            "step": self.step,
            "reason": self.reason,
            "passing": self.passing,
            "waits": None if self.waits is None else _of_waits(self.waits),
            "previous": None if self.previous is None else _texts(self.previous),
            "last": None if self.last is None else _of_ended(self.last),
            "trial": None if self.trial is None else _of_ended(self.trial),
            "rejected": {str(version): why for version, why in self.rejected.items()},
            "values": {str(number): values.to_dict() for number, values in self.values.items()},
            "number": self.number,
            "given": self.given,
            "unfit": self.unfit,
            "contents": {str(edition): sha256 for edition, sha256 in self.contents.items()},
            "warned": self.warned,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Memory:
        """One of before there were editions has none of what belongs to them. Raises DamagedError."""
        try:
            plan, step, last = document["plan"], document["step"], document["last"]
            applied, previous, trial = document["applied"], document["previous"], document.get("trial")
            values, waits = document.get("values", {}), document.get("waits")
            return cls(
                applied=None if applied is None else _versions(applied),
                running=_editions(document["running"]),
                plan=None if plan is None else _plan(plan),
                step=None if step is None else Step(step),
                reason=str(document["reason"]),
                passing=bool(document.get("passing", False)),
                waits=None if waits is None else _waits(waits),
                previous=None if previous is None else _editions(previous),
                last=None if last is None else _ended(last),
                trial=None if trial is None else _ended(trial),
                rejected={read_edition(text).version: str(why) for text, why in document["rejected"].items()},
                values={int(number): Values.from_dict(of) for number, of in values.items()},
                number=int(document.get("number", 0)),
                given=int(document.get("given", 0)),
                unfit=str(document.get("unfit", "")),
                contents={
                    read_edition(text): str(sha256) for text, sha256 in document.get("contents", {}).items()
                },
                warned=int(document.get("warned", 0)),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
            raise DamagedError(
                f"what is remembered of worker versions is damaged: {type(error).__name__}"
            ) from None


def listed(versions: Iterable[Version | Edition]) -> str:
    """For people."""
    return ", ".join(map(str, versions)) or "none"


def numbers(version: Version | Edition) -> dict[str, int]:
    """As it stands in payloads of admin commands."""
    return {"Major": version.major, "Minor": version.minor}


def _texts(versions: Iterable[Version | Edition]) -> list[str]:
    return [str(version) for version in versions]


def _versions(texts: Iterable[str]) -> Versions:
    return versions_of(_editions(texts))


def _editions(texts: Iterable[str]) -> Editions:
    return ordered(read_edition(text) for text in texts)


def _of_plan(plan: Plan) -> dict[str, Any]:
    return {"old": _texts(plan.old), "new": _texts(plan.new), "why": plan.why, "uuid": plan.uuid}


def _plan(document: Mapping[str, Any]) -> Plan:
    return Plan(
        _editions(document["old"]), _editions(document["new"]), str(document["why"]), str(document["uuid"])
    )


def _of_waits(waits: Waits) -> dict[str, Any]:
    return {"versions": _texts(waits.versions), "reason": waits.reason, "tries": waits.tries}


def _waits(document: Mapping[str, Any]) -> Waits:
    return Waits(_versions(document["versions"]), str(document["reason"]), int(document["tries"]))


def _of_ended(ended: Ended) -> dict[str, Any]:
    return {"plan": _of_plan(ended.plan), "outcome": ended.outcome, "reason": ended.reason, "at": ended.at}


def _ended(document: Mapping[str, Any]) -> Ended:
    return Ended(
        _plan(document["plan"]), Outcome(document["outcome"]), str(document["reason"]), int(document["at"])
    )
