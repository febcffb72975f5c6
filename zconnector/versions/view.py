"""What there is to know of worker versions, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.editions import Edition, Editions, ordered
from zconnector.versions.rollouts import Rollouts
from zconnector.versions.states import Memory, Plan, Waits
from zconnector.versions.wanted import Wanted


def view(
    memory: Memory, rollouts: Rollouts, wanted: Wanted | None, problem: str, again: int | None
) -> dict[str, Any]:
    """As JSON. `problem`: what is wrong with the configuration; `again`: when what waits is tried (ms)."""
    last, rollout = memory.last, rollouts.going
    known = ordered((*rollouts.states, *memory.running, *(rollout.plan.new if rollout else ())))
    return {
        "versions": [_row(edition, memory, rollouts) for edition in known],
        "configured": None if wanted is None else _texts(wanted.versions),
        "problem": problem,
        "unfit": memory.unfit if stale(memory) else "",
        "waits": memory.waits and _waits(memory.waits, again),
        "rollout": rollout and {**_plan(rollout.plan), "step": rollout.step, "reason": memory.reason},
        "last": last and {**_plan(last.plan), "outcome": last.outcome, "reason": last.reason, "at": last.at},
        "previous": None if memory.previous is None else _texts(memory.previous),
        "rejected": {str(version): why for version, why in memory.rejected.items()},
    }


def stale(memory: Memory) -> Editions:
    """What runs with other values than those that the configuration has now."""
    current = memory.values.get(memory.number)
    return tuple(edition for edition in memory.running if memory.values.get(edition.number) != current)


def _row(edition: Edition, memory: Memory, rollouts: Rollouts) -> dict[str, Any]:
    traffic = "all" if edition in memory.running else "none"
    if edition in rollouts.held:
        traffic = "held back"
    elif edition in rollouts.drained:
        traffic = "drained"
    return {
        "version": str(edition.version),
        "edition": edition.number,
        "wanted": edition in memory.running,
        "state": rollouts.states.get(edition, State.STOPPED),
        "traffic": traffic,
        "reason": rollouts.reasons.get(edition, ""),
        "sha256": memory.contents.get(edition, ""),
    }


def _waits(waits: Waits, again: int | None) -> dict[str, Any]:
    return {"new": _texts(waits.versions), "for": waits.reason, "tries": waits.tries, "at": again}


def _plan(plan: Plan) -> dict[str, Any]:
    return {"old": _texts(plan.old), "new": _texts(plan.new), "why": plan.why}


def _texts(versions: Iterable[Version | Edition]) -> list[str]:
    return [str(version) for version in versions]
