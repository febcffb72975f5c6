"""The index of retained events, against a plain sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.queue.lanes import Lane, LaneKey, lanes_of

steps = st.lists(st.one_of(st.just("append"), st.integers(0, 99).map(lambda n: ("remove", n))), max_size=120)


@given(steps, st.integers(-1, 130))
def test_like_a_sorted_list(script: list[str | tuple[str, int]], position: int) -> None:
    lane, keys, last = Lane(), [], 0
    for step in script:
        if step == "append":
            last += 1
            lane.append(last)
            keys.append(last)
        elif keys:
            lane.remove(keys.pop(int(step[1]) % len(keys)))
        assert len(lane) == len(keys)
    assert lane.after(position) == next((key for key in keys if key > position), None)


@given(st.integers(0, 200), st.integers(0, 200))
def test_oldest_out_over_a_long_life(count: int, position: int) -> None:
    lane = Lane()
    for key in range(count):
        lane.append(key)
    for key in range(count // 2):
        lane.remove(key)
    expected = max(position + 1, count // 2)
    assert lane.after(position) == (expected if expected < count else None)


def test_the_lanes_of_an_event() -> None:
    assert lanes_of("t", "e", "") == (LaneKey("t", "e", ""), LaneKey("t", None, ""))
    assert set(lanes_of("t", "e", "r")) == {
        LaneKey("t", "e", ""),
        LaneKey("t", None, ""),
        LaneKey("t", "e", "r"),
        LaneKey("t", None, "r"),
    }
