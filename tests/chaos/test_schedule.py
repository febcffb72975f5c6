"""The seed alone decides what is done to whom, and when."""

from __future__ import annotations

import pytest

from tests.chaos.faults import Faults
from tests.chaos.schedule import CALM_AFTER, CALM_BEFORE, KINDS, Fault, schedule

TARGETS = [
    ("aggregator", "agg1/a"),
    ("aggregator", "agg1/b"),
    ("connector", "git"),
    ("cluster", "cluster/1"),
    ("worker", "worker git-1"),
    ("frontend", "frontend git"),
    ("link", "git>agg1/a"),
]


def test_one_seed_gives_one_schedule_and_another_one_another() -> None:
    assert schedule(7, 300, TARGETS) == schedule(7, 300, TARGETS)
    assert schedule(7, 300, TARGETS) != schedule(8, 300, TARGETS)


def test_the_schedule_is_the_same_on_every_machine() -> None:
    assert schedule(7, 300, TARGETS)[0] == Fault(1.048, "oversized", "agg1/b", 0.53, 0.565454)


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_is_over_at_the_end_and_every_kind_comes(seed: int) -> None:
    faults = schedule(seed, 300, TARGETS)
    assert all(fault.at + fault.lasts <= 300 for fault in faults)
    assert {fault.kind for fault in faults} == set(KINDS)
    assert {fault.target for fault in faults} == {label for _, label in TARGETS}


@pytest.mark.parametrize("seed", range(5))
def test_what_is_measured_is_alone(seed: int) -> None:
    faults = schedule(seed, 300, TARGETS)
    for one in (fault for fault in faults if KINDS[fault.kind].alone):
        begins, ends = one.at - CALM_BEFORE, one.at + one.lasts + CALM_AFTER
        others = [other for other in faults if other is not one]
        assert not [o for o in others if o.at < ends - 0.002 and o.at + o.lasts > begins + 0.002]


def test_only_the_kinds_asked_for() -> None:
    assert {fault.kind for fault in schedule(1, 300, TARGETS, ["kill", "cut"])} == {"kill", "cut"}


def test_every_kind_can_be_done() -> None:
    assert {kind.name for kind in KINDS.values()} == set(Faults.doers())
