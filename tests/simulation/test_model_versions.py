"""The judge of versions: each promise broken, and nearly broken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.model_versions import VersionRules, route
from tests.simulation.repositories import worker_of
from tests.simulation.rules import Book
from tests.simulation.scheduler import SECOND
from zconnector.configuration.pivot import Version
from zconnector.versions.traffic import CANARY

NODE = "t1/vcs"
V10, V11, V13, V15, V20 = (Version(*each) for each in ((1, 0), (1, 1), (1, 3), (1, 5), (2, 0)))


class Judge:
    """The rules, and what they found."""

    def __init__(self, *versions: Version) -> None:
        self.book = Book()
        self.rules = VersionRules(self.book, worker_of)
        self.rules.router_started(0, NODE)
        for version in versions:
            self.register(version)

    def register(self, version: Version, *names: str) -> None:
        self.rules.spawned(0, NODE, worker_of(version))
        self.rules.registered(0, NODE, worker_of(version), version, names or ("PULL", "PUSH"))

    def steer(self, at: int = 0, **told: Any) -> None:
        self.rules.steered(at, NODE, {"held": [], "drained": [], "shares": {}, "pins": {}, **told})

    def hand(self, version: Version, at: int = SECOND, **header: Any) -> None:
        entry = {"uuid": "u", "command": "PULL", "major": 0, **header}
        self.rules.handed(at, NODE, worker_of(version), entry)

    @property
    def found(self) -> list[str]:
        return [violation.rule for violation in self.book.violations]


def test_the_newest_version_gets_what_nobody_speaks_of() -> None:
    judge = Judge(V10, V11)
    judge.hand(V11)
    assert judge.found == []
    judge.hand(V10)
    assert judge.found == ["version routed"]


def test_a_name_that_was_not_registered() -> None:
    judge = Judge(V10)
    judge.register(V13, "PULL", "FETCH")
    judge.hand(V10, command="PUSH")
    judge.hand(V13, command="FETCH")
    assert judge.found == []
    judge.hand(V13, command="PUSH")
    assert judge.found == ["version declares"]


def test_one_that_is_held_has_its_canary_only() -> None:
    judge = Judge(V10, V11)
    judge.steer(held=["Vcs-1.1"], pins={f"{CANARY}1.1": "1.1"})
    judge.hand(V11, context=f"{CANARY}1.1")
    judge.hand(V10)
    assert judge.found == []
    judge.hand(V11)
    assert judge.found[0] == "version gated"


def test_one_that_is_drained_has_nothing() -> None:
    judge = Judge(V10, V11)
    judge.steer(drained=["Vcs-1.1"])
    judge.hand(V10)
    assert judge.found == []
    judge.hand(V11)
    assert judge.found[0] == "version gated"


def test_a_bad_version_has_its_canary_only() -> None:
    judge = Judge(V15)
    judge.steer(held=["Vcs-1.5"], pins={f"{CANARY}1.5": "1.5"})
    judge.hand(V15, context=f"{CANARY}1.5")
    assert judge.found == []
    judge.steer()
    judge.hand(V15)
    assert judge.found == ["bad version"]


def test_a_silent_version_is_none() -> None:
    judge = Judge(V10, V11)
    for second in range(1, 10):
        judge.rules.beaten(second * SECOND, NODE, "Vcs-1.0")
    judge.hand(V10, at=9 * SECOND)
    assert judge.found == []
    judge.hand(V11, at=9 * SECOND)
    assert judge.found == ["version routed"]


def test_the_table_of_the_router() -> None:
    judge = Judge(V10, V11)
    judge.steer(drained=["Vcs-1.0"])
    judge.rules.table(SECOND, NODE, [V11])
    assert judge.found == []
    judge.rules.table(SECOND, NODE, [V10, V11])
    judge.rules.table(SECOND, NODE, [])
    judge.rules.table(SECOND, NODE, [V11, V20])
    assert judge.found == ["version table"] * 3


@pytest.mark.parametrize(("worker", "died", "found"), [(V10, False, 1), (V10, True, 0)])
def test_run_twice(worker: Version, died: bool, found: int) -> None:
    judge = Judge(V10, V11)
    judge.rules.executed(SECOND, NODE, "u", worker_of(worker), {})
    if died:
        judge.rules.disturbed(2 * SECOND, NODE, worker_of(worker))
    judge.rules.executed(3 * SECOND, NODE, "u", "Vcs-1.1", {})
    assert judge.found == ["update twice"] * found


def test_one_that_runs_what_was_cancelled_has_nothing_in_hand() -> None:
    """Seed 120: it was told to end as an operator had cancelled the last command that it ran."""
    judge = Judge(V10, V11)
    for uuid, version in (("mine", V10), ("theirs", V11)):
        judge.rules.executed(SECOND, NODE, uuid, worker_of(version), {})
    judge.steer(SECOND, drained=["Vcs-1.0"])
    judge.book.cancelled_by_hand.add((NODE, "theirs"))
    judge.rules.terminated(2 * SECOND, NODE, "Vcs-1.0", 1)
    assert judge.found == ["update twice"]
    judge.book.cancelled_by_hand.add((NODE, "mine"))
    judge.rules.terminated(2 * SECOND, NODE, "Vcs-1.0", 1)
    assert judge.found == ["update twice"]


def test_ended_before_its_time_with_something_in_hand() -> None:
    judge = Judge(V10)
    judge.steer(SECOND, drained=["Vcs-1.0"])
    judge.rules.terminated(2 * SECOND, NODE, "Vcs-1.0", 0)
    assert judge.found == []
    judge.rules.terminated(2 * SECOND, NODE, "Vcs-1.0", 1)
    assert judge.found == ["update twice"]


def document(old: list[str], new: list[str], step: str, running: list[str]) -> dict[str, Any]:
    return {"plan": {"old": old, "new": new}, "step": step, "running": running}


def test_old_is_ended_before_the_shift() -> None:
    judge = Judge(V10)
    early = document(["1.0"], ["1.1"], "GATING", ["1.0"])
    judge.rules.keeping(NODE, early)
    judge.rules.kept(0, NODE, early)
    judge.rules.terminated(SECOND, NODE, "Vcs-1.1", 0)
    assert judge.found == []
    judge.rules.terminated(SECOND, NODE, "Vcs-1.0", 0)
    assert judge.found == ["old or new"]


def test_traffic_before_the_shift_is_kept() -> None:
    judge = Judge(V10, V11)
    for step in ("GATING", "DRAINING"):
        kept = document(["1.0"], ["1.1"], step, ["1.0"])
        judge.rules.keeping(NODE, kept)
        judge.steer(drained=["Vcs-1.0"])
        judge.rules.kept(0, NODE, kept)
    assert judge.found == ["rollout state"]
    judge.steer(drained=["Vcs-1.0"])
    assert judge.found == ["rollout state"]


@pytest.mark.parametrize(
    ("found", "broken"), [("GATING", 0), ("DRAINING", 0), ("FETCHING", 1), ("neither", 1)]
)
def test_what_a_restart_finds(found: str, broken: int) -> None:
    judge = Judge()
    kept = document(["1.0"], ["1.1"], "GATING", ["1.0"])
    asked = document(["1.0"], ["1.1"], "DRAINING", ["1.1"])
    judge.rules.keeping(NODE, kept)
    judge.rules.kept(0, NODE, kept)
    judge.rules.keeping(NODE, asked)  # killed meanwhile: it is there or not
    on_disk = {
        "GATING": kept,
        "DRAINING": asked,
        "FETCHING": document(["1.0"], ["1.1"], "FETCHING", ["1.0"]),
        "neither": None,
    }[found]
    judge.rules.recalled(SECOND, NODE, on_disk)
    assert judge.found == ["rollout state"] * broken


def test_what_should_run_and_does_not_serve() -> None:
    judge = Judge(V10)
    kept = document(["1.0"], ["1.0"], "DRAINING", ["1.0"])
    judge.rules.keeping(NODE, kept)
    judge.rules.kept(0, NODE, kept)
    judge.rules.attended(0, NODE, "Vcs-1.0", True)
    judge.rules.table(100 * SECOND, NODE, [V10])
    assert judge.found == []
    judge.rules.forgotten(NODE, "Vcs-1.0")
    judge.rules.table(100 * SECOND, NODE, [])
    assert judge.found == ["old or new"]


@pytest.mark.parametrize("name", ["ADMIN_UPDATE", "ADMIN_START_WORKER"])
def test_success_of_what_does_not_serve(name: str) -> None:
    judge = Judge(V10)
    judge.rules.asked(SECOND, NODE, "a", name, V10)
    judge.rules.answered(2 * SECOND, NODE, "a", True, {"Major": 1, "Minor": 0})
    assert judge.found == []
    judge.rules.asked(SECOND, NODE, "b", name, V11)
    judge.rules.answered(2 * SECOND, NODE, "b", False, {"Major": 1, "Minor": 1})
    assert judge.found == []
    judge.rules.answered(2 * SECOND, NODE, "b", True, {"Major": 1, "Minor": 1})
    assert judge.found == ["admin answer"]


def test_success_of_a_stop_whose_process_runs() -> None:
    judge = Judge(V10)
    judge.rules.asked(SECOND, NODE, "a", "ADMIN_STOP_WORKER", V10)
    judge.rules.answered(2 * SECOND, NODE, "a", True, {"Major": 1, "Minor": 0})
    assert judge.found == ["admin answer"]
    judge.rules.exited(3 * SECOND, NODE, "Vcs-1.0", 0)
    judge.rules.answered(4 * SECOND, NODE, "a", True, {"Major": 1, "Minor": 0})
    assert judge.found == ["admin answer"]


def test_two_processes_of_a_version() -> None:
    judge = Judge(V10)
    judge.rules.exited(SECOND, NODE, "Vcs-1.0", 0)
    judge.rules.spawned(SECOND, NODE, "Vcs-1.0")
    assert judge.found == []
    judge.rules.spawned(SECOND, NODE, "Vcs-1.0")
    assert judge.found == ["one process"]


def view(running: list[str], **more: Any) -> dict[str, Any]:
    rows = [{"version": text, "wanted": True, "state": "RUNNING"} for text in running]
    return {"versions": rows, "rollout": None, "last": None, **more}


def test_settled() -> None:
    judge = Judge(V10)
    judge.rules.settled(SECOND, NODE, view(["1.0"]))
    assert judge.found == []
    judge.rules.settled(SECOND, NODE, view([]))
    assert judge.found == ["one process"]
    judge.rules.settled(SECOND, NODE, view(["1.0"], rollout={"step": "GATING"}))
    judge.rules.settled(SECOND, NODE, view(["1.0"], last={"old": ["1.0"], "new": ["1.1"], "outcome": "DONE"}))
    judge.rules.settled(SECOND, NODE, view(["1.0", "1.1"]))
    assert judge.found == ["one process", *["old or new"] * 3]


def kept(*, previous: list[str], at: int = SECOND, outcome: str = "DONE") -> dict[str, Any]:
    """A document: 1.1~1 of `other` runs, by a rollout that ended at that time."""
    return {
        "running": ["1.1~1"],
        "previous": previous,
        "trial": None,
        "plan": None,
        "step": None,
        "last": {"outcome": outcome, "at": at},
        "values": {"0": {"product": "Sim"}, "1": {"product": "Other"}},
        "contents": {"1.0": "1.0-0", "1.1~1": "1.1-0"},
    }


def test_of_a_former_product_nothing_stays_that_nobody_goes_back_to() -> None:
    judge, later = Judge(V11), 100 * SECOND
    disk = {("other", V11, 0): SECOND, ("sim", V10, 0): SECOND, ("sim", V20, 1): SECOND}
    judge.rules.configured(0, NODE, {"product": "Other"})

    def keep(at: int, document: dict[str, Any]) -> None:
        judge.rules.keeping(NODE, document, at)
        judge.rules.kept(at, NODE, document)

    keep(2 * SECOND, kept(previous=["1.0"]))
    judge.rules.lying(later, NODE, disk)
    assert judge.found == []  # a rollback goes back to that product
    keep(3 * SECOND, kept(previous=[], at=3, outcome="ROLLED_BACK"))
    judge.rules.lying(later, NODE, disk)
    assert judge.found == []  # nothing was done since
    keep(4 * SECOND, kept(previous=[], at=4))
    judge.rules.lying(20 * SECOND, NODE, disk)
    assert judge.found == []  # just now
    judge.rules.lying(later, NODE, {**disk, ("sim", V10, 0): 5 * SECOND, ("sim", V20, 1): 5 * SECOND})
    assert judge.found == []  # fetched since
    judge.rules.lying(later, NODE, disk)
    assert judge.found == ["disk tidied"] * 2
    judge.rules.configured(5 * SECOND, NODE, {"product": "Third"})
    judge.rules.lying(later, NODE, disk)
    assert len(judge.found) == 2  # what is to leave is so since a moment ago only


def test_what_a_rollback_goes_back_to_lies_on_the_disk() -> None:
    judge = Judge(V11)
    document = kept(previous=["1.0"])
    judge.rules.keeping(NODE, document, SECOND)
    judge.rules.kept(SECOND, NODE, document)
    judge.rules.lying(SECOND, NODE, {("other", V11, 0): 0, ("sim", V10, 0): 0})
    assert judge.found == []
    judge.rules.lying(SECOND, NODE, {("other", V11, 0): 0, ("other", V10, 0): 0, ("sim", V10, 1): 0})
    assert judge.found == ["disk kept"]


def test_routes_by_the_words_of_the_page() -> None:
    both = {V10, V11}
    assert route(both, set(), "", "k", {}, {}) == V11
    assert route(both, set(), "red", "k", {}, {"red": V10}) == V10
    assert route(both, {V20}, "red", "k", {}, {"red": V20}) == V20
    assert route(both, set(), "red", "k", {}, {"red": V20}) == V11
    assert route(set(), set(), "", "k", {}, {}) is None
    by_share = [route(both, set(), "", f"k{n}", {V11: 10}, {}) for n in range(1_000)]
    assert 50 < by_share.count(V11) < 160
    assert {route(both, set(), "", f"k{n}", {V11: 0, V10: 100}, {}) for n in range(200)} == {V10}
