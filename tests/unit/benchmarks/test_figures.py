"""Percentiles and ratios of the benches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.figures import latency, percentile, ratio

times = st.lists(st.floats(0.0001, 10.0), min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("percent", "expected"), [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (99.5, 100.0), (100, 100.0)]
)
def test_of_a_hundred_times_it_is_that_many_th(percent: float, expected: float) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], percent) == expected


@given(times, st.floats(0, 100))
def test_it_is_a_measured_time_and_that_share_is_not_above_it(some: list[float], percent: float) -> None:
    found = percentile(some, percent)
    assert found in some
    assert sum(time <= found for time in some) >= len(some) * percent / 100
    if found > min(some):
        assert sum(time < found for time in some) < len(some) * percent / 100


def test_one_slow_command_of_a_hundred_and_one_is_not_the_p99_and_two_are() -> None:
    assert latency([0.001] * 100 + [1.0])["p99_ms"] == 1.0
    assert latency([0.001] * 99 + [1.0] * 2)["p99_ms"] == 1000.0


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentage_that_is_none(percent: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        percentile([1.0], percent)


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        latency([])


def test_a_ratio_is_of_medians() -> None:
    assert ratio([10.0, 20.0, 1000.0], [5.0, 10.0, 0.1]) == 4.0


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0]), ([1.0], []), ([1.0], [0.0])])
def test_a_ratio_to_nothing_is_none(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="no ratio"):
        ratio(ours, theirs)
