"""What arrives for this connector: checked, committed, and only then answered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command, event
from tests.support.transcript import START, at
from zconnector.clock import Instant
from zconnector.connector.confirming import WINDOW
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, body_digest, derived_uuid, receipt
from zconnector.settings import QueueSettings


def ready(**args: Any) -> Connector:
    con = Connector(["a", "b"], **args)
    con.ready()
    return con


# ---- a command


def test_a_command_is_committed_then_receipted_over_the_way_it_came() -> None:
    con = ready()
    con.hear("b", command())
    assert con.steps() == [
        "reach target.before_commit",
        "commit",
        "reach target.after_commit",
        "sent EVENT b",
        "reach target.after_receipt",
    ]
    (told,) = con.said(Kind.EVENT, "b")
    assert told.is_receipt
    assert told.header == {
        "uuid": derived_uuid("c1", "ON_GOING"),
        "topic": "CLONE",
        "event": "ON_GOING",
        "reference": "c1",
        "digest": body_digest(command()),
        "tenant": "t1",
        "recipient": "ci",
        "source": "git",
    }


def test_no_receipt_before_the_commit_is_done() -> None:
    con = ready()
    con.held = True
    con.hear("a", command())
    con.wait(5.0)
    assert con.receipts() == []
    assert "reach target.after_commit" not in con.trace
    con.settle()
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_a_commit_that_fails_is_no_route_and_nothing_is_stored() -> None:
    con = ready()
    con.full = True
    con.hear("a", command())
    assert con.receipts() == [("a", "NO_ROUTE", "STORAGE_FAILED")]
    assert "reach target.after_receipt" not in con.trace
    assert con.machine.status(con.now)["healthy"] is False
    con.full = False
    con.clear()
    con.hear("a", command())
    assert con.receipts() == [("a", "ON_GOING", "")]
    assert con.machine.status(con.now)["healthy"] is True


def test_when_the_way_it_came_is_gone_the_receipt_takes_another() -> None:
    con = ready()
    con.held = True
    con.hear("a", command())
    con.down("a")
    con.settle()
    assert con.receipts() == [("b", "ON_GOING", "")]


def test_a_receipt_for_which_there_is_no_way_is_counted() -> None:
    """The next copy of the command brings it again."""
    con = ready()
    con.held = True
    con.hear("a", command())
    con.down("a")
    con.down("b")
    con.settle()
    assert con.receipts() == []
    assert con.router.incoming.counters["answers_dropped"] == 1
    con.wait(0.0)
    con.up("b")
    con.hear("b", command())
    assert con.receipts() == [("b", "ON_GOING", "")]


# ---- the checks, in the order of the document


def bad(**fields: Any) -> Message:
    """Wrong in every way that can be checked but its uuid."""
    late = {"accept_until": START.wall - 30_001}
    return command(major=9, payload=b"no json", **{**late, **fields})


def test_a_known_uuid_with_the_same_body_comes_before_everything() -> None:
    con = ready(queue=QueueSettings(max_commands=1))
    con.hear("a", command())
    con.clear()
    con.now = at(100.0)  # late by now
    con.hear("b", command())
    assert con.receipts() == [("b", "ON_GOING", "")]
    assert "commit" not in con.trace


def test_a_known_uuid_is_receipted_whatever_the_catalogue_says_by_now() -> None:
    con = ready()
    con.hear("a", command())
    con.hear("a", Message(Kind.CONFIG, {"uuid": "k", "command": "GET"}, b'{"pivots":[],"products":[]}'))
    con.clear()
    con.hear("a", command())
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_conflict_comes_before_all_that_is_wrong_with_it() -> None:
    con = ready()
    con.hear("a", command())
    con.clear()
    con.hear("a", bad())
    assert con.receipts() == [("a", "REJECTED", "CONFLICT")]


def test_then_expired() -> None:
    con = ready()
    con.hear("a", bad())
    assert con.receipts() == [("a", "REJECTED", "EXPIRED")]


def test_accept_until_and_30_s_is_not_expired() -> None:
    con = ready()
    con.hear("a", command(accept_until=START.wall - 30_000))
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_what_one_copy_was_told_is_told_all_whatever_becomes_of_the_clock() -> None:
    """Its sender has heard for certain that it is not taken."""
    con = ready()
    con.now = Instant(con.now.mono, con.now.wall + 3_600_000)
    con.hear("a", command())
    con.now = Instant(con.now.mono + 1.0, START.wall + 1_000)
    con.hear("b", command())
    assert con.receipts() == [("a", "REJECTED", "EXPIRED"), ("b", "REJECTED", "EXPIRED")]
    assert "commit" not in con.trace
    con.clear()
    con.hear("a", command(accept_until=START.wall + 20_000))  # its sender tries anew
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_then_version() -> None:
    con = ready()
    con.hear("a", bad(accept_until=START.wall))
    assert con.receipts() == [("a", "REJECTED", "UNKNOWN_VERSION")]


def test_then_command() -> None:
    con = ready()
    con.hear("a", command(name="OTHER", payload=b"no json"))
    assert con.receipts() == [("a", "REJECTED", "UNKNOWN_COMMAND")]


@pytest.mark.parametrize("payload", [b"no json", b"", b"\xff", b"{}", b"[]", b'{"url":1'])
def test_then_schema(payload: bytes) -> None:
    con = ready()
    con.hear("a", command(payload=payload))
    assert con.receipts() == [("a", "REJECTED", "INVALID_PAYLOAD")]
    assert con.said(Kind.EVENT)[0].text("detail")


def test_then_room() -> None:
    con = ready(queue=QueueSettings(max_commands=1))
    con.hear("a", command("c1"))
    con.clear()
    con.hear("a", command("c2", payload=b"{}"))
    assert con.receipts() == [("a", "REJECTED", "INVALID_PAYLOAD")]
    con.clear()
    con.hear("a", command("c2"))
    assert con.receipts() == [("a", "REJECTED", "QUEUE_FULL")]


def test_a_refused_command_is_not_stored() -> None:
    con = ready()
    for message in (bad(), command(name="OTHER"), command(payload=b"{}")):
        con.hear("a", message)
    assert "commit" not in con.trace
    assert not con.queue.knows_command("c1")


def test_major_0_takes_any_version() -> None:
    con = ready()
    con.hear("a", command(major=0))
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_a_complaint_of_any_length_and_script_arrives() -> None:
    """The detail quotes the payload: what is cut must be cut by bytes, or the receipt is refused."""
    con = ready()
    payload = ('{"ключ":"' + "é" * 4000 + '"}').encode()
    con.hear("a", command(payload=payload))
    assert con.receipts() == [("a", "REJECTED", "INVALID_PAYLOAD")]


# ---- admin commands


@pytest.mark.parametrize("name", ADMIN_COMMANDS)
def test_an_admin_command_needs_no_pivot(name: str) -> None:
    con = ready()
    con.hear("a", command(name=name, admin=True, major=7, payload=b'{"Major":1,"Minor":0}'))
    assert con.receipts() == [("a", "ON_GOING", "")]


def test_an_unknown_admin_command() -> None:
    con = ready()
    con.hear("a", command(name="CLONE", admin=True))
    assert con.receipts() == [("a", "REJECTED", "UNKNOWN_COMMAND")]
    assert "ADMIN_GET_WORKER" in con.said(Kind.EVENT)[0].text("detail")


def test_an_admin_command_that_is_not_flagged_so_is_none() -> None:
    con = ready()
    con.hear("a", command(name=ADMIN_COMMANDS[0]))
    assert con.receipts() == [("a", "REJECTED", "UNKNOWN_COMMAND")]


# ---- copies


def test_the_same_command_through_two_instances_is_stored_once_and_receipted_twice() -> None:
    con = ready()
    con.hear("a", command())
    con.hear("b", command(budget=7))
    assert con.receipts() == [("a", "ON_GOING", ""), ("b", "ON_GOING", "")]
    assert con.trace.count("commit") == 1
    assert len({m.uuid for m in con.said(Kind.EVENT)}) == 1, "copies of a receipt are one"


def test_a_copy_that_comes_while_the_first_is_being_committed_waits_for_it() -> None:
    con = ready()
    con.held = True
    con.hear("a", command())
    con.hear("b", command())
    assert con.receipts() == []
    con.settle()
    assert con.receipts() == [("a", "ON_GOING", ""), ("b", "ON_GOING", "")]


def test_a_command_that_comes_again_after_a_restart_is_receipted_and_not_run_again() -> None:
    con = ready()
    con.hear("a", command())
    call = con.wait_command()
    assert con.result(call)["uuid"] == "c1"
    con.call("send_event", uuid="r1", topic="CLONE", event="SUCCES", reference="c1", worker="w1")
    again = con.restart()
    again.up("a")
    again.clear()
    again.hear("a", command())
    assert again.receipts() == [("a", "ON_GOING", "")]
    replies = [m for m in again.said(Kind.EVENT) if not m.is_receipt]
    assert [(m.text("event"), m.reference, m.text("recipient")) for m in replies] == [("SUCCES", "c1", "ci")]
    assert not again.answered(again.wait_command())


def test_a_stored_reply_goes_out_again_with_a_copy_even_once_confirmed() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command()
    con.call("send_event", uuid="r1", topic="CLONE", event="SUCCES", reference="c1", worker="w1")
    con.hear("a", Message(Kind.CONFIRM, {"entries": [["r1", 0]], "source": "ci", "recipient": "git"}))
    con.wait(100)
    con.clear()
    con.hear("b", command())
    con.wait(0.0)
    replies = [m for m in con.said(Kind.EVENT) if not m.is_receipt]
    assert [(m.uuid, m.text("event")) for m in replies] == [("r1", "SUCCES")]


# ---- draining


def test_a_draining_connector_takes_no_new_command() -> None:
    con = ready()
    con.router.incoming.draining = True
    con.hear("a", command())
    assert con.receipts() == [("a", "NO_ROUTE", "DRAINING")]
    assert "commit" not in con.trace


def test_a_draining_connector_does_not_deny_what_it_has_stored() -> None:
    """NO_ROUTE means: nothing was handed over. The sender would send it anew, and it would run twice."""
    con = ready()
    con.hear("a", command())
    con.router.incoming.draining = True
    con.clear()
    con.hear("b", command())
    assert con.receipts() == [("b", "ON_GOING", "")]


# ---- a reply to something of ours


def reply(uuid: str = "r1", name: str = "SUCCES", **fields: Any) -> Message:
    return event(uuid, "BUILD", name, reference="c9", recipient="git", **fields)


def test_a_reply_is_committed_and_then_confirmed() -> None:
    con = ready()
    con.hear("b", reply())
    assert con.steps() == [
        "reach source.reply_before_commit",
        "commit",
        "reach source.reply_after_commit",
        "sent CONFIRM b",
        "reach source.reply_after_confirm",
    ]
    (confirm,) = con.said(Kind.CONFIRM)
    assert confirm.header == {"entries": [["r1", 0]], "source": "git", "recipient": "ci"}


def test_a_reply_is_not_confirmed_before_it_is_committed() -> None:
    con = ready()
    con.held = True
    con.hear("a", reply())
    con.wait(1.0)
    assert con.said(Kind.CONFIRM) == []
    con.settle()
    assert len(con.said(Kind.CONFIRM)) == 1


def test_a_reply_that_cannot_be_stored_is_not_confirmed() -> None:
    """Its sender keeps it and sends it again."""
    con = ready()
    con.full = True
    con.hear("a", reply())
    assert con.said(Kind.CONFIRM) == []
    con.full = False
    con.hear("a", reply())
    assert len(con.said(Kind.CONFIRM)) == 1


def test_a_reply_that_comes_again_is_confirmed_again_and_shown_once() -> None:
    con = ready()
    iterator = con.iterator("event")
    args: dict[str, Any] = {"iterator": iterator, "topic": "BUILD", "reference": "c9", "worker": "w1"}
    con.hear("a", reply())
    con.hear("b", reply())
    con.wait(WINDOW)
    assert len(con.said(Kind.CONFIRM)) == 2
    assert con.result(con.call("wait_event", **args))["uuid"] == "r1"
    assert not con.answered(con.call("wait_event", **args))


def test_a_reply_waits_for_its_reader_over_a_restart() -> None:
    """A sender creates its iterator only after it has sent its command."""
    con = ready()
    con.hear("a", reply())
    again = con.restart()
    call = again.wait_event("BUILD", "SUCCES", reference="c9")
    assert again.result(call)["uuid"] == "r1"


def test_when_the_way_it_came_is_gone_the_confirm_takes_another() -> None:
    con = ready()
    con.held = True
    con.hear("a", reply())
    con.down("a")
    con.settle()
    assert len(con.said(Kind.CONFIRM, "b")) == 1


# ---- receipts for those who wait in the event queue


def test_a_receipt_is_seen_once_by_a_waiter_and_never_stored() -> None:
    con = ready()
    call = con.wait_event("BUILD", "ON_GOING", reference="c9")
    sent = Message(Kind.COMMAND, {"uuid": "c9", "command": "BUILD", "source": "git"})
    con.hear("a", receipt(sent, "ON_GOING", source="ci"))
    con.hear("b", receipt(sent, "ON_GOING", source="ci"))
    assert con.result(call)["reference"] == "c9"
    assert con.store.rows["events"] == {}
    assert not con.answered(con.wait_event("BUILD", "REJECTED", reference="c9"))


def test_a_reply_that_says_not_whose_it_is_is_stored_and_confirmed_to_nobody() -> None:
    con = ready()
    con.hear(
        "a", event(uuid="r1", topic="CLONE", name="SUCCES", source="", recipient="git").without("source")
    )
    assert con.queue.knows_event("r1")
    assert con.said(Kind.CONFIRM) == []
