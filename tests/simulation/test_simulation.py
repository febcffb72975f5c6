"""Whole worlds: the same seed is the same history, promises hold, planted bugs are found."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulate import LIGHT, replay, simulate
from tests.simulation.variant import Variant
from tests.simulation.world import Plan, World
from zconnector.actions import Actions
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine

ROOT = Path(__file__).parents[2]
BATCH = 10
"""Worlds of one test: each test stays well within its time."""

FOUND: dict[str, tuple[int, str]] = {
    "receipt before commit": (1, "lost command"),
    "shared receipt channel": (1, "lost command"),
    "no uuid uniqueness": (1, "redelivery"),
    "no fencing": (1, "accepted twice"),
    "lease kept after disconnect": (2, "lease kept"),
    "silent ROUTER drop": (1, "silent drop"),
    "outbox cleared on send": (1, "missed event"),
    "tenant from the message": (2, "cross-tenant"),
    "dedupe forgotten on restart": (1, "redelivery"),
    "lost wake-up": (1, "lost command"),
    "T instead of T/n": (1, "slow failover"),
    "retry without bound": (1, "unbounded"),
    "confirm before commit": (1, "lost command"),
    "cursor ahead of events": (1, "missed event"),
}
"""For each planted bug a seed that finds it, and the promise that is seen broken (`simulate.sh --hunt`)."""


@cache
def trace_of(seed: int) -> str:
    return simulate(Plan(seed, 4)).trace


def test_same_seed_same_trace() -> None:
    assert simulate(Plan(7, 4)).trace == trace_of(7)
    assert trace_of(7) != trace_of(8)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4711"])
def test_same_trace_in_another_process_with_other_hashes(hash_seed: str) -> None:
    script = (
        "from tests.simulation.simulate import simulate\n"
        "from tests.simulation.world import Plan\n"
        "print(simulate(Plan(7, 4)).trace)\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == trace_of(7)


def test_watching_a_world_does_not_change_it() -> None:
    watched = simulate(Plan(7, 4), watch=["member"])
    assert watched.trace == trace_of(7)
    assert watched.transcript


class _Distrusting(Variant):
    """Asks for the deadline also where a core says that it is as it was."""

    said = 0

    def connector(self, machine: ConnectorMachine) -> None:
        self._watch(machine)

    def aggregator(self, machine: AggregatorMachine) -> None:
        self._watch(machine)

    def member(self, router: ClusterRouter) -> None:
        self._watch(router)

    def _watch(self, machine: Any) -> None:
        frames = machine.frames

        def watched(*args: Any) -> Actions:
            before = machine.deadline()
            actions: Actions = frames(*args)
            if machine.quiet and not actions:
                self.said += 1
                assert machine.deadline() == before
            return actions

        machine.frames = watched


def test_a_core_that_says_it_is_quiet_waits_for_what_it_waited_for_before() -> None:
    variant = _Distrusting()
    outcome = World(Plan(7, 4), variant).run()
    assert not outcome.violations
    assert variant.said > 1_000


@pytest.mark.parametrize("first", range(1, 101, BATCH))
def test_promises_hold_in_a_hundred_worlds_of_ten_minutes(first: int) -> None:
    for seed in range(first, first + BATCH):
        plan = Plan(seed, 10, **LIGHT)
        outcome = simulate(plan)
        said = "\n".join(str(violation) for violation in outcome.violations)
        assert not outcome.violations, f"{replay(plan)}\n{said}"
        assert outcome.injected, "a world without faults shows little"


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found_by_its_seed(mutant: str) -> None:
    seed, rule = FOUND[mutant]
    outcome = simulate(Plan(seed, 10, impatient=True), mutant)
    assert rule in {violation.rule for violation in outcome.violations}


@pytest.mark.parametrize("seed", sorted({seed for seed, _ in FOUND.values()}))
def test_that_seed_finds_nothing_without_a_bug(seed: int) -> None:
    assert not simulate(Plan(seed, 10)).violations
