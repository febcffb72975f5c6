"""The token bucket."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from zconnector.shoset.pace import Bucket


@given(
    st.floats(0, 1e7),
    st.sampled_from([0.5, 500.0, 625.0, 2_000.0, 20_000.0]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(1, 300)), min_size=1, max_size=5),
    st.sampled_from([0.0, 1.0]),
)
@example(1000.0, 2_000.0, [(0.0, 256), (0.0, 2), (0.001, 0)], 0.0)
def test_at_the_time_that_it_names_there_are_so_many_tokens(
    begin: float, rate: float, spent: list[tuple[float, int]], level: float
) -> None:
    """A hair too few made a core ask for the same time again and again."""
    now = begin
    bucket = Bucket(rate, 256, now)
    for pause, count in spent:
        now += pause
        bucket.level(now)
        bucket.spend(count, now)
    ready = bucket.ready_at(level)
    assert bucket.level(max(ready, now)) >= level
