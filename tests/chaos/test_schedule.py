"""The seed alone decides what is done to whom, and when."""

from __future__ import annotations

from tests.chaos.schedule import LASTS, schedule

TARGETS = [("aggregator", "agg1/a"), ("connector", "git"), ("cluster", "cluster/1"), ("worker", "worker git")]


def test_one_seed_gives_one_schedule_and_another_one_another() -> None:
    assert schedule(7, 300, TARGETS) == schedule(7, 300, TARGETS)
    assert schedule(7, 300, TARGETS) != schedule(8, 300, TARGETS)


def test_every_fault_is_over_at_the_end_and_every_kind_of_process_is_hit() -> None:
    faults = schedule(1, 600, TARGETS)
    assert all(fault.at + fault.lasts <= 600.001 for fault in faults)
    assert all(0 < fault.lasts <= LASTS[1] for fault in faults)
    assert {fault.target for fault in faults} == {label for _, label in TARGETS}
    assert {fault.kind for fault in faults} == {"kill", "freeze"}
    assert not [fault for fault in faults if fault.target.startswith("worker") and fault.kind == "freeze"]
