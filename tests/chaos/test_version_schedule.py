"""The seed alone decides what is done to worker versions, and when."""

from __future__ import annotations

import pytest

from tests.chaos.releases import BASE, QUALITIES
from tests.chaos.version_asking import ADMIN_NAMES, VERBS
from tests.chaos.version_faults import VersionFaults
from tests.chaos.version_schedule import (
    ACTS,
    ADMIN,
    CLI,
    LAST_ACTS,
    NEEDS_VERSION,
    TARGETS,
    VERSION_KINDS,
    WAYS,
    Act,
    acts,
    faults,
)


def test_one_seed_gives_one_schedule_and_another_one_another() -> None:
    assert acts(7, 300) == acts(7, 300)
    assert acts(7, 300) != acts(8, 300)
    assert faults(7, 300) == faults(7, 300)
    assert faults(7, 300) != faults(8, 300)


def test_the_schedule_is_the_same_on_every_machine() -> None:
    assert acts(7, 300)[0] == Act(0.5, "publish", CLI, "1.1", "good", 0.570536)


@pytest.mark.parametrize("seed", range(5))
def test_every_act_every_way_and_every_quality_comes(seed: int) -> None:
    found = acts(seed, 300)
    assert {act.kind for act in found} == set(ACTS)
    assert {act.way for act in found} == set(WAYS)
    assert {act.quality for act in found} == {"", *QUALITIES}
    assert all(act.at <= 300 - LAST_ACTS for act in found)


@pytest.mark.parametrize("seed", range(5))
def test_a_version_is_published_once_and_what_else_is_named_was_good(seed: int) -> None:
    good = {BASE}
    published: set[str] = set()
    for act in acts(seed, 300):
        assert bool(act.version) == (act.kind in NEEDS_VERSION)
        if act.quality:
            assert act.version not in published
            published.add(act.version)
            good |= {act.version} if act.quality == "good" else set()
        elif act.version:
            assert act.version in good


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_comes_and_hits_whom_it_may(seed: int) -> None:
    found = faults(seed, 300)
    assert {fault.kind for fault in found} == set(VERSION_KINDS)
    roles = {label: role for role, label in TARGETS}
    assert all(roles[fault.target] in VERSION_KINDS[fault.kind].roles for fault in found)
    assert all(fault.at + fault.lasts <= 300 for fault in found)


def test_every_kind_can_be_done() -> None:
    assert set(VERSION_KINDS) == set(VersionFaults.doers())


def test_every_act_can_be_asked_for() -> None:
    by_configuration = {"shares", "keys", "want"}
    for act in acts(1, 600):
        known = ADMIN_NAMES if act.way == ADMIN else VERBS
        assert act.kind in by_configuration or act.kind in known
