"""Events that our workers send: broadcasts, completions of commands, replies to events."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command, event
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.dispatch import BURST

NAMES = ["a", "b", "c"]


def ready(*names: str) -> Connector:
    con = Connector(NAMES)
    con.ready(*names)
    return con


def publish(con: Connector, uuid: str = "e1", **args: Any) -> int:
    return con.call("send_event", uuid=uuid, topic="BUILDS", event="DONE", **args)


def sent(con: Connector, name: str = "") -> list[str]:
    """Uuids of events sent to an instance, or to any."""
    return [m.uuid for m in con.said(Kind.EVENT, name)]


def confirm(*pairs: list[Any], **fields: Any) -> Message:
    return Message(Kind.CONFIRM, {"entries": list(pairs), **fields})


def test_an_event_as_it_leaves() -> None:
    con = ready("a")
    con.call("send_event", b"payload", uuid="e1", topic="T", event="E", timeout=7, token="tok", worker="w1")
    (message,) = con.said(Kind.EVENT)
    assert message.header == {
        "uuid": "e1",
        "tenant": "t1",
        "source": "git",
        "topic": "T",
        "event": "E",
        "timestamp": con.now.wall,
        "timeout": 7,
        "token": "tok",
        "worker": "w1",
    }
    assert message.payload == b"payload"


# ---- replies of our workers


def completed(con: Connector, uuid: str = "c1", name: str = "SUCCES") -> int:
    """A worker takes a command and answers it."""
    con.hear("a", command(uuid))
    con.wait_command()
    con.clear()
    return con.call("send_event", uuid=f"r-{uuid}", topic="CLONE", event=name, reference=uuid, worker="w1")


def test_a_reply_is_committed_then_told_then_sent_over_one_instance() -> None:
    con = ready()
    call = completed(con)
    steps = con.steps()
    order = [
        "reach target.completion_before_commit",
        "commit",
        "reach target.completion_after_commit",
        f"respond {call}",
        "reach target.after_reply",
    ]
    assert [s for s in steps if not s.startswith("sent")] == order
    ((_, reply),) = [s for s in con.log if s[1].kind is Kind.EVENT]
    assert (reply.text("recipient"), reply.reference, reply.text("event")) == ("ci", "c1", "SUCCES")
    assert reply.text("source") == "git"


def test_a_reply_is_not_sent_before_it_is_committed() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command()
    con.clear()
    con.held = True
    call = con.call("send_event", uuid="r1", topic="CLONE", event="SUCCES", reference="c1", worker="w1")
    con.wait(3.0)
    assert not con.answered(call)
    assert sent(con) == []
    con.settle()
    assert con.answered(call)
    assert sent(con) == ["r1"]


def test_replies_are_spread_over_the_instances() -> None:
    con = ready()
    taken = set()
    for number in range(30):
        completed(con, f"c{number}")
        con.wait(BURST)
        taken |= {to for to, m in con.log if m.kind is Kind.EVENT}
    assert taken == set(NAMES)


def test_an_unconfirmed_reply_is_sent_again_when_its_source_is_back() -> None:
    con = ready()
    completed(con)
    con.clear()
    con.hear("b", Message(Kind.PRESENCE, {"number": 0, "entries": ["somebody"]}))
    assert sent(con) == []
    con.hear("b", Message(Kind.PRESENCE, {"number": 1, "entries": ["ci"]}))
    assert sent(con) == ["r-c1"]


def test_an_unconfirmed_reply_is_sent_again_in_time_and_over_a_restart() -> None:
    con = ready()
    completed(con)
    con.clear()
    con.wait(1.1)
    assert sent(con) == ["r-c1"]
    again = con.restart()
    again.up("c")
    assert sent(again, "c") == ["r-c1"]


def test_a_confirmed_reply_is_done_with() -> None:
    con = ready()
    completed(con)
    con.hear("b", confirm(["r-c1", 0], source="ci", recipient="git"))
    con.clear()
    con.wait(120.0)
    assert sent(con) == []
    assert con.store.rows["outbox"] == {}


def test_progress_goes_to_the_source_and_completes_nothing() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command()
    con.clear()
    con.call("send_event", uuid="p1", topic="CLONE", event="HALF", reference="c1", worker="w1")
    ((_, progress),) = [s for s in con.log if s[1].kind is Kind.EVENT]
    assert (progress.text("event"), progress.text("recipient")) == ("HALF", "ci")
    con.clear()
    con.call("send_event", uuid="r1", topic="CLONE", event="SUCCES", reference="c1", worker="w1")
    assert sent(con) == ["r1"]


def test_a_second_completion_is_accepted_and_has_no_effect() -> None:
    con = ready()
    completed(con, name="SUCCES")
    con.clear()
    call = con.call("send_event", uuid="r2", topic="CLONE", event="FAIL", reference="c1", worker="w1")
    assert con.result(call) == {"uuid": "r2"}
    assert sent(con) == []
    assert con.router.sending.counters["replies.LATE"] == 1


def test_a_completion_that_cannot_be_stored_is_an_error_to_the_worker_and_may_be_repeated() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command()
    con.full = True
    args: dict[str, Any] = {
        "uuid": "r1",
        "topic": "CLONE",
        "event": "SUCCES",
        "reference": "c1",
        "worker": "w1",
    }
    assert con.refusal(con.call("send_event", **args)).reason == "STORAGE_FAILED"
    con.full = False
    con.clear()
    assert con.result(con.call("send_event", **args)) == {"uuid": "r1"}
    assert sent(con) == ["r1"]


# ---- replies to events


def test_a_reply_to_an_event_goes_to_that_event_s_source() -> None:
    con = ready()
    con.hear("a", event("e1", source="ci", seq=1))
    con.clear()
    con.call("send_event", uuid="r1", topic="DONE", event="SUCCES", reference="e1", worker="w1")
    ((_, reply),) = [s for s in con.log if s[1].kind is Kind.EVENT]
    assert (reply.text("recipient"), reply.reference) == ("ci", "e1")


@pytest.mark.parametrize("reference", ["ours", "unknown"])
def test_a_reply_to_an_event_of_ours_or_to_none_stays_here(reference: str) -> None:
    con = ready()
    publish(con, "ours")
    con.clear()
    call = con.call("send_event", uuid="r1", topic="DONE", event="SUCCES", reference=reference, worker="w1")
    assert con.result(call) == {"uuid": "r1"}
    assert sent(con) == []
    assert con.result(con.wait_event("DONE", "SUCCES", reference=reference))["uuid"] == "r1"


# ---- arguments


@pytest.mark.parametrize(
    "args",
    [
        {"topic": ""},
        {"topic": 1},
        {"topic": "x" * 257},
        {"event": None},
        {"uuid": "u" * 65},
        {"reference": 7},
        {"timeout": "1"},
        {"token": "x" * 4097},
        {"worker": "w" * 257},
    ],
    ids=str,
)
def test_an_argument_that_breaks_its_rule_is_refused(args: dict[str, Any]) -> None:
    con = ready()
    call = con.call("send_event", **{"uuid": "e1", "topic": "T", "event": "E", **args})
    assert con.refusal(call).reason == "BAD_ARGUMENT"
    assert sent(con) == []


@pytest.mark.parametrize("reference", ["", "c1"])
def test_an_event_of_another_tenant_is_refused_and_nothing_of_it_stays(reference: str) -> None:
    """No instance would take it: it would go round in the outbox for its retention."""
    con = ready("a")
    args: dict[str, Any] = {"uuid": "e1", "topic": "T", "event": "E", "tenant": "t2", "reference": reference}
    refusal = con.refusal(con.call("send_event", **args))
    assert (refusal.reason, refusal.uuid) == ("WRONG_TENANT", "e1")
    assert "t1" in refusal.detail
    assert "t2" in refusal.detail
    con.wait(60)
    assert sent(con) == []
    assert con.queue.depths()["outbox"]["count"] == 0


def test_an_event_that_would_not_fit_with_what_hops_add_is_refused() -> None:
    con = ready()
    call = con.call("send_event", bytes(3_999_800), uuid="e1", topic="T", event="E")
    assert con.refusal(call).reason == "TOO_LARGE"
