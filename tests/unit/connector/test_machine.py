"""The connector as one machine: what its shell drives. Drain, control socket."""

from __future__ import annotations

from typing import Any

from tests.support.connector import Connector
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, receipt
from zconnector.queue.store import OUTBOX


def ready() -> Connector:
    con = Connector()
    con.ready()
    return con


def send(con: Connector, uuid: str = "c1", timeout: int = 3000) -> int:
    return con.call("send_command", uuid=uuid, type="Ci", command="BUILD", timeout=timeout)


# ---- drain


def test_a_drain_takes_nothing_new_and_lets_what_is_under_way_hear_its_receipt() -> None:
    con = ready()
    call = send(con)
    con.do(con.machine.drain(con.now))
    assert con.stopped is None
    assert con.refusal(send(con, "c2")).reason is Reason.DRAINING
    ((to, message),) = [said for said in con.log if said[1].kind is Kind.COMMAND]
    con.hear(to, receipt(message, "ON_GOING", source="ci"))
    assert con.result(call)["outcome"] == "ACCEPTED"
    assert con.stopped is not None
    assert con.stopped.error is None
    assert len(con.said(Kind.GOAWAY)) == 3


def test_a_drain_does_not_wait_for_ever() -> None:
    con = ready()
    send(con, timeout=60_000)
    con.do(con.machine.drain(con.now))
    con.wait(1.9)
    assert con.stopped is None
    con.wait(0.2)
    assert con.stopped is not None


def test_a_drain_writes_what_was_to_go_along_with_a_later_commit() -> None:
    con = ready()
    for uuid in ("e1", "e2"):
        con.call("send_event", uuid=uuid, topic="t", event="E")
    con.held = True
    for seq, uuid in enumerate(("e1", "e2"), 1):  # the second while the first one's commit is under way
        con.hear("a", Message(Kind.CONFIRM, {"entries": [[uuid, seq]]}))
    con.do(con.machine.drain(con.now))
    assert con.stopped is not None  # nothing is performed any more that follows a commit
    gone = [write for commit in con.pending for write in commit.writes if write.space == OUTBOX]
    assert len(gone) == 2


def test_a_drain_of_an_idle_connector_is_over_at_once() -> None:
    con = Connector()
    con.do(con.machine.drain(con.now))
    assert con.stopped is not None


# ---- the control socket


def test_control() -> None:
    con = ready()
    replies: list[Any] = []
    for op in ("status", "nonsense"):
        con.do(con.machine.control(op, {}, con.now, replies.append))
    status, refusal = replies
    assert [s["state"] for s in status["sessions"]["up"]] == ["LIVE"] * 3
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.BAD_ARGUMENT
