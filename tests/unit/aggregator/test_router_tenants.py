"""What an aggregator lets nobody do, and what it reports: tenants, sizes, presence."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.aggregator import (
    UPWARD,
    Aggregator,
    command,
    event,
    only,
    presence,
    two,
    verdict,
)
from tests.support.transcript import of
from zconnector.actions import Note
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import MAX_MESSAGE, Kind
from zconnector.messages.message import Message

# ---- tenants


@pytest.mark.parametrize("message", [command(), event(), *UPWARD], ids=lambda m: m.kind.name)
def test_a_message_for_another_tenant_is_not_forwarded(message: Message) -> None:
    agg = two()
    actions = agg.hear("git", message.with_fields(tenant="t2"))
    to_sender = agg.said_to("git")
    report = [m for to, m in agg.said() if to.startswith("m")]
    assert [to for to, _ in agg.said() if to == "ci"] == []
    (answer,) = to_sender
    assert answer.text("reason") == "WRONG_TENANT"
    assert answer.reference == message.uuid
    if message.kind is Kind.COMMAND:
        assert answer.text("event") == "REJECTED"
    else:
        assert answer.kind is Kind.ERROR
    (error_event,) = report
    assert (error_event.kind, error_event.text("topic"), error_event.text("event")) == (
        Kind.EVENT,
        "ERROR",
        "WRONG_TENANT",
    )
    assert (error_event.text("tenant"), error_event.text("source")) == ("t1", "git")
    assert b"t2" not in error_event.payload
    assert of(actions, Note)[0].level == "warning"
    assert agg.router.counters["wrong_tenant"] == 1


def test_a_member_s_message_for_another_tenant_goes_nowhere() -> None:
    agg = two()
    (note,) = of(agg.hear("m1", event(seq=1, tenant="t2")), Note)
    assert note.level == "error"
    assert agg.said() == []
    assert agg.router.counters["other_tenant"] == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"tenant": "t2"}, "WRONG_TENANT"), ({"kind": "aggregator"}, "UNDECLARED")],
    ids=str,
)
def test_who_gets_no_session_here(fields: dict[str, Any], reason: str) -> None:
    agg = Aggregator(1)
    agg.greet("git", **fields)
    assert [m.text("reason") for m in agg.said_to("git")] == [reason, "NO_SESSION"]
    assert agg.said_to("m1") == []


# ---- size


def full(message: Message) -> Message:
    """The same message with a payload that fills it to the last byte."""
    empty = sum(map(len, encode_one(Message(message.kind, message.header))))
    return Message(message.kind, message.header, bytes(MAX_MESSAGE - empty))


@pytest.mark.parametrize("message", [command(), event()], ids=lambda m: m.kind.name)
def test_a_message_that_grows_over_the_limit_costs_its_sender_and_nobody_else(message: Message) -> None:
    """What this hop adds must not make a message that the next hop cannot be sent."""
    agg = two()
    agg.hear("git", full(message))
    to, answer = only(agg.said())
    assert (to, answer.text("reason"), answer.reference) == ("git", "TOO_LARGE", message.uuid)


# ---- presence


def test_presence_is_a_full_set_at_hello_then_numbered_deltas() -> None:
    agg = Aggregator(1)
    agg.clear()
    agg.greet("git")
    ((_, question),) = [s for s in agg.said() if s[1].kind is Kind.SECRET]
    assert presence(agg, "m1") == [], "a session that is not validated is nobody's business"
    agg.hear("m1", verdict(question, valid=True, permissions=[]))
    assert presence(agg, "m1") == [(1, ["git"], [])]
    agg.join("ci")
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    assert presence(agg, "m1") == [(3, [], ["git"])]


def test_a_new_member_hears_the_full_set_and_numbering_begins_anew_for_all() -> None:
    agg = Aggregator(2)
    agg.join("git")
    agg.join("ci")
    agg.member_down("m2")
    agg.clear()
    agg.wait(0.0)
    agg.member_up("m2", 3)
    assert presence(agg, "m1") == presence(agg, "m2") == [(0, ["ci", "git"], [])]
    agg.clear()
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    assert presence(agg, "m1") == presence(agg, "m2") == [(1, [], ["git"])]


def test_a_renewed_session_is_never_reported_as_gone() -> None:
    agg = two()
    agg.greet("git", link=b"git-again", session="s2")
    ((member, question),) = [s for s in agg.said() if s[1].kind is Kind.SECRET]
    agg.clear()
    agg.hear(member, verdict(question, valid=True, permissions=["*"]))
    changes = presence(agg, "m1")
    state = {"git", "ci"}
    for _, up, down in changes:
        state = (state - set(down)) | set(up)
    assert state == {"git", "ci"}, "at the end the members know of it"


def test_many_connectors_are_told_in_messages_that_can_be_sent() -> None:
    """4,096 sessions with names of 128 letters are more than one header holds."""
    agg = Aggregator(1)
    names = [f"{number:04d}-" + "x" * 123 for number in range(1000)]
    for name in names:
        agg.join(name)
    agg.member_down("m1")
    agg.clear()
    agg.wait(0.0)
    agg.member_up("m1", 2)
    told = presence(agg, "m1")
    assert [number for number, _, _ in told] == list(range(len(told)))
    assert sorted(name for _, up, _ in told for name in up) == names
    agg.clear()
    agg.join("one-more")
    agg.hear(names[0], Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    assert [number for number, _, _ in presence(agg, "m1")] == [len(told) + 1]
