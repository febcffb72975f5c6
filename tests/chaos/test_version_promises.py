"""The judgement of worker versions is able to fail: each broken promise is found; what excuses is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.chaos.version_promises import SERVES_WITHIN, WINDOW, VersionPromises
from tests.chaos.version_story import as_json, as_text

Facts = Callable[[VersionPromises], None]
LATE = 10 * SERVES_WITHIN
BOTH = ("1.0", "1.1")


class Told(VersionPromises):
    """1.0 is good and serves as process 10, a command every ten seconds; sentences are short."""

    def __init__(self) -> None:
        super().__init__()
        self.published(0, "1.0", "good")
        self.process(1, "1.0", 10, "1.0")
        self.flowing(2, True)
        self.serves(2, LATE)
        self.flowing(LATE, False)

    def serves(self, since: float, until: float) -> None:
        at = since
        while at < until:
            self.ran(at, "1.0", 10, f"at {at}", False)
            self.done(at + 0.1, "1.0", 10)
            at += 10

    def asks(self, kind: str, version: str, outcome: str = "SUCCES", about: str | None = None) -> None:
        number = len(self._asks)
        self.asked(50, number, kind, "control", version)
        self.answered(60, number, outcome, version if about is None else about, "why", [])

    def torment(self, since: float, until: float) -> None:
        self.fault(since, True)
        self.fault(until, False)


def broken(told: VersionPromises, *, stalled: float = 0.0) -> list[str]:
    return [violation.rule for violation in told.judge(lambda begin, end: stalled)]


def test_all_is_well() -> None:
    told = Told()
    told.published(5, "1.1", "refuses")
    told.process(6, "1.1", 11, "1.1")
    told.ran(7, "1.1", 11, "canary", True)
    told.asks("publish", "1.1", "FAIL")
    told.asks("back", "1.0")
    told.asks("latest", "", about="1.1")
    told.rested(LATE, True, "1.0 RUNNING")
    told.routed(LATE, "c", "", "1.1", BOTH, {}, {})
    told.routed(LATE, "c", "x", "1.0", BOTH, {}, {"x": "1.0"})
    told.routed(LATE, "c", "y", "1.0", BOTH, {"1.0": 100}, {"x": "1.1"})
    told.published(80, "1.2", "good")
    told.process(81, "1.2", 14, "1.2~3")
    told.asked(82, 9, "back", "control", "1.2")
    told.answered(83, 9, "SUCCES", "1.2", "", [])
    told.process(89, "1.0", 13, "1.0~1")
    told.ran(89.5, "1.0", 10, "old beside new", False)
    told.router_killed(90, "GATING", 3, [])
    told.process(92, "1.0", 12, "1.0")
    told.left(LATE, [])
    assert broken(told) == []
    assert told.checked["bad version"] > 20
    story = told.story()
    assert (story.runs["canaries"], story.killed_at, story.versions) == (1, {"GATING": 1}, 3)
    assert as_json(story)["acts"]["publish"] == {"FAIL": 1, "control": 1}
    assert any("GATING 1" in line for line in as_text(story))


def test_recovery_is_to_the_first_completion_by_a_process_that_began_after_the_kill() -> None:
    told = VersionPromises()
    told.process(1, "1.0", 10, "1.0")
    told.router_killed(5, "", 1, [])
    told.done(5.1, "1.0", 10)
    told.process(7, "1.0", 11, "1.0")
    told.done(8.5, "1.0", 11)
    assert told.story().recoveries == (3.5,)


def bad_runs(told: VersionPromises) -> None:
    told.published(5, "1.1", "early")
    told.process(6, "1.1", 11, "1.1")
    told.ran(7, "1.1", 11, "c", False)


def unknown_runs(told: VersionPromises) -> None:
    told.process(6, "1.9", 11, "1.9")
    told.ran(7, "1.9", 11, "c", False)


def runs_twice(told: VersionPromises) -> None:
    told.ran(20, "1.0", 10, "c", False)
    told.ran(21, "1.0", 10, "c", False)


def two_processes(told: VersionPromises) -> None:
    told.process(20, "1.0", 11, "1.0")
    told.ran(21, "1.0", 10, "c", False)


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("bad version", bad_runs),
        ("bad version", unknown_runs),
        ("update twice", runs_twice),
        ("one process", two_processes),
        ("admin answer", lambda told: told.asks("get", "1.0", about="1.1")),
        ("admin answer", lambda told: told.asks("beside", "1.7")),
        ("admin answered", lambda told: told.asks("stop", "1.0", "SILENT")),
        ("old or new", lambda told: told.rested(LATE, False, "nothing")),
        ("old or new", lambda told: told.emptied(30, [])),
        ("old or new", lambda told: told.emptied(30, ["1.0"])),
        ("version routed", lambda told: told.routed(LATE, "c", "", "1.0", ["1.0", "1.1"], {}, {})),
        ("version routed", lambda told: told.routed(LATE, "c", "x", "1.1", BOTH, {}, {"x": "1.0"})),
        ("version routed", lambda told: told.routed(LATE, "c", "", "1.1", BOTH, {"1.0": 100}, {})),
        ("orphan", lambda told: told.router_killed(30, "", 2, ["11"])),
        ("orphan", lambda told: told.left(LATE, ["11 worker"])),
    ],
)
def test_a_broken_promise_is_found(rule: str, facts: Facts) -> None:
    told = Told()
    facts(told)
    assert broken(told) == [rule]


def test_success_of_a_bad_version_and_of_one_whose_process_still_runs_is_found() -> None:
    told = Told()
    told.published(5, "1.1", "lacks")
    told.process(6, "1.1", 11, "1.1")
    told.asks("publish", "1.1")
    told.asked(50, 7, "stop", "control", "1.0")
    told.answered(51, 7, "SUCCES", "1.0", "", [10])
    assert broken(told) == ["admin answer", "admin answer"]


def silence(told: VersionPromises, length: float) -> None:
    told.published(0, "1.0", "good")
    told.process(1, "1.0", 10, "1.0")
    told.flowing(2, True)
    told.ran(3, "1.0", 10, "first", False)
    told.ran(3 + length, "1.0", 10, "second", False)
    told.flowing(5 + length, False)


def test_nobody_serving_is_found_after_its_bound() -> None:
    told = VersionPromises()
    silence(told, SERVES_WITHIN + 1)
    assert broken(told) == ["old or new"]
    told = VersionPromises()
    silence(told, SERVES_WITHIN - 1)
    assert broken(told) == []


def test_a_fault_and_a_stall_start_the_bound_anew() -> None:
    told = VersionPromises()
    silence(told, SERVES_WITHIN + 20)
    told.fault(10, True)
    told.fault(25, False)
    assert broken(told) == []
    told = VersionPromises()
    silence(told, 2 * SERVES_WITHIN + 30)
    told.fault(10, True)
    told.fault(25, False)
    assert broken(told) == ["old or new"]
    told = VersionPromises()
    silence(told, SERVES_WITHIN + 1)
    assert broken(told, stalled=2.0) == []


@pytest.mark.parametrize(
    "excuse",
    [
        lambda told: told.torment(19, 20.5),
        lambda told: told.crashed(20.5, 10),
    ],
)
def test_a_second_run_is_excused_by_what_happened_to_the_first(excuse: Callable[[Told], None]) -> None:
    told = Told()
    runs_twice(told)
    excuse(told)
    assert broken(told) == []


def test_who_is_not_answered_is_excused_by_a_dead_router_but_for_admin_commands() -> None:
    told = Told()
    told.torment(55, 58)
    told.asks("stop", "1.0", "SILENT")
    assert broken(told) == []
    told.asked(50, 7, "stop", "admin", "1.0")
    told.answered(60, 7, "SILENT", "", "", [])
    assert broken(told) == ["admin answered"]


def test_that_nothing_is_left_to_run_is_excused_by_who_stopped_it_and_by_crashes() -> None:
    told = Told()
    told.asks("stop", "1.0", "SUCCES")
    told.emptied(70, [])
    told.published(5, "1.1", "tired")
    told.emptied(80, ["1.1"])
    told.hit(81, "1.0")
    told.hit(82, "1.0")
    told.emptied(83, ["1.0"])
    told.rescued(84)
    assert broken(told) == []
    told.emptied(83 + WINDOW, ["1.0"])
    assert broken(told) == ["old or new"]
