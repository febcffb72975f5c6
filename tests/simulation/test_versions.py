"""Worlds with worker versions: the same seed is the same history, promises hold, planted bugs are found."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from multiprocessing.pool import Pool
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.simulation.clock import WALL
from tests.simulation.faults import ALL
from tests.simulation.mutants_versions import VERSION_MUTANTS
from tests.simulation.repositories import ALWAYS, Quality
from tests.simulation.scheduler import SECOND
from tests.simulation.simulate import planned, replay, simulate
from tests.simulation.version_people import VersionClient
from tests.simulation.version_workers import VersionGandalf, VersionStream
from tests.simulation.world import Outcome, Plan, World
from zconnector.configuration.pivot import Version

ROOT = Path(__file__).parents[2]
MINUTES = 6
WORLDS = 16
FOUND = {
    "shift before the commit": (1, "rollout state"),
    "old stopped before new registered": (1, "old or new"),
    "rollback that stops both": (1, "old or new"),
    "rollout forgotten at restart": (8, "old or new"),
    "no gate": (1, "bad version"),
    "admin command answered before it is done": (1, "admin answer"),
    "latest content started": (5, "edition kept"),
    "latest values started": (3, "edition kept"),
    "canary of an edition not aimed": (1, "version routed"),
    "held version gets traffic": (1, "version gated"),
    "drained version still served": (1, "version gated"),
    "routing not recomputed after silence": (2, "version table"),
    "registration of an ended process kept": (1, "version table"),
    "major 0 bound when stored": (1, "version routed"),
    "shares ignored": (9, "version routed"),
    "what runs leaves the disk": (1, "defect"),
    "former product stays": (20, "disk tidied"),
    "former product leaves too soon": (11, "disk kept"),
}
"""The seed that finds each planted bug, and the promise that is seen broken."""
ONLY = {
    "rollout forgotten at restart": ("kill in a rollout",),
    "routing not recomputed after silence": ("version hangs",),
}
"""Faults of the worlds that find it, where one among many would be found by few."""
NEARBY = range(1, 101)
"""Tried when the recorded one finds nothing any more: what changes in the product changes every world."""


def plan(seed: int, impatient: bool = True, only: Sequence[str] = ()) -> Plan:
    return planned(seed, MINUTES, versions=True, impatient=impatient, only=only)


@pytest.fixture(scope="module")
def cores() -> Iterator[Pool]:
    with multiprocessing.get_context("fork").Pool(min(4, os.cpu_count() or 1)) as pool:
        yield pool


def run(task: tuple[int, str]) -> Outcome:
    seed, mutant = task
    return simulate(plan(seed, only=ONLY.get(mutant, ())), mutant)


def test_promises_hold_for_versions_whatever_happens_to_them(cores: Pool) -> None:
    seen = set()
    for outcome in cores.imap(run, [(seed, "") for seed in range(1, WORLDS + 1)]):
        said = "\n".join(str(violation) for violation in outcome.violations)
        assert not outcome.violations, f"{replay(plan(outcome.seed))}\n{said}"
        seen |= {rule for rule, count in outcome.checked.items() if count}
        seen |= {f"fault {kind}" for kind, count in outcome.injected.items() if count}
    rules = {"version declares", "version gated", "version routed", "version table", "bad version"}
    assert (
        rules
        | {"update twice", "rollout state", "old or new", "admin answer", "one process", "edition kept"}
        | {"disk kept", "disk tidied"}
        <= seen
    )
    assert {f"fault {kind}" for kind in ("kill in a rollout", "version dies", "version hangs")} <= seen
    assert all(kind.removeprefix("fault ") in ALL for kind in seen if kind.startswith("fault "))


@pytest.mark.parametrize("mutant", VERSION_MUTANTS)
def test_a_bug_planted_in_versions_is_found_by_its_seed(mutant: str, cores: Pool) -> None:
    seed, rule = FOUND[mutant]
    if rule in {violation.rule for violation in run((seed, mutant)).violations}:
        return
    for outcome in cores.imap(run, [(near, mutant) for near in NEARBY]):
        if rule in {violation.rule for violation in outcome.violations}:
            return
    pytest.fail(f"not found by any of {1 + len(NEARBY)} seeds")


WITHOUT = {(seed, ONLY.get(mutant, ())) for mutant, (seed, _) in FOUND.items()}
"""Those worlds; the first ones with any faults are looked at above."""


@pytest.mark.parametrize(("seed", "only"), sorted(w for w in WITHOUT if w[1] or w[0] > WORLDS))
def test_those_seeds_find_nothing_without_a_bug(seed: int, only: tuple[str, ...]) -> None:
    assert simulate(plan(seed, only=only)).violations == []


@pytest.mark.parametrize("kind", [VersionGandalf, VersionStream])
@pytest.mark.parametrize(("quality", "names"), [(Quality.GOOD, ALWAYS), (Quality.LACKING, ALWAYS[:-1])])
def test_what_lacks_a_command_does_not_register_it_over_either_api(
    kind: Any, quality: Quality, names: tuple[str, ...]
) -> None:
    node = World(Plan(3, 6, plan(3).topology, faults=())).hosts[0].node
    home: Any = SimpleNamespace(node=node, router=SimpleNamespace(name="r"), model=None)
    process = SimpleNamespace(name="Vcs-1.1", run=1, version=Version(1, 1), quality=quality)
    assert kind(home, process).commands == names


def test_same_seed_same_trace_also_with_other_hashes() -> None:
    script = (
        "from tests.simulation.simulate import planned, simulate\n"
        "print(simulate(planned(5, 4, versions=True)).trace)\n"
    )
    here = simulate(planned(5, 4, versions=True)).trace
    assert here == simulate(planned(5, 4, versions=True)).trace
    assert here != simulate(planned(6, 4, versions=True)).trace
    there = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_a_calm_world_updates_without_a_death() -> None:
    """Nobody is killed: all that is seen of updates is what they do by themselves."""
    world = World(Plan(3, 6, plan(3).topology, faults=()))
    outcome = world.run()
    assert outcome.violations == []
    assert outcome.counts["ADMIN_UPDATE SUCCES"] > 0
    assert outcome.checked["update twice"] > 100


def test_a_planned_update_happens_at_its_time_of_day() -> None:
    """Through the connector, its admin worker and the cluster, by the clock of the machine."""
    world = World(Plan(3, 6, plan(3).topology, faults=()))
    (chief,), (host,) = world.chiefs, world.hosts
    chief.quiet = True  # nobody else changes anything
    for client in world.clients:
        client.quiet = isinstance(client, VersionClient)
    due = (WALL // 60_000 + 2) * 60_000
    at = datetime.fromtimestamp(due / 1000, ZoneInfo("Asia/Kolkata")).strftime("%H:%M")
    update = {"mode": "planned", "at": at, "zone": "Asia/Kolkata"}
    seen: list[Any] = []

    def look(when: str) -> None:
        assert host.admin is not None
        view = host.admin.view()
        running = [row["version"] for row in view["versions"] if row["wanted"]]
        seen.append((when, running, view["last"]["why"], view["last"]["outcome"]))

    seconds = (due - WALL) // 1000
    world.scheduler.after(20 * SECOND, lambda: chief.says(update=update))
    world.scheduler.after((seconds - 5) * SECOND, look, "before")
    world.scheduler.after((seconds + 50) * SECOND, look, "after")
    assert world.run().violations == []
    assert seen == [
        ("before", ["1.0"], "configuration", "DONE"),
        ("after", ["1.1"], "update", "DONE"),
    ]


def test_what_a_killed_process_had_not_begun_is_not_warned_of() -> None:
    """Killed between the making of a task and its first step: `coroutine ... was never awaited`."""
    made: list[str] = []

    async def never() -> None:
        made.append("begun")

    def scene() -> None:
        world = World(Plan(3, 1, plan(3).topology, faults=()))
        (host,) = world.hosts

        def kill() -> None:
            home, process = host.home, host.node.process
            assert home is not None
            assert process is not None
            home.loop.run_in(lambda: home.loop.create_task(never()))
            made.append("made")
            process.kill()
            host.node.start()

        world.scheduler.after(20 * SECOND, kill)
        assert world.run().violations == []

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        scene()
        gc.collect()
    assert made == ["made"]
    assert [str(each.message) for each in heard] == []
