"""The aggregator as one machine: serving, stopping, drain, status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aggregator import (
    Aggregator,
    two,
)
from tests.support.transcript import of
from zconnector.actions import Caller, Respond, Serve, Stop, Transmit
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message

# ---- the machine


def test_it_serves_once_a_member_has_validated_it() -> None:
    agg = Aggregator(1)
    agg.member_down("m1")
    agg.wait(0.0)
    agg.links["m1"] = 2
    (transmit,) = of(agg.read(agg.machine.link_opened(2, agg.now)), Transmit)
    header = {"boot": "b", "name": "cluster", "instance": "1", "credit": 9, "heartbeat": 750}
    welcome = Message(Kind.WELCOME, {**header, "session": transmit.messages[0].text("session")})
    assert of(agg.hear("m1", welcome.with_fields(validated=False)), Serve) == []
    assert of(agg.hear("m1", welcome.with_fields(validated=True)), Serve) == [Serve()]


@pytest.mark.parametrize("reason", ["WRONG_SECRET", "REVOKED", "WRONG_KEY"])
def test_an_aggregator_that_the_cluster_refuses_stops(reason: str) -> None:
    agg = Aggregator(1)
    agg.member_down("m1")
    agg.wait(0.0)
    agg.links["m1"] = 2
    agg.read(agg.machine.link_opened(2, agg.now))
    refused = {"reference": "s", "valid": False, "reason": reason, "detail": "no"}
    (stop,) = of(agg.hear("m1", Message(Kind.SECRET, refused, flags=Flag.ANSWER)), Stop)
    assert isinstance(stop.error, Refusal)
    assert stop.error.reason == reason


def test_replaced() -> None:
    agg = Aggregator(2)
    (stop,) = of(agg.hear("m1", Message(Kind.REPLACED, {"reason": "REPLACED"})), Stop)
    assert isinstance(stop.error, Refusal)
    assert stop.error.reason is Reason.REPLACED


def test_drain_says_goaway_and_ends() -> None:
    agg = two()
    actions = agg.read(agg.machine.drain(agg.now))
    assert sorted((to, m.kind) for to, m in agg.said()) == [
        (name, Kind.GOAWAY) for name in ("ci", "git", "m1", "m2")
    ]
    assert actions[-1] == Stop()


def test_it_has_no_door() -> None:
    agg = Aggregator(1)
    caller = Caller(b"c", 1)
    (answer,) = agg.machine.call(caller, "status", {}, b"", agg.now)
    assert isinstance(answer, Respond)
    assert answer.error is not None
    assert agg.machine.cancel(caller, agg.now) == []


def test_status_and_control() -> None:
    agg = two()
    replies: list[Any] = []
    assert agg.machine.control("status", {}, agg.now, replies.append) == []
    agg.machine.control("nonsense", {}, agg.now, replies.append)
    status, refusal = replies
    assert (status["tenant"], status["name"], status["instance"]) == ("t1", "agg1", "a")
    assert [s["name"] for s in status["sessions"]["down"]] == ["git", "ci"]
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.BAD_ARGUMENT
