"""What the report makes of a run."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.chaos.record import Judgement
from tests.chaos.report import FAILOVER, Done, Report
from tests.chaos.schedule import Fault
from tests.simulation.model import Violation
from zconnector.cli.ledger import Ledger

SILENT = {"p99_over_limit": -0.1, "noticed_after": 2.5, "stalled": 0.2}
DISK = {"refused": ["STORAGE_FAILED"], "resumed_after": 0.1, "stalled": 0.0}


def report(kind: str, facts: dict[str, object]) -> Report:
    done = Done(Fault(1.0, kind, "agg1/a", 2.0, 0.5), 1.0, 3.0, facts, 0.25)
    means = {"partitions": "proxy", "disks": "tmpfs"}
    judged = Judgement((), {"lost command": 3}, {})
    stalls = {"longest": 0.1, "total": 0.2}
    return Report(1, 60.0, Ledger().verdict(), judged, (done,), 0.5, (), (), means, stalls)


@pytest.mark.parametrize(
    ("kind", "facts", "missed"),
    [
        ("silent", SILENT, []),
        ("silent", {**SILENT, "p99_over_limit": 0.01}, [FAILOVER]),
        ("silent", {**SILENT, "noticed_after": 3.3}, ["silent peer noticed"]),
        ("silent", {**SILENT, "noticed_after": 3.1}, []),
        ("silent", {**SILENT, "noticed_after": None}, ["silent peer noticed"]),
        ("silent", {**SILENT, "noticed_after": None, "stalled": 1.5}, []),
        ("dead", {"used_after": 5.1, "stalled": 0.0}, ["restarted peer used"]),
        ("disk", DISK, []),
        ("disk", {**DISK, "refused": ["NO_CLUSTER", "UNKNOWN"]}, ["full disk: untyped refusals"]),
        ("disk", {**DISK, "resumed_after": None}, ["full disk: takes commands again"]),
    ],
)
def test_goals(kind: str, facts: dict[str, object], missed: list[str]) -> None:
    found = report(kind, facts)
    assert [goal.name for goal in found.goals if not goal.met] == missed
    assert found.kept
    assert found.summary()["good"] is (not missed)


def test_a_broken_promise_a_death_and_a_traceback_each_count() -> None:
    good = report("disk", DISK)
    broken = Violation(5, "lost command", "c", "c is lost")
    for bad in (
        replace(good, judgement=Judgement((broken,), {}, {})),
        replace(good, deaths=("git ended",)),
        replace(good, complaints=("git.log: Traceback",)),
        replace(good, settled=None),
    ):
        assert not bad.kept
        assert not bad.good
        assert json.loads(json.dumps(bad.summary()))["good"] is False


def test_the_table_names_everything() -> None:
    text = report("disk", DISK).table()
    for part in ("disk", "0.250", "lost command", "full disk: takes commands again", "met", "tmpfs", "proxy"):
        assert part in text
