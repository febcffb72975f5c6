"""Rules as transcripts: which version gets which slot, and which slot a command has."""

from __future__ import annotations

from math import sqrt
from uuid import UUID

import pytest

from zconnector.configuration.pivot import Version
from zconnector.queue.leases import Command
from zconnector.queue.routing import BUCKETS, Aim, Routing, Rule, bucket

V10, V11, V12, V20 = Version(1, 0), Version(1, 1), Version(1, 2), Version(2, 0)
BOTH = {V10: frozenset({"A"}), V11: frozenset({"A"})}


def a_command(uuid: str = "u", major: int = 0, order_key: str = "", context: str = "") -> Command:
    return Command(1, uuid, "", "A", major, False, "ci", "acme", 0, 10, order_key=order_key, context=context)


def rule_of(routing: Routing, name: str = "A") -> Rule:
    rule = routing.rule(name)
    assert rule is not None
    return rule


def traffic(rule: Rule, major: int = 0) -> dict[Version | Aim | None, int]:
    """Buckets by the version that gets them."""
    targets = [rule.target(major, slot) for slot in range(BUCKETS)]
    return {version: targets.count(version) for version in set(targets)}


# ---- whether there is a rule at all


def test_without_versions_there_is_no_rule() -> None:
    assert Routing().rule("A") is None


def test_one_version_needs_a_rule_only_for_what_it_does_not_declare() -> None:
    routing = Routing({V10: frozenset({"A"})}, shares={V10: 5}, pins={"app": V10})
    assert routing.rule("A") is None
    rule = rule_of(routing, "B")
    assert traffic(rule) == {None: 100}
    assert rule.allowed((V10,)) == (V10,)
    assert rule.allowed(()) == (None,), "a stranger gets what no version gets"
    assert rule.allowed((V20,)) == (None,), "as one whose version is not in force"


@pytest.mark.parametrize("name", ["ADMIN_STOP_WORKER", "ADMIN_"])
def test_names_of_the_admin_worker_have_no_rule(name: str) -> None:
    assert Routing(BOTH).rule(name) is None


def test_a_gated_version_makes_rules_that_give_it_nothing() -> None:
    routing = Routing({V10: frozenset({"A"})}, {V11: frozenset({"A"})}, shares={V11: 100})
    rule = rule_of(routing)
    assert traffic(rule) == {V10: 100}
    assert rule.allowed((V11,)) == (V11,)
    assert rule.even(0)


# ---- candidates


def test_the_newest_gets_all_where_nothing_else_is_said() -> None:
    rule = rule_of(Routing({**BOTH, V20: frozenset({"A", "B"})}))
    assert [traffic(rule, major) for major in (0, 1, 2, 3)] == [
        {V20: 100},
        {V11: 100},
        {V20: 100},
        {None: 100},
    ]
    assert all(rule.even(major) for major in (0, 1, 2, 3))
    assert rule.target(1, -1) == V11


def test_only_a_version_that_declares_the_name_gets_it() -> None:
    routing = Routing({**BOTH, V20: frozenset({"B"})}, shares={V20: 50})
    assert traffic(rule_of(routing)) == {V11: 100}
    assert traffic(rule_of(routing, "B")) == {V20: 100}
    assert traffic(rule_of(routing, "B"), 1) == {None: 100}


# ---- shares


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({V11: 10}, {V11: 10, V10: 90}),
        ({V11: 0}, {V10: 100}),
        ({V11: 100}, {V11: 100}),
        ({V10: 30}, {V10: 30, V11: 70}),
        ({V11: 10, V10: 30}, {V11: 25, V10: 75}),
        ({V11: 60, V10: 60}, {V11: 50, V10: 50}),
        ({V11: 0, V10: 30}, {V10: 100}),
        ({V11: 0, V10: 0}, {V11: 100}),
        ({V12: 50}, {V11: 100}),
    ],
)
def test_shares(shares: dict[Version, int], expected: dict[Version, int]) -> None:
    assert traffic(rule_of(Routing(BOTH, shares=shares))) == expected


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({V12: 10}, {V12: 10, V11: 90}),
        ({V11: 10}, {V11: 10, V12: 90}),
        ({V12: 10, V10: 20}, {V12: 10, V10: 20, V11: 70}),
        ({V12: 75, V11: 75}, {V12: 50, V11: 50}),
    ],
)
def test_what_named_versions_leave_goes_to_the_newest_of_the_others(
    shares: dict[Version, int], expected: dict[Version, int]
) -> None:
    assert traffic(rule_of(Routing({**BOTH, V12: frozenset({"A"})}, shares=shares))) == expected


def test_a_share_that_grows_takes_from_the_others_and_gives_them_nothing() -> None:
    small, large = (rule_of(Routing(BOTH, shares={V11: share})) for share in (10, 20))
    of_new = [{slot for slot in range(100) if rule.target(0, slot) == V11} for rule in (small, large)]
    assert of_new[0] < of_new[1]


def test_ten_percent_are_ten_percent() -> None:
    rule = rule_of(Routing(BOTH, shares={V11: 10}))
    uuids = [str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)) for number in range(10_000)]
    share = sum(rule.goes_to(a_command(uuid)) == V11 for uuid in uuids)
    assert abs(share - 1_000) < 4 * sqrt(10_000 * 0.1 * 0.9)


def test_the_order_key_decides_and_not_the_uuid() -> None:
    rule = rule_of(Routing(BOTH, shares={V11: 50}))
    slots = {rule.slot(a_command(f"u{number}", order_key="k")) for number in range(50)}
    assert slots == {bucket("k")}
    assert len({rule.slot(a_command(f"u{number}")) for number in range(50)}) > 20


# ---- pins


def test_a_pinned_context_goes_to_its_version() -> None:
    rule = rule_of(Routing(BOTH, shares={V11: 100}, pins={"app": V10, "web": V11}))
    assert [rule.slot(a_command(context=context)) for context in ("app", "web")] == [100, 101]
    assert rule.goes_to(a_command(context="app")) == V10
    assert rule.goes_to(a_command(context="app", major=1)) == V10
    assert rule.goes_to(a_command(context="other")) == V11
    assert not rule.even(0)


@pytest.mark.parametrize("version", [V12, V20], ids=["not there", "does not declare it"])
def test_a_pin_to_no_candidate_counts_for_nothing(version: Version) -> None:
    routing = Routing({**BOTH, V20: frozenset({"B"})}, shares={V10: 50}, pins={"app": version})
    rule = rule_of(routing)
    assert rule.slot(a_command(context="app")) == bucket("u")
    assert rule.goes_to(a_command(context="app")) == rule.goes_to(a_command())


def test_a_pin_to_another_major_counts_for_nothing() -> None:
    rule = rule_of(Routing({**BOTH, V20: frozenset({"A"})}, pins={"app": V20}))
    assert rule.goes_to(a_command(context="app", major=1)) == V11
    assert rule.goes_to(a_command(context="app", major=0)) == V20


def test_a_gated_version_gets_its_pinned_context_and_nothing_else() -> None:
    routing = Routing({V10: frozenset({"A"})}, {V11: frozenset({"A"})}, pins={"canary": V11})
    rule = rule_of(routing)
    assert rule.goes_to(a_command(context="canary")) == V11
    assert traffic(rule) == {V10: 100}
    alone = rule_of(Routing({}, {V11: frozenset({"A"})}, pins={"canary": V11}))
    assert (alone.goes_to(a_command(context="canary")), alone.goes_to(a_command())) == (V11, None)


# ---- workers


def test_who_is_barred() -> None:
    routing = Routing(
        {V10: frozenset({"A"})}, {V11: frozenset({"A"})}, held=frozenset({"n"}), drained=frozenset({"d"})
    )
    assert routing.bars_some
    assert routing.bars("d", (V10,))
    assert routing.bars("n", (V10,)), "others serve its version in earnest"
    assert routing.bars("n", ()), "it has not registered yet"
    assert not routing.bars("n", (V11,))
    assert not routing.bars("w", (V10,))
