"""When a command is tried again."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import wishes
from zconnector.messages.retry import RetryPolicy, broken_rule


@given(wishes, st.integers(1, 1000), st.integers())
def test_a_pause_is_half_to_all_of_what_it_has_grown_to(
    wish: dict[str, float], attempt: int, seed: int
) -> None:
    assert broken_rule(wish) == ""
    policy = RetryPolicy().over(wish)
    whole = Fraction(policy.first)
    for _ in range(attempt - 1):
        if whole >= policy.limit or policy.factor == 1 or not whole:
            break
        whole *= Fraction(policy.factor)
    whole = min(whole, Fraction(policy.limit))
    least, most = float(whole / 2) * (1 - 1e-9) - 1, float(whole) * (1 + 1e-9) + 1
    assert least <= policy.pause(attempt, random.Random(seed)) <= most


def test_the_default_doubles_from_a_second_to_a_hundred() -> None:
    class Most(random.Random):
        def random(self) -> float:
            return 1.0

    pauses = [RetryPolicy().pause(attempt, Most()) for attempt in range(1, 10)]
    assert pauses == [1000, 2000, 4000, 8000, 16000, 32000, 64000, 100_000, 100_000]


def test_a_wish_goes_over_a_policy_key_by_key_and_equal_policies_are_one() -> None:
    policy = RetryPolicy().over({"first": 50}).over({"attempts": 7})
    assert policy == RetryPolicy(attempts=7, first=50)
    assert policy is RetryPolicy(attempts=7).over({"first": 50})


@pytest.mark.parametrize(
    ("wish", "rule"),
    [
        ([], "retry must be an object, not list"),
        ({"attempts": 0}, "retry.attempts must be an int from 1 to 1,000 (got 0)"),
        ({"attempts": True}, "retry.attempts must be an int from 1 to 1,000 (got True)"),
        ({"factor": 11}, "retry.factor must be a number from 1 to 10 (got 11)"),
        ({"factor": float("nan")}, "retry.factor must be a number from 1 to 10 (got nan)"),
        ({"first": 1.5}, "retry.first must be an int from 0 to 2,592,000,000 (got 1.5)"),
        ({"limit": -1}, "retry.limit must be an int from 0 to 2,592,000,000 (got -1)"),
        ({"tries": 3}, "retry has no 'tries'; there are attempts, first, factor, limit"),
    ],
)
def test_a_broken_wish_is_told_with_its_rule(wish: object, rule: str) -> None:
    assert broken_rule(wish) == rule
