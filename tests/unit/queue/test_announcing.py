"""What a part of the queue comes to wait for is announced: the bench holds it to that after every step.

Here are the steps that no other transcript has as its own.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.support.agendas import hold_queue
from tests.unit.queue.conftest import Bench
from tests.unit.queue.test_dead import kill

HOUR = 3_600_000


def under_two_clocks(bench: Bench) -> None:
    """Two events, the second of which goes earlier: it was stored when the clock was an hour back."""
    bench.publish(bench.event("e1"), outbox=True)
    bench.wall -= HOUR
    bench.publish(bench.event("e2"), outbox=True)
    bench.wall += HOUR
    bench.restart()
    hold_queue(bench.queue)


def test_the_event_behind_one_that_is_dropped_may_go_earlier(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=2)
    under_two_clocks(bench)
    before = bench.queue.agenda.at
    bench.publish(bench.event("e3"))
    after = bench.queue.agenda.at
    assert after < before


def test_the_entry_behind_one_that_is_confirmed_may_go_earlier(bench: Bench) -> None:
    under_two_clocks(bench)
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    hold_queue(bench.queue)
    assert bench.queue.agenda.at < bench.mono + bench.settings.event_retention - HOUR / 1000 + 1


def test_an_entry_that_is_damaged_is_given_up_now(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    bench.restart()
    hold_queue(bench.queue)
    bench.disk.damaging = True
    assert bench.outbox() == []
    hold_queue(bench.queue)
    assert bench.queue.agenda.at == bench.mono


def test_an_entry_that_nobody_takes_waits_for_its_retention(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    assert bench.outbox() == ["e1"]
    hold_queue(bench.queue)
    assert bench.queue.agenda.at == bench.mono + bench.settings.event_retention


def test_of_letters_that_are_stored_one_too_many_goes_at_once(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_dead=1)
    kill(bench, "c1")
    kill(bench, "c2")
    assert bench.queue.depths()["dead"]["count"] == 2
    hold_queue(bench.queue)
    assert bench.queue.agenda.at <= bench.mono
    bench.tick()
    assert bench.queue.depths()["dead"]["count"] == 1


def test_a_command_that_could_not_be_buried_is_tried_again(bench: Bench) -> None:
    bench.offer(bench.command("c1", ttl=1_000))
    bench.full = True
    hold_queue(bench.queue)
    bench.passes(1.0)
    hold_queue(bench.queue)
    assert bench.queue.agenda.at <= bench.mono + 1.0
    bench.full = False
    bench.passes(1.5)
    assert bench.queue.depths()["dead"]["count"] == 1
