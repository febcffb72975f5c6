"""From the cluster to the connectors: each row of the table in `router.py` that goes down."""

from __future__ import annotations

import pytest

from tests.support.aggregator import (
    Aggregator,
    beat,
    command,
    event,
    only,
    two,
)
from tests.support.samples import minimal
from tests.support.transcript import of
from zconnector.actions import Note, Open, Transmit
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message

# ---- from a member: COMMAND


def test_a_command_goes_to_its_target() -> None:
    agg = two()
    copy = command(target="ci", source="git", tenant="t1", unknown=1)
    agg.hear("m1", copy)
    assert agg.said() == [("ci", copy)]


def test_a_target_without_a_session_is_no_route_at_once() -> None:
    agg = two()
    agg.hear("m2", command(target="gone", source="git", tenant="t1"))
    to, answer = only(agg.said())
    assert to == "m2"
    assert answer.is_receipt
    assert (answer.text("event"), answer.text("reason")) == ("NO_ROUTE", "TARGET_AWAY")
    assert answer.reference == "c1"
    assert "gone has no session with agg1/a" in answer.text("detail")


def test_a_pending_connector_gets_no_command() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.clear()
    agg.hear("m1", command(target="git", source="ci"))
    to, answer = only(agg.said())
    assert (to, answer.text("reason")) == ("m1", "TARGET_AWAY")


def test_a_target_that_its_socket_does_not_know_is_no_route() -> None:
    agg = two()
    (transmit,) = of(agg.hear("m1", command(target="ci", source="git")), Transmit)
    assert transmit.refused is not None
    agg.clear()
    agg.read(transmit.refused(agg.now))
    answers = [m for to, m in agg.said() if m.is_receipt]
    assert [(m.text("event"), m.text("reason")) for m in answers] == [("NO_ROUTE", "TARGET_AWAY")]


def test_a_busy_target_is_no_route() -> None:
    agg = Aggregator(1, credit=3)
    agg.join("git")
    for number in range(5):
        agg.hear("m1", command(f"c{number}", target="git", source="ci"))
    assert [m.uuid for m in agg.said_to("git")] == ["c0", "c1", "c2"]
    refused = [m.reference for m in agg.said_to("m1") if m.text("event") == "NO_ROUTE"]
    assert refused == ["c3"], "as far as the member itself has room"
    assert agg.router.counters["receipt_dropped"] == 1


# ---- from a member: EVENT, CONFIRM, PRESENCE, answers, pushes


@pytest.mark.parametrize(
    "message",
    [
        event(seq=7, recipient="ci", source="git"),
        event(reference="c1", recipient="ci", source="git"),
        Message(Kind.CONFIRM, {"entries": [["e1", 0]], "recipient": "ci"}),
        Message(Kind.FETCH, {"reference": "f1", "upto": 3, "recipient": "ci"}, b"", Flag.ANSWER),
        Message(Kind.JOURNAL, {"reference": "j1", "recipient": "ci"}, b"", Flag.ANSWER),
        Message(Kind.CONFIG, {"reference": "k1", "recipient": "ci"}, b"{}", Flag.ANSWER),
        Message(Kind.CONFIGURATION, {"reference": "k1", "recipient": "ci"}, b"{}", Flag.ANSWER),
    ],
    ids=lambda m: f"{m.kind.name} {m.reference}",
)
def test_what_has_a_recipient_goes_to_it(message: Message) -> None:
    agg = two()
    agg.hear("m1", message)
    assert agg.said() == [("ci", message)]
    agg.clear()
    agg.hear("m1", message.with_fields(recipient="gone"))
    assert agg.said() == []
    assert agg.router.counters["recipient_away"] == 1


@pytest.mark.parametrize(
    "message",
    [
        event(seq=7, source="ci"),
        Message(Kind.CONFIRM, {"entries": [["e1", 7]]}),
        Message(Kind.PRESENCE, {"number": 0, "entries": ["x"]}),
    ],
    ids=lambda m: m.kind.name,
)
def test_what_has_none_goes_to_every_connector(message: Message) -> None:
    agg = two()
    agg.hear("m1", message)
    assert agg.said() == [("git", message), ("ci", message)]


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.CONFIGURATION])
def test_a_push_goes_to_the_connectors_of_its_type(kind: Kind) -> None:
    agg = two()
    agg.join("git2", "Git")
    push = Message(kind, {"uuid": "p1", "command": "GET", "type": "Git"}, b"{}", Flag.PUSH)
    agg.hear("m1", push)
    assert agg.said() == [("git", push), ("git2", push)]


def test_a_message_that_this_version_does_not_expect_is_noted() -> None:
    agg = two()
    for name, message in (("m1", minimal(Kind.FETCH)), ("git", minimal(Kind.PRESENCE))):
        (note,) = of(agg.hear(name, message), Note)
        assert note.fields["kind"] == message.kind.name
    assert agg.said() == []


# ---- events leave room for what somebody waits for


def test_events_take_a_quarter_of_a_connector_s_credit_and_a_command_still_passes() -> None:
    agg = Aggregator(1, credit=200)
    agg.join("git")
    room = agg.machine.status(agg.now)["sessions"]["down"][0]["in_flight"]
    assert room == 0
    for number in range(1, 101):
        agg.hear("m1", event(f"e{number}", seq=number, source="ci"))
    passed = [m.uuid for m in agg.said_to("git")]
    assert passed == [f"e{number}" for number in range(1, 52)], "as long as three quarters are free"
    assert agg.router.counters["event_dropped"] == 49
    agg.clear()
    agg.hear("m1", command(target="git", source="ci"))
    assert [m.uuid for m in agg.said_to("git")] == ["c1"]
    agg.clear()
    agg.hear("git", beat(received=40))
    agg.hear("m1", event("later", seq=101, source="ci"))
    assert [m.uuid for m in agg.said_to("git")] == ["later"]


def test_a_connector_without_room_for_events_keeps_them_from_nobody_else() -> None:
    agg = Aggregator(1, credit=200)
    agg.join("slow")
    agg.join("git")
    for number in range(1, 101):
        agg.hear("m1", event(f"e{number}", seq=number, source="ci"))
        agg.hear("git", beat(received=number))
    assert len(agg.said_to("git")) == 100
    assert len(agg.said_to("slow")) == 51


@pytest.mark.parametrize(
    "message",
    [
        event(reference="c1", recipient="git", source="ci"),
        Message(Kind.CONFIRM, {"entries": [["e1", 7]]}),
    ],
    ids=["reply", "CONFIRM"],
)
def test_what_somebody_waits_for_may_use_all_of_the_credit(message: Message) -> None:
    agg = Aggregator(1, credit=20)
    agg.join("git")
    for _ in range(20):
        agg.hear("m1", message)
    assert len(agg.said_to("git")) == 20


def test_fetched_events_leave_a_connector_the_room_that_receipts_need() -> None:
    agg = Aggregator(1, credit=20)
    agg.join("git")
    for number in range(20):
        agg.hear("m1", event(f"e{number}", seq=number + 1, recipient="git", source="ci"))
    assert len(agg.said_to("git")) == 6
    assert agg.router.counters["event_dropped"] == 14


# ---- revoked


def test_a_revoked_connector_is_told_and_dropped() -> None:
    agg = two()
    revoked = Message(Kind.ERROR, {"reason": "REVOKED", "detail": "revoked", "name": "git", "tenant": "t1"})
    agg.hear("m1", revoked)
    assert [(m.kind, m.text("reason")) for m in agg.said_to("git")] == [(Kind.ERROR, "REVOKED")]
    assert agg.said_to("ci") == []
    down = [m for m in agg.said_to("m1") if m.kind is Kind.PRESENCE]
    assert [m.header["down"] for m in down] == [["git"]]


# ---- what comes with beats


def latest_told(agg: Aggregator, name: str) -> list[int]:
    agg.wait(0.75)
    agg.clear()
    agg.wait(0.75)
    return [m.number("latest") for m in agg.said_to(name) if m.kind is Kind.HEARTBEAT]


def test_the_latest_number_is_passed_on_with_beats() -> None:
    agg = two()
    agg.hear("m1", beat(latest=7))
    assert latest_told(agg, "git") == [7]
    agg.hear("m2", beat(latest=3))
    assert latest_told(agg, "git") == [7], "it never goes back"
    agg.hear("m1", event(seq=9, source="x"))
    assert latest_told(agg, "git") == [9]
    agg.hear("git", beat(latest=99))
    assert latest_told(agg, "ci") == [9], "a connector does not set it"
    assert all("latest" not in m.header for m in agg.said_to("m1"))


def test_changed_instances_are_told_to_every_connector() -> None:
    agg = two()
    instances = [{"instance": "a", "endpoint": "tcp://a", "key": "ka"}]
    agg.hear("m1", beat(instances=instances))
    welcomes = [(to, m) for to, m in agg.said() if m.kind is Kind.WELCOME]
    assert [to for to, _ in welcomes] == ["git", "ci"]
    assert all(m.header["instances"] == instances for _, m in welcomes)
    agg.clear()
    agg.hear("m2", beat(instances=instances))
    assert agg.said() == [], "the same again is no news"


def test_when_a_member_is_back_the_connectors_are_told_to_ask_again() -> None:
    """What it pushed meanwhile reached nobody here (seed 31114 of the simulation)."""
    agg = two()
    agg.member_down("m1")
    (opened,) = of(agg.wait(0.1), Open)
    agg.clear()
    agg.member_up("m1", opened.link)
    welcomed = [to for to, m in agg.said() if m.kind is Kind.WELCOME]
    assert sorted(welcomed) == ["ci", "git"]
