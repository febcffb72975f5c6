"""Subscriptions at the door: arguments, and a connector's events through them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, event
from zconnector.connector.subscribing import MAX_ACKNOWLEDGED
from zconnector.errors import Reason
from zconnector.messages import Kind, Message
from zconnector.messages.codec import encode_one

TOPICS = [{"topic": "BUILDS"}]


@pytest.fixture
def connector() -> Connector:
    connector = Connector()
    connector.ready()
    return connector


def test_from_an_aggregator_to_an_acknowledgement(connector: Connector) -> None:
    made = connector.call("subscribe", subscription="s", topics=TOPICS)
    assert connector.result(made) == {"created": True, "missed": 0}
    waiting = connector.call("take_events", subscription="s", holder="h", limit=64)
    assert not connector.answered(waiting)
    connector.hear("a", event("e1", payload=b"hello", seq=1))
    (item,) = connector.result(waiting)["events"]
    assert (item["uuid"], item["attempt"], item["size"], item["source"]) == ("e1", 1, 5, "ci")
    assert connector.responses[waiting].payload == b"hello"
    told = connector.call("acknowledge", subscription="s", holder="h", events=[{"id": item["id"]}])
    assert connector.result(told) == {"results": [{"id": item["id"]}]}
    assert connector.result(connector.call("unsubscribe", subscription="s")) == {"existed": True}


def test_our_own_events_come_too(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=[{"topic": "BUILDS", "event": "DONE"}])
    connector.call("send_event", b"{}", uuid="e1", topic="BUILDS", event="DONE")
    taken = connector.result(connector.call("take_events", subscription="s", wait_ms=-1))
    assert [item["uuid"] for item in taken["events"]] == ["e1"]


def test_waits(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=TOPICS)
    nothing = {"events": [], "missed": 0}
    assert connector.result(connector.call("take_events", subscription="s", wait_ms=-1)) == nothing
    some, all_ = (connector.call("take_events", subscription="s", wait_ms=ms) for ms in (500, 0))
    connector.wait(1.0)
    assert connector.result(some) == nothing
    connector.wait(1000.0)
    assert not connector.answered(all_)
    connector.cancel(all_)
    connector.call("unsubscribe", subscription="s")
    assert not connector.answered(all_)


def test_a_restart_keeps_it(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=TOPICS)
    connector.hear("a", event("e1", seq=1), event("e2", seq=2))
    taken = connector.result(connector.call("take_events", subscription="s", limit=1))
    connector.call("acknowledge", subscription="s", events=[{"id": taken["events"][0]["id"]}])
    again = connector.restart()
    taken = again.result(again.call("take_events", subscription="s", limit=64))
    assert [item["uuid"] for item in taken["events"]] == ["e2"]


def test_a_stream_that_ends_gives_its_events_back(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=TOPICS)
    stream = connector.call("tidings", holder="h", worker="w1")
    connector.hear("a", event("e1", seq=1))
    connector.call("take_events", subscription="s", holder="h")
    waiting = connector.call("take_events", subscription="s", holder="other")
    assert not connector.answered(waiting)
    connector.cancel(stream)
    (item,) = connector.result(waiting)["events"]
    assert (item["uuid"], item["attempt"]) == ("e1", 2)


def test_a_stream_that_outlives_the_connector_keeps_its_events(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=TOPICS)
    connector.hear("a", event("e1", seq=1))
    connector.call("take_events", subscription="s", holder="h")
    again = connector.restart()
    again.call("tidings", holder="h", worker="w1")
    again.wait(30)
    nothing = again.call("take_events", subscription="s", holder="other", wait_ms=-1)
    assert again.result(nothing)["events"] == []


@pytest.mark.parametrize(
    ("op", "changes", "rule"),
    [
        ("subscribe", {"subscription": ""}, "subscription must be 1 to 128 of"),
        ("subscribe", {"subscription": "a b"}, "got 'a b'"),
        ("subscribe", {"subscription": 5}, "subscription must be str, not int"),
        ("subscribe", {"topics": []}, "topics is empty, or missing"),
        ("subscribe", {"topics": [{"topic": "T"}] * 33}, "topics has 33 items, limit 32"),
        ("subscribe", {"topics": "T"}, "topics must be a list of objects"),
        ("subscribe", {"topics": ["T"]}, "topics must be a list of objects"),
        ("subscribe", {"topics": [{}]}, "topic is missing"),
        ("subscribe", {"topics": [{"topic": "t" * 257}]}, "topic is longer than 256 bytes"),
        ("subscribe", {"topics": [{"topic": "t", "event": 1}]}, "event must be str"),
        ("subscribe", {"from": "yesterday"}, "from must be new or oldest"),
        ("subscribe", {"max_unacked": 0}, "max_unacked must be an int from 1 to 4,096"),
        ("subscribe", {"max_unacked": True}, "max_unacked must be an int"),
        ("subscribe", {"lease": 999}, "lease must be an int from 1,000 to 86,400,000"),
        ("take_events", {"limit": 65}, "limit must be an int from 1 to 64"),
        ("take_events", {"wait_ms": -2}, "wait_ms must be an int from -1"),
        ("take_events", {"holder": "h" * 65}, "holder is longer than 64 bytes"),
        ("acknowledge", {"events": []}, "events is empty, or missing"),
        ("acknowledge", {"events": [7]}, "events must be a list of objects"),
        ("acknowledge", {"events": [{"id": "7"}]}, "each of events must have an int id"),
        ("acknowledge", {"events": [{"id": 7, "ok": 1}]}, "ok must be bool, not int"),
        ("acknowledge", {"events": [{"id": 7, "attempt": -1}]}, "attempt must be an int from 0 to"),
        ("acknowledge", {"events": [{"id": 7, "attempt": "1"}]}, "attempt must be an int from 0 to"),
        ("unsubscribe", {"subscription": "x" * 129}, "subscription is longer than 128 bytes"),
    ],
)
def test_a_bad_argument_is_named_with_its_rule(
    connector: Connector, op: str, changes: dict[str, Any], rule: str
) -> None:
    good: dict[str, Any] = {"subscription": "s", "topics": TOPICS, "events": [{"id": 1}]}
    refusal = connector.refusal(connector.call(op, **{**good, **changes}))
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert rule in refusal.detail


@pytest.mark.parametrize("op", ["take_events", "acknowledge"])
def test_an_unknown_subscription(connector: Connector, op: str) -> None:
    refusal = connector.refusal(connector.call(op, subscription="s", events=[{"id": 1}]))
    assert (refusal.reason, refusal.detail) == (Reason.NOT_FOUND, "no such subscription: 's'")


def test_the_answer_to_the_largest_acknowledgement_fits_into_a_result(connector: Connector) -> None:
    connector.call("subscribe", subscription="s", topics=TOPICS)
    events = [{"id": -(1 << 63) + number, "ok": True} for number in range(MAX_ACKNOWLEDGED)]
    told = connector.call("acknowledge", subscription="s", holder="h", events=events)
    assert len(connector.result(told)["results"]) == MAX_ACKNOWLEDGED
    encode_one(Message(Kind.RESULT, {"call": 1 << 53, "args": connector.result(told)}))
    more = connector.call("acknowledge", subscription="s", holder="h", events=[*events, {"id": 1}])
    assert connector.refusal(more).reason is Reason.BAD_ARGUMENT
