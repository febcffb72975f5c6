"""A reader of one message at a time says what reached it: what was lost comes again, nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench

Lose = Callable[["Bench"], None]


def nothing(bench: Bench) -> None:
    """Only the connection broke."""


def killed(bench: Bench) -> None:
    """The router died after the hand-over was on the disk."""
    bench.restart()


either = pytest.mark.parametrize("lose", [nothing, killed])


@either
def test_a_command_lost_on_the_way_is_handed_out_again(bench: Bench, lose: Lose) -> None:
    iterator, other = bench.iterator(), bench.iterator()
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    assert bench.got(bench.wait(iterator, seen="")) == "u1"
    assert bench.got(bench.wait(other, seen="")) == "u2"
    lose(bench)
    assert bench.got(bench.wait(iterator, seen="")) == "u1"
    assert bench.state() == {"LEASED": 2}  # what another iterator holds is another's
    assert bench.got(bench.wait(iterator)) is None  # who says nothing may still work on it
    assert bench.state() == {"LEASED": 2}


def test_the_command_may_go_to_who_waits_longest(bench: Bench) -> None:
    iterator, other = bench.iterator(), bench.iterator()
    bench.offer(bench.command("u1"))
    bench.wait(iterator, seen="")
    waiting = bench.wait(other, seen="")
    again = bench.wait(iterator, seen="")
    assert (bench.got(waiting), bench.got(again)) == ("u1", None)


def test_an_older_wait_of_the_iterator_ends(bench: Bench) -> None:
    iterator = bench.iterator()
    stale = bench.wait(iterator, seen="")
    fresh = bench.wait(iterator, seen="")
    assert bench.got(stale) == "REPLACED"
    bench.offer(bench.command("u1"))
    assert bench.got(fresh) == "u1"
    bench.cancel(stale)  # the server notices at last: the command in work is not its
    assert bench.state() == {"LEASED": 1}


def test_a_completion_under_way_is_not_disturbed(bench: Bench) -> None:
    iterator = bench.iterator()
    bench.offer(bench.command("u1"))
    bench.wait(iterator, seen="")
    bench.held = True
    bench.complete("u1")
    again = bench.wait(iterator, seen="")
    bench.settle()
    assert bench.state() == {"DONE": 1}
    assert bench.got(again) is None


def with_events(bench: Bench, *uuids: str) -> None:
    for uuid in uuids:
        bench.publish(bench.event(uuid))


@either
def test_an_event_lost_on_the_way_is_shown_again(bench: Bench, lose: Lose) -> None:
    iterator = bench.iterator("event")
    first = bench.listen(iterator, seen="")
    with_events(bench, "e1", "e2", "e3")
    assert bench.got(first) == "e1"
    assert bench.got(bench.listen(iterator, seen="e1")) == "e2"
    lose(bench)
    assert bench.got(bench.listen(iterator, seen="e1")) == "e2"
    assert bench.got(bench.listen(iterator, seen="e2")) == "e3"
    assert bench.got(bench.listen(iterator, seen="e3")) is None


@either
def test_the_first_event_lost_on_the_way_is_shown_again(bench: Bench, lose: Lose) -> None:
    with_events(bench, "e0")
    iterator = bench.iterator("event")
    first = bench.listen(iterator, seen="")
    with_events(bench, "e1", "e2")
    assert bench.got(first) == "e1"
    lose(bench)
    assert bench.got(bench.listen(iterator, seen="")) == "e1"  # and not e0, which was before its time


def test_an_event_that_arrived_is_not_shown_again_when_the_router_forgot(bench: Bench) -> None:
    """It died between the hand-over and the commit of the position."""
    iterator = bench.iterator("event")
    first = bench.listen(iterator, seen="")
    with_events(bench, "e1")
    assert bench.got(first) == "e1"
    bench.held = True
    with_events(bench, "e2", "e3")
    bench.settle(2)
    bench.listen(iterator, seen="e1")
    bench.held = False
    bench.restart()
    assert bench.got(bench.listen(iterator, seen="e2")) == "e3"


def test_an_event_that_nobody_has_any_more_changes_nothing(bench: Bench) -> None:
    iterator = bench.iterator("event")
    bench.listen(iterator, seen="")
    with_events(bench, "e1", "e2")
    assert bench.got(bench.listen(iterator, seen="e9")) == "e2"


def test_an_older_wait_for_events_ends(bench: Bench) -> None:
    iterator = bench.iterator("event")
    stale = bench.listen(iterator, seen="")
    fresh = bench.listen(iterator, seen="")
    assert bench.got(stale) == "REPLACED"
    with_events(bench, "e1")
    assert bench.got(fresh) == "e1"
    bench.cancel(stale)
    assert bench.got(bench.listen(iterator, seen="e1")) is None


def test_a_cancel_that_comes_late_shows_nothing_twice(bench: Bench) -> None:
    iterator = bench.iterator("event")
    lost = bench.listen(iterator, seen="")
    with_events(bench, "e1")
    assert bench.got(bench.listen(iterator, seen="")) == "e1"
    bench.cancel(lost)
    assert bench.got(bench.listen(iterator, seen="e1")) is None


def test_what_reached_its_worker_and_could_not_be_completed_is_not_run_again_at_once(bench: Bench) -> None:
    iterator = bench.iterator()
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    assert bench.got(bench.wait(iterator, seen="")) == "u1"
    assert bench.got(bench.wait(iterator, seen="u1")) == "u2"
    assert bench.state() == {"LEASED": 2}


def test_a_receipt_is_shown_once_to_who_says_that_it_was_seen(bench: Bench) -> None:
    iterator = bench.iterator("event")
    bench.do(bench.queue.announce(bench.event("r", "BUILD", "ON_GOING", reference="u1"), bench.now))
    assert bench.got(bench.listen(iterator, "BUILD", None, "u1", seen="")) == "r"
    waiting = bench.listen(iterator, "BUILD", None, "u1", seen="r")
    assert bench.got(waiting) is None
    bench.publish(bench.event("done", "BUILD", "SUCCES", reference="u1", recipient="git"))
    assert bench.got(waiting) == "done"


@pytest.mark.parametrize("anew", [True, False])
def test_a_receipt_announced_anew_or_forgotten_hides_no_reply(bench: Bench, anew: bool) -> None:
    """The reader has seen it before a restart; the reply was lost on the way."""
    iterator = bench.iterator("event")

    def receipt() -> None:
        bench.do(bench.queue.announce(bench.event("r", "BUILD", "ON_GOING", reference="u1"), bench.now))

    receipt()
    assert bench.got(bench.listen(iterator, "BUILD", None, "u1", seen="")) == "r"
    bench.restart()
    bench.publish(bench.event("done", "BUILD", "SUCCES", reference="u1", recipient="git"))
    assert bench.got(bench.listen(iterator, "BUILD", None, "u1", seen="r")) == "done"
    if anew:
        receipt()
    assert bench.got(bench.listen(iterator, "BUILD", None, "u1", seen="r")) == "done"


@pytest.mark.parametrize("restarts", [(), (1,), (2,), (1, 2)])
def test_what_is_lost_behind_a_forgotten_receipt_comes_again(bench: Bench, restarts: tuple[int, ...]) -> None:
    """Of a whole topic, which cannot be shown from its beginning."""
    iterator = bench.iterator("event")
    first = bench.listen(iterator, "BUILD", None, seen="")
    bench.publish(bench.event("e0", "BUILD", "SUCCES", reference="u0", recipient="git"))
    assert bench.got(first) == "e0"
    bench.do(bench.queue.announce(bench.event("r", "BUILD", "ON_GOING", reference="u1"), bench.now))
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="e0")) == "r"
    if 1 in restarts:
        bench.restart()
    else:
        bench.passes(1000)  # receipts are announced for a while only
    for uuid in ("e1", "e2"):
        bench.publish(bench.event(uuid, "BUILD", "SUCCES", reference="u1", recipient="git"))
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="r")) == "e1"  # and is lost on its way
    if 2 in restarts:
        bench.restart()
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="r")) == "e1"
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="e1")) == "e2"
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="e2")) is None


def test_who_saw_a_receipt_that_is_forgotten_is_shown_nothing_twice(bench: Bench) -> None:
    iterator = bench.iterator("event")
    first = bench.listen(iterator, "BUILD", None, seen="")
    bench.publish(bench.event("e0", "BUILD", "SUCCES", reference="u0", recipient="git"))
    assert bench.got(first) == "e0"
    bench.do(bench.queue.announce(bench.event("r", "BUILD", "ON_GOING", reference="u1"), bench.now))
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="e0")) == "r"
    bench.restart()
    waiting = bench.listen(iterator, "BUILD", None, seen="r")
    assert bench.got(waiting) is None
    assert bench.got(bench.listen(iterator, "BUILD", None, seen="r")) is None
