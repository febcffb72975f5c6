"""await_reply at the door: from send_command to the final reply, and every way there may be none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector
from zconnector.errors import Reason
from zconnector.messages import Kind, Message, receipt


@pytest.fixture
def connector() -> Connector:
    connector = Connector()
    connector.ready()
    return connector


def send(connector: Connector, uuid: str = "c1", **fields: Any) -> int:
    return connector.call("send_command", b"{}", uuid=uuid, type="Ci", command="BUILD", **fields)


def sent(connector: Connector) -> tuple[str, Message]:
    name = next(name for name, message in reversed(connector.log) if message.kind is Kind.COMMAND)
    return name, connector.said(Kind.COMMAND)[-1]


def answer(connector: Connector, event: str, reason: str = "") -> None:
    name, command = sent(connector)
    connector.hear(name, receipt(command, event, source="ci", reason=reason, detail="because"))


def reply(connector: Connector, uuid: str = "c1") -> None:
    fields = {"uuid": f"r-{uuid}", "topic": "BUILD", "event": "SUCCES", "reference": uuid}
    message = Message(Kind.EVENT, {**fields, "recipient": "git", "source": "ci", "tenant": "t1"}, b"done")
    connector.hear("a", message)


def test_the_reply_to_a_command(connector: Connector) -> None:
    send(connector)
    waiting = connector.call("await_reply", uuid="c1", timeout=0)
    answer(connector, "ON_GOING")
    assert not connector.answered(waiting)
    reply(connector)
    assert connector.result(waiting)["event"] == "SUCCES"
    assert connector.responses[waiting].payload == b"done"
    again = connector.restart()
    assert again.result(again.call("await_reply", uuid="c1"))["uuid"] == "r-c1"


def test_a_command_that_is_rejected_later_leaves_nothing_dangling(connector: Connector) -> None:
    send(connector)
    waiting = connector.call("await_reply", uuid="c1")
    answer(connector, "REJECTED", "INVALID_PAYLOAD")
    assert connector.refusal(waiting).reason is Reason.INVALID_PAYLOAD
    assert connector.queue.depths()["events"]["awaiting"] == 0


def test_a_command_that_is_never_sent(connector: Connector) -> None:
    for name in ("a", "b", "c"):
        connector.down(name)
    waiting = connector.call("await_reply", uuid="c1")
    send(connector)
    assert connector.refusal(waiting).reason is Reason.NO_AGGREGATOR


def test_a_command_that_is_refused_at_once(connector: Connector) -> None:
    waiting = connector.call("await_reply", uuid="c1")
    connector.call("send_command", uuid="c1", type="", command="BUILD")
    assert connector.refusal(waiting).reason is Reason.BAD_ARGUMENT


def test_a_bad_copy_of_one_under_way_changes_nothing(connector: Connector) -> None:
    send(connector)
    waiting = connector.call("await_reply", uuid="c1")
    connector.call("send_command", b"other", uuid="c1", type="Ci", command="BUILD")
    connector.call("send_command", uuid="c1", type="", command="BUILD")
    assert not connector.answered(waiting)
    answer(connector, "ON_GOING")
    reply(connector)
    assert connector.result(waiting)["uuid"] == "r-c1"


def test_a_command_of_unknown_outcome_ends_in_unreceipted(connector: Connector) -> None:
    waiting = connector.call("await_reply", uuid="c1")
    call = send(connector, timeout=1000)
    connector.wait(1.5)
    assert connector.result(call)["outcome"] == "UNKNOWN"
    assert not connector.answered(waiting)
    connector.wait(60)
    assert connector.result(waiting)["reason"] == "UNRECEIPTED"


def test_a_timeout_and_a_cancel(connector: Connector) -> None:
    waiting = connector.call("await_reply", uuid="c1", timeout=500)
    gone = connector.call("await_reply", uuid="c1")
    connector.cancel(gone)
    connector.wait(1)
    assert connector.refusal(waiting).reason is Reason.TIMED_OUT
    reply(connector)
    assert not connector.answered(gone)


@pytest.mark.parametrize(
    ("args", "rule"),
    [
        ({"uuid": ""}, "uuid is missing"),
        ({"uuid": 5}, "uuid must be str"),
        ({"uuid": "u" * 65}, "uuid is longer than 64 bytes"),
        ({"uuid": "c1", "timeout": -1}, "timeout must be an int from 0"),
        ({"uuid": "c1", "timeout": 1.5}, "timeout must be an int"),
    ],
)
def test_bad_arguments(connector: Connector, args: dict[str, Any], rule: str) -> None:
    refusal = connector.refusal(connector.call("await_reply", **args))
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert rule in refusal.detail


def test_a_further_copy_that_finds_no_way_does_not_end_the_wait_for_a_command_that_was_accepted(
    connector: Connector,
) -> None:
    send(connector)
    answer(connector, "ON_GOING")
    waiting = connector.call("await_reply", uuid="c1")
    for name in ("a", "b", "c"):
        connector.down(name)
    send(connector)  # by somebody who did not hear of the receipt
    assert not connector.answered(waiting)
    connector.wait(1)
    connector.up("a")
    reply(connector)
    assert connector.result(waiting)["uuid"] == "r-c1"


def test_nor_does_a_bad_one_of_a_command_to_ourselves(connector: Connector) -> None:
    accepted = connector.call("send_command", b'{"url":"x"}', uuid="c1", command="CLONE", target="self")
    assert connector.result(accepted)["outcome"] == "ACCEPTED"
    waiting = connector.call("await_reply", uuid="c1")
    connector.call("send_command", uuid="c1", type="", command="CLONE", priority=99)
    assert not connector.answered(waiting)
