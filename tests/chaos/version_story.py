"""What happened to worker versions in a run: for the report. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SUCCES, FAIL, SILENT = "SUCCES", "FAIL", "SILENT"
"""What an operator hears; SILENT: nothing."""


@dataclass(frozen=True, slots=True)
class VersionStory:
    """What happened, for the report."""

    acts: Mapping[str, Counter[str]] = field(default_factory=dict)
    """By kind: how many were asked each way, and had each outcome."""
    runs: Mapping[str, int] = field(default_factory=dict)
    """Commands by the quality of the version that ran them; canaries by themselves."""
    versions: int = 0
    """That were published."""
    processes: int = 0
    killed_at: Mapping[str, int] = field(default_factory=dict)
    """Kills of the router by the step of the rollout that was going on."""
    killed_with: int = 0
    """Processes of versions that the router had when it was killed."""
    recoveries: tuple[float, ...] = ()
    """Seconds from each kill of the router to the next completion by a version."""
    rescues: int = 0
    """How often nothing was left that should run, so that something good was started."""


def percentiles(values: Sequence[float]) -> tuple[float | None, float | None]:
    """p50 and p99."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (None, None)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return round(cuts[49], 3), round(cuts[98], 3)


def as_json(story: VersionStory) -> dict[str, Any]:
    """For the last line of a run."""
    p50, p99 = percentiles(story.recoveries)
    return {
        "acts": {kind: dict(sorted(counts.items())) for kind, counts in story.acts.items()},
        "runs": story.runs,
        "versions": story.versions,
        "processes": story.processes,
        "routers_killed": story.killed_at,
        "processes_of_killed_routers": story.killed_with,
        "recovery_p50": p50,
        "recovery_p99": p99,
        "rescues": story.rescues,
    }


def as_text(story: VersionStory) -> list[str]:
    """For people."""

    def counted(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"

    p50, p99 = percentiles(story.recoveries)
    lines = ["", f"{'act of the operator':<22}{'asked':<34}heard"]
    for kind, counts in story.acts.items():
        ways = {name: count for name, count in counts.items() if name not in (SUCCES, FAIL, SILENT)}
        heard = {name: count for name, count in counts.items() if name in (SUCCES, FAIL, SILENT)}
        lines.append(f"{kind:<22}{counted(ways):<34}{counted(heard)}")
    return [
        *lines,
        f"{story.versions} versions, {story.processes} processes of them; commands run by quality:"
        f" {counted(story.runs)}",
        f"routers killed: {counted(story.killed_at)}, with {story.killed_with} processes below them;"
        f" next completion by a version (s): p50 {p50}, p99 {p99}; rescued {story.rescues} times",
    ]
