"""The index of retained events, against a plain sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.queue.lanes import Lane, LaneKey, Lanes, lanes_of

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


@given(st.lists(st.one_of(st.sampled_from("aab"), st.integers(0, 9)), max_size=40), st.integers(-1, 45))
def test_lanes_come_and_go_with_their_keys(script: list[str | int], position: int) -> None:
    lanes, stand = Lanes(), dict[int, str]()
    for number, step in enumerate(script):
        if isinstance(step, str):
            lanes.append(lanes_of("t", step, "r"), number)
            stand[number] = step
        elif stand:
            gone = list(stand)[step % len(stand)]
            lanes.remove(lanes_of("t", stand.pop(gone), "r"), gone)
    for event in ("a", "b", None):
        keys = [key for key, name in stand.items() if event in (name, None)]
        assert (("t", event, "r") in lanes) == bool(keys)
        for reference in ("", "r"):
            first = next((key for key in keys if key > position), None)
            assert lanes.after(("t", event, reference), position) == first
    assert len(lanes) == 2 * (len(set(stand.values())) + bool(stand))


def test_the_lanes_of_an_event() -> None:
    assert lanes_of("t", "e", "") == (LaneKey("t", "e", ""), LaneKey("t", None, ""))
    assert set(lanes_of("t", "e", "r")) == {
        LaneKey("t", "e", ""),
        LaneKey("t", None, ""),
        LaneKey("t", "e", "r"),
        LaneKey("t", None, "r"),
    }
