"""The serial try: each row of its table, the shares of its routes, and the order in which they are tried."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zconnector.errors import Reason
from zconnector.shoset.dispatch import BURST, Burst, SerialTry, Verdict


def a_try(routes: str = "abc", budget: float = 3.0, *, first: str | None = None) -> SerialTry[str]:
    """A try over routes in the order in which they are written."""
    return SerialTry.over(list(routes), budget, 0.0, first)


def bursts(routes: str, count: int, rng: random.Random, first: str | None = None) -> Iterator[str]:
    """The routes of one try in each of so many bursts, in the order in which it tries them."""
    burst: Burst[str] = Burst(rng)
    for number in range(count):
        now = 2 * BURST * number
        yield "".join(SerialTry.over(burst.order(list(routes), now), 1.0, now, first).routes)


# ---- order

_CRITICAL_5_DEGREES = 20.515
"""Chi-square that 5 degrees of freedom exceed with probability 0.001."""


def chi_square(counts: Counter[Any], outcomes: int, draws: int) -> float:
    expected = draws / outcomes
    return sum((count - expected) ** 2 for count in counts.values()) / expected + expected * (
        outcomes - len(counts)
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_order_is_uniform(seed: int) -> None:
    rng = random.Random(seed)
    draws = 6_000
    counts = Counter(bursts("abc", draws, rng))
    assert set(counts) == {"".join(order) for order in permutations("abc")}
    assert chi_square(counts, 6, draws) < _CRITICAL_5_DEGREES


def test_the_order_behind_a_leading_route_is_uniform_too() -> None:
    rng = random.Random(7)
    draws = 6_000
    counts = Counter(bursts("abcd", draws, rng, first="d"))
    assert {order[0] for order in counts} == {"d"}
    assert chi_square(counts, 6, draws) < _CRITICAL_5_DEGREES


def test_the_test_of_uniformity_notices_a_bias() -> None:
    """The classic wrong shuffle: swap each place with any place."""
    rng, counts = random.Random(1), Counter[str]()
    for _ in range(6_000):
        order = list("abc")
        for place in range(3):
            other = rng.randrange(3)
            order[place], order[other] = order[other], order[place]
        counts["".join(order)] += 1
    assert chi_square(counts, 6, 6_000) > _CRITICAL_5_DEGREES


def test_the_orders_of_successive_bursts_do_not_depend_on_each_other() -> None:
    rng, draws = random.Random(5), 12_000
    orders = [order[0] for order in bursts("abc", draws + 1, rng)]
    pairs = Counter(pairwise(orders))
    assert chi_square(pairs, 9, draws) < 26.125  # 8 degrees of freedom, p = 0.001


def test_a_burst_keeps_its_order_as_long_as_it_has_the_same_routes() -> None:
    burst: Burst[str] = Burst(random.Random(3))
    routes = list("abcdefgh")
    first = burst.order(routes, 0.0)
    assert sorted(first) == routes
    assert burst.order(routes, BURST * 0.9) == first
    assert burst.order(routes[::-1], BURST * 0.9) == first, "they are the same, however they are given"
    assert burst.order(routes, BURST) != first


def test_a_burst_notices_that_a_route_has_gone_also_from_the_list_it_was_given() -> None:
    burst: Burst[str] = Burst(random.Random(3))
    routes = list("abc")
    order = burst.order(routes, 0.0)
    order.clear()
    assert sorted(burst.order(routes, 0.0)) == routes, "the order given is the caller's own"
    routes.remove("b")
    assert sorted(burst.order(routes, 0.0)) == ["a", "c"]
    assert sorted(burst.order(["a", "d"], 0.0)) == ["a", "d"]


def test_a_leading_route_that_is_none_of_them_changes_nothing() -> None:
    assert a_try("abc", first="z").routes == ["a", "b", "c"]


# ---- shares


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_route_has_t_over_n(count: int) -> None:
    serial = a_try("abcdefg"[:count], budget=3.0)
    now = 0.0
    for number in range(count):
        assert serial.next(now) is not None
        assert not serial.due(now)
        assert serial.current_ends == pytest.approx(3.0 * (number + 1) / count)
        assert not serial.due(serial.current_ends - 1e-6)
        now = serial.current_ends
        assert serial.due(now)
    assert serial.next(now) is None
    assert now == pytest.approx(3.0)


def test_a_share_never_outlasts_the_budget() -> None:
    serial = a_try("ab", budget=1.0)
    serial.next(0.9)  # the tick came late
    assert serial.current_ends == 1.0


def test_nothing_is_tried_once_the_budget_is_over() -> None:
    serial = a_try("ab", budget=1.0)
    assert serial.next(1.0) is None
    assert serial.exhausted is Verdict.NOT_SENT


def test_a_try_without_routes_is_over_at_once() -> None:
    serial = a_try("")
    assert serial.next(0.0) is None
    assert serial.exhausted is Verdict.NOT_SENT


def test_with_two_of_three_silent_the_third_is_reached_within_two_thirds() -> None:
    for order in permutations("abc"):
        serial = a_try("".join(order), budget=3.0)
        now, route = 0.0, serial.next(0.0)
        while route != "c":
            now = serial.current_ends
            assert serial.due(now)
            route = serial.next(now)
        assert now <= 2.0 + 1e-9


# ---- the table


def test_no_route_moves_on_at_once() -> None:
    serial = a_try("ab")
    assert serial.next(0.0) == "a"
    assert serial.declined("a", Reason.TARGET_AWAY, "away")
    assert serial.next(0.1) == "b"
    assert serial.current_ends == pytest.approx(0.1 + 1.5), "the share of a route is its own"


def test_lost_moves_on_at_once() -> None:
    serial = a_try("ab")
    serial.next(0.0)
    assert serial.lost("a")
    assert serial.next(0.1) == "b"


def test_a_route_that_goes_before_its_turn_is_not_tried() -> None:
    serial = a_try("abc")
    serial.next(0.0)
    assert not serial.lost("b")
    assert serial.declined("a", Reason.BUSY, "")
    assert serial.next(0.0) == "c"
    assert serial.tried == ("a", "c")


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ("declined declined declined", Verdict.NOT_SENT),
        ("declined lost declined", Verdict.UNKNOWN),
        ("lost declined declined", Verdict.UNKNOWN),
        ("declined declined silent", Verdict.UNKNOWN),
        ("silent declined declined", Verdict.UNKNOWN),
        ("silent silent silent", Verdict.UNKNOWN),
        ("lost lost lost", Verdict.UNKNOWN),
    ],
)
def test_not_sent_only_when_nobody_is_in_doubt(ends: str, verdict: Verdict) -> None:
    serial = a_try("abc")
    now = 0.0
    for end in ends.split():
        route = serial.next(now)
        assert route is not None
        if end == "declined":
            assert serial.declined(route, Reason.TARGET_AWAY, "away")
        elif end == "lost":
            assert serial.lost(route)
        else:
            now = serial.current_ends
            assert serial.due(now)
    assert serial.next(now) is None
    assert serial.exhausted is verdict


def test_the_last_reason_is_kept() -> None:
    serial = a_try("ab")
    serial.next(0.0)
    serial.declined("a", Reason.NO_CLUSTER, "one")
    serial.next(0.0)
    serial.declined("b", Reason.TARGET_AWAY, "two")
    assert (serial.last_reason, serial.last_detail) == (Reason.TARGET_AWAY, "two")


# ---- late answers of routes that were in doubt


def silent(serial: SerialTry[str], count: int) -> None:
    now = 0.0
    for _ in range(count):
        serial.next(now)
        now = serial.current_ends
        assert serial.due(now)
    serial.next(now)


def test_a_late_no_route_takes_its_route_out_of_doubt() -> None:
    serial = a_try("ab")
    silent(serial, 1)
    assert not serial.declined("a", Reason.TARGET_AWAY, "late"), "and does not touch the current route"
    assert serial.current == "b"
    assert serial.declined("b", Reason.TARGET_AWAY, "")
    assert serial.next(1.6) is None
    assert serial.exhausted is Verdict.NOT_SENT


def test_a_no_route_said_twice_speaks_for_one_route_only() -> None:
    """Otherwise NOT_SENT is said of a command that `b` may have handed on, and the sender sends a new one."""
    serial = a_try("abc")
    silent(serial, 2)
    serial.declined("a", Reason.TARGET_AWAY, "")
    serial.declined("a", Reason.TARGET_AWAY, "the same again")
    assert serial.declined("c", Reason.TARGET_AWAY, "")
    assert serial.next(2.5) is None
    assert serial.exhausted is Verdict.UNKNOWN


def test_a_no_route_of_one_that_was_not_in_doubt_clears_nobody_else() -> None:
    serial = a_try("abc")
    serial.next(0.0)
    assert serial.declined("a", Reason.BUSY, "")
    serial.next(0.0)
    assert serial.due(serial.current_ends)
    serial.next(1.0)
    assert not serial.declined("a", Reason.TARGET_AWAY, "its own copy, late")
    assert serial.declined("c", Reason.TARGET_AWAY, "")
    assert serial.next(1.1) is None
    assert serial.exhausted is Verdict.UNKNOWN


def test_a_no_route_of_one_that_was_never_tried_changes_nothing() -> None:
    serial = a_try("ab")
    silent(serial, 1)
    assert not serial.declined("z", Reason.TARGET_AWAY, "")
    assert serial.declined("b", Reason.TARGET_AWAY, "")
    assert serial.next(1.6) is None
    assert serial.exhausted is Verdict.UNKNOWN


_EVENTS = st.lists(
    st.tuples(st.sampled_from(["declined", "lost", "due"]), st.sampled_from("abcd"), st.floats(0, 0.5)),
    max_size=40,
)


@settings(max_examples=300)
@given(_EVENTS)
def test_whatever_happens_not_sent_means_that_no_route_is_in_doubt(
    events: list[tuple[str, str, float]],
) -> None:
    """Held against a model that knows of each route what it last said."""
    serial = a_try("abcd", budget=4.0)
    doubt: dict[str, bool] = {}
    now, route = 0.0, serial.next(0.0)
    for event, name, passed in events:
        now += passed
        current = serial.current
        if event == "declined":
            serial.declined(name, Reason.TARGET_AWAY, "")
            if name == current or name in doubt:
                doubt[name] = False
        elif event == "lost":
            serial.lost(name)
            if name == current:
                doubt[name] = True
        elif event == "due" and serial.due(now) and current is not None:
            doubt[current] = True
        if serial.current is None:
            route = serial.next(now)
            if route is None:
                break
        assert serial.current is not None
        assert serial.current not in serial.routes
        assert len(set(serial.tried)) == len(serial.tried), "no route is tried twice"
    if serial.current is None:
        assert (serial.exhausted is Verdict.UNKNOWN) == any(doubt.values())


# ---- places


def test_a_route_without_a_place_is_passed_over_and_tried_once_it_has_one() -> None:
    serial = a_try("abc")
    assert serial.next(0.0, lambda route: route != "a") == "b"
    assert serial.declined("b", Reason.TARGET_AWAY, "")
    assert serial.next(0.0) == "a"


def test_when_none_that_is_left_has_a_place_it_is_as_if_they_were_busy() -> None:
    serial = a_try("abc")
    assert serial.next(0.0) == "a"
    assert serial.due(1.0)
    assert serial.next(1.0, lambda route: False) is None
    assert (serial.busy, serial.last_reason) == (("b", "c"), Reason.BUSY)
    assert serial.exhausted is Verdict.UNKNOWN


def test_a_route_that_said_busy_and_is_lost_is_none() -> None:
    serial = a_try("ab")
    serial.next(0.0)
    serial.declined("a", Reason.BUSY, "")
    assert serial.busy == ("a",)
    assert not serial.lost("a")
    assert not serial.busy
