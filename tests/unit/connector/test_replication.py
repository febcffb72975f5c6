"""Events between this connector and the tenant: outbox, confirmations, cursor, gaps."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command, event
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message
from zconnector.shoset.pace import EVENTS_AT_ONCE, EVENTS_PER_SECOND

NAMES = ["a", "b", "c"]


def ready(*names: str, latest: int = 0, **args: Any) -> Connector:
    con = Connector(NAMES, **args)
    con.ready(*names, latest=latest)
    return con


def publish(con: Connector, uuid: str = "e1", **args: Any) -> int:
    return con.call("send_event", uuid=uuid, topic="BUILDS", event="DONE", **args)


def sent(con: Connector, name: str = "") -> list[str]:
    """Uuids of events sent to an instance, or to any."""
    return [m.uuid for m in con.said(Kind.EVENT, name)]


def confirm(*pairs: list[Any], **fields: Any) -> Message:
    return Message(Kind.CONFIRM, {"entries": list(pairs), **fields})


# ---- a broadcast of ours


def test_an_event_is_committed_then_told_then_sent_to_every_live_instance() -> None:
    con = ready()
    call = publish(con)
    assert con.result(call) == {"uuid": "e1"}
    assert con.steps()[:2] == ["commit", f"respond {call}"]
    assert sent(con, "a") == sent(con, "b") == sent(con, "c") == ["e1"]
    assert con.store.rows["events"]
    assert con.store.rows["outbox"]


def test_nothing_is_sent_or_told_before_the_commit() -> None:
    con = ready()
    con.held = True
    call = publish(con)
    con.wait(3.0)
    assert sent(con) == []
    assert not con.answered(call)
    con.settle()
    assert con.answered(call)
    assert len(sent(con)) == 3


def test_an_event_that_cannot_be_stored_is_refused_and_not_sent() -> None:
    con = ready()
    con.full = True
    assert con.refusal(publish(con)).reason == "STORAGE_FAILED"
    con.wait(3.0)
    assert sent(con) == []


def test_with_no_instance_events_wait_and_go_out_once_one_is_back() -> None:
    con = Connector(NAMES)
    for number in range(5):
        assert con.result(publish(con, f"e{number}"))
    con.wait(100.0)
    assert sent(con) == []
    con.up("b")
    assert sent(con, "b") == [f"e{number}" for number in range(5)]


def test_without_a_session_waiting_events_wake_nobody() -> None:
    con = Connector([])
    publish(con)
    con.wait(60.0)  # fails when a deadline stays in the past


def test_events_wait_over_a_restart() -> None:
    con = Connector(NAMES)
    publish(con)
    again = con.restart()
    again.up("a")
    assert sent(again) == ["e1"]


def test_what_is_not_confirmed_is_sent_again_when_a_session_comes_up() -> None:
    con = ready("a", "b")
    publish(con)
    con.clear()
    con.up("c")
    assert sent(con, "c") == ["e1"]


def test_what_is_not_confirmed_is_sent_again_after_1_s_doubling() -> None:
    con = ready("a")
    publish(con)
    moments = []
    for _ in range(200):
        con.clear()
        con.wait(0.1)
        if sent(con):
            moments.append(round(con.now.mono - 1000.0, 1))
    gaps = [later - earlier for earlier, later in zip([0.0, *moments], moments, strict=False)]
    assert gaps[0] == pytest.approx(1.0, abs=0.2)
    assert gaps[1] == pytest.approx(2.0, abs=0.3)
    assert gaps[2] == pytest.approx(4.0, abs=0.5)


def test_confirmed_by_the_journal_it_leaves_the_outbox() -> None:
    con = ready()
    publish(con)
    con.hear("a", confirm(["e1", 1]))
    con.clear()
    con.wait(120.0)
    con.down("a")
    con.wait(0.0)
    con.up("a")
    assert sent(con) == []
    assert con.store.rows["outbox"] == {}
    assert con.queue.cursor == 1, "it was stored here before"


def test_its_own_event_coming_back_with_its_number_is_a_confirmation() -> None:
    con = ready()
    publish(con)
    con.hear("a", event("e1", source="git", seq=1))
    con.wait(120.0)
    assert con.store.rows["outbox"] == {}
    assert con.queue.cursor == 1


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [[]],
        [["e1"]],
        [["e1", "1"]],
        [["e1", 1.5]],
        [["e1", True]],
        [[1, 1]],
        [{"e1": 1}],
        ["e1"],
        [None],
        [["e1", 1, 2]],
    ],
    ids=str,
)
def test_entries_that_are_none_confirm_nothing(pairs: list[Any]) -> None:
    con = ready()
    publish(con)
    con.hear("a", Message(Kind.CONFIRM, {"entries": pairs}))
    assert con.store.rows["outbox"]
    assert con.queue.cursor == 0


def test_several_forms_in_one_confirm() -> None:
    con = ready()
    publish(con, "e1")
    publish(con, "e2")
    con.hear("a", confirm(["e1", 1], ["nobody's", 3], ["e2", 2], "rubbish"))  # type: ignore[arg-type]
    assert con.queue.cursor == 2
    con.wait(1.0)
    assert con.store.rows["outbox"] == {}
    (fetch, *_) = con.said(Kind.FETCH)
    assert (fetch.number("after"), fetch.number("upto")) == (2, 3)


def test_a_busy_instance_gets_what_waits_once_it_has_room() -> None:
    con = Connector(["a"], credit=4)
    con.up("a")
    con.answer_requests()
    con.clear()
    for number in range(6):
        publish(con, f"e{number}")
    assert len(sent(con)) < 6
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 4}))
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 8}))
    assert sent(con) == [f"e{number}" for number in range(6)]


# ---- the pace of broadcasts


def uuids(*numbers: int) -> list[str]:
    return [f"e{n}" for n in numbers]


def publish_many(con: Connector, count: int, prefix: str = "e") -> None:
    for number in range(count):
        publish(con, f"{prefix}{number}")


def next_deadline(con: Connector) -> float:
    due = con.router.replication.deadline()
    assert due is not None
    return due - con.now.mono


def test_a_burst_goes_at_once_and_the_rest_at_its_pace_in_order() -> None:
    con = ready("a")
    publish_many(con, 200)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))
    assert next_deadline(con) == pytest.approx(32 / EVENTS_PER_SECOND), "some go together, not each by itself"
    con.wait(0.063)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))
    con.wait(0.002)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE + 32))
    con.wait(0.35)
    assert sent(con) == uuids(*range(200))
    assert con.router.replication.deadline() is None


def test_within_any_time_no_more_are_sent_than_a_burst_and_the_rate() -> None:
    con = ready("a")
    publish_many(con, 1_000)
    begin, told = con.now.mono, []
    while len(sent(con)) < 1_000 and con.now.mono < begin + 0.99:
        con.wait(0.01)
        told.append((con.now.mono - begin, len(sent(con))))
    for seconds, count in told:
        assert (
            EVENTS_PER_SECOND * seconds <= count + 64 <= EVENTS_AT_ONCE + EVENTS_PER_SECOND * seconds + 64 + 1
        )


def test_the_pace_counts_events_and_not_the_instances_they_go_to() -> None:
    con = ready()
    publish_many(con, EVENTS_AT_ONCE)
    assert sent(con, "a") == sent(con, "b") == sent(con, "c") == uuids(*range(EVENTS_AT_ONCE))


def test_replies_do_not_wait_behind_events_that_do() -> None:
    con = ready("a")
    con.hear("a", event("theirs", seq=1))
    publish_many(con, 200)
    con.clear()
    publish(con, "reply", reference="theirs")
    assert sent(con) == ["reply"]
    assert next_deadline(con) > 0


def test_replies_have_no_pace_and_use_none() -> None:
    con = ready("a")
    con.hear("a", event("theirs", seq=1))
    for number in range(200):
        publish(con, f"r{number}", reference="theirs")
    assert len(sent(con)) == 200
    con.clear()
    publish_many(con, EVENTS_AT_ONCE)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))


def test_after_an_hour_of_nothing_a_burst_goes_at_once_and_no_more() -> None:
    con = ready("a")
    publish_many(con, 100, prefix="old")
    con.wait(1.0)
    con.hear("a", confirm(*[[f"old{n}", n + 1] for n in range(100)]))
    con.wait(3600.0)
    con.clear()
    publish_many(con, 100)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))


def test_events_that_nobody_could_take_cost_no_pace() -> None:
    con = Connector(["a"])
    publish_many(con, 100)
    assert con.router.replication.deadline() is None, "with nobody to send to nothing waits for time"
    con.up("a")
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))


def test_events_that_found_all_instances_busy_cost_no_pace() -> None:
    con = Connector(["a"], credit=4)
    con.up("a")
    con.answer_requests()
    con.clear()
    publish_many(con, EVENTS_AT_ONCE)
    before = len(sent(con))
    assert before < 4
    for total in range(1, 80):
        con.hear("a", Message(Kind.HEARTBEAT, {"received": total}))
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))


def test_the_outbox_leaves_room_for_receipts() -> None:
    """A receipt has no other place to wait: while replies filled the credit, all of them would be dropped."""
    con = Connector(["a"], credit=1000)
    con.ready()
    con.hear("a", *(command(f"old{n}") for n in range(100)))
    con.down("a")
    for n in range(100):
        con.call("send_event", topic="CLONE", event="SUCCES", reference=f"old{n}")
    con.credit = 40
    con.wait(0.1)
    con.up("a")
    con.answer_requests()
    con.clear()
    before = con.queue.depths()["outbox"]["due"]
    assert before > 60
    con.hear("a", *(command(f"new{n}") for n in range(10)))
    assert con.receipts() == [("a", "ON_GOING", "")] * 10
    assert con.router.incoming.counters["answers_dropped"] == 0


def test_events_that_are_sent_again_keep_to_the_pace() -> None:
    con = ready("a")
    publish_many(con, EVENTS_AT_ONCE)
    con.wait(0.128)
    con.clear()
    con.down("a")
    con.wait(0.1)
    con.up("a")
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))
    con.clear()
    con.down("a")
    con.wait(0.01)
    con.up("a")
    assert len(sent(con)) < EVENTS_AT_ONCE
    con.wait(0.3)
    assert sent(con) == uuids(*range(EVENTS_AT_ONCE))


# ---- events of others


def test_an_event_is_stored_and_shown_once_whatever_the_ways_it_came() -> None:
    con = ready()
    iterator = con.iterator("event")
    args: dict[str, Any] = {"iterator": iterator, "topic": "BUILDS", "event": "DONE", "worker": "w1"}
    first = con.call("wait_event", **args)
    con.hear("a", event("e1"))
    con.hear("b", event("e1", seq=1))
    con.hear("c", event("e1", seq=1, recipient="git"))
    assert con.result(first)["uuid"] == "e1"
    assert not con.answered(con.call("wait_event", **args))
    assert con.queue.cursor == 1


def test_the_cursor_moves_only_after_the_commit() -> None:
    con = ready()
    con.held = True
    con.hear("a", event("e1", seq=1))
    assert con.queue.cursor == 0
    con.settle()
    assert con.queue.cursor == 1


def test_an_event_that_could_not_be_stored_is_fetched() -> None:
    con = ready()
    con.full = True
    con.hear("a", event("e1", seq=1))
    con.full = False
    assert con.queue.cursor == 0
    con.clear()
    con.wait(0.5)
    (fetch,) = con.said(Kind.FETCH)
    assert (fetch.number("after"), fetch.number("upto")) == (0, 1)


# ---- the cursor of a new connector


def test_a_new_connector_begins_at_the_latest_it_is_told() -> None:
    """Not at 0: it would be sent the whole journal, of days or gigabytes."""
    con = Connector(["a"])
    con.up("a", latest=5000)
    assert con.queue.cursor == 5000
    con.wait(5.0)
    assert con.said(Kind.FETCH) == []


def test_an_event_without_a_number_tells_nothing_of_the_sequence() -> None:
    con = Connector(["a"])
    link = con._opened["a"]
    con.links["a"] = link
    con.do(con.machine.link_opened(link, con.now))
    welcome = con.welcome("a", con.log[0][1].text("session")).without("latest")
    con.hear("a", welcome, event("e1"))
    assert con.queue.cursor is None
    con.wait(2.0)
    assert con.queue.cursor is None
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 0, "latest": 5000}))
    assert con.queue.cursor == 5000


def test_the_cursor_survives_a_restart_and_is_told_in_hello_and_beats() -> None:
    con = ready(latest=7)
    con.wait(1.0)
    again = con.restart()
    assert again.queue.cursor == 7
    again.up("a", latest=7)
    (hello,) = again.said(Kind.HELLO)
    assert hello.number("cursor") == 7
    again.clear()
    again.wait(1.0)
    assert {m.number("cursor") for m in again.said(Kind.HEARTBEAT)} == {7}


# ---- gaps


def fetches(con: Connector) -> list[tuple[int, int]]:
    return [(m.number("after"), m.number("upto")) for m in con.said(Kind.FETCH)]


def answered(fetch: Message, **fields: Any) -> Message:
    header = {"reference": fetch.uuid, "upto": fetch.number("upto"), "latest": fetch.number("upto"), **fields}
    return Message(Kind.FETCH, {"missed": 0, "recipient": "git", **header}, b"", Flag.ANSWER)


def test_what_stays_missing_for_200_ms_is_fetched_from_one_instance() -> None:
    con = ready(latest=3)
    con.hear("a", event("e6", seq=6))
    con.clear()
    con.wait(0.19)
    assert fetches(con) == []
    con.wait(0.02)
    assert fetches(con) == [(3, 5)]


def test_what_comes_within_200_ms_is_not_fetched() -> None:
    con = ready(latest=3)
    con.hear("a", event("e5", seq=5))
    con.wait(0.1)
    con.hear("b", event("e4", seq=4))
    con.wait(5.0)
    assert fetches(con) == []
    assert con.queue.cursor == 5


@pytest.mark.parametrize(
    "news",
    [
        Message(Kind.HEARTBEAT, {"received": 0, "latest": 5}),
        confirm(["x", 5]),
        event("e5", seq=5),
    ],
    ids=["beat", "CONFIRM", "event"],
)
def test_ways_to_learn_of_a_gap(news: Message) -> None:
    con = ready(latest=3)
    con.hear("a", news)
    con.wait(0.3)
    assert fetches(con)[0][0] == 3


def test_a_connector_that_was_away_fetches_what_it_missed() -> None:
    con = ready(latest=3)
    con.wait(1.0)
    again = con.restart()
    again.up("a", latest=203)
    again.clear()
    again.wait(0.25)
    ((_, fetch),) = [s for s in again.log if s[1].kind is Kind.FETCH]
    assert (fetch.number("after"), fetch.number("upto")) == (3, 203)
    for number in range(4, 204):
        again.hear("a", event(f"e{number}", seq=number, recipient="git"))
    again.hear("a", answered(fetch))
    assert again.queue.cursor == 203
    again.clear()
    again.wait(5.0)
    assert fetches(again) == []


def fetching(con: Connector, upto: int) -> Message:
    """A FETCH under way up to a number."""
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 0, "latest": upto}))
    con.wait(0.25)
    return con.said(Kind.FETCH)[-1]


def test_after_an_answer_the_rest_is_asked_for_at_once() -> None:
    con = ready(latest=0)
    fetch = fetching(con, 10)
    for number in (1, 2, 3):
        con.hear("a", event(f"e{number}", seq=number, recipient="git"))
    con.clear()
    con.hear("a", answered(fetch, upto=3, latest=10))
    con.wait(0.05)
    assert fetches(con) == [(3, 10)]


def test_the_cursor_moves_to_upto_only_once_the_events_are_committed() -> None:
    con = ready(latest=0)
    fetch = fetching(con, 2)
    con.held = True
    con.hear("a", event("e1", seq=1, recipient="git"), event("e2", seq=2, recipient="git"), answered(fetch))
    assert con.queue.cursor == 0
    con.settle()
    assert con.queue.cursor == 2


def test_events_beyond_retention_are_passed_over_counted_and_noted() -> None:
    con = ready(latest=0)
    fetch = fetching(con, 10)
    con.hear("a", event("e9", seq=9, recipient="git"), event("e10", seq=10, recipient="git"))
    con.hear("a", answered(fetch, missed=8))
    assert con.queue.cursor == 10
    assert [
        n.fields["missed"] for n in con.notes if n.event == "events missed: the journal has them no more"
    ] == [8]


def test_a_fetched_event_that_could_not_be_stored_is_fetched_again() -> None:
    con = ready(latest=0)
    fetch = fetching(con, 2)
    con.full = True
    con.hear("a", event("e1", seq=1, recipient="git"))
    con.full = False
    con.hear("a", event("e2", seq=2, recipient="git"))
    con.clear()
    con.hear("a", answered(fetch))
    assert con.queue.cursor == 0, "number 1 is not here"
    con.wait(2.0)
    assert fetches(con)[-1] == (0, 1)


def test_an_unanswered_fetch_is_asked_of_somebody_again() -> None:
    con = ready(latest=0)
    fetching(con, 2)
    con.clear()
    con.wait(1.1)
    assert fetches(con) == [(0, 2)]


def test_the_answer_of_a_superseded_fetch_changes_nothing() -> None:
    con = ready(latest=0)
    old = fetching(con, 2)
    con.wait(1.1)
    con.hear("a", answered(old))
    assert con.queue.cursor == 0


def test_with_nobody_to_ask_a_gap_waits_for_a_session() -> None:
    con = ready("a", latest=0)
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 0, "latest": 5}))
    con.down("a")
    con.clear()
    con.wait(30.0)
    assert fetches(con) == []
    con.up("a", latest=5)
    con.wait(0.3)
    assert fetches(con) == [(0, 5)]
