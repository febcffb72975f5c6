"""scripts/simulate.sh: many worlds, one after the other or several at a time, and a table at the end."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulation.faults import ALL, FAULTS, VERSION_FAULTS
from tests.simulation.model import RULES
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants_versions import VERSION_MUTANTS
from tests.simulation.topology import STANDARD, TWO_TENANTS, VERSIONS, WITH_VERSIONS
from tests.simulation.variant import REAL
from tests.simulation.world import Outcome, Plan, World

ALL_MUTANTS = {**MUTANTS, **VERSION_MUTANTS}
LIGHT: dict[str, Any] = {"command_pause": 8.0, "event_pause": 12.0}
"""Less traffic, more worlds: what breaks is mostly decided by the faults."""
ONE_EACH = "each"
EACH = 8
"""One world in so many has worker versions."""
SHOWN = 40
"""Lines of a transcript."""


def simulate(plan: Plan, mutant: str = "", watch: Iterable[str] = ()) -> Outcome:
    """Run one world."""
    gc.disable()  # a world is thrown away whole: collecting meanwhile costs a tenth of the time
    try:
        return World(plan, ALL_MUTANTS[mutant]() if mutant else REAL, watch).run()
    finally:
        gc.enable()
        gc.collect()


def planned(
    seed: int, minutes: float, *, versions: bool = False, only: Sequence[str] = (), **more: Any
) -> Plan:
    """A world as everybody runs them: one in `EACH` has a connector with worker versions besides.

    `versions`: a small world of little else, in which much more happens to them. `only`: these faults, all of
    them in each world; `each`: one of them all in a world, by turns. What is rare where everything happens is
    not, where nothing else does.
    """
    faults = (*FAULTS, *VERSION_FAULTS)
    if only:
        kinds = faults if versions else tuple(FAULTS)
        chosen = (kinds[seed % len(kinds)],) if list(only) == [ONE_EACH] else tuple(only)
        beside = WITH_VERSIONS if set(chosen) & set(VERSION_FAULTS) else TWO_TENANTS
        return Plan(seed, minutes, VERSIONS if versions else beside, chosen, all_faults=True, **more)
    if versions:
        return Plan(seed, minutes, VERSIONS, faults, **more)
    if seed % EACH == 0:
        return Plan(seed, minutes, WITH_VERSIONS, faults, **more)
    return Plan(seed, minutes, **more)


def replay(plan: Plan, mutant: str = "") -> str:
    """The one command that shows a failing seed again."""
    options = " --light" if plan.command_pause else ""
    options += " --versions" if plan.topology is VERSIONS else ""
    options += " --operator" if plan.operator else ""
    options += f" --faults '{','.join(plan.faults)}'" if plan.all_faults else ""
    options += f" --mutant '{mutant}'" if mutant else ""
    return f"scripts/simulate.sh --seed {plan.seed} --minutes {plan.minutes:g}{options}"


class Summary:
    """What many worlds have shown."""

    def __init__(self) -> None:
        self.worlds = 0
        self.failed: list[int] = []
        self.injected: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.virtual = 0.0
        self.messages = 0
        self.steps = 0
        self._began = time.monotonic()
        self._cpu = time.process_time()

    def add(self, outcome: Outcome) -> None:
        self.worlds += 1
        self.injected += outcome.injected
        self.checked += outcome.checked
        self.counts += outcome.counts
        self.virtual += outcome.virtual_seconds
        self.messages += outcome.messages
        self.steps += outcome.steps
        self.broken.update(violation.rule for violation in outcome.violations)
        if outcome.violations:
            self.failed.append(outcome.seed)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self._began, 1e-9)

    def speed(self) -> str:
        virtual, messages = self.virtual / self.seconds, self.messages / self.seconds
        cpu = time.process_time() - self._cpu
        return f"{virtual:,.0f} virtual s per real s, {messages:,.0f} messages/s; {cpu:.1f} s of CPU here"

    def as_dict(self) -> dict[str, Any]:
        return {
            "good": not self.failed,
            "worlds": self.worlds,
            "failed_seeds": self.failed,
            "virtual_hours": round(self.virtual / 3600, 2),
            "real_seconds": round(self.seconds, 1),
            "virtual_per_real": round(self.virtual / self.seconds),
            "cpu_seconds": round(time.process_time() - self._cpu, 1),
            "messages_per_second": round(self.messages / self.seconds),
            "messages": self.messages,
            "faults": dict(sorted(self.injected.items())),
            "checks": dict(sorted(self.checked.items())),
            "broken": dict(sorted(self.broken.items())),
            "counts": dict(sorted(self.counts.items())),
        }

    def table(self) -> Iterator[str]:
        hours = f"{self.virtual / 3600:.1f} virtual hours in {self.seconds:.0f} s"
        yield f"{self.worlds} worlds, {hours}: {self.speed()}"
        yield ""
        yield f"{'fault':<26}{'injected':>10}"
        for kind in ALL:
            yield f"{kind:<26}{self.injected[kind]:>10,}"
        yield ""
        yield f"{'promise':<22}{'checks':>12}{'broken':>8}  what is watched"
        for rule, promise in RULES.items():
            yield f"{rule:<22}{self.checked[rule]:>12,}{self.broken[rule]:>8}  {promise}"
        yield ""
        yield "  ".join(f"{name}: {count:,}" for name, count in sorted(self.counts.items()))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="simulate.sh", description="Run simulated worlds; judge each of them."
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many worlds (100)")
    parser.add_argument("--first-seed", type=int, default=1, help="seed of the first one (1)")
    parser.add_argument("--seed", type=int, default=None, help="this one only, with a transcript if it fails")
    parser.add_argument("--minutes", type=float, default=10.0, help="virtual minutes of each (10)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (1)")
    parser.add_argument("--mutant", default="", choices=["", *ALL_MUTANTS], help="plant this bug")
    parser.add_argument("--hunt", action="store_true", help="find a failing seed for each mutant")
    parser.add_argument(
        "--speed", action="store_true", help="measure speed on the standard topology, no faults"
    )
    parser.add_argument("--watch", action="append", default=[], help="transcript of what mentions this text")
    parser.add_argument("--operator", action="store_true", help="somebody asks every verb all the time")
    parser.add_argument("--versions", action="store_true", help="small worlds of worker versions")
    parser.add_argument(
        "--faults",
        default="",
        help="only these, all of them in each world (comma between them); each: one fault a world, by turns",
    )
    parser.add_argument("--light", action="store_true", help="less traffic, as in the test suite")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON line")
    given = parser.parse_args()
    if given.minutes <= 0 or given.seeds < 1 or given.jobs < 1:
        parser.error("--minutes must be above 0, --seeds and --jobs at least 1")
    given.faults = [name.strip() for name in given.faults.split(",") if name.strip()]
    if given.faults != [ONE_EACH] and (unknown := set(given.faults) - set(ALL)):
        parser.error(
            f"--faults: there is no {', '.join(sorted(unknown))}; there are {', '.join(ALL)}, or each"
        )
    return given


def _one(task: tuple[Plan, str]) -> Outcome:
    return simulate(*task)


def run_all(tasks: list[tuple[Plan, str]], jobs: int) -> Iterator[Outcome]:
    """Each world's outcome as it comes."""
    if jobs == 1:
        yield from map(_one, tasks)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(_one, tasks)


def show(outcome: Outcome, plan: Plan, mutant: str) -> None:
    """What a failing world did wrong, how to see it again, and what led to it."""
    say("")
    say(f"seed {outcome.seed}: {len(outcome.violations)} broken promises; to see it again:")
    say(f"  {replay(replace(plan, seed=outcome.seed), mutant)}")
    for violation in outcome.violations[:5]:
        say(f"  {violation}")


def transcript(plan: Plan, mutant: str, outcome: Outcome, watch: list[str]) -> None:
    """Run it again, and show the last steps about what is watched (or about the first violation)."""
    about = watch or [outcome.violations[0].subject]
    again = simulate(plan, mutant, about)
    say(f"the last steps about {', '.join(about)}:")
    for line in again.transcript[-SHOWN if not watch else 0 :]:
        say(f"  {line}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def many(given: argparse.Namespace) -> Summary:
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    plans = [planned(seed, given.minutes, **_traffic(given)) for seed in seeds]
    summary = Summary()
    told = time.monotonic()
    for outcome in run_all([(plan, given.mutant) for plan in plans], given.jobs):
        summary.add(outcome)
        if outcome.violations:
            show(outcome, plans[outcome.seed - given.first_seed], given.mutant)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{summary.worlds} of {given.seeds} worlds, {len(summary.failed)} failed; {summary.speed()}")
    return summary


def _traffic(given: argparse.Namespace) -> dict[str, Any]:
    return {
        **(LIGHT if given.light else {}),
        **({"operator": True} if given.operator else {}),
        **({"versions": True} if given.versions else {}),
        **({"only": given.faults} if given.faults else {}),
    }


def hunt(given: argparse.Namespace) -> Summary:
    """For each mutant, the first seed that finds it."""
    summary = Summary()
    for mutant in [given.mutant] if given.mutant else ALL_MUTANTS:
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            versions = mutant in VERSION_MUTANTS
            outcome = simulate(planned(seed, given.minutes, versions=versions, impatient=True), mutant)
            summary.add(outcome)
            if outcome.violations:
                say(f"{mutant:<28} seed {seed:<5} {outcome.violations[0]}")
                break
        else:
            say(f"{mutant:<28} NOT FOUND in {given.seeds} seeds")
            summary.broken["mutant not found"] += 1
    return summary


def main() -> int:
    given = arguments()
    gc.freeze()  # what is imported is never garbage: no world's end need look through it
    if given.hunt:
        return 1 if hunt(given).broken["mutant not found"] else 0
    if given.speed:
        # A third of the commands are to the own connector; 1 a second are all of them together.
        plan = Plan(1, given.minutes, STANDARD, (), command_pause=1.5, event_pause=1.0, calm=True)
        summary = Summary()
        summary.add(simulate(plan, given.mutant))
    elif given.seed is not None:
        plan = planned(given.seed, given.minutes, **_traffic(given))
        summary = Summary()
        outcome = simulate(plan, given.mutant)
        summary.add(outcome)
        say(f"trace {outcome.trace}")
        if outcome.violations:
            show(outcome, plan, given.mutant)
        if outcome.violations or given.watch:
            transcript(replace(plan), given.mutant, outcome, given.watch)
    else:
        summary = many(given)
    if given.json:
        print(json.dumps(summary.as_dict()))
    else:
        print("\n".join(summary.table()))
    return 1 if summary.failed else 0


if __name__ == "__main__":
    sys.exit(main())
