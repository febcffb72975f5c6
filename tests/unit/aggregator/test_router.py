"""From the connectors of a tenant to the cluster: each row of the table in `router.py` that goes up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.aggregator import (
    UPWARD,
    Aggregator,
    Said,
    command,
    event,
    members,
    only,
    two,
)
from tests.support.samples import messages
from tests.support.transcript import of
from zconnector.actions import Actions, Close, Open, Transmit
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, receipt
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT, EVENTS_AT_ONCE, EVENTS_PER_SECOND

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


# ---- from a connector: no more than its share


def refused(agg: Aggregator, name: str) -> list[tuple[str, str]]:
    """NO_ROUTE that a connector heard: which command, why."""
    return [
        (m.reference, m.text("reason"))
        for m in agg.said_to(name)
        if m.is_receipt and m.text("event") == "NO_ROUTE"
    ]


def fill(agg: Aggregator, name: str = "git", prefix: str = "c") -> list[Said]:
    """As many commands as one connector may have under way; what was said to whom."""
    for number in range(COMMANDS_IN_FLIGHT):
        agg.hear(name, command(f"{prefix}{number}"))
    assert refused(agg, name) == []
    sent = [(to, m) for to, m in agg.said() if m.kind is Kind.COMMAND]
    agg.clear()
    return sent


def down(agg: Aggregator, member: str) -> int:
    """A member is lost; returns the link of the next try to reach it."""
    actions = agg.member_down(member)
    return of([*actions, *agg.wait(0.1)], Open)[-1].link


def is_full(agg: Aggregator, name: str = "git") -> bool:
    agg.hear(name, command("one more"))
    told = refused(agg, name)
    agg.clear()
    return told == [("one more", "BUSY")]


def test_one_command_more_is_busy_and_another_connector_s_first_one_is_not() -> None:
    agg = two()
    fill(agg)
    agg.hear("git", command("one more"))
    to, answer = only(agg.said())
    assert (to, answer.text("event"), answer.text("reason")) == ("git", "NO_ROUTE", "BUSY")
    assert answer.reference == "one more"
    assert f"{COMMANDS_IN_FLIGHT} commands of git" in answer.text("detail")
    agg.clear()
    agg.hear("ci", command("first"))
    assert [m.uuid for _, m in agg.said()] == ["first"]
    assert len(members(agg.said())) == 1


def test_a_copy_of_one_under_way_is_taken_though_its_connector_has_no_place() -> None:
    agg = two()
    fill(agg)
    agg.hear("git", command("c5"))
    assert [m.uuid for _, m in agg.said()] == ["c5"]
    assert len(members(agg.said())) == 1


def test_copies_take_no_place_of_their_own() -> None:
    agg = two()
    fill(agg)
    sent = fill(agg)
    for member, message in sent:
        agg.hear(member, receipt(message, "ON_GOING", source="ci"))
    agg.clear()
    fill(agg, prefix="d")
    assert is_full(agg)


def test_a_command_that_another_connector_takes_over_leaves_the_place_of_the_first() -> None:
    agg = two()
    fill(agg)
    for number in range(10):
        agg.hear("ci", command(f"c{number}"))
    agg.clear()
    for number in range(10):
        agg.hear("git", command(f"d{number}"))
    assert refused(agg, "git") == []
    agg.clear()
    assert is_full(agg)


@pytest.mark.parametrize("name", ["ON_GOING", "REJECTED"])
def test_a_receipt_makes_one_place_free(name: str) -> None:
    agg = two()
    member, sent = fill(agg)[3]
    agg.hear(member, receipt(sent, name, source="ci"))
    agg.hear(member, receipt(sent, name, source="ci"))
    agg.clear()
    agg.hear("git", command("next"))
    assert [(m.kind, m.uuid) for _, m in agg.said()] == [(Kind.COMMAND, "next")]
    agg.clear()
    assert is_full(agg)


def test_all_members_declining_makes_a_place_free() -> None:
    agg = two()
    _, sent = fill(agg)[0]
    for member in ("m1", "m2"):
        agg.hear(member, receipt(sent, "NO_ROUTE", reason="TARGET_AWAY"))
        agg.hear({"m1": "m2", "m2": "m1"}[member], receipt(sent, "NO_ROUTE", reason="TARGET_AWAY"))
    agg.clear()
    agg.hear("git", command("next"))
    assert len(members(agg.said())) == 1
    agg.clear()
    assert is_full(agg)


def test_a_try_that_has_used_its_share_makes_its_place_free() -> None:
    agg = two()
    fill(agg)
    agg.wait(1.999)
    assert is_full(agg)
    agg.wait(0.001)
    agg.clear()
    fill(agg, prefix="d")
    assert is_full(agg)


def test_a_command_that_no_member_takes_uses_no_place() -> None:
    agg = two()
    agg.member_down("m1")
    link = down(agg, "m2")
    for number in range(2 * COMMANDS_IN_FLIGHT):
        agg.hear("git", command(f"c{number}"))
    assert {reason for _, reason in refused(agg, "git")} == {"NO_CLUSTER"}
    agg.member_up("m2", link)
    agg.clear()
    fill(agg, prefix="d")
    assert is_full(agg)


def test_a_command_that_may_not_be_sent_uses_no_place() -> None:
    agg = Aggregator(1)
    agg.join("git", permissions=["Ci:BUILD"])
    for number in range(2 * COMMANDS_IN_FLIGHT):
        agg.hear("git", command(f"no{number}", command="OTHER"))
    agg.clear()
    fill(agg)
    assert is_full(agg)


def test_a_member_lost_with_all_its_commands_leaves_no_place_taken() -> None:
    agg = Aggregator(1)
    agg.join("git")
    fill(agg)
    agg.member_up("m1", down(agg, "m1"))
    agg.clear()
    fill(agg, prefix="d")
    assert is_full(agg)


def test_a_connector_s_next_session_begins_with_all_places() -> None:
    agg = two()
    sent = fill(agg)
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    agg.join("git", link=b"git again")
    fill(agg, prefix="d")
    for member, message in sent:  # of the session that is gone: they free no place of this one
        agg.hear(member, receipt(message, "ON_GOING", source="ci"))
    agg.clear()
    assert is_full(agg)


def test_a_copy_from_the_next_session_takes_a_place_of_that_one() -> None:
    agg = two()
    fill(agg)
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    agg.join("git", link=b"git again")
    sent = fill(agg)
    assert is_full(agg)
    for member, message in sent:
        agg.hear(member, receipt(message, "ON_GOING", source="ci"))
    agg.clear()
    fill(agg, prefix="d")
    assert is_full(agg)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["git", "ci"]), st.integers(0, 80)),
            st.tuples(st.sampled_from(["receipt", "NO_ROUTE", "copy"]), st.integers(0, 80)),
            st.tuples(st.just("wait"), st.integers(0, 2500)),
            st.tuples(st.sampled_from(["member", "session"]), st.integers(1, 2)),
        ),
        max_size=25,
    )
)
def test_whatever_becomes_of_them_in_the_end_every_place_is_free(steps: list[tuple[str, int]]) -> None:
    agg = two()
    links = 10
    for step, number in steps:
        if step in ("git", "ci"):
            agg.hear(step, *(command(f"c{n}") for n in range(number, number + 20)))
        elif step == "copy":
            agg.hear("git", command(f"c{number}"))
            agg.hear("ci", command(f"c{number}"))
        elif step == "wait":
            agg.wait(number / 1000)
        elif step in ("receipt", "NO_ROUTE"):
            name = "ON_GOING" if step == "receipt" else step
            answer = receipt(command(f"c{number}", source="git"), name, source="ci", reason="TARGET_AWAY")
            for member in ("m1", "m2"):
                agg.hear(member, answer)
        elif step == "member":
            agg.member_up(f"m{number}", down(agg, f"m{number}"))
        else:
            agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
            links += 1
            agg.join("git", link=b"git%d" % links)
    agg.wait(10.0)
    assert agg.router.status()["in_flight"] == 0
    agg.clear()
    for name in ("git", "ci"):
        fill(agg, name, prefix=name)
        assert is_full(agg, name)


def test_broadcasts_over_the_pace_go_no_further_and_are_counted() -> None:
    agg = two()
    for number in range(200):
        agg.hear("git", event(f"e{number}"))
    passed = [m.uuid for m in agg.said_to("ci")]
    assert passed == [f"e{number}" for number in range(2 * EVENTS_AT_ONCE)]
    assert len(members(agg.said())) == len(passed)
    assert agg.router.counters["event_over_pace"] == 200 - len(passed)
    agg.clear()
    agg.hear("ci", event("of another"))
    assert [m.uuid for m in agg.said_to("git")] == ["of another"], "each connector has a pace of its own"
    agg.clear()
    agg.wait(0.08)
    for number in range(100):
        agg.hear("git", event(f"f{number}"))
    assert len([m for m in agg.said_to("ci") if m.kind is Kind.EVENT]) == int(EVENTS_PER_SECOND * 1.25 * 0.08)


def test_a_connector_that_keeps_to_its_pace_is_never_over_it() -> None:
    agg = two()
    for number in range(EVENTS_AT_ONCE):
        agg.hear("git", event(f"e{number}"))
    for number in range(100):
        agg.wait(32 / EVENTS_PER_SECOND)
        agg.hear("git", *(event(f"f{number}-{n}") for n in range(32)))
    assert agg.router.counters["event_over_pace"] == 0


def test_replies_and_receipts_have_no_pace() -> None:
    agg = two()
    for number in range(100):
        agg.hear("git", event(f"r{number}", reference=f"c{number}", recipient="ci"))
        agg.hear("git", receipt(command(f"c{number}", source="ci"), "ON_GOING", source="git"))
    assert len(members(agg.said())) == 200
    assert agg.router.counters["event_over_pace"] == 0


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
        agg.wait(0.01)
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
