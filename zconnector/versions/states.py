"""The vocabulary of worker versions: rollouts, what is remembered of them, what the core asks for.

The table of steps is in docs/versions.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zconnector.actions import Note
from zconnector.configuration.pivot import Version
from zconnector.errors import DamagedError, Reason

Versions = tuple[Version, ...]
"""In ascending order, each once."""


CRASH_LOOP = "crash loop"
"""Why a rollout goes back by itself: a version passed its gate, and gave up soon after."""
ROLLBACK = "rollback"


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
    """From which set of versions to which."""

    old: Versions
    new: Versions
    why: str
    """Who wanted it: "configuration", "update" (by itself), CRASH_LOOP, or the verb of a command."""
    uuid: str = ""
    """The admin command that wanted it, if one did."""

    @property
    def added(self) -> Versions:
        return tuple(version for version in self.new if version not in self.old)

    @property
    def removed(self) -> Versions:
        return tuple(version for version in self.old if version not in self.new)

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
class Memory:
    """What outlives a restart. Invariant: after its shift a rollout's `new` is `running`, else its `old`."""

    applied: Versions | None = None
    """The configuration's `versions` that was acted on last; None: none ever."""
    running: Versions = ()
    """What should run now."""
    plan: Plan | None = None
    step: Step | None = None
    reason: str = ""
    """Of ROLLING_BACK."""
    previous: Versions | None = None
    """What ran before the last rollout that succeeded."""
    last: Ended | None = None
    rejected: Mapping[Version, str] = field(default_factory=dict)
    """Versions that were rolled back, and why: no update by itself tries them again."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "applied": None if self.applied is None else _texts(self.applied),
            "running": _texts(self.running),
            "plan": None if self.plan is None else _of_plan(self.plan),
            "step": self.step,
            "reason": self.reason,
            "previous": None if self.previous is None else _texts(self.previous),
            "last": None if self.last is None else _of_ended(self.last),
            "rejected": {str(version): why for version, why in self.rejected.items()},
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Memory:
        """Raises DamagedError."""
        try:
            plan, step, last = document["plan"], document["step"], document["last"]
            applied, previous = document["applied"], document["previous"]
            return cls(
                applied=None if applied is None else _versions(applied),
                running=_versions(document["running"]),
                plan=None if plan is None else _plan(plan),
                step=None if step is None else Step(step),
                reason=str(document["reason"]),
                previous=None if previous is None else _versions(previous),
                last=None if last is None else _ended(last),
                rejected={_version(text): str(why) for text, why in document["rejected"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DamagedError(f"what is remembered of worker versions is damaged: {error!r}") from None


# ---- what the core asks for


@dataclass(frozen=True, slots=True)
class Keep:
    """Commit the memory as it is now; `kept` follows."""

    number: int
    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Install:
    """Have a version ready to start: its files, its configuration, its keys. `installed` follows."""

    version: Version
    attempt: int
    known: bool = False
    """It ran here before: what is on the disk will do."""


@dataclass(frozen=True, slots=True)
class Look:
    """Which versions does the repository have? `found` follows."""

    number: int


@dataclass(frozen=True, slots=True)
class Start:
    """A version should run; `moved` tells how it goes."""

    version: Version


@dataclass(frozen=True, slots=True)
class Stop:
    """It should not; `moved` tells."""

    version: Version
    drain: bool = True


@dataclass(frozen=True, slots=True)
class Steer:
    """Held back, drained, or shares and pins have changed: tell the router before anything that follows."""


@dataclass(frozen=True, slots=True)
class Canary:
    """Send the canary command to a version that is held back; `canaried` follows."""

    version: Version
    attempt: int


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer who asked. `reason` "": it succeeded."""

    ask: str
    result: Mapping[str, Any]
    reason: str = ""
    code: Reason = Reason.FAILED
    """Of a reason: what kind it is."""


@dataclass(frozen=True, slots=True)
class Advance:
    """Of a rollout, to its manager: the next step; None: it is over."""

    step: Step | None
    reason: str = ""
    passing: bool = False
    """Of ROLLING_BACK: another try may succeed as it is."""


@dataclass(frozen=True, slots=True)
class Clean:
    """Installed versions that are older than all of `keep`, or `rejected`, may leave the disk."""

    keep: Versions
    rejected: Versions

    def unwanted(self, version: Version) -> bool:
        return version not in self.keep and (version in self.rejected or version < min(self.keep))


Action = Clean | Keep | Install | Look | Start | Stop | Steer | Canary | Answer | Advance | Note
Actions = list[Action]


def ordered(versions: Iterable[Version]) -> Versions:
    return tuple(sorted(set(versions)))


def listed(versions: Versions) -> str:
    """For people."""
    return ", ".join(map(str, versions)) or "none"


def numbers(version: Version) -> dict[str, int]:
    """As it stands in payloads of admin commands."""
    return {"Major": version.major, "Minor": version.minor}


def _texts(versions: Versions) -> list[str]:
    return [str(version) for version in versions]


def _version(text: str) -> Version:
    major, minor = text.split(".")
    return Version(int(major), int(minor))


def _versions(texts: Iterable[str]) -> Versions:
    return ordered(_version(text) for text in texts)


def _of_plan(plan: Plan) -> dict[str, Any]:
    return {"old": _texts(plan.old), "new": _texts(plan.new), "why": plan.why, "uuid": plan.uuid}


def _plan(document: Mapping[str, Any]) -> Plan:
    return Plan(
        _versions(document["old"]), _versions(document["new"]), str(document["why"]), str(document["uuid"])
    )


def _of_ended(ended: Ended) -> dict[str, Any]:
    return {"plan": _of_plan(ended.plan), "outcome": ended.outcome, "reason": ended.reason, "at": ended.at}


def _ended(document: Mapping[str, Any]) -> Ended:
    return Ended(
        _plan(document["plan"]), Outcome(document["outcome"]), str(document["reason"]), int(document["at"])
    )
