"""One heap of alarms against a plain dict of times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.alarms import Alarms

steps = st.lists(
    st.tuples(st.sampled_from(["set", "cancel", "due"]), st.integers(0, 5), st.integers(0, 20)), max_size=200
)


@given(steps)
def test_what_is_due_is_what_was_set_and_not_called_off(steps: list[tuple[str, int, int]]) -> None:
    alarms: Alarms[int] = Alarms()
    times: dict[int, float] = {}
    for what, key, at in steps:
        if what == "set":
            alarms.set(key, at)
            times[key] = at
        elif what == "cancel":
            alarms.cancel(key)
            times.pop(key, None)
        else:
            rung = alarms.due(at)
            assert sorted(rung) == sorted(key for key, time in times.items() if time <= at)
            assert [times[key] for key in rung] == sorted(times[key] for key in rung)
            for key in rung:
                del times[key]
        assert len(alarms) == len(times)
        assert alarms.deadline() == min(times.values(), default=None)


def test_what_was_called_off_does_not_pile_up() -> None:
    alarms: Alarms[int] = Alarms()
    alarms.set(-1, 1e9)
    for key in range(10_000):
        alarms.set(key, 1e6 + key)
        alarms.cancel(key)
    assert len(alarms._heap) < 200


def test_many_that_are_due_at_once_come_in_parts() -> None:
    alarms: Alarms[int] = Alarms()
    for key in range(1_200):
        alarms.set(key, 1.0)
    parts = []
    while (at := alarms.deadline()) is not None and at <= 2.0:
        parts.append(len(alarms.due(2.0)))
    assert parts == [500, 500, 200]


def test_of_one_time_the_first_that_was_set_rings_first() -> None:
    alarms: Alarms[str] = Alarms()
    for key in ("c", "a", "b", "c"):
        alarms.set(key, 1.0)
    for number in range(100):  # the heap is built anew on the way
        alarms.set("d", 1.0 + number)
    alarms.set("d", 1.0)
    assert alarms.due(1.0) == ["a", "b", "c", "d"]


def test_one_by_one_what_is_set_or_called_off_on_the_way_counts() -> None:
    alarms: Alarms[str] = Alarms()
    for key in ("a", "b", "c"):
        alarms.set(key, 1.0)
    rung = []
    while (first := alarms.pop(2.0)) is not None:
        rung.append(first)
        if first == "a":
            alarms.cancel("b")
            alarms.set("d", 1.5)
            alarms.set("e", 2.5)
    assert rung == ["a", "c", "d"]
    assert alarms.deadline() == 2.5
