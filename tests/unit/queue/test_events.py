"""Transcripts of the event side: each iterator sees each matching event once, in order, over restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from zconnector.errors import Reason
from zconnector.messages import Flag, Kind, Message, receipt
from zconnector.queue.retained import MAX_ANNOUNCED
from zconnector.queue.store import DEAD, EVENTS, ITERATORS, OUTBOX, POSITIONS, scan_all

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def reply(bench: Bench, uuid: str, reference: str, event: str = "SUCCES", topic: str = "BUILD") -> Message:
    return bench.event(uuid, topic, event, reference=reference, recipient="ci")


def spaces(bench: Bench) -> list[str]:
    return [row.space for row in scan_all(bench.store)]


def test_a_waiter_sees_what_arrives_after_its_commit(bench: Bench) -> None:
    caller = bench.listen(bench.iterator("event"))
    bench.held = True
    assert bench.publish(bench.event("e1", payload=b'{"n": 1}', context="x")) is None
    assert bench.got(caller) is None
    bench.settle()
    assert bench.heard[-1].outcome == "STORED"
    assert bench.responses[caller].payload == b'{"n": 1}'
    assert bench.responses[caller].args["context"] == "x"


def test_every_iterator_sees_every_event_once_in_order(bench: Bench) -> None:
    iterators = [bench.iterator("event") for _ in range(3)]
    waiting = [bench.listen(iterator) for iterator in iterators]
    for number in range(3):
        bench.publish(bench.event(f"e{number}"))
    assert [bench.got(caller) for caller in waiting] == ["e0"] * 3
    for iterator in iterators:
        assert [bench.got(bench.listen(iterator)) for _ in range(3)] == ["e1", "e2", None]


def test_matching(bench: Bench) -> None:
    iterator = bench.iterator("event")
    exact = bench.listen(iterator, "BUILDS", "DONE")
    topic = bench.listen(iterator, "BUILDS", None)
    referenced = bench.listen(iterator, "BUILDS", "DONE", "r1")
    any_of_reference = bench.listen(iterator, "BUILDS", None, "r2")
    bench.publish(bench.event("other-topic", "TESTS", "DONE"))
    assert [bench.got(caller) for caller in (exact, topic, referenced, any_of_reference)] == [None] * 4
    bench.publish(bench.event("e1", "BUILDS", "STARTED"))
    assert [bench.got(caller) for caller in (exact, topic)] == [None, "e1"]
    bench.publish(bench.event("e2", "BUILDS", "DONE", reference="r1"))
    assert [bench.got(caller) for caller in (exact, referenced, any_of_reference)] == ["e2", "e2", None]
    bench.publish(bench.event("e3", "BUILDS", "HALF", reference="r2"))
    assert bench.got(any_of_reference) == "e3"


def test_with_a_reference_a_new_iterator_begins_at_the_oldest_retained(bench: Bench) -> None:
    bench.publish(reply(bench, "r1", "u1", "HALF"))
    bench.publish(reply(bench, "r2", "u1"))
    iterator = bench.iterator("event")
    assert bench.got(bench.listen(iterator, "BUILD", "SUCCES", "u1")) == "r2"
    assert [bench.got(bench.listen(iterator, "BUILD", None, "u1")) for _ in range(3)] == ["r1", "r2", None]


def test_a_new_name_begins_with_what_arrives_after_its_first_wait(bench: Bench) -> None:
    bench.publish(bench.event("old"))
    caller = bench.listen(bench.iterator("event"), worker="new")
    assert bench.got(caller) is None
    bench.publish(bench.event("fresh"))
    assert bench.got(caller) == "fresh"


def test_a_restarted_worker_goes_on_after_the_last_one_delivered(bench: Bench) -> None:
    bench.listen(bench.iterator("event"), worker="alice")
    bench.publish(bench.event("e1"))
    bench.publish(bench.event("e2"))
    again = bench.iterator("event")
    assert [bench.got(bench.listen(again, worker="alice")) for _ in range(2)] == ["e2", None]
    assert bench.got(bench.listen(bench.iterator("event"), worker="bob")) is None


def test_a_first_wait_alone_begins_the_history_of_a_name(bench: Bench) -> None:
    bench.listen(bench.iterator("event"), worker="alice")
    bench.restart()
    bench.publish(bench.event("while away"))
    assert bench.got(bench.listen(bench.iterator("event"), worker="alice")) == "while away"


def test_waits_with_a_reference_move_no_history(bench: Bench) -> None:
    bench.listen(bench.iterator("event"), "BUILD", "SUCCES", worker="alice")
    bench.publish(reply(bench, "r1", "u1"))
    bench.publish(reply(bench, "r2", "u2"))
    bench.listen(bench.iterator("event"), "BUILD", "SUCCES", "u2", worker="alice")
    again = bench.iterator("event")
    assert bench.got(bench.listen(again, "BUILD", "SUCCES", worker="alice")) == "r2"


def test_a_worker_without_a_name_has_no_history(bench: Bench) -> None:
    bench.listen(bench.iterator("event"), worker="")
    bench.publish(bench.event("e1"))
    bench.publish(bench.event("e2"))
    assert bench.got(bench.listen(bench.iterator("event"), worker="")) is None


def test_positions_survive_a_restart(bench: Bench) -> None:
    plain, referenced = bench.iterator("event"), bench.iterator("event")
    bench.listen(plain)
    for number in range(3):
        bench.publish(bench.event(f"e{number}", reference="r"))
    bench.listen(referenced, reference="r")
    bench.restart()
    assert [bench.got(bench.listen(plain)) for _ in range(2)] == ["e1", "e2"]
    assert [bench.got(bench.listen(referenced, reference="r")) for _ in range(3)] == ["e1", "e2", None]
    caller = bench.listen(plain)
    bench.publish(bench.event("e3"))
    assert bench.got(caller) == "e3", "new keys lie beyond all old positions"


def test_new_events_lie_beyond_old_positions_even_when_all_events_are_gone(
    bench_with: Callable[..., Bench],
) -> None:
    bench = bench_with(event_retention=100.0)
    iterator = bench.iterator("event")
    bench.listen(iterator)
    bench.publish(bench.event("e1"))
    bench.passes(101)
    assert EVENTS not in spaces(bench)
    bench.restart()
    caller = bench.listen(iterator)
    bench.publish(bench.event("e2"))
    assert bench.got(caller) == "e2"


def test_a_cancelled_wait_swallows_nothing(bench: Bench) -> None:
    iterator = bench.iterator("event")
    gone = bench.listen(iterator)
    bench.cancel(gone)
    bench.publish(bench.event("e1"))
    assert bench.got(gone) is None
    assert bench.got(bench.listen(iterator)) == "e1"


def test_a_cancel_that_crosses_the_answer_shows_the_event_again(bench: Bench) -> None:
    iterator = bench.iterator("event")
    first, second = bench.listen(iterator), bench.listen(iterator)
    bench.publish(bench.event("e1"))
    bench.publish(bench.event("e2"))
    assert (bench.got(first), bench.got(second)) == ("e1", "e2")
    bench.cancel(first)
    third = bench.listen(iterator)
    assert bench.got(third) == "e1"
    bench.cancel(second)
    bench.restart()
    assert bench.got(bench.listen(iterator)) == "e2"
    assert bench.got(bench.listen(iterator)) is None


def test_an_event_given_back_wakes_who_waits_on_the_same_iterator(bench: Bench) -> None:
    iterator = bench.iterator("event")
    first, second = bench.listen(iterator), bench.listen(iterator)
    bench.publish(bench.event("e1"))
    assert (bench.got(first), bench.got(second)) == ("e1", None)
    bench.cancel(first)
    assert bench.got(second) == "e1"


def test_duplicates_by_uuid(bench: Bench) -> None:
    caller = bench.listen(bench.iterator("event"))
    bench.held = True
    bench.publish(bench.event("e1"))
    assert bench.publish(bench.event("e1")) is None, "the first copy is being stored"
    bench.settle()
    assert [published.outcome for published in bench.heard][-2:] == ["STORED", "DUPLICATE"]
    bench.held = False
    assert bench.publish(bench.event("e1")).outcome == "DUPLICATE"  # type: ignore[union-attr]
    assert bench.got(caller) == "e1"
    bench.restart()
    assert bench.publish(bench.event("e1")).outcome == "DUPLICATE"  # type: ignore[union-attr]
    assert bench.queue.knows_event("e1")
    assert not bench.queue.knows_event("e2")


def test_duplicates_by_cursor_when_the_uuid_is_forgotten(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=1)
    for number in (1, 2):
        bench.publish(bench.event(f"e{number}", seq=number))
        bench.queue.sequenced(number, bench.now)
    assert not bench.queue.knows_event("e1")
    assert bench.publish(bench.event("e1", seq=1)).outcome == "DUPLICATE"  # type: ignore[union-attr]


def test_a_failed_commit_is_told_to_all_copies(bench: Bench) -> None:
    bench.held = True
    bench.publish(bench.event("e1"), outbox=True)
    bench.publish(bench.event("e1"), outbox=True)
    bench.full = True
    bench.settle()
    assert [published.outcome for published in bench.heard] == ["FAILED", "FAILED"]
    assert bench.heard[0].refusal.reason is Reason.STORAGE_FAILED
    bench.full = bench.held = False
    assert bench.outbox() == []
    assert bench.publish(bench.event("e1"), outbox=True).outcome == "STORED"  # type: ignore[union-attr]
    assert bench.outbox() == ["e1"]


def test_event_and_outbox_entry_are_one_commit(bench: Bench) -> None:
    bench.held = True
    bench.publish(bench.event("e1"), outbox=True)
    (commit,) = bench.pending
    assert [write.space for write in commit.writes] == [EVENTS, OUTBOX]


def test_a_reply_passes_its_crash_points_and_a_broadcast_does_not(bench: Bench) -> None:
    bench.publish(bench.event("e1"))
    assert bench.reached == []
    bench.publish(reply(bench, "r1", "u1"))
    assert bench.reached == ["source.reply_before_commit", "source.reply_after_commit"]


def test_full_drops_the_oldest_broadcast_and_keeps_replies(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=3)
    bench.publish(reply(bench, "r1", "u1"))
    for number in range(4):
        bench.publish(bench.event(f"e{number}"))
    assert [bench.queue.knows_event(f"e{number}") for number in range(4)] == [False, False, True, True]
    assert bench.queue.knows_event("r1")
    assert bench.queue.depths()["events"]["dropped"] == 2
    bench.passes(0)
    assert [note.event for note in bench.notes] == ["event store full: oldest events dropped"]
    for number in (2, 3):
        bench.publish(reply(bench, f"r{number}", "u1"))
    assert bench.queue.depths()["events"]["dropped"] == 4
    bench.publish(reply(bench, "r4", "u1"))
    assert not bench.queue.knows_event("r1"), "only replies are left: then the oldest of them"
    assert spaces(bench).count(EVENTS) == 3
    assert bench.publish(bench.event("e9")).outcome == "STORED"  # type: ignore[union-attr]


def test_full_by_bytes(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_event_bytes=3_000)
    bench.publish(bench.event("e1", payload=b"x" * 1_500))
    bench.publish(bench.event("e2", payload=b"x" * 1_500))
    assert not bench.queue.knows_event("e1")
    told = bench.publish(bench.event("e3", payload=b"x" * 4_000))
    assert told is not None
    assert told.outcome == "REFUSED"
    assert bench.queue.knows_event("e2"), "what can never fit drives nobody out"


def test_retention(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    bench.publish(bench.event("e1"))
    bench.passes(60)
    bench.publish(reply(bench, "r1", "u1"))
    bench.restart(wall_passes=20)
    bench.passes(19)
    assert bench.queue.knows_event("e1")
    bench.passes(2)
    assert not bench.queue.knows_event("e1")
    assert bench.queue.knows_event("r1")
    bench.passes(60)
    assert not bench.queue.knows_event("r1")
    assert EVENTS not in spaces(bench)


def test_an_announcement_is_seen_once_and_never_stored(bench: Bench) -> None:
    command = bench.command("u1")
    told = receipt(command, "ON_GOING")
    waiting = bench.listen(bench.iterator("event"), "BUILD", None, "u1")
    bench.do(bench.queue.announce(told, bench.now))
    bench.do(bench.queue.announce(told, bench.now))
    assert bench.got(waiting) == told.uuid
    later = bench.iterator("event")
    assert bench.got(bench.listen(later, "BUILD", "ON_GOING", "u1")) == told.uuid
    assert bench.got(bench.listen(later, "BUILD", "ON_GOING", "u1")) is None, "copies are one"
    assert EVENTS not in spaces(bench)
    assert not bench.queue.knows_event(told.uuid)
    bench.passes(661)
    assert bench.got(bench.listen(bench.iterator("event"), "BUILD", "ON_GOING", "u1")) is None


def test_a_reader_that_wants_no_receipts_gets_the_reply_alone(bench: Bench) -> None:
    iterator = bench.iterator("event")
    before = bench.listen(iterator, "BUILD", None, "u1", seen="", receipts=False)
    bench.do(bench.queue.announce(on_going("u1"), bench.now))
    assert bench.got(before) is None, "the receipt wakes it, and is not for it"
    later = bench.listen(bench.iterator("event"), "BUILD", None, "u1", seen="", receipts=False)
    assert bench.got(later) is None
    bench.publish(reply(bench, "r1", "u1"))
    assert [bench.got(before), bench.got(later)] == ["r1", "r1"]
    lost = bench.listen(iterator, "BUILD", None, "u1", seen="", receipts=False)
    assert bench.got(lost) == "r1", "the answer was lost: it comes again"
    assert bench.got(bench.listen(iterator, "BUILD", None, "u1", seen="r1", receipts=False)) is None
    both = bench.iterator("event")
    assert bench.got(bench.listen(both, "BUILD", None, "u1")) == on_going("u1").uuid, "others still see it"


def on_going(reference: str) -> Message:
    command = Message(Kind.COMMAND, {"uuid": reference, "tenant": "acme", "command": "BUILD"})
    return receipt(command, "ON_GOING")


@pytest.mark.parametrize("fails", [False, True])
def test_an_announcement_waits_for_what_arrived_before_it_and_is_being_stored(
    bench: Bench, fails: bool
) -> None:
    """Receipt and reply race over two aggregators: shown first, a late receipt hid the reply for ever."""
    iterator = bench.iterator("event")
    first = bench.listen(iterator, "BUILD", None, "u1")
    bench.held = True
    bench.publish(reply(bench, "r1", "u1"))
    bench.do(bench.queue.announce(on_going("u1"), bench.now))
    assert bench.got(first) is None
    bench.full = fails
    bench.settle()
    bench.full = False
    bench.held = False
    seen = [bench.responses[first].args["event"]]
    if not fails:
        second = bench.listen(iterator, "BUILD", None, "u1")
        seen.append(bench.responses[second].args["event"])
    assert seen == (["ON_GOING"] if fails else ["SUCCES", "ON_GOING"])


def test_announcements_are_bounded(bench: Bench) -> None:
    for number in range(MAX_ANNOUNCED + 3):
        header = {"uuid": f"a{number}", "topic": "BUILD", "event": "ON_GOING", "reference": f"u{number}"}
        bench.do(bench.queue.announce(Message(Kind.EVENT, header, b"", Flag.RECEIPT), bench.now))
    assert bench.queue.depths()["events"]["announced"] == MAX_ANNOUNCED
    iterator = bench.iterator("event")
    assert bench.got(bench.listen(iterator, "BUILD", "ON_GOING", "u2")) is None
    assert bench.got(bench.listen(iterator, "BUILD", "ON_GOING", "u3")) == "a3"


@pytest.mark.parametrize("first", ["event", "waiter"])
def test_an_event_that_nobody_can_be_handed_is_a_dead_letter_once(bench: Bench, first: str) -> None:
    iterators = [bench.iterator("event") for _ in range(2)]
    for iterator in iterators:
        bench.cancel(bench.listen(iterator))
    callers = [bench.listen(iterator) for iterator in iterators] if first == "waiter" else []
    bench.publish(bench.event("large", more="x" * 65_400))
    bench.publish(bench.event("good"))
    callers = callers or [bench.listen(iterator) for iterator in iterators]
    assert [bench.got(caller) for caller in callers] == ["good", "good"]
    assert spaces(bench).count(DEAD) == 1
    assert bench.queue.depths()["dead"]["by_reason"] == {"TOO_LARGE": 1}


def test_an_event_that_is_no_text_is_passed_over_by_those_who_read_only_text(bench: Bench) -> None:
    iterator = bench.iterator("event")
    bench.cancel(bench.listen(iterator))
    bench.publish(bench.event("bytes", payload=b"\xff"))
    waiting = bench.listen(iterator)
    bench.publish(bench.event("text"))
    assert bench.got(waiting) == "text"
    assert [note.event for note in bench.notes] == ["event passed over: not UTF-8"]
    assert spaces(bench).count(DEAD) == 0, "it is there for readers of zconnector.v1"
    bench.restart()
    waiting = bench.listen(iterator)
    bench.publish(bench.event("more"))
    assert bench.got(waiting) == "more"


def test_an_event_that_cannot_be_read_leaves_the_waiter_waiting(bench: Bench) -> None:
    iterator = bench.iterator("event")
    bench.cancel(bench.listen(iterator))
    bench.publish(bench.event("e1", payload=b"x" * 3_000_000))
    bench.disk.broken = True
    caller = bench.listen(iterator)
    assert bench.got(caller) is None
    assert not bench.queue.healthy
    bench.disk.broken = False
    bench.passes(1.1)
    assert bench.got(caller) == "e1"


def test_iterators_idle_go_and_those_in_use_stay(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(iterator_idle=100.0)
    waiting, leasing, idle = bench.iterator("event"), bench.iterator(), bench.iterator("event")
    caller = bench.listen(waiting)
    bench.offer(bench.command("u1"))
    bench.wait(leasing)
    bench.cancel(bench.listen(idle))
    bench.passes(101)
    assert bench.got(bench.listen(idle)) == "NOT_FOUND"
    bench.publish(bench.event("e1"))
    assert bench.got(caller) == "e1"
    assert bench.got(bench.wait(leasing)) is None
    names = [row.key for row in scan_all(bench.store) if row.space == ITERATORS]
    assert names == sorted([waiting, leasing])
    assert not [row for row in scan_all(bench.store) if row.space == POSITIONS and idle in str(row.key)]


def test_at_the_bound_the_least_recent_idle_iterator_goes(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_iterators=3)
    first, second, third = (bench.iterator("event") for _ in range(3))
    bench.cancel(bench.listen(first))
    fourth = bench.iterator("event")
    assert bench.got(bench.listen(second)) == "NOT_FOUND"
    for iterator in (first, third, fourth):
        assert bench.got(bench.listen(iterator)) is None
    bench.do(bench.queue.create_iterator("event", bench.now, bench.hear()))
    assert bench.heard[-1].reason is Reason.QUEUE_FULL


def test_an_iterator_of_no_kind(bench: Bench) -> None:
    bench.do(bench.queue.create_iterator("thing", bench.now, bench.hear()))
    assert bench.heard[-1].reason is Reason.BAD_ARGUMENT


def test_iterators_survive_a_restart(bench: Bench) -> None:
    command, event = bench.iterator(), bench.iterator("event")
    bench.restart()
    assert bench.got(bench.wait(command)) is None
    assert bench.got(bench.listen(event)) is None
    assert bench.got(bench.listen(command)) == "NOT_FOUND"


def test_positions_are_bounded(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_iterators=2)
    iterator, waiting = bench.iterator("event"), bench.iterator("event")
    parked = bench.listen(waiting, "T")
    for number in range(50):
        bench.cancel(bench.listen(iterator, f"topic-{number}", worker=f"worker-{number}"))
    assert bench.queue.depths()["events"]["positions"] == 8
    assert spaces(bench).count(POSITIONS) <= 16
    bench.publish(bench.event("e1", "T"))
    assert bench.got(parked) == "e1"


def test_where_an_event_came_from(bench: Bench) -> None:
    bench.publish(bench.event("e1", source="git"))
    bench.restart()
    assert bench.queue.event_source("e1") == "git"
    assert bench.queue.event_source("unknown") == ""
