"""From the connectors of a tenant to the cluster: each row of the table in `router.py` that goes up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.aggregator import (
    UPWARD,
    Aggregator,
    command,
    event,
    members,
    only,
    two,
)
from tests.support.samples import messages
from tests.support.transcript import of
from zconnector.actions import Actions, Close, Transmit
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, receipt

# ---- from a connector: COMMAND


def test_a_command_is_tried_over_the_members_with_its_share() -> None:
    agg = two()
    agg.hear("git", command())
    first, message = only(agg.said())
    assert message == command(tenant="t1", source="git", budget=1000)
    agg.clear()
    agg.wait(0.999)
    assert agg.said() == []
    agg.wait(0.001)
    second, message = only(agg.said())
    assert {first, second} == {"m1", "m2"}
    assert message.number("budget") == 1000


def test_tenant_and_source_come_from_the_session_whatever_the_message_says() -> None:
    agg = two()
    agg.hear("git", command(source="ci"), event(source="ci"))
    assert {m.text("source") for _, m in agg.said()} == {"git"}
    assert {m.text("tenant") for _, m in agg.said()} == {"t1"}


def test_unknown_fields_are_kept() -> None:
    agg = two()
    agg.hear("git", command(from_version_2=[1, {}]))
    assert only(agg.said())[1].header["from_version_2"] == [1, {}]


def test_without_a_budget_the_timeout_is_the_budget() -> None:
    agg = two()
    agg.hear("git", command().without("budget"))
    assert only(agg.said())[1].number("budget") == 2000


@pytest.mark.parametrize("name", ["ON_GOING", "REJECTED"])
def test_a_receipt_goes_to_the_connector_whose_command_it_is(name: str) -> None:
    agg = two()
    agg.hear("git", command())
    member, sent = only(agg.said())
    agg.clear()
    answer = receipt(sent, name, source="ci", reason="CONFLICT" if name == "REJECTED" else "")
    agg.hear(member, answer)
    assert agg.said() == [("git", answer)]
    agg.clear()
    agg.wait(10)
    assert agg.said() == [], "the try is over"


def test_a_receipt_by_another_member_than_the_one_being_tried_counts() -> None:
    agg = two()
    agg.hear("git", command())
    first, sent = only(agg.said())
    agg.wait(1.0)
    agg.clear()
    agg.hear(first, receipt(sent, "ON_GOING", source="ci"))
    assert [to for to, _ in agg.said()] == ["git"]


def test_a_receipt_that_comes_after_the_try_goes_to_its_recipient() -> None:
    agg = two()
    late = receipt(command(source="git"), "ON_GOING", source="ci")
    agg.hear("m1", late)
    assert agg.said() == [("git", late)]


def test_no_route_tries_the_next_member_at_once() -> None:
    agg = two()
    agg.hear("git", command())
    first, sent = only(agg.said())
    agg.clear()
    agg.hear(first, receipt(sent, "NO_ROUTE", reason="TARGET_AWAY", detail="away"))
    second, _ = only(agg.said())
    assert {first, second} == {"m1", "m2"}
    agg.clear()
    agg.hear(second, receipt(sent, "NO_ROUTE", reason="TARGET_AWAY", detail="still away"))
    to, answer = only(agg.said())
    assert to == "git"
    assert answer.is_receipt
    assert (answer.text("event"), answer.text("reason")) == ("NO_ROUTE", "TARGET_AWAY")
    assert (answer.text("detail"), answer.reference) == ("still away", "c1")


def test_a_no_route_about_nothing_under_way_is_dropped() -> None:
    agg = two()
    agg.hear("m1", receipt(command(source="git"), "NO_ROUTE", reason="TARGET_AWAY"))
    assert agg.said() == []


def test_silence_of_all_members_is_not_answered() -> None:
    """Its own share at the connector is over too: NO_ROUTE would say that nobody has it."""
    agg = two()
    agg.hear("git", command())
    agg.clear()
    agg.wait(5.0)
    assert [to for to, _ in agg.said()].count("git") == 0
    assert agg.router.status()["in_flight"] == 0


def test_a_lost_member_moves_its_commands_on_at_once() -> None:
    agg = two()
    agg.hear("git", command())
    first, _ = only(agg.said())
    agg.clear()
    agg.member_down(first)
    second, _ = only(agg.said())
    assert {first, second} == {"m1", "m2"}


def test_a_member_that_says_goaway_moves_its_commands_on_at_once() -> None:
    agg = two()
    agg.hear("git", command())
    first, _ = only(agg.said())
    agg.clear()
    actions = agg.hear(first, Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    assert of(actions, Close)
    assert members(agg.said()) == [{"m1": "m2", "m2": "m1"}[first]]


def test_no_member_at_all() -> None:
    agg = two()
    agg.member_down("m1")
    agg.member_down("m2")
    agg.clear()
    agg.hear("git", command())
    to, answer = only(agg.said())
    assert (to, answer.text("event"), answer.text("reason")) == ("git", "NO_ROUTE", "NO_CLUSTER")


def test_too_many_commands_in_flight() -> None:
    agg = Aggregator(2, max_in_flight=2)
    agg.join("git")
    agg.hear("git", command("c1"), command("c2"))
    agg.clear()
    agg.hear("git", command("c3"))
    to, answer = only(agg.said())
    assert (to, answer.reference) == ("git", "c3")
    assert (answer.text("event"), answer.text("reason")) == ("NO_ROUTE", "BUSY")
    agg.clear()
    agg.hear("git", command("c1"))
    assert members(agg.said()) != [], "one that is under way is no further one"


def test_of_60_commands_each_receipt_finds_its_connector() -> None:
    agg = two()
    for number in range(60):
        agg.hear("git" if number % 2 else "ci", command(f"c{number}"))
    sent = agg.said()
    agg.clear()
    for member, message in reversed(sent):
        agg.hear(member, receipt(message, "ON_GOING", source="x"))
    said = agg.said()
    assert len(said) == 60
    assert all(to == ("git" if int(m.reference[1:]) % 2 else "ci") for to, m in said)


# ---- from a connector: permissions


@pytest.mark.parametrize(
    ("held", "fields", "allowed"),
    [
        (["*"], {}, True),
        (["Ci"], {}, True),
        (["Ci:BUILD"], {}, True),
        (["Ci:OTHER"], {}, False),
        (["Git"], {}, False),
        ([], {}, False),
        (["*"], {"admin": True}, False),
        (["*", "ADMIN"], {"admin": True}, True),
    ],
)
def test_permissions(held: list[str], fields: dict[str, Any], allowed: bool) -> None:
    agg = Aggregator(1)
    agg.join("git", permissions=held)
    agg.hear("git", command(**fields))
    to, message = only(agg.said())
    if allowed:
        assert (to, message.kind) == ("m1", Kind.COMMAND)
    else:
        assert (to, message.text("event"), message.text("reason")) == ("git", "REJECTED", "NOT_PERMITTED")
        assert "git may not send Ci:BUILD" in message.text("detail")


# ---- from a connector: EVENT


def test_a_broadcast_goes_to_one_member_and_every_other_connector() -> None:
    agg = two()
    agg.join("third", "Git")
    agg.hear("git", event())
    said = agg.said()
    assert len(members(said)) == 1
    assert sorted(to for to, _ in said if not to.startswith("m")) == ["ci", "third"]
    assert {str(m) for _, m in said} == {str(event(tenant="t1", source="git"))}


def test_the_number_of_an_event_is_the_cluster_s_to_give() -> None:
    """One that a connector wrote itself would move the cursors of all others past what they have not seen."""
    agg = two()
    agg.hear("git", event(seq=1_000_000))
    said = agg.said()
    assert len(said) == 2
    assert not [m for _, m in said if "seq" in m.header]


def test_broadcasts_are_spread_over_the_members() -> None:
    agg = two()
    for number in range(200):
        agg.hear("git", event(f"e{number}"))
    shares = members(agg.said())
    assert 60 < shares.count("m1") < 140


def test_a_directed_event_goes_to_one_member_only() -> None:
    agg = two()
    reply = event(reference="c1", recipient="ci")
    agg.hear("git", reply)
    to, message = only(agg.said())
    assert to in ("m1", "m2")
    assert message == reply.with_fields(tenant="t1", source="git")


def test_a_receipt_goes_to_the_member_that_its_command_came_from() -> None:
    for member in ("m1", "m2"):
        for number in range(10):
            agg = two()
            uuid = f"c{number}"
            agg.hear(member, command(uuid, target="git", source="ci", tenant="t1"))
            agg.clear()
            agg.hear("git", receipt(command(uuid, source="ci"), "ON_GOING", source="git"))
            to, message = only(agg.said())
            assert to == member
            assert message.is_receipt
            assert message.text("recipient") == "ci"


def test_a_receipt_whose_member_has_gone_goes_to_another() -> None:
    agg = two()
    agg.hear("m1", command(target="git", source="ci"))
    agg.member_down("m1")
    agg.clear()
    agg.hear("git", receipt(command(source="ci"), "ON_GOING", source="git"))
    assert members(agg.said()) == ["m2"]


# ---- from a connector: CONFIRM, FETCH, CONFIG, CONFIGURATION


@pytest.mark.parametrize("message", UPWARD, ids=lambda m: m.kind.name)
def test_what_is_the_cluster_s_goes_to_one_member(message: Message) -> None:
    agg = two()
    agg.hear("git", message)
    to, sent = only(agg.said())
    assert to in ("m1", "m2")
    assert sent == message.with_fields(tenant="t1", source="git", type="Git")


def test_the_type_is_the_session_s_whatever_the_message_says() -> None:
    agg = two()
    agg.hear("git", Message(Kind.CONFIG, {"uuid": "k1", "command": "GET", "type": "Ci"}))
    assert only(agg.said())[1].text("type") == "Git"


def test_a_connector_without_a_type_has_none() -> None:
    agg = Aggregator(1)
    agg.clear()
    agg.greet("git", "")
    assert agg.said()[0][1].text("reason") == "BAD_HEADER", "a type is a name, and no name is empty"


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.CONFIGURATION])
def test_without_a_member_a_request_is_refused_at_once(kind: Kind) -> None:
    agg = two()
    agg.member_down("m1")
    agg.member_down("m2")
    agg.clear()
    agg.hear("git", Message(kind, {"uuid": "k1", "command": "GET"}))
    to, answer = only(agg.said())
    assert (to, answer.kind, answer.is_answer) == ("git", kind, True)
    assert (answer.reference, answer.text("reason")) == ("k1", "NO_CLUSTER")
    assert agg.router.counters["no_member"] == 1


@pytest.mark.parametrize("message", [event(), *UPWARD[:2]], ids=lambda m: m.kind.name)
def test_without_a_member_what_comes_again_is_dropped_and_counted(message: Message) -> None:
    agg = Aggregator(1)
    agg.join("git")
    agg.member_down("m1")
    agg.clear()
    agg.hear("git", message)
    assert agg.said() == []
    assert agg.router.counters["no_member"] == 1


def test_a_busy_member_is_passed_over() -> None:
    agg = Aggregator(2, credit=2)
    agg.join("git")
    for number in range(20):
        agg.hear("git", Message(Kind.CONFIRM, {"entries": [[f"e{number}", 0]]}))
    got = members(agg.said())
    assert got.count("m1") <= 2
    assert got.count("m2") <= 2
    assert agg.router.counters["no_member"] == 20 - len(got)


# ---- whatever comes


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["git", "ci", "m1", "m2"]), messages()), max_size=6))
def test_no_well_formed_message_breaks_the_core(batch: list[tuple[str, Message]]) -> None:
    agg = two()
    for name, message in batch:
        actions: Actions = []
        if name in agg.links:
            actions = agg.hear(name, message)
        for transmit in of(actions, Transmit):
            if transmit.refused is not None:
                agg.read(transmit.refused(agg.now))
        agg.wait(0.3)
