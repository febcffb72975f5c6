"""After UNKNOWN, and the same uuid again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, receipt
from zconnector.settings import QueueSettings
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT

REPLY = {
    "uuid": "r1",
    "topic": "BUILD",
    "event": "SUCCES",
    "recipient": "git",
    "source": "ci",
    "tenant": "t1",
}


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


# ---- after UNKNOWN


def fails(con: Connector, reference: str = "c1") -> list[Message]:
    """FAIL events about a command that a worker can see."""
    seen = []
    call = con.wait_event("BUILD", "FAIL", reference=reference)
    if con.answered(call):
        seen.append(Message(Kind.EVENT, con.result(call)))
    else:
        con.cancel(call)
    return seen


def unknown(con: Connector, uuid: str = "c1") -> Message:
    """Send, hear nothing, be told UNKNOWN."""
    call = send(con, uuid)
    con.wait(3.0)
    assert con.result(call)["outcome"] == "UNKNOWN"
    return copies(con)[0][1]


def test_an_unknown_command_fails_30_s_after_accept_until() -> None:
    con = ready()
    unknown(con)
    con.wait(29.9)
    assert fails(con) == []
    con.wait(0.2)
    (fail,) = fails(con)
    assert (fail.reference, fail.text("reason"), fail.text("topic")) == ("c1", "UNRECEIPTED", "BUILD")


def test_what_would_have_no_place_among_the_unknown_is_refused_before_it_is_sent() -> None:
    """Its sender had been told UNKNOWN, and then nothing followed (found by the simulation)."""
    con = Connector(queue=QueueSettings(max_unknown=2))
    con.ready()
    unknown(con)
    second = send(con, "c2")
    refusal = con.refusal(send(con, "c3"))
    assert (refusal.reason, refusal.uuid) == (Reason.BUSY, "c3")
    assert "c3" not in {message.uuid for _, message in copies(con)}
    again = send(con, "c1")  # it has its place
    con.wait(3.0)
    assert {con.result(call)["outcome"] for call in (second, again)} == {"UNKNOWN"}
    con.wait(30.1)
    assert len(fails(con, "c1")) == len(fails(con, "c2")) == 1
    third = send(con, "c3")
    con.wait(3.0)
    assert con.result(third)["outcome"] == "UNKNOWN"


def test_one_that_is_sent_again_takes_no_second_place_among_the_unknown() -> None:
    con = Connector(queue=QueueSettings(max_unknown=2))
    con.ready()
    unknown(con)
    again = send(con, "c1")
    second = send(con, "c2")
    assert con.refusal(send(con, "c3")).reason is Reason.BUSY
    con.wait(3.0)
    assert {con.result(call)["outcome"] for call in (second, again)} == {"UNKNOWN"}


def test_an_unknown_command_fails_after_a_restart_too() -> None:
    con = ready()
    unknown(con)
    again = con.restart()
    again.wait(31)
    (fail,) = fails(again)
    assert fail.text("reason") == "UNRECEIPTED"


def test_the_fail_waits_for_the_last_copy() -> None:
    """Each copy may be stored by its target until 30 s after its own end."""
    con = ready()
    unknown(con)
    con.wait(28.0)
    unknown(con)
    con.wait(29.9)
    assert fails(con) == []
    con.wait(0.2)
    assert len(fails(con)) == 1


def test_no_fail_while_a_copy_is_under_way() -> None:
    con = ready()
    unknown(con)
    con.wait(28.0)
    call = send(con)
    con.wait(2.5)
    assert fails(con) == []
    to, copy = copies(con)[-1]
    con.hear(to, back(copy))
    assert con.result(call)["outcome"] == "ACCEPTED"
    con.wait(60.0)
    assert fails(con) == []


def test_a_late_receipt_forgets_it() -> None:
    con = ready()
    message = unknown(con)
    con.hear("a", back(message))
    assert con.router.outgoing.counters["late_receipts"] == 1
    con.wait(60)
    assert fails(con) == []


def test_a_reply_forgets_it() -> None:
    con = ready()
    message = unknown(con)
    reply = Message(Kind.EVENT, {**REPLY, "reference": message.uuid})
    con.hear("a", reply)
    con.wait(60)
    assert fails(con) == []


def test_a_receipt_while_it_is_being_remembered_forgets_it_too() -> None:
    con = ready()
    send(con)
    message = copies(con)[0][1]
    con.held = True
    con.wait(3.0)
    con.hear("a", back(message))
    con.settle()
    con.wait(60)
    assert fails(con) == []
    again = con.restart()
    again.wait(60)
    assert fails(again) == []


def test_accepted_when_sent_again_forgets_it() -> None:
    """Otherwise a command that was accepted, and takes its time, would be reported as failed."""
    con = ready()
    unknown(con)
    con.clear()
    call = send(con)
    to, message = copies(con)[0]
    con.hear(to, back(message))
    assert con.result(call)["outcome"] == "ACCEPTED"
    con.wait(60)
    assert fails(con) == []


def test_a_late_no_route_does_not_forget_it() -> None:
    con = ready()
    message = unknown(con)
    con.hear("a", back(message, "NO_ROUTE", reason="TARGET_AWAY"))
    con.wait(31)
    assert len(fails(con)) == 1


# ---- the same uuid


def test_the_same_command_sent_twice_is_one_with_two_callers() -> None:
    con = ready()
    one, two = send(con), send(con)
    ((to, message),) = copies(con)
    con.hear(to, back(message))
    assert con.result(one) == con.result(two) == {"uuid": "c1", "outcome": "ACCEPTED"}


@pytest.mark.parametrize(
    "change", [{"command": "OTHER"}, {"major": 3}, {"payload": b"x"}, {"admin": True}], ids=str
)
def test_another_command_of_the_same_uuid_is_a_conflict(change: dict[str, Any]) -> None:
    con = ready()
    one = send(con)
    assert con.refusal(send(con, **change)).reason is Reason.CONFLICT
    assert not con.answered(one)


def test_a_sender_that_goes_leaves_its_command_on_its_way() -> None:
    con = ready()
    one, two = send(con), send(con)
    con.cancel(one)
    ((to, message),) = copies(con)
    con.hear(to, back(message))
    assert not con.answered(one)
    assert con.result(two)["outcome"] == "ACCEPTED"


# ---- the same uuid, while an earlier copy is in doubt


def doubted(con: Connector) -> Message:
    """One instance, and a first copy that ended UNKNOWN."""
    con.ready()
    first = send(con, timeout=1000)
    con.wait(1.0)
    assert con.result(first)["outcome"] == "UNKNOWN"
    return copies(con)[0][1]


def test_sent_again_without_an_instance_it_is_unknown_still() -> None:
    """NOT_SENT would say that nothing is stored, and the sender would send another one."""
    con = Connector(["a"])
    doubted(con)
    con.down("a")
    assert con.result(send(con, timeout=1000))["outcome"] == "UNKNOWN"


def test_sent_again_and_waiting_in_vain_it_is_unknown_still() -> None:
    con = Connector(["a"])
    doubted(con)
    for number in range(COMMANDS_IN_FLIGHT):
        send(con, f"d{number}", timeout=60_000)
    again = send(con, timeout=1000)
    con.wait(1.0)
    assert con.result(again)["outcome"] == "UNKNOWN"


def test_sent_again_and_refused_by_a_no_route_that_may_be_of_the_first_copy_it_is_unknown_still() -> None:
    con = Connector(["a"])
    first = doubted(con)
    again = send(con, timeout=1000)
    con.hear("a", back(first, "NO_ROUTE", reason="TARGET_AWAY"))  # it crossed the second copy
    assert con.result(again)["outcome"] == "UNKNOWN"


def test_a_reply_meanwhile_does_not_make_it_not_sent() -> None:
    con = Connector(["a"])
    first = doubted(con)
    again = send(con, timeout=1000)
    con.hear("a", Message(Kind.EVENT, {**REPLY, "reference": first.uuid}))
    con.hear("a", back(first, "NO_ROUTE", reason="TARGET_AWAY"))
    assert con.result(again)["outcome"] == "UNKNOWN"
    con.wait(60)
    assert fails(con) == []


def test_sent_again_and_refused_by_its_target_is_refused() -> None:
    con = Connector(["a"])
    first = doubted(con)
    again = send(con, timeout=1000)
    con.hear("a", back(first, "REJECTED", reason="CONFLICT"))
    assert con.refusal(again).reason is Reason.CONFLICT


def test_no_fail_while_a_later_copy_may_still_be_stored() -> None:
    con = Connector(["a"])
    doubted(con)
    con.wait(29.5)
    again = send(con, timeout=10_000)
    con.wait(1.0)  # past the first copy's accept_until + 30 s
    assert fails(con) == []
    con.hear("a", back(copies(con)[-1][1]))
    assert con.result(again)["outcome"] == "ACCEPTED"
    con.wait(100)
    assert fails(con) == []


def test_no_fail_while_a_later_copy_waits_for_its_turn() -> None:
    con = Connector(["a"])
    doubted(con)
    for number in range(COMMANDS_IN_FLIGHT):
        send(con, f"d{number}", timeout=600_000)
    send(con, timeout=60_000)
    con.wait(89.9)
    assert fails(con) == []
    con.wait(0.2)
    assert len(fails(con)) == 1


def test_a_later_copy_leaves_only_when_it_is_on_the_disk_that_the_fail_waits_for_it() -> None:
    con = Connector(["a"])
    doubted(con)
    con.clear()
    con.held = True
    again = send(con, timeout=60_000)
    assert copies(con) == []
    con.settle()
    assert con.trace.index("commit") < con.trace.index("sent COMMAND a")
    con.hear("a", back(copies(con)[0][1]))
    assert con.result(again)["outcome"] == "ACCEPTED"


def test_over_a_restart_no_fail_while_a_later_copy_may_still_be_stored() -> None:
    con = Connector(["a"])
    doubted(con)
    send(con, timeout=60_000)
    con = con.restart()
    con.ready()
    con.wait(80)
    assert fails(con) == []
    con.wait(20)
    assert len(fails(con)) == 1


def test_a_later_copy_that_cannot_be_remembered_does_not_leave() -> None:
    con = Connector(["a"])
    doubted(con)
    con.clear()
    con.full = True
    assert con.result(send(con, timeout=60_000))["outcome"] == "UNKNOWN"
    assert copies(con) == []
    con.full = False
    send(con, timeout=60_000)
    assert len(copies(con)) == 1, "with room on the disk again it goes"


def test_a_later_copy_whose_time_is_over_before_it_is_remembered_does_not_leave() -> None:
    con = Connector(["a"])
    doubted(con)
    con.clear()
    con.held = True
    again = send(con, timeout=1000)
    con.wait(1.0)
    con.settle()
    assert con.result(again)["outcome"] == "UNKNOWN"
    assert copies(con) == []


def test_a_command_without_an_earlier_copy_waits_for_no_disk() -> None:
    con = Connector(["a"])
    con.ready()
    con.held = True
    send(con)
    assert len(copies(con)) == 1
