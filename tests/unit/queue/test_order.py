"""Transcripts of order: priorities, order keys, delays, time to live, attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from zconnector.errors import Reason
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.local import Offered

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def order(bench: Bench, *, limit: int = 64) -> list[str]:
    taken = bench.taken(bench.take(limit=limit, wait_ms=-1))
    assert taken is not None
    return [entry["uuid"] for entry in taken]


def test_the_highest_priority_goes_first_and_among_equals_the_oldest(bench: Bench) -> None:
    for uuid, priority in (("a", 0), ("b", 5), ("c", 9), ("d", 5), ("e", 0)):
        bench.offer(bench.command(uuid, priority=priority))
    iterator = bench.iterator()
    gandalf = [bench.got(bench.wait(iterator)) for _ in range(2)]
    assert gandalf == ["c", "b"]
    assert order(bench) == ["d", "a", "e"]


def test_the_order_is_the_same_after_a_restart(bench: Bench) -> None:
    for uuid, priority, key in (("a", 0, "k"), ("b", 5, ""), ("c", 9, "k"), ("d", 5, "")):
        bench.offer(bench.command(uuid, priority=priority, order_key=key))
    bench.restart()
    assert order(bench) == ["b", "d", "a"]
    bench.complete("a")
    assert order(bench) == ["c"]


def test_commands_of_one_order_key_go_one_after_the_other(bench: Bench) -> None:
    for uuid, key in (("a", "k"), ("b", "k"), ("x", "other"), ("c", "k"), ("y", "")):
        bench.offer(bench.command(uuid, order_key=key, priority=9 if uuid == "c" else 0))
    assert order(bench) == ["a", "x", "y"]
    waiting = bench.take(limit=64)
    assert bench.taken(waiting) is None
    bench.complete("a")
    assert bench.got_one(waiting) == "b"
    bench.complete("b", "FAIL")
    assert order(bench) == ["c"]


def test_an_order_key_is_of_one_name(bench: Bench) -> None:
    bench.offer(bench.command("a", "A", order_key="k"))
    bench.offer(bench.command("b", "B", order_key="k"))
    taken = bench.taken(bench.take("A", "B", limit=64))
    assert taken is not None
    assert len(taken) == 2


@pytest.mark.parametrize("end", ["nak", "delay", "lease", "cancel", "burst"])
def test_the_next_of_a_key_waits_until_the_earlier_one_has_ended(bench: Bench, end: str) -> None:
    bench.offer(bench.command("a", order_key="k", delay=1_000 if end == "delay" else 0))
    bench.offer(bench.command("b", order_key="k"))
    waiting = bench.take()
    if end == "nak":
        lease = (bench.taken(waiting) or [])[0]
        waiting = bench.take()
        bench.settles(lease, "nak", delay=1_000)
        assert bench.taken(waiting) is None
        bench.passes(1)
    elif end == "delay":
        assert bench.taken(waiting) is None
        bench.passes(1)
    elif end == "lease":
        waiting, taken = bench.take(), waiting
        bench.cancel(taken)
    elif end == "burst":
        bench.held = True
        lease = (bench.taken(waiting) or [])[0]
        waiting = bench.take()
        bench.settles(lease, "ack")
        assert bench.taken(waiting) is None, "its end is not stored yet"
        bench.settle()
        assert bench.got_one(waiting) == "b"
        return
    assert bench.got_one(waiting) == "a"
    bench.complete("a")
    assert order(bench) == ["b"]


def test_a_command_that_was_not_stored_holds_up_no_other_of_its_key(bench: Bench) -> None:
    bench.held = True
    bench.offer(bench.command("a", order_key="k"))
    bench.offer(bench.command("b", order_key="k"))
    bench.full = True
    bench.settle(1)
    bench.full = False
    bench.settle()
    bench.held = False
    assert order(bench) == ["b"]


def test_one_in_the_middle_of_a_key_may_end_first(bench: Bench) -> None:
    for uuid in "abc":
        bench.offer(bench.command(uuid, order_key="k", ttl=1_000 if uuid == "b" else 0))
    bench.passes(1)
    assert order(bench) == ["a"]
    bench.complete("a")
    assert order(bench) == ["c"]


def test_a_delayed_command_is_due_at_its_time_and_takes_its_old_place(bench: Bench) -> None:
    bench.offer(bench.command("late", delay=60_000))
    bench.offer(bench.command("now"))
    assert bench.state() == {"DELAYED": 1, "READY": 1}
    bench.passes(59.999)
    assert bench.state() == {"DELAYED": 1, "READY": 1}
    bench.passes(0.001)
    assert order(bench) == ["late", "now"]


@pytest.mark.parametrize(("passes", "left"), [(20, 40), (90, 0), (-100, 60)], ids=["on", "over", "back"])
def test_after_a_restart_a_delay_lasts_until_its_wall_time_and_never_longer_than_it_was(
    bench: Bench, passes: int, left: int
) -> None:
    bench.offer(bench.command("u1", delay=60_000))
    bench.restart(wall_passes=passes)
    if left:
        bench.passes(left - 0.001)
        assert bench.state() == {"DELAYED": 1}
        bench.passes(0.001)
    bench.passes(0)
    assert bench.state() == {"READY": 1}


@pytest.mark.parametrize("state", ["READY", "DELAYED", "LEASED"])
def test_time_to_live_ends_it_whatever_it_does(bench: Bench, state: str) -> None:
    bench.offer(bench.command("u1", ttl=10_000, delay=60_000 if state == "DELAYED" else 0))
    lease = bench.took() if state == "LEASED" else None
    bench.passes(9.999)
    assert bench.state() == {state: 1}
    bench.passes(0.001)
    assert bench.state() == {"DEAD": 1}
    assert bench.replies() == [("FAIL", "u1", "EXPIRED")]
    (letter,) = bench.letters()
    assert letter["reason"] == "EXPIRED"
    if lease is not None:
        assert bench.settles(lease, "ack") == "FENCED"


def test_time_to_live_goes_on_over_a_restart_and_a_full_disk(bench: Bench) -> None:
    bench.offer(bench.command("u1", ttl=10_000))
    bench.restart(wall_passes=4)
    bench.passes(5.9)
    assert bench.state() == {"READY": 1}
    bench.full = True
    bench.passes(3)
    assert bench.state() == {"READY": 1}, "its end could not be stored"
    bench.full = False
    bench.passes(1)
    assert bench.state() == {"DEAD": 1}


@pytest.mark.parametrize("rings", ["delay", "lease"])
def test_what_is_over_is_not_begun_at_the_moment_at_which_it_expires(bench: Bench, rings: str) -> None:
    """A process that stood still finds both alarms due: the first one used to hand it out once more."""
    wishes: dict[str, Any] = {rings: 1_500}
    bench.offer(bench.command("u1", ttl=2_000, **wishes))
    if rings == "lease":
        bench.took()
    waiting = bench.take()
    bench.mono += 3
    bench.do(bench.queue.tick(bench.now))
    assert bench.taken(waiting) is None
    bench.passes(0)
    assert bench.state() == {"DEAD": 1}


def test_what_could_not_expire_on_a_full_disk_is_not_begun(bench: Bench) -> None:
    bench.offer(bench.command("u1", ttl=1_000))
    bench.full = True
    bench.passes(1)
    assert bench.taken(bench.take()) is None


def test_a_completion_that_is_being_stored_is_not_overtaken_by_the_time_to_live(bench: Bench) -> None:
    bench.offer(bench.command("u1", ttl=1_000))
    lease = bench.took()
    bench.held = True
    bench.settles(lease, "ack")
    bench.mono += 2
    bench.do(bench.queue.tick(bench.now))
    bench.settle()
    bench.held = False
    assert bench.state() == {"DONE": 1}
    bench.passes(5)
    assert bench.replies() == [("SUCCES", "u1", "")]


def test_a_gandalf_command_has_so_many_attempts_as_well(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    for attempt in range(1, 6):
        assert bench.got(bench.wait(bench.iterator(), worker=f"w{attempt}")) == "u1"
        bench.do(bench.queue.release(lambda lease: True, "its worker is silent", bench.now))
    assert bench.state() == {"DEAD": 1}
    (letter,) = bench.letters()
    assert letter["detail"] == "5 attempts, the last: its worker is silent"
    assert bench.replies() == [("FAIL", "u1", "ATTEMPTS_EXHAUSTED")]
    ended = bench.complete("u1")
    assert ended is not None
    assert ended.outcome == "LATE"


def test_the_last_attempt_may_end_while_the_disk_is_full(bench: Bench) -> None:
    policy = RetryPolicy(attempts=1)
    bench.do(bench.queue.offer(bench.command("u1"), bench.now, bench.hear(), policy))
    bench.took(lease_ms=1_000)
    bench.full = True
    waiting = bench.take()
    bench.passes(3)
    assert bench.taken(waiting) is None, "it has no attempt left"
    bench.full = False
    bench.passes(1)
    assert bench.taken(waiting) is None
    assert bench.state() == {"DEAD": 1}


def test_a_gandalf_wait_that_crossed_its_answer_costs_no_attempt(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    for _ in range(10):
        bench.cancel(bench.wait(bench.iterator()))
    assert bench.took()["attempt"] == 1


# ---- a full queue that drops its oldest


def test_a_full_queue_may_drop_its_oldest_to_the_dead_letters(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=3, overflow="drop_oldest")
    for uuid in ("a", "b", "c"):
        bench.offer(bench.command(uuid, delay=60_000 if uuid == "b" else 0))
    assert bench.took()["uuid"] == "a"
    assert bench.offer(bench.command("d")) == Offered("STORED")
    assert bench.state() == {"LEASED": 1, "READY": 2, "DEAD": 1}
    assert bench.replies() == [("FAIL", "b", "DROPPED")]
    (letter,) = bench.letters()
    assert (letter["reason"], letter["uuid"]) == ("DROPPED", "b")
    bench.restart()
    bench.offer(bench.command("e"))
    assert [letter["uuid"] for letter in bench.letters()] == ["b", "c"]
    assert order(bench) == ["d", "e"]
    told = bench.offer(bench.command("f"))
    assert told is not None
    assert told.reason is Reason.QUEUE_FULL, "all are with workers"


def test_a_burst_into_a_full_queue_drops_as_many_as_it_brings(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=10, overflow="drop_oldest")
    bench.held = True
    for number in range(200):
        bench.offer(bench.command(f"u{number:03}"))
        if number % 7 == 0:
            bench.settle(3)
    bench.settle()
    assert bench.queue.depths()["commands"]["count"] == 10
    assert {offered.outcome for offered in bench.heard} == {"STORED", "REFUSED"}
    stored = [offered for offered in bench.heard if offered.outcome == "STORED"]
    assert len(bench.letters()) == len(stored) - 10


def test_room_in_bytes_is_made_likewise(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_command_bytes=3_000, overflow="drop_oldest")
    for number in range(4):
        bench.offer(bench.command(f"u{number}", payload=b"x" * 600))
    assert bench.offer(bench.command("big", payload=b"x" * 1_500)) == Offered("STORED")
    huge = bench.offer(bench.command("huge", payload=b"x" * 3_000))
    assert huge is not None
    assert huge.reason is Reason.QUEUE_FULL, "nothing is dropped for what would not fit anyway"
    assert order(bench) == ["u3", "big"]


def test_a_drop_that_cannot_be_stored_leaves_everything_as_it_was(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=1, overflow="drop_oldest")
    bench.offer(bench.command("a"))
    bench.full = True
    told = bench.offer(bench.command("b"))
    assert told is not None
    assert told.outcome == "FAILED"
    bench.full = False
    assert bench.state() == {"READY": 1}
    assert bench.offer(bench.command("c")) == Offered("STORED")
    assert order(bench) == ["c"]


def test_a_dead_letter_that_a_full_disk_held_up_is_made_after_the_restart(bench: Bench) -> None:
    policy = RetryPolicy(attempts=1)
    bench.do(bench.queue.offer(bench.command("u1"), bench.now, bench.hear(), policy))
    bench.took(lease_ms=1_000)
    bench.full = True
    bench.passes(1)
    bench.full = False
    bench.offer(bench.command("u2"))  # whose commit takes along that u1 is with nobody
    bench.restart()
    assert bench.state() == {"READY": 2}
    bench.passes(0)
    assert bench.state() == {"READY": 1, "DEAD": 1}
    assert bench.replies() == [("FAIL", "u1", "ATTEMPTS_EXHAUSTED")]


def test_many_that_expire_at_one_moment_do_so_in_parts(bench: Bench) -> None:
    for number in range(1_200):
        bench.offer(bench.command(f"u{number}", ttl=5_000))
    bench._to(bench.mono + 5)
    parts = []
    while (due := bench.queue.deadline()) is not None and due <= bench.mono:
        before = bench.state().get("DEAD", 0)
        bench.do(bench.queue.tick(bench.now))
        parts.append(bench.state()["DEAD"] - before)
    assert parts[:3] == [500, 500, 200]
    assert bench.state() == {"DEAD": 1_200}


def test_nothing_is_dropped_for_a_command_that_is_refused_all_the_same(
    bench_with: Callable[..., Bench],
) -> None:
    bench = bench_with(max_commands=1, overflow="drop_oldest")
    for number in range(9):
        bench.offer(bench.command(f"done{number}"))
        bench.settles(bench.took(), "ack")
    bench.offer(bench.command("a"))
    assert bench.offer(bench.command("b")) == Offered("STORED")  # a goes: ten have ended, which is the bound
    offered = bench.offer(bench.command("c"))
    assert offered is not None
    assert offered.reason is Reason.QUEUE_FULL
    assert order(bench) == ["b"]


def test_an_expired_command_is_buried_although_its_burial_and_its_completion_could_not_be_stored(
    bench: Bench,
) -> None:
    bench.offer(bench.command("c1", ttl=1_000))
    bench.full = True
    bench.passes(1.1)
    bench.held = True
    bench.complete("c1")  # by uuid, over the Gandalf API
    bench.passes(1.1)  # the burial is tried again, and finds it COMPLETING
    bench.held = False
    bench.settle()
    bench.full = False
    bench.passes(1.1)
    assert [letter["reason"] for letter in bench.letters()] == ["EXPIRED"]
