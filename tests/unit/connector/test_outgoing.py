"""Commands that our workers send: the serial try, and what each outcome means to the sender."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connector import Connector
from tests.support.transcript import START
from zconnector.errors import Reason
from zconnector.messages.kinds import MAX_MESSAGE, Kind
from zconnector.messages.message import Message, receipt


def send(con: Connector, uuid: str = "c1", **args: Any) -> int:
    given_args = {"uuid": uuid, "type": "Ci", "command": "BUILD", "timeout": 3000, **args}
    payload = given_args.pop("payload", b"payload")
    return con.call("send_command", payload, **given_args)


def back(message: Message, event: str = "ON_GOING", **fields: Any) -> Message:
    return receipt(message, event, source="ci", **fields)


def copies(con: Connector) -> list[tuple[str, Message]]:
    return [(to, m) for to, m in con.log if m.kind is Kind.COMMAND]


def ready() -> Connector:
    con = Connector()
    con.ready()
    return con


# ---- one uuid, two bodies


def test_a_late_receipt_of_another_body_is_no_receipt_of_this_one() -> None:
    """Its sender would be told ACCEPTED for what nobody has taken, and what is a conflict."""
    con = ready()
    send(con, payload=b"first")
    (name, first), *_ = copies(con)
    con.wait(4.0)
    con.clear()
    second = send(con, payload=b"second")
    con.hear(name, back(first))
    assert not con.answered(second)
    ((other, message),) = copies(con)
    con.hear(other, back(message, "REJECTED", reason="CONFLICT"))
    assert con.refusal(second).reason is Reason.CONFLICT


def test_a_receipt_without_a_digest_is_matched_by_its_uuid() -> None:
    """As a peer of an older version sends it."""
    con = ready()
    call = send(con)
    ((name, message),) = copies(con)
    con.hear(name, back(message).without("digest"))
    assert con.result(call)["outcome"] == "ACCEPTED"


# ---- what is sent


def test_a_command_as_it_leaves() -> None:
    con = ready()
    send(con, major=2, minor=1, context="ctx", token="tok", worker="w", admin=True)
    ((_, message),) = copies(con)
    assert message.header == {
        "uuid": "c1",
        "tenant": "t1",
        "source": "git",
        "type": "Ci",
        "command": "BUILD",
        "major": 2,
        "minor": 1,
        "timeout": 3000,
        "timestamp": con.now.wall,
        "accept_until": con.now.wall + 3000,
        "budget": 1000,
        "admin": True,
        "context": "ctx",
        "token": "tok",
        "worker": "w",
    }
    assert message.payload == b"payload"


def test_without_a_uuid_and_a_timeout_it_gets_them() -> None:
    con = ready()
    con.call("send_command", type="Ci", command="BUILD")
    ((_, message),) = copies(con)
    assert len(message.uuid) == 36
    assert message.number("timeout") == con.settings.default_timeout_ms


def test_a_timeout_over_the_maximum_is_the_maximum() -> None:
    con = ready()
    send(con, timeout=10**9)
    ((_, message),) = copies(con)
    assert message.number("timeout") == con.settings.max_timeout_ms == 600_000
    assert message.number("accept_until") == con.now.wall + 600_000


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"type": ""}, "type"),
        ({"type": "no name"}, "type"),
        ({"type": 1}, "type"),
        ({"command": ""}, "command"),
        ({"command": "x" * 257}, "command"),
        ({"command": None}, "command"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": "3000"}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"major": 128}, "major"),
        ({"major": "1"}, "major"),
        ({"minor": -129}, "minor"),
        ({"uuid": "u" * 65}, "uuid"),
        ({"uuid": 7}, "uuid"),
        ({"admin": "yes"}, "admin"),
        ({"context": "x" * 4097}, "context"),
        ({"token": {}}, None),
        ({"token": ["x"]}, "token"),
        ({"tenant": "a b"}, "tenant"),
    ],
    ids=str,
)
def test_an_argument_that_breaks_its_rule_is_refused_by_name(args: dict[str, Any], named: str | None) -> None:
    con = ready()
    call = send(con, **args)
    if named is None:
        assert not con.answered(call)
        return
    refusal = con.refusal(call)
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert named in refusal.detail
    assert copies(con) == []


def test_a_command_that_would_not_fit_at_a_later_hop_is_refused_here() -> None:
    con = ready()
    assert con.refusal(send(con, payload=bytes(MAX_MESSAGE - 300))).reason is Reason.TOO_LARGE
    assert copies(con) == []


# ---- outcomes


def test_accepted() -> None:
    con = ready()
    call = send(con)
    ((to, message),) = copies(con)
    assert not con.answered(call)
    con.hear(to, back(message))
    assert con.result(call) == {"uuid": "c1", "outcome": "ACCEPTED"}
    assert [s for s in con.steps() if s.startswith("reach")] == [
        "reach source.before_send",
        "reach source.after_send",
        "reach source.after_receipt",
    ]
    assert con.steps()[-1] == f"respond {call}"


def test_rejected_is_final_and_told_at_once() -> None:
    con = ready()
    call = send(con)
    ((to, message),) = copies(con)
    con.hear(to, back(message, "REJECTED", reason="INVALID_PAYLOAD", detail="no url"))
    refusal = con.refusal(call)
    assert (refusal.reason, refusal.detail, refusal.uuid) == (Reason.INVALID_PAYLOAD, "no url", "c1")
    con.wait(10)
    assert len(copies(con)) == 1


def test_no_route_moves_on_at_once_and_from_all_is_not_sent_with_the_last_reason() -> None:
    con = ready()
    call = send(con)
    for number in range(3):
        assert len(copies(con)) == number + 1
        to, message = copies(con)[-1]
        con.hear(to, back(message, "NO_ROUTE", reason="TARGET_AWAY", detail=f"away {number}"))
    assert {to for to, _ in copies(con)} == {"a", "b", "c"}
    refusal = con.refusal(call)
    assert (refusal.reason, refusal.detail) == (Reason.TARGET_AWAY, "away 2")
    assert con.now == START


def test_without_an_instance_it_is_not_sent_at_once() -> None:
    con = Connector()
    refusal = con.refusal(send(con))
    assert refusal.reason is Reason.NO_AGGREGATOR


def test_a_no_route_of_a_reason_this_version_does_not_know() -> None:
    con = Connector(["a"])
    con.ready()
    call = send(con)
    ((to, message),) = copies(con)
    con.hear(to, back(message, "NO_ROUTE", reason="FROM_VERSION_9"))
    assert con.refusal(call).reason is Reason.TARGET_AWAY


def test_silence_is_unknown_when_the_timeout_is_over_and_was_remembered_first() -> None:
    con = ready()
    call = send(con)
    con.wait(2.999)
    assert not con.answered(call)
    assert len(copies(con)) == 3
    assert [m.number("budget") for _, m in copies(con)] == [1000, 1000, 1000]
    con.held = True
    con.wait(0.002)
    assert not con.answered(call), "not before it is committed"
    con.settle()
    assert con.result(call) == {"uuid": "c1", "outcome": "UNKNOWN"}
    steps = con.steps()
    assert steps.index(f"respond {call}") > steps.index("commit")


def test_unknown_is_told_even_when_it_cannot_be_remembered() -> None:
    """An error would say: not taken. It may have been."""
    con = ready()
    call = send(con)
    con.full = True
    con.wait(3.0)
    assert con.result(call)["outcome"] == "UNKNOWN"
    assert next(n for n in con.notes if n.event == "unknown outcome not stored").level == "error"


@pytest.mark.parametrize("how", ["link_lost", "GOAWAY"])
def test_a_lost_instance_moves_its_commands_on_at_once(how: str) -> None:
    con = ready()
    send(con)
    ((to, _),) = copies(con)
    if how == "GOAWAY":
        con.hear(to, Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    else:
        con.down(to)
    assert len(copies(con)) == 2
    assert con.now == START


def test_all_instances_lost_is_unknown_at_once() -> None:
    con = ready()
    call = send(con)
    for _ in range(3):
        con.down(copies(con)[-1][0])
    assert con.result(call)["outcome"] == "UNKNOWN"


def test_a_receipt_of_an_earlier_route_counts() -> None:
    con = ready()
    call = send(con)
    to, message = copies(con)[0]
    con.wait(2.5)
    con.hear(to, back(message))
    assert con.result(call)["outcome"] == "ACCEPTED"


def test_a_receipt_by_another_instance_than_was_asked_counts() -> None:
    con = ready()
    call = send(con)
    to, message = copies(con)[0]
    other = next(name for name in "abc" if name != to)
    con.hear(other, back(message))
    assert con.result(call)["outcome"] == "ACCEPTED"


def test_with_two_of_three_silent_the_third_hears_of_it_within_two_thirds() -> None:
    for seed in range(10):
        con = Connector(seed=seed)
        con.ready()
        send(con)
        con.wait(2.0)
        assert {to for to, _ in copies(con)} == {"a", "b", "c"}


def test_a_session_that_comes_up_later_is_no_route_of_a_command_under_way() -> None:
    con = Connector(["a", "b"])
    con.ready("a")
    send(con)
    con.up("b")
    con.wait(2.999)
    assert [to for to, _ in copies(con)] == ["a"]


# ---- which receipt is whose


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_of_100_shuffled_and_late_receipts_none_goes_to_the_wrong_sender(chance: random.Random) -> None:
    con = Connector(seed=chance.randrange(1000))
    con.ready()
    calls = {f"c{n}": send(con, f"c{n}", timeout=chance.choice([300, 3000, 30_000])) for n in range(100)}
    first = {m.uuid: m for _, m in copies(con)}
    con.wait(chance.random())
    answers = []
    for uuid, message in first.items():
        accepted = chance.random() < 0.7
        event, reason = ("ON_GOING", "") if accepted else ("REJECTED", "CONFLICT")
        answers += [back(message, event, reason=reason, detail=uuid)] * chance.randint(1, 3)
    chance.shuffle(answers)
    expected = {m.reference: m.text("event") for m in answers}
    for message in answers:
        con.hear(chance.choice("abc"), message)
        con.wait(0.01)
    con.wait(40)
    for uuid, call in calls.items():
        respond = con.responses[call]
        if respond.error is not None:
            assert expected[uuid] == "REJECTED"
            assert (respond.error.uuid, respond.error.detail) == (uuid, uuid)
        else:
            assert respond.args["uuid"] == uuid
            assert respond.args["outcome"] in (
                ("UNKNOWN", "ACCEPTED") if expected[uuid] == "ON_GOING" else ("UNKNOWN",)
            )


def test_the_order_of_instances_is_uniform() -> None:
    con = Connector(credit=100_000)
    con.ready()
    draws = 6_000
    orders: dict[tuple[str, ...], int] = {}
    for number in range(draws):
        before = len(con.log)
        send(con, f"c{number}")
        for _ in range(3):
            to, message = next(said for said in reversed(con.log) if said[1].kind is Kind.COMMAND)
            con.hear(to, back(message, "NO_ROUTE", reason="TARGET_AWAY"))
        order = tuple(to for to, m in con.log[before:] if m.kind is Kind.COMMAND)
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 6
    chi_square = sum((count - draws / 6) ** 2 for count in orders.values()) / (draws / 6)
    assert chi_square < 20.515  # 5 degrees of freedom, p = 0.001
