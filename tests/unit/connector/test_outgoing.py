"""Commands that our workers send: the serial try, and what each outcome means to the sender."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.connector import Connector
from tests.support.transcript import START, at
from tests.unit.queue.test_backlog import lines_of
from zconnector.errors import Reason
from zconnector.messages.kinds import MAX_MESSAGE, Kind
from zconnector.messages.message import Message, receipt
from zconnector.shoset.dispatch import BURST
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT


def send(con: Connector, uuid: str = "c1", **args: Any) -> int:
    name = f"BUILD{str(uuid)[-1]}" if len(str(uuid)) > 2 else "BUILD"  # one name has half of the places only
    given_args = {"uuid": uuid, "type": "Ci", "command": name, "timeout": 3000, **args}
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


# ---- when the timeout begins


def test_the_timeout_counts_from_the_senders_call() -> None:
    """Four senders heard UNKNOWN up to 386 ms too late: the router was busy when their commands came."""
    con = ready()
    call = send(con, began=int(con.now.mono * 1000) - 400)
    ((_, message), *_) = copies(con)
    assert message.header["accept_until"] == con.now.wall + 2600
    assert message.header["budget"] == 2600 // 3
    con.wait(2.59)
    assert not con.answered(call)
    con.wait(0.02)
    assert con.result(call)["outcome"] == "UNKNOWN"


def test_a_command_whose_time_was_over_before_the_router_came_to_it() -> None:
    con = ready()
    call = send(con, began=int(con.now.mono * 1000) - 3000)
    assert con.refusal(call).reason is Reason.BUSY
    assert not copies(con)


def test_one_whose_copy_may_be_stored_somewhere_is_unknown_then() -> None:
    con = ready()
    send(con)
    con.wait(3.1)
    con.clear()
    call = send(con, began=int(con.now.mono * 1000) - 3000)
    con.wait(0.01)
    assert con.result(call)["outcome"] == "UNKNOWN"
    assert not copies(con)


def test_a_call_that_began_in_the_future_gets_its_timeout_and_no_more() -> None:
    con = ready()
    call = send(con, began=int(con.now.mono * 1000) + 60_000)
    ((_, message), *_) = copies(con)
    assert message.header["accept_until"] == con.now.wall + 3000
    con.wait(3.01)
    assert con.result(call)["outcome"] == "UNKNOWN"


@pytest.mark.parametrize("began", ["1", 1.5, True])
def test_a_begin_that_is_no_time(began: Any) -> None:
    con = ready()
    call = send(con, began=began)
    assert con.refusal(call).reason is Reason.BAD_ARGUMENT


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
    con.wait(chance.random())
    expected: dict[str, str] = {}
    while first := {m.uuid: m for _, m in copies(con) if m.uuid not in expected}:
        answers = []
        for uuid, message in first.items():
            accepted = chance.random() < 0.7
            event, reason = ("ON_GOING", "") if accepted else ("REJECTED", "CONFLICT")
            answers += [back(message, event, reason=reason, detail=uuid)] * chance.randint(1, 3)
        chance.shuffle(answers)
        expected |= {m.reference: m.text("event") for m in answers}
        for message in answers:
            con.hear(chance.choice("abc"), message)
            con.wait(0.01)
    con.wait(40)
    assert len(expected) >= 90, "some have waited too long for a place"
    for uuid, call in calls.items():
        respond = con.responses[call]
        if respond.error is not None:
            assert expected[uuid] == "REJECTED"
            assert (respond.error.uuid, respond.error.detail) == (uuid, uuid)
        else:
            assert respond.args["uuid"] == uuid
            outcomes = {"ON_GOING": ("UNKNOWN", "ACCEPTED"), "REJECTED": ("UNKNOWN",), "": ("NOT_SENT",)}
            assert respond.args["outcome"] in outcomes[expected.get(uuid, "")]


def test_the_order_of_instances_is_uniform() -> None:
    con = Connector(credit=100_000)
    con.ready()
    draws = 6_000
    orders: dict[tuple[str, ...], int] = {}
    for number in range(draws):
        before = len(con.log)
        con.now = at(con.now.mono - START.mono + BURST)
        send(con, f"c{number}")
        for _ in range(3):
            to, message = next(said for said in reversed(con.log) if said[1].kind is Kind.COMMAND)
            con.hear(to, back(message, "NO_ROUTE", reason="TARGET_AWAY"))
        order = tuple(to for to, m in con.log[before:] if m.kind is Kind.COMMAND)
        orders[order] = orders.get(order, 0) + 1
    assert len(orders) == 6
    chi_square = sum((count - draws / 6) ** 2 for count in orders.values()) / (draws / 6)
    assert chi_square < 20.515  # 5 degrees of freedom, p = 0.001


# ---- more than the instances take


def under_way(con: Connector) -> list[str]:
    """Uuids of the commands that have left, each once, in their order."""
    return list(dict.fromkeys(m.uuid for _, m in copies(con)))


def heard_of(uuid: str, event: str = "ON_GOING", **fields: Any) -> Message:
    """A receipt that is matched by the uuid alone."""
    return back(Message(Kind.COMMAND, {"uuid": uuid}), event, **fields).without("digest")


def crowd(con: Connector, count: int, **args: Any) -> dict[str, int]:
    """So many commands of ours; their calls."""
    return {f"c{n}": send(con, f"c{n}", **args) for n in range(count)}


def names(*numbers: int) -> list[str]:
    return [f"c{n}" for n in numbers]


def one_full(count: int, **args: Any) -> tuple[Connector, dict[str, int]]:
    """One instance, and so many more commands than it takes."""
    con = Connector(["a"])
    con.ready()
    return con, crowd(con, COMMANDS_IN_FLIGHT + count, **args)


@pytest.mark.parametrize("instances", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_no_more_are_under_way_than_the_instances_take_and_the_rest_waits(instances: list[str]) -> None:
    con = Connector(instances)
    con.ready()
    window = len(instances) * COMMANDS_IN_FLIGHT
    calls = crowd(con, window + 5)
    assert under_way(con) == names(*range(window))
    assert not any(con.answered(call) for call in calls.values())
    assert con.machine.status(con.now)["in_flight"] == window + 5


@pytest.mark.parametrize(
    "ending",
    [
        heard_of("c7"),
        heard_of("c7", "REJECTED", reason="CONFLICT"),
        heard_of("c7", "NO_ROUTE", reason="TARGET_AWAY"),
    ],
    ids=["accepted", "rejected", "not sent"],
)
def test_as_one_ends_the_next_one_starts(ending: Message) -> None:
    con, _ = one_full(3)
    con.clear()
    con.hear("a", ending)
    assert under_way(con) == names(COMMANDS_IN_FLIGHT)
    con.hear("a", ending)
    assert under_way(con) == names(COMMANDS_IN_FLIGHT), "it ends once"


def test_as_one_ends_in_silence_the_next_one_starts() -> None:
    con = Connector(["a"])
    con.ready()
    send(con, "short", timeout=300)
    crowd(con, COMMANDS_IN_FLIGHT)
    assert len(under_way(con)) == COMMANDS_IN_FLIGHT
    con.clear()
    con.wait(0.3)
    assert under_way(con) == names(COMMANDS_IN_FLIGHT - 1)


def test_what_waited_is_tried_for_the_rest_of_its_timeout() -> None:
    con, calls = one_full(1)
    con.wait(1.0)
    con.clear()
    con.hear("a", heard_of("c0"))
    ((_, message),) = copies(con)
    assert message.number("budget") == 2000
    con.wait(1.999)
    assert not con.answered(calls[message.uuid])
    con.wait(0.001)
    assert con.result(calls[message.uuid])["outcome"] == "UNKNOWN"


def test_as_a_session_comes_up_what_waits_starts() -> None:
    con = Connector(["a", "b"])
    con.ready("a")
    crowd(con, 2 * COMMANDS_IN_FLIGHT + 2)
    assert len(under_way(con)) == COMMANDS_IN_FLIGHT
    con.clear()
    con.up("b")
    assert under_way(con) == names(*range(COMMANDS_IN_FLIGHT, 2 * COMMANDS_IN_FLIGHT))


def test_while_all_instances_are_busy_what_comes_waits_and_starts_as_room_returns() -> None:
    con = Connector(["a", "b"], credit=6)
    con.ready()
    calls = crowd(con, 14)
    left = under_way(con)
    assert 0 < len(left) < 14
    assert not any(con.answered(call) for call in calls.values()), "busy is no reason to refuse"
    con.clear()
    con.hear("b", Message(Kind.HEARTBEAT, {"received": 3}))
    started = under_way(con)
    assert started
    assert left + started == names(*range(len(left) + len(started))), "in the order in which they came"
    for name in ("a", "b"):
        con.hear(name, Message(Kind.HEARTBEAT, {"received": 6}))
        con.hear(name, Message(Kind.HEARTBEAT, {"received": 12}))
    assert left + under_way(con) == names(*range(14))


def test_who_waits_in_vain_hears_busy_when_its_own_timeout_is_over_and_not_later() -> None:
    con, calls = one_full(0, timeout=3000)
    short, long = send(con, "short", timeout=500), send(con, "long", timeout=2000)
    con.wait(0.499)
    assert not con.answered(short)
    con.wait(0.001)
    refusal = con.refusal(short)
    assert (refusal.reason, refusal.uuid) == (Reason.BUSY, "short")
    assert not con.answered(long)
    con.wait(1.5)
    assert con.refusal(long).reason is Reason.BUSY
    assert not any(con.answered(call) for call in calls.values())
    assert not {"short", "long"} & set(under_way(con)), "nothing was sent"
    con.wait(5.0)
    assert con.store.rows.get("unknown", {}).keys() & {"short", "long"} == set()


def test_who_waits_as_long_as_those_before_it_hears_busy_too() -> None:
    """All were sent at once: the time of those under way and of those that wait is over at one moment."""
    con, calls = one_full(3)
    con.wait(3.0)
    outcomes = [con.result(calls[uuid])["outcome"] for uuid in names(*range(COMMANDS_IN_FLIGHT))]
    assert set(outcomes) == {"UNKNOWN"}
    waited = names(*range(COMMANDS_IN_FLIGHT, COMMANDS_IN_FLIGHT + 3))
    assert [con.refusal(calls[uuid]).reason for uuid in waited] == [Reason.BUSY] * 3


def test_the_same_command_again_joins_the_one_that_waits() -> None:
    con, calls = one_full(1)
    last = f"c{COMMANDS_IN_FLIGHT}"
    again = send(con, last)
    assert con.refusal(send(con, last, payload=b"other")).reason is Reason.CONFLICT
    assert con.machine.status(con.now)["in_flight"] == COMMANDS_IN_FLIGHT + 1
    con.hear("a", heard_of("c0"))
    assert [m.uuid for _, m in copies(con)].count(last) == 1
    con.hear("a", heard_of(last))
    for call in (calls[last], again):
        assert con.result(call) == {"uuid": last, "outcome": "ACCEPTED"}


@pytest.mark.parametrize("name", ["ON_GOING", "REJECTED"])
def test_a_receipt_of_an_earlier_copy_settles_one_that_waits(name: str) -> None:
    con, calls = one_full(2)
    last = f"c{COMMANDS_IN_FLIGHT}"
    reason = {"reason": "CONFLICT"} if name == "REJECTED" else {}
    con.hear("a", heard_of(last, name, **reason))
    if name == "REJECTED":
        assert con.refusal(calls[last]).reason is Reason.CONFLICT
    else:
        assert con.result(calls[last])["outcome"] == "ACCEPTED"
    con.clear()
    con.hear("a", heard_of("c0"))
    assert under_way(con) == names(COMMANDS_IN_FLIGHT + 1), "it is not sent any more"


def test_a_late_receipt_of_another_body_is_no_receipt_of_one_that_waits() -> None:
    con = Connector(["a"])
    con.ready()
    send(con, "twice", payload=b"first", timeout=300)
    ((_, first),) = copies(con)
    con.wait(0.3)
    crowd(con, COMMANDS_IN_FLIGHT)
    call = send(con, "twice", payload=b"second")
    con.hear("a", back(first))
    assert not con.answered(call)
    con.clear()
    con.hear("a", heard_of("c0"))
    ((_, second),) = copies(con)
    con.hear("a", back(second, "REJECTED", reason="CONFLICT"))
    assert con.refusal(call).reason is Reason.CONFLICT


def test_no_route_to_an_earlier_copy_says_nothing_about_one_that_waits() -> None:
    con, calls = one_full(1)
    last = f"c{COMMANDS_IN_FLIGHT}"
    con.hear("a", heard_of(last, "NO_ROUTE", reason="TARGET_AWAY"))
    assert not con.answered(calls[last])
    assert con.machine.status(con.now)["in_flight"] == COMMANDS_IN_FLIGHT + 1


@pytest.mark.parametrize("name", ["ON_GOING", "REJECTED"])
def test_a_receipt_that_names_no_command_settles_nobody(name: str) -> None:
    con, calls = one_full(2)
    nobody_s = heard_of("c0", name, reason="CONFLICT").without("reference")
    con.hear("a", nobody_s)
    con.hear("a", nobody_s.with_fields(reference=""))
    assert not any(con.answered(call) for call in calls.values())


def test_a_sender_that_has_gone_is_not_answered_and_its_command_goes_on() -> None:
    con, calls = one_full(1)
    last = f"c{COMMANDS_IN_FLIGHT}"
    again = send(con, last)
    con.cancel(calls[last])
    con.clear()
    con.hear("a", heard_of("c0"))
    assert under_way(con) == [last]
    con.hear("a", heard_of(last))
    assert not con.answered(calls[last])
    assert con.result(again)["outcome"] == "ACCEPTED"


def test_without_any_session_everybody_who_waits_hears_of_it_at_once() -> None:
    """Many: one must not be answered within the answer of another."""
    con, calls = one_full(2_000, timeout=600_000)
    con.down("a")
    for number in range(COMMANDS_IN_FLIGHT):
        assert con.result(calls[f"c{number}"])["outcome"] == "UNKNOWN"
    for number in range(COMMANDS_IN_FLIGHT, COMMANDS_IN_FLIGHT + 2_000):
        assert con.refusal(calls[f"c{number}"]).reason is Reason.NO_AGGREGATOR
    assert con.now == START
    assert con.machine.status(con.now)["in_flight"] == 0


def test_a_drain_waits_for_those_that_wait() -> None:
    con, calls = one_full(1, timeout=1000)
    con.do(con.machine.drain(con.now))
    for number in range(COMMANDS_IN_FLIGHT):
        con.hear("a", heard_of(f"c{number}"))
    last = f"c{COMMANDS_IN_FLIGHT}"
    assert under_way(con)[-1] == last
    assert con.stopped is None
    con.hear("a", heard_of(last))
    assert con.result(calls[last])["outcome"] == "ACCEPTED"
    assert con.stopped is not None


def test_a_drain_whose_only_commands_wait_is_not_over() -> None:
    con = Connector(["a"], credit=3)
    con.ready()
    calls = crowd(con, 5)
    con.clear()
    for uuid in under_way(con):
        con.hear("a", heard_of(uuid))
    con.do(con.machine.drain(con.now))
    assert con.stopped is None
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 3}))
    con.hear("a", Message(Kind.HEARTBEAT, {"received": 6}))
    for uuid in calls:
        con.hear("a", heard_of(uuid))
    assert con.stopped is not None


@example(
    [
        ("send", 94),
        ("pass", 647),
        ("send", 56),
        ("lose", "c"),
        ("pass", 736),
        ("send", 17),
        ("pass", 736),
        ("pass", 984),
    ]
)  # once went round for ever: taken from the line of before it came back
@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(1, 100)),
            st.tuples(st.just("end"), st.integers(1, 80)),
            st.tuples(st.just("lose"), st.sampled_from("abc")),
            st.tuples(st.just("pass"), st.integers(1, 1500)),
        ),
        max_size=12,
    )
)
def test_everybody_is_answered_once_and_in_time_and_nobody_waits_beside_a_free_place(
    steps: list[tuple[str, Any]],
) -> None:
    con = Connector()
    con.ready()
    calls: dict[str, int] = {}
    ends: dict[str, float] = {}
    for step, value in steps:
        if step == "send":
            for _ in range(value):
                uuid = f"c{len(calls)}"
                ends[uuid] = con.now.mono + 3.0
                calls[uuid] = send(con, uuid)
        elif step == "end" and con.links:
            for uuid in [uuid for uuid in under_way(con) if not con.answered(calls[uuid])][:value]:
                con.hear(min(con.links), heard_of(uuid))
        elif step == "lose" and value in con.links:
            con.down(value)
        elif step == "pass":
            con.wait(value / 1000)
        left = [uuid for uuid in under_way(con) if not con.answered(calls[uuid])]
        waiting = [uuid for uuid in calls if uuid not in under_way(con) and not con.answered(calls[uuid])]
        assert not waiting or len(left) >= len(con.links) * COMMANDS_IN_FLIGHT
        assert not waiting or con.links
        assert all(con.answered(calls[uuid]) for uuid, end in ends.items() if end <= con.now.mono)


def test_a_sender_that_is_gone_costs_the_same_among_few_and_many() -> None:
    def cost(commands: int) -> int:
        con = ready()
        calls = [
            con.call("send_command", b"{}", uuid=f"c{number}", type="Ci", command="BUILD", timeout=60_000)
            for number in range(commands)
        ]
        return lines_of(lambda: con.cancel(calls[7]), "zconnector/connector")

    few, many = cost(20), cost(200)
    assert few > 5, "something was counted"
    assert many <= few
