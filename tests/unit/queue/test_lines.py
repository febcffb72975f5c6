"""Where commands and waiters of one name meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.actions import Caller
from zconnector.queue.lines import Line, Waiter

pushes = st.lists(st.tuples(st.integers(-2, 2), st.integers(1, 50)), unique_by=lambda item: item[1])


def a_waiter(order: int, major: int = 0) -> Waiter:
    return Waiter(Caller(b"c", order), "i", "BUILD", major, "w", None, order)


@given(pushes, st.integers(-2, 2), st.sets(st.integers(1, 50)))
def test_take_is_the_oldest_that_fits_and_is_ready(
    commands: list[tuple[int, int]], major: int, gone: set[int]
) -> None:
    line = Line()
    for number, key in commands:
        line.push(number, key)
    fitting = [
        key for number, key in commands if key not in gone and (0 in (number, major) or number == major)
    ]
    for expected in [*sorted(fitting), None]:
        assert line.take(major, lambda key: key not in gone) == expected


@given(st.lists(st.integers(-2, 2), max_size=8), st.integers(-2, 2))
def test_first_is_who_waits_longest_among_those_that_fit(majors: list[int], major: int) -> None:
    line = Line()
    waiters = [a_waiter(order, number) for order, number in enumerate(majors)]
    for waiter in waiters:
        line.park(waiter)
    fitting = [waiter for waiter in waiters if 0 in (waiter.major, major) or waiter.major == major]
    assert line.first(major) is (fitting[0] if fitting else None)
    for waiter in waiters:
        line.leave(waiter)
    assert line.empty


def test_a_command_given_back_takes_its_old_place() -> None:
    line = Line()
    for key in (1, 2, 3):
        line.push(0, key)
    assert line.take(0, lambda key: True) == 1
    line.push(0, 1)
    assert [line.take(0, lambda key: True) for _ in range(4)] == [1, 2, 3, None]
    assert line.empty
