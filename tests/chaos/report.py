"""How a run ended: invariants, goals, recovery times; as a table for people and as one JSON object. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.chaos.promises import WISHED_RULES
from tests.chaos.record import Judgement, tally
from tests.chaos.schedule import Fault
from tests.chaos.stalls import VOID
from tests.chaos.version_promises import VERSION_RULES
from tests.chaos.version_story import as_json, as_text
from tests.simulation.model import RULES
from zconnector.cli.ledger import Verdict

NOTICED, USED = 3.0, 5.0
"""Goals: seconds until a silent peer is noticed, and until a restarted one is used."""
RESUMED = 5.0
"""Seconds after which a component whose disk has room again must take commands."""
FAILOVER = "one instance dead: p99 receipt over T/n + 200 ms"
UNTYPED = frozenset({"LOST", "UNKNOWN"})
"""What a sender must not hear because a disk is full."""


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done."""

    fault: Fault
    begun: float
    """Seconds since the traffic began."""
    ended: float
    facts: dict[str, Any]
    recovery: float | None
    """Seconds from its beginning to the first receipt of a command sent after that."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One measurement against its goal."""

    name: str
    value: float | None
    """Without the machine's stalls. None: it did not happen at all."""
    limit: float
    stalled: float
    """Seconds of stalls meanwhile."""

    @property
    def void(self) -> bool:
        """The machine stood still for so long that nothing was measured."""
        return self.stalled > VOID

    @property
    def verdict(self) -> str:
        return "void" if self.void else "met" if self.met else "MISSED"

    @property
    def met(self) -> bool:
        return self.void or (self.value is not None and self.value <= self.limit)


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended."""

    seed: int
    seconds: float
    verdict: Verdict
    judgement: Judgement
    done: tuple[Done, ...]
    settled: float | None
    """Seconds from the end of traffic until nothing was open; None: something stayed open."""
    deaths: tuple[str, ...]
    """Processes that ended although nobody ended them."""
    complaints: tuple[str, ...]
    """Tracebacks in logs."""
    means: dict[str, str]
    """What stood for a partition, and for a small disk, on this machine."""
    stalls: dict[str, float]

    @property
    def goals(self) -> list[Goal]:
        goals: list[Goal] = []
        for done in self.done:
            facts, stalled = done.facts, done.facts.get("stalled", 0.0)
            if "p99_over_limit" in facts:  # each receipt's stalls are taken off already
                goals.append(Goal(FAILOVER, facts["p99_over_limit"], 0.0, stalled))
            for name, goal, limit in (
                ("noticed_after", "silent peer noticed", NOTICED),
                ("used_after", "restarted peer used", USED),
                ("resumed_after", "full disk: takes commands again", RESUMED),
            ):
                if name in facts:
                    took = facts[name]
                    goals.append(Goal(goal, None if took is None else took - stalled, limit, stalled))
            if "refused" in facts:
                untyped = len(UNTYPED.intersection(facts["refused"]))
                goals.append(Goal("full disk: untyped refusals", untyped, 0.0, stalled))
        return goals

    @property
    def kept(self) -> bool:
        """Every invariant was kept."""
        return not (self.judgement.violations or self.deaths or self.complaints) and (
            self.verdict.good and self.settled is not None
        )

    @property
    def good(self) -> bool:
        return self.kept and all(goal.met for goal in self.goals)

    def summary(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        verdict, violations = self.verdict, self.judgement.violations
        recovery = [done.recovery for done in self.done if done.recovery is not None]
        return {
            "good": self.good,
            "kept": self.kept,
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": dict(sorted(Counter(done.fault.kind for done in self.done).items())),
            "commands": verdict.commands,
            "receipts": verdict.receipts,
            "replies": verdict.replies,
            "events": verdict.events,
            "lost_commands": list(verdict.lost_commands),
            "lost_events": list(verdict.lost_events),
            "completed_twice": list(verdict.extra_replies),
            "run_though_refused": list(verdict.executed_unsent),
            "executed_again": verdict.executed_again,
            "events_again": verdict.events_again,
            "violations": [str(violation) for violation in violations],
            "checked": self.judgement.checked,
            "outcomes": self.judgement.counts,
            "recovery_p50": percentile(recovery, 50),
            "recovery_p99": percentile(recovery, 99),
            "goals": [
                {
                    "goal": goal.name,
                    "value": None if goal.value is None else round(goal.value, 3),
                    "limit": goal.limit,
                    "verdict": goal.verdict,
                }
                for goal in self.goals
            ],
            "versions": as_json(self.judgement.versions),
            "settled_after": self.settled,
            "deaths": list(self.deaths),
            "complaints": list(self.complaints),
            "means": self.means,
            "stalls": self.stalls,
        }

    def table(self) -> str:
        """For people."""
        lines = ["", f"{'fault':<14}{'times':>6}   {'next receipt after (s): p50':>28}{'p99':>8}   facts"]
        for kind in sorted({done.fault.kind for done in self.done}):
            mine = [done for done in self.done if done.fault.kind == kind]
            recovery = [done.recovery for done in mine if done.recovery is not None]
            p50, p99 = _text(percentile(recovery, 50)), _text(percentile(recovery, 99))
            lines.append(f"{kind:<14}{len(mine):>6}   {p50:>28}{p99:>8}   {_facts(mine)}")
        lines += ["", f"{'promise':<22}{'checked':>9}{'broken':>8}   what"]
        broken = tally(self.judgement.violations)
        for rule, what in {**RULES, **WISHED_RULES, **VERSION_RULES}.items():
            if checked := self.judgement.checked.get(rule, 0) + broken[rule]:
                lines.append(f"{rule:<22}{checked:>9}{broken[rule]:>8}   {what}")
        lines += ["", f"{'goal':<52}{'measured':>10}{'limit':>7}   (machine stalls taken off)"]
        for goal in self.goals:
            value = "never" if goal.value is None else f"{goal.value:.3f}"
            lines.append(f"{goal.name:<52}{value:>10}{goal.limit:>7g}   {goal.verdict}")
        verdict, versions = self.verdict, self.judgement.versions
        if versions.versions:
            lines += as_text(versions)
        lines += [
            "",
            f"{verdict.commands} commands, {verdict.receipts} receipts, {verdict.replies} replies,"
            f" {verdict.executed_again} executed again; {verdict.events} events,"
            f" {len(verdict.lost_events)} missing; settled after {_text(self.settled)} s",
            f"partitions: {self.means['partitions']}; small disks: {self.means['disks']};"
            f" longest stall {self.stalls['longest']:.3f} s, all {self.stalls['total']:.1f} s;"
            f" {self.stalls.get('void deadlines', 0):.0f} deadlines void",
        ]
        return "\n".join([*lines, *self.faulty()])

    def faulty(self) -> list[str]:
        """What is not as it must be, a line each."""
        return [
            *(f"BROKEN  {violation}" for violation in self.judgement.violations),
            *(f"DIED    {death}" for death in self.deaths),
            *(f"LOGGED  {complaint}" for complaint in self.complaints),
            *(["OPEN    something was, when the time for settling was over"] if self.settled is None else []),
        ]


def percentile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _facts(done: Sequence[Done]) -> str:
    """Sums of the numbers and sets of the texts that doers returned."""
    sums: Counter[str] = Counter()
    for one in done:
        for name, value in one.facts.items():
            if isinstance(value, int):
                sums[name] += value
    return ", ".join(f"{name} {value}" for name, value in sums.items())
