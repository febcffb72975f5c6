"""Transcripts of the cursor in the tenant's event sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.clock import Instant
from zconnector.queue.commits import Commits
from zconnector.queue.cursor import Cursor

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def told(bench: Bench, *numbers: int) -> None:
    for number in numbers:
        bench.queue.sequenced(f"e{number}", number, bench.now)


def test_without_a_cursor_it_begins_at_the_latest_told_first(bench: Bench) -> None:
    assert bench.queue.cursor is None
    assert bench.queue.gap(41, bench.now) is None
    assert bench.queue.cursor == 41
    bench.passes(1)
    assert bench.queue.gap(41, bench.now) is None


def test_it_moves_over_what_is_stored(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    told(bench, 11, 12)
    assert bench.queue.cursor == 12
    told(bench, 15, 14, 14, 3)
    assert bench.queue.cursor == 12
    told(bench, 13)
    assert bench.queue.cursor == 15


def test_a_gap_is_fetched_after_200_ms(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    told(bench, 13, 14)
    assert bench.queue.gap(14, bench.now) is None
    bench.passes(0)
    assert bench.queue.deadline() == pytest.approx(bench.mono, abs=0.2001)
    bench.passes(0.19)
    assert bench.queue.gap(14, bench.now) is None
    bench.passes(0.011)
    assert bench.queue.gap(20, bench.now) == (10, 12)
    assert bench.queue.gap(20, bench.now) is None, "asked once"
    told(bench, 11, 12)
    bench.do(bench.queue.fetched(12, 20, 0, bench.now))
    assert bench.queue.cursor == 14
    assert bench.queue.gap(20, bench.now) == (14, 20), "the rest is missing for long enough already"


def test_what_arrives_in_time_is_never_fetched(bench: Bench) -> None:
    bench.queue.gap(0, bench.now)
    for number in range(1, 20):
        assert bench.queue.gap(number + 3, bench.now) is None
        bench.passes(0.1)
        told(bench, number)
    assert bench.queue.cursor == 19


def test_an_unanswered_fetch_is_asked_for_again(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    bench.queue.gap(12, bench.now)
    bench.passes(0.2)
    assert bench.queue.gap(12, bench.now) == (10, 12)
    bench.passes(0.9)
    assert bench.queue.gap(12, bench.now) is None
    bench.passes(0.1)
    assert bench.queue.gap(12, bench.now) == (10, 12)


def test_an_answer_that_brings_nothing_is_not_asked_for_at_once(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    bench.queue.gap(12, bench.now)
    bench.passes(0.2)
    assert bench.queue.gap(12, bench.now) == (10, 12)
    bench.do(bench.queue.fetched(10, 12, 0, bench.now))
    assert bench.queue.gap(12, bench.now) is None


def test_what_retention_dropped_is_counted_and_passed(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    bench.queue.gap(30, bench.now)
    bench.passes(0.2)
    assert bench.queue.gap(30, bench.now) == (10, 30)
    for seq in range(26, 31):
        bench.queue.sequenced(f"e{seq}", seq, bench.now)
    bench.do(bench.queue.fetched(30, 30, 15, bench.now))
    assert bench.queue.cursor == 30
    assert bench.queue.depths()["missed"] == 15


def test_what_was_dropped_on_the_way_of_an_answer_is_asked_for_again(bench: Bench) -> None:
    """The answer says how far the member read; of what it sent only a part has come."""
    bench.queue.gap(10, bench.now)
    bench.queue.gap(30, bench.now)
    bench.passes(0.2)
    assert bench.queue.gap(30, bench.now) == (10, 30)
    for seq in range(11, 21):
        bench.queue.sequenced(f"e{seq}", seq, bench.now)
    bench.do(bench.queue.fetched(30, 30, 0, bench.now))
    assert bench.queue.cursor == 20
    assert bench.queue.gap(30, bench.now) == (20, 30)


def test_it_survives_a_restart_and_never_runs_ahead_of_the_events(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    bench.publish(bench.event("e11", seq=11))
    told(bench, 11, 13)
    bench.passes(0)
    bench.restart()
    assert bench.queue.cursor == 11
    bench.held = True
    bench.publish(bench.event("e12", seq=12))
    bench.restart()
    assert bench.queue.cursor == 11


def test_it_is_stored_without_an_event_to_ride_with(bench: Bench) -> None:
    bench.queue.gap(10, bench.now)
    told(bench, 11)
    assert bench.queue.deadline() == 0.0, "overdue"
    bench.do(bench.queue.tick(bench.now))
    bench.restart()
    assert bench.queue.cursor == 11


@given(st.permutations(range(1, 30)), st.integers(0, 29))
def test_any_order_leads_to_the_same_cursor(order: list[int], told_so_far: int) -> None:
    cursor = Cursor(Commits())
    now = Instant(1.0, 1)
    cursor.gap(0, now)
    for number in order[:told_so_far]:
        cursor.sequenced(number, now)
    seen = set(order[:told_so_far])
    expected = next(number for number in range(30) if number + 1 not in seen)
    assert cursor.value == expected
