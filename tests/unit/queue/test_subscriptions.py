"""Transcripts of named subscriptions: broadcast between them, competing inside one, durable over restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.subscribers import Subscribers
from zconnector.clock import first_of
from zconnector.errors import Reason, Refusal
from zconnector.messages import receipt
from zconnector.queue.deliveries import AFTER_RESTART
from zconnector.queue.store import DEAD, EVENTS, POSITIONS, scan_all
from zconnector.queue.subscriptions import MAX_SUBSCRIPTIONS

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


@pytest.fixture
def subs(bench: Bench) -> Subscribers:
    return Subscribers(bench)


def publish(bench: Bench, *uuids: str, **fields: Any) -> None:
    for uuid in uuids:
        bench.publish(bench.event(uuid, **fields))


def result(bench: Bench, caller: Any) -> dict[str, Any]:
    respond = bench.responses[caller]
    assert respond.error is None, respond.error
    return dict(respond.args)


def code(bench: Bench, caller: Any) -> Reason:
    error = bench.responses[caller].error
    assert error is not None
    return error.reason


# ---- to be and not to be


def test_it_is_told_once_stored_and_begins_with_what_arrives_from_then_on(bench: Bench) -> None:
    subs = Subscribers(bench)
    publish(bench, "old")
    bench.held = True
    made = subs.subscribe()
    assert made not in bench.responses
    bench.held = False
    bench.settle()
    assert result(bench, made) == {"created": True, "missed": 0}
    publish(bench, "new")
    assert subs.took(subs.take()) == [("new", 1)]


def test_from_the_oldest_retained_event(bench: Bench, subs: Subscribers) -> None:
    publish(bench, "e1", "e2")
    subs.subscribe(oldest=True)
    assert subs.took(subs.take()) == [("e1", 1), ("e2", 1)]


def test_one_that_is_there_keeps_its_position(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1", "e2")
    subs.acknowledge(*subs.ids(subs.take(limit=1)))
    assert result(bench, subs.subscribe(oldest=True)) == {"created": False, "missed": 0}
    assert subs.took(subs.take()) == [("e2", 1)]


def test_a_topic_that_is_added_begins_at_the_position(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe("s", "A")
    publish(bench, "b1", topic="B")
    publish(bench, "a1", topic="A")
    subs.acknowledge(*subs.ids(subs.take()))
    subs.subscribe("s", "A", "B")
    publish(bench, "b2", topic="B")
    assert subs.took(subs.take()) == [("b2", 1)]


def test_a_topic_that_is_left_out_brings_nothing_more(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe("s", "A", "B")
    waiting = subs.take()
    subs.subscribe("s", "A")
    publish(bench, "b1", topic="B")
    assert subs.took(waiting) is None
    publish(bench, "a1", topic="A")
    assert subs.took(waiting) == [("a1", 1)]


def test_an_end_takes_position_and_waits(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    waiting = subs.take()
    assert result(bench, subs.unsubscribe()) == {"existed": True}
    assert code(bench, waiting) is Reason.NOT_FOUND
    assert [row for row in scan_all(bench.store) if row.space == POSITIONS] == []
    assert result(bench, subs.unsubscribe()) == {"existed": False}
    with pytest.raises(Refusal, match="no such subscription: 's'"):
        subs.take()
    with pytest.raises(Refusal, match="no such subscription"):
        subs.acknowledge(1)


def test_after_its_end_a_subscription_of_that_name_is_new(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    (held,) = subs.ids(subs.take())
    subs.unsubscribe()
    subs.subscribe()
    assert subs.results(subs.acknowledge(held)) == ["NOT_FOUND"]
    assert subs.took(subs.take(wait=0)) == []
    bench.passes(120)
    assert subs.took(subs.take(wait=0)) == []


def test_one_that_cannot_be_stored_is_not_there(bench: Bench, subs: Subscribers) -> None:
    bench.full = True
    assert code(bench, subs.subscribe()) is Reason.STORAGE_FAILED
    bench.full = False
    with pytest.raises(Refusal, match="no such subscription"):
        subs.take()
    bench.passes(5)
    bench.restart()
    with pytest.raises(Refusal, match="no such subscription"):
        subs.take()


def test_one_whose_end_cannot_be_stored_is_gone_as_soon_as_it_can_be(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    bench.full = True
    assert code(bench, subs.unsubscribe()) is Reason.STORAGE_FAILED
    bench.full = False
    bench.passes(2)
    bench.restart()
    with pytest.raises(Refusal, match="no such subscription"):
        subs.take()


def test_there_is_a_bound(bench: Bench, subs: Subscribers) -> None:
    for number in range(MAX_SUBSCRIPTIONS):
        subs.subscribe(f"s{number}")
    assert code(bench, subs.subscribe("one-too-many")) is Reason.QUEUE_FULL
    subs.unsubscribe("s7")
    assert result(bench, subs.subscribe("one-more"))["created"] is True


# ---- broadcast between, competing inside


def test_every_subscription_sees_every_event(bench: Bench, subs: Subscribers) -> None:
    for name in ("s1", "s2"):
        subs.subscribe(name)
    waiting = subs.take("s1")
    publish(bench, "e1")
    assert subs.took(waiting) == [("e1", 1)]
    assert subs.took(subs.take("s2")) == [("e1", 1)]


def test_its_holders_compete(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    first, second = subs.take(holder="a"), subs.take(holder="b")
    publish(bench, "e1", "e2", "e3")
    assert subs.took(first) == [("e1", 1)]
    assert subs.took(second) == [("e2", 1)]
    assert subs.took(subs.take(holder="a")) == [("e3", 1)]


def test_topics_and_events_of_topics(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe("s", "A/DONE", "B", "B/DONE")
    publish(bench, "a1", topic="A", event="STARTED")
    publish(bench, "a2", topic="A", event="DONE")
    publish(bench, "b1", topic="B", event="DONE")
    publish(bench, "c1", topic="C", event="DONE")
    publish(bench, "a3", topic="A", event="DONE", reference="r")
    assert subs.took(subs.take()) == [("a2", 1), ("b1", 1), ("a3", 1)]


def test_receipts_are_shown_to_no_subscription(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe("s", "BUILD")
    waiting = subs.take()
    bench.do(bench.queue.announce(receipt(bench.command("c1"), "ON_GOING"), bench.now))
    assert subs.took(waiting) is None
    publish(bench, "r1", topic="BUILD", event="SUCCES", reference="c1")
    assert subs.took(waiting) == [("r1", 1)]


def test_payloads_stand_one_after_the_other(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    payloads = [b"one", b"", b"\xff\x00three"]
    for number, payload in enumerate(payloads):
        publish(bench, f"e{number}", payload=payload, context="x")
    respond = bench.responses[subs.take()]
    sizes = [item["size"] for item in respond.args["events"]]
    assert sizes == [len(payload) for payload in payloads]
    assert respond.payload == b"".join(payloads)
    assert [item["context"] for item in respond.args["events"]] == ["x"] * 3


def test_an_answer_has_its_limits(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "big1", "big2", payload=b"x" * 1_600_000)
    publish(bench, *(f"wide{n}" for n in range(4)), context="c" * 25_000)
    assert subs.took(subs.take()) == [("big1", 1)]
    assert subs.took(subs.take()) == [("big2", 1), ("wide0", 1), ("wide1", 1)]
    assert subs.took(subs.take(limit=1)) == [("wide2", 1)]


def test_one_that_fits_into_no_answer_is_a_dead_letter_and_missed(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1", context="c" * 65_200)
    publish(bench, "e2")
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([("e2", 1)], 1)
    assert [row.meta["uuid"] for row in scan_all(bench.store) if row.space == DEAD] == ["e1"]


def test_no_more_than_max_unacked_are_out(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(max_unacked=2)
    publish(bench, "e1", "e2", "e3", "e4")
    ids = subs.ids(subs.take())
    assert len(ids) == 2
    waiting = subs.take()
    assert subs.took(waiting) is None
    subs.acknowledge(ids[1])
    assert subs.took(waiting) == [("e3", 1)]


# ---- waits


def test_a_wait_without_limit_is_held(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    waiting = subs.take()
    bench.passes(100_000)
    assert subs.took(waiting) is None
    publish(bench, "e1")
    assert subs.took(waiting) == [("e1", 1)]


def test_a_wait_with_a_limit_ends(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    waiting = subs.take(wait=5.0)
    bench.passes(4.9)
    assert subs.took(waiting) is None
    bench.passes(0.2)
    assert subs.took(waiting) == []
    assert subs.took(subs.take(wait=0)) == []
    publish(bench, "e1")
    assert subs.took(subs.take(wait=0)) == [("e1", 1)]


def test_a_cancelled_wait_takes_nothing(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    gone, stays = subs.take(holder="gone"), subs.take(holder="stays")
    bench.cancel(gone)
    publish(bench, "e1")
    assert subs.took(stays) == [("e1", 1)]


def test_an_answer_that_crossed_its_cancel_costs_no_attempt(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1", "e2")
    crossed = subs.take(holder="gone")
    bench.cancel(crossed)
    assert subs.took(subs.take()) == [("e1", 1), ("e2", 1)]
    bench.cancel(crossed)
    assert subs.took(subs.take(wait=0)) == []


# ---- how a lease ends


def test_a_lease_ends_by_its_length(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(lease=30_000)
    publish(bench, "e1")
    (held,) = subs.ids(subs.take(holder="a"))
    waiting = subs.take(holder="b")
    bench.passes(29.9)
    assert subs.took(waiting) is None
    bench.passes(0.2)
    assert subs.took(waiting) == [("e1", 2)]
    assert subs.results(subs.acknowledge(held, holder="a")) == ["FENCED"]
    assert subs.results(subs.acknowledge(held, holder="b")) == [""]
    assert subs.results(subs.acknowledge(held, holder="b")) == ["NOT_FOUND"]


def test_an_event_that_nobody_holds_may_be_acknowledged_late(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(lease=30_000)
    publish(bench, "e1", "e2")
    first, _ = subs.ids(subs.take(holder="a"))
    bench.passes(31)
    assert subs.results(subs.acknowledge(first, holder="a")) == [""]
    assert subs.took(subs.take(holder="b")) == [("e2", 2)]


def test_a_lease_ends_by_a_refusal(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1", "e2")
    ids = subs.ids(subs.take(holder="a"))
    waiting = subs.take(holder="b")
    assert subs.results(subs.acknowledge(ids[0], holder="a", ok=False)) == [""]
    assert subs.took(waiting) == [("e1", 2)]
    assert subs.results(subs.acknowledge(ids[0], holder="a", ok=False)) == ["FENCED"]


def test_a_late_refusal_frees_no_later_hand_out(bench: Bench, subs: Subscribers) -> None:
    """Found by the simulation (seed 51267): a refusal waited while its lease ended and the same holder was
    handed the event again."""
    subs.subscribe(lease=30_000)
    publish(bench, "e1")
    (held,) = subs.ids(subs.take(holder="a"))
    bench.passes(31)
    assert subs.took(subs.take(holder="a")) == [("e1", 2)]
    waiting = subs.take(holder="b")
    assert subs.results(subs.acknowledge(held, holder="a", ok=False, attempt=1)) == ["FENCED"]
    assert subs.took(waiting) is None
    assert subs.results(subs.acknowledge(held, holder="a", ok=False, attempt=2)) == [""]
    assert subs.took(waiting) == [("e1", 3)]


def test_done_counts_whichever_hand_out_it_was(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(lease=30_000)
    publish(bench, "e1")
    (held,) = subs.ids(subs.take(holder="a"))
    bench.passes(31)
    assert subs.took(subs.take(holder="a")) == [("e1", 2)]
    assert subs.results(subs.acknowledge(held, holder="a", attempt=1)) == [""]
    assert subs.results(subs.acknowledge(held, holder="a", ok=False, attempt=2)) == ["NOT_FOUND"]


def test_a_lease_ends_with_its_holder(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe("s1")
    subs.subscribe("s2")
    publish(bench, "e1", "e2")
    subs.take("s1", holder="a")
    subs.take("s2", holder="a", limit=1)
    subs.take("s2", holder="b", limit=1)
    parked = subs.take("s1", holder="a")
    waiting = subs.take("s1", holder="b")
    subs.release("a")
    assert subs.took(parked) == []
    assert subs.took(waiting) == [("e1", 2), ("e2", 2)]
    assert subs.took(subs.take("s2", holder="c", wait=0)) == [("e1", 2)]


def test_unary_takers_have_no_holder_that_could_go(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    taken = subs.take(holder="")
    parked = subs.take(holder="")
    subs.release("")
    assert subs.took(parked) is None
    assert subs.results(subs.acknowledge(*subs.ids(taken), holder="")) == [""]


def test_no_lease_holds_up_the_clock_once_it_is_over(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    for number in range(500):
        publish(bench, f"e{number}")
        subs.acknowledge(*subs.ids(subs.take(wait=60)))
    subscriptions = bench.queue.subscriptions
    assert first_of(subscriptions.deadlines) is None
    assert subscriptions.depths() == {"count": 1, "outstanding": 0, "waiting": 0, "missed": 0}


# ---- acknowledgement


def test_an_acknowledgement_is_told_after_its_commit(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1", "e2")
    ids = subs.ids(subs.take())
    bench.held = True
    told = subs.acknowledge(*ids)
    assert told not in bench.responses
    bench.settle()
    assert subs.results(told) == ["", ""]
    bench.restart()
    assert subs.took(subs.take(wait=0)) == []


def test_one_acknowledgement_of_many_is_one_commit(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, *(f"e{n}" for n in range(50)))
    ids = subs.ids(subs.take(limit=50))
    before = bench.commits
    subs.acknowledge(*ids)
    assert bench.commits == before + 1


def test_unknown_and_repeated_ids(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(max_unacked=1)
    publish(bench, "e1", "e2")
    (held,) = subs.ids(subs.take())
    assert subs.results(subs.acknowledge(999, held, held, held + 1)) == ["NOT_FOUND", "", "", "NOT_FOUND"]
    assert subs.took(subs.take()) == [("e2", 1)]


def test_a_failed_commit_leaves_it_with_its_holder(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    ids = subs.ids(subs.take())
    bench.full = True
    assert code(bench, subs.acknowledge(*ids)) is Reason.STORAGE_FAILED
    bench.full = False
    assert subs.took(subs.take(wait=0)) == []
    assert subs.results(subs.acknowledge(*ids)) == [""]
    bench.passes(100)
    assert subs.took(subs.take(wait=0)) == []


def test_a_lease_that_ends_while_its_acknowledgement_is_stored(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(lease=10_000)
    publish(bench, "e1", "e2")
    ids = subs.ids(subs.take(holder="a"))
    bench.held = True
    told = subs.acknowledge(ids[0], holder="a")
    subs.release("a")
    assert subs.took(subs.take(holder="b")) == [("e2", 2)], "what is being acknowledged is nobody's"
    bench.full = True
    bench.settle(1)
    bench.full = False
    assert code(bench, told) is Reason.STORAGE_FAILED
    bench.held = False
    bench.settle()
    assert subs.took(subs.take(holder="b")) == [("e1", 2)]


# ---- retention


def test_it_is_told_once_how_many_it_missed(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=3)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, *(f"e{n}" for n in range(5)))
    taken = subs.take()
    assert subs.took(taken) == [("e2", 1), ("e3", 1), ("e4", 1)]
    assert subs.missed(taken) == 2
    publish(bench, "e5")
    again = subs.take()
    assert (subs.took(again), subs.missed(again)) == ([("e5", 1)], 1), "e2 was dropped unacknowledged"


def test_it_is_told_though_there_is_nothing_to_take(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e1", "e2")
    bench.passes(101)
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([], 2)
    assert subs.took(subs.take()) is None


def test_what_was_acknowledged_is_not_missed(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    subs = Subscribers(bench)
    subs.subscribe()
    subs.subscribe("other", "TESTS")
    publish(bench, "e1", "e2")
    ids = subs.ids(subs.take())
    subs.acknowledge(ids[1])
    bench.passes(101)
    taken = subs.take(wait=0)
    assert (subs.took(taken), subs.missed(taken)) == ([], 1)
    assert subs.missed(subs.take("other", wait=0)) == 0
    assert subs.results(subs.acknowledge(ids[0])) == ["NOT_FOUND"]


def test_a_waiter_with_no_room_hears_of_what_its_holders_lost(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=2)
    subs = Subscribers(bench)
    subs.subscribe(max_unacked=1)
    publish(bench, "e1", "e2")
    subs.take()
    waiting = subs.take()
    publish(bench, "e3")
    bench.passes(0)
    assert (subs.took(waiting), subs.missed(waiting)) == ([("e2", 1)], 1)


def test_what_nobody_read_is_told_again(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=1)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e1", "e2")
    crossed = subs.take()
    bench.cancel(crossed)
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([("e2", 1)], 1)


def test_what_nobody_read_is_told_to_who_waits_already(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=1)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e1")
    publish(bench, "e2", topic="OTHER")
    crossed, waiting = subs.take(), subs.take()
    assert (subs.took(crossed), subs.missed(crossed), subs.took(waiting)) == ([], 1, None)
    bench.cancel(crossed)
    bench.passes(0)
    assert (subs.took(waiting), subs.missed(waiting)) == ([], 1)


def test_retention_by_bytes_too(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_event_bytes=10_000)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e1", "e2", "e3", payload=b"x" * 4_000)
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([("e2", 1), ("e3", 1)], 1)


def test_one_that_nobody_uses_stays_and_keeps_nothing(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    subs = Subscribers(bench)
    subs.subscribe()
    for round_ in range(10):
        publish(bench, f"e{round_}")
        bench.passes(101)
    assert bench.queue.depths()["events"]["count"] == 0
    bench.restart(wall_passes=1e6)
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([], 10)


def test_one_that_lags_is_not_written_with_every_event_dropped(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=1)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e0")
    written: list[str] = []
    bench.held = True
    for number in range(1, 100):
        publish(bench, f"e{number}")
        while bench.pending:
            written += [write.space for write in bench.pending[0].writes]
            bench.settle(1)
    bench.held = False
    assert written.count(EVENTS) >= 99
    assert written.count(POSITIONS) <= 1
    bench.passes(2)
    bench.restart()
    assert subs.missed(subs.take()) == 99


# ---- restart


def test_position_and_attempts_survive(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe(lease=5_000)
    publish(bench, "e1", "e2", "e3", "e4")
    ids = subs.ids(subs.take(holder="", limit=3))
    subs.acknowledge(ids[1], holder="")
    bench.restart()
    subs.acknowledge(*subs.ids(subs.take(wait=0)))
    bench.passes(5.1)
    assert subs.took(subs.take(wait=0)) == [("e1", 2), ("e3", 2)]


def test_a_holder_that_does_not_come_back_loses_what_it_had(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    subs.take(holder="a")
    bench.restart()
    waiting = subs.take(holder="b")
    bench.passes(AFTER_RESTART - 0.1)
    assert subs.took(waiting) is None
    bench.passes(0.2)
    assert subs.took(waiting) == [("e1", 2)]


def test_a_holder_that_comes_back_keeps_it(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    ids = subs.ids(subs.take(holder="a"))
    bench.restart()
    subs.take(holder="a")
    waiting = subs.take(holder="b")
    bench.passes(50)
    assert subs.took(waiting) is None
    assert subs.results(subs.acknowledge(*ids, holder="b")) == ["FENCED"]
    assert subs.results(subs.acknowledge(*ids, holder="a")) == [""]


def test_a_refusal_of_a_hand_out_that_a_kill_forgot_frees_the_event(bench: Bench, subs: Subscribers) -> None:
    """A hand-out waits for no disk: its holder may know a later attempt than what was stored."""
    subs.subscribe()
    publish(bench, "e1")
    (held,) = subs.ids(subs.take(holder="a"))
    bench.held = True
    waiting = subs.take(holder="a")
    subs.acknowledge(held, holder="a", ok=False, attempt=1)
    assert subs.took(waiting) == [("e1", 2)]
    bench.restart()
    bench.held = False
    assert subs.results(subs.acknowledge(held, holder="a", ok=False, attempt=2)) == [""]
    assert subs.took(subs.take(holder="b")) == [("e1", 2)]


def test_a_client_that_came_back_as_another_holder_may_acknowledge(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    ids = subs.ids(subs.take(holder="a"))
    bench.restart()
    assert subs.results(subs.acknowledge(*ids, holder="b")) == [""]
    bench.passes(100)
    assert subs.took(subs.take(wait=0)) == []


def test_keys_that_a_position_refers_to_are_not_used_again(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    subs = Subscribers(bench)
    subs.subscribe()
    publish(bench, "e1", "e2")
    subs.acknowledge(*subs.ids(subs.take()))
    bench.passes(101)
    bench.restart()
    publish(bench, "e3")
    assert subs.took(subs.take(wait=0)) == [("e3", 1)]


# ---- a disk that fails


def test_a_read_that_fails_is_tried_again(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    bench.restart()  # nothing is in memory any more
    bench.disk.broken = True
    waiting = subs.take()
    assert subs.took(waiting) is None
    assert not bench.queue.healthy
    bench.disk.broken = False
    bench.passes(1.1)
    assert subs.took(waiting) == [("e1", 1)]


def test_a_damaged_event_is_a_dead_letter_and_missed(bench: Bench, subs: Subscribers) -> None:
    subs.subscribe()
    publish(bench, "e1")
    bench.restart()
    bench.disk.damaging = True
    taken = subs.take()
    assert (subs.took(taken), subs.missed(taken)) == ([], 1)
    assert [row.meta["uuid"] for row in scan_all(bench.store) if row.space == DEAD] == ["e1"]


def test_a_reader_that_can_read_only_text_takes_an_event_from_nobody_else(
    bench: Bench, subs: Subscribers
) -> None:
    subs.subscribe()
    gandalf = bench.listen(bench.iterator("event"))
    publish(bench, "e1", payload=b"\xff\xfe")
    assert bench.letters() == []
    assert subs.took(subs.take()) == [("e1", 1)]
    publish(bench, "e2")
    assert bench.got(gandalf) == "e2"
    assert bench.letters() == []
