"""What there is to know of worker versions, for people. Pure."""

from __future__ import annotations

from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.supervision.states import State
from zconnector.versions.rollouts import Rollouts
from zconnector.versions.states import Memory, Plan, Versions, ordered
from zconnector.versions.wanted import Wanted


def view(memory: Memory, rollouts: Rollouts, wanted: Wanted | None, problem: str) -> dict[str, Any]:
    """As JSON. `problem`: what is wrong with the configuration."""
    last, rollout = memory.last, rollouts.going
    known = ordered((*rollouts.states, *memory.running, *(rollout.plan.new if rollout else ())))
    return {
        "versions": [_row(version, memory, rollouts) for version in known],
        "configured": None if wanted is None else _texts(wanted.versions),
        "problem": problem,
        "rollout": rollout and {**_plan(rollout.plan), "step": rollout.step, "reason": memory.reason},
        "last": last and {**_plan(last.plan), "outcome": last.outcome, "reason": last.reason, "at": last.at},
        "previous": None if memory.previous is None else _texts(memory.previous),
        "rejected": {str(version): why for version, why in memory.rejected.items()},
    }


def _row(version: Version, memory: Memory, rollouts: Rollouts) -> dict[str, Any]:
    traffic = "all" if version in memory.running else "none"
    if version in rollouts.held:
        traffic = "held back"
    elif version in rollouts.drained:
        traffic = "drained"
    return {
        "version": str(version),
        "wanted": version in memory.running,
        "state": rollouts.states.get(version, State.STOPPED),
        "traffic": traffic,
        "reason": rollouts.reasons.get(version, ""),
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {"old": _texts(plan.old), "new": _texts(plan.new), "why": plan.why}


def _texts(versions: Versions) -> list[str]:
    return [str(version) for version in versions]
