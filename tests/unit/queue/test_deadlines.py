"""Times by key, against a dict that is sorted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.queue.deadlines import Deadlines


def test_each_key_is_due_once_at_its_latest_time() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.put("a", 5.0)
    deadlines.put("b", 3.0)
    deadlines.put("a", 1.0)
    assert deadlines.first() == 1.0
    assert deadlines.due(2.0) == ["a"]
    assert deadlines.due(10.0) == ["b"]
    assert deadlines.first() is None


def test_what_is_dropped_is_never_due() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.put("a", 1.0)
    deadlines.drop("a")
    deadlines.drop("never there")
    assert deadlines.first() is None
    deadlines.put("a", 1.0)
    assert deadlines.due(1.0) == ["a"]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 20), st.integers(0, 100)),
        st.tuples(st.just("drop"), st.integers(0, 20), st.just(0)),
        st.tuples(st.just("due"), st.integers(0, 100), st.just(0)),
    ),
    max_size=300,
)


@given(steps)
def test_it_is_a_dict_that_is_sorted(steps: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    model: dict[int, int] = {}
    for step, first, second in steps:
        if step == "put":
            deadlines.put(first, float(second))
            model[first] = second
        elif step == "drop":
            deadlines.drop(first)
            model.pop(first, None)
        else:
            due = deadlines.due(float(first))
            assert sorted(due) == sorted(key for key, at in model.items() if at <= first)
            times = [model.pop(key) for key in due]
            assert times == sorted(times), "the earliest first"
        assert deadlines.first() == min(model.values(), default=None)
        assert len(deadlines) == len(model)
        assert len(deadlines._heap) <= 2 * len(model) + 64
