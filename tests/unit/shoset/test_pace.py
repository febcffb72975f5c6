"""Buckets: what is taken within any time, what may be owed, and when it is paid."""

from __future__ import annotations

from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.settings import SessionSettings
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT, Bucket

RATES = st.floats(0.1, 50_000.0)
BURSTS = st.integers(1, 2_000)
TIMES = st.floats(0.0, 1e6)
STEPS = st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(1, 300)), max_size=60)
"""Seconds that pass, then a count that is asked for."""


@given(RATES, BURSTS, TIMES, STEPS)
def test_within_any_time_no_more_is_taken_than_a_burst_and_the_rate(
    rate: float, burst: int, begin: float, steps: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate, burst, begin)
    now = begin
    taken: list[tuple[float, int]] = []
    for seconds, count in steps:
        now += seconds
        if bucket.take(count, now):
            taken.append((now, count))
    for first, (since, _) in enumerate(taken):
        total = 0
        for until, count in taken[first:]:
            total += count
            assert total <= burst + rate * (until - since) + 1e-3


@given(RATES, BURSTS, TIMES, STEPS)
def test_who_waits_until_it_is_ready_gets_it_and_not_before(
    rate: float, burst: int, begin: float, steps: list[tuple[float, int]]
) -> None:
    bucket = Bucket(rate, burst, begin)
    now = begin
    for seconds, count in steps:
        now += seconds
        wanted = min(count, burst)
        bucket.spend(count, now)
        ready = bucket.ready_at(wanted)
        assert ready >= now
        early = ready - 1e-6 - 1e-3 / rate
        if early > now:
            assert not copy(bucket).take(wanted, early)
        assert bucket.take(wanted, ready), "who was told this time would be told it again, for ever"
        now = ready


@given(RATES, BURSTS, TIMES, st.integers(0, 5_000), st.floats(0.0, 100.0))
def test_what_is_spent_may_be_owed_and_is_paid_at_the_rate(
    rate: float, burst: int, begin: float, count: int, seconds: float
) -> None:
    bucket = Bucket(rate, burst, begin)
    bucket.spend(count, begin)
    assert bucket.level(begin) == burst - count
    expected = min(burst, burst - count + rate * seconds)
    assert bucket.level(begin + seconds) == pytest.approx(expected, rel=1e-6, abs=rate * 1e-9 + 1e-6)


@given(RATES, BURSTS, st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=20))
def test_time_that_does_not_move_or_goes_back_gives_nothing(
    rate: float, burst: int, times: list[float]
) -> None:
    bucket = Bucket(rate, burst, 1000.0)
    bucket.spend(burst + 1, 1000.0)
    for now in (1000.0, *times):
        assert bucket.level(now) == -1
        assert not bucket.take(1, now)


def test_after_any_time_there_is_no_more_than_a_burst() -> None:
    bucket = Bucket(10.0, 5, 0.0)
    assert bucket.level(1e9) == 5
    assert not bucket.take(6, 2e9)
    assert bucket.take(5, 2e9)
    assert not bucket.take(1, 2e9)


def test_what_is_there_is_ready_now() -> None:
    bucket = Bucket(10.0, 5, 7.0)
    assert bucket.ready_at(5) == 7.0
    assert bucket.ready_at(-3) == 7.0
    bucket.spend(10, 7.0)
    assert bucket.ready_at(0.0) == 7.5


def test_who_uses_all_its_places_at_once_is_within_its_burst() -> None:
    """So that nobody who keeps to its places is made to wait for credit."""
    session = SessionSettings()
    bucket = Bucket(session.rate, session.burst, 0.0)
    assert bucket.take(COMMANDS_IN_FLIGHT, 0.0)
