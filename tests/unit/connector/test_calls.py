"""The operations of the connector's door."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connector import Connector, command, event
from zconnector.errors import Reason


def ready() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


@pytest.mark.parametrize("op", ["", "nonsense", "SEND_COMMAND", "alive"])
def test_an_unknown_operation_is_refused(op: str) -> None:
    con = ready()
    refusal = con.refusal(con.call(op))
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert repr(op) in refusal.detail


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("wait_command", {"iterator": 7}),
        ("wait_command", {"iterator": "i", "command": None}),
        ("wait_command", {"iterator": "i", "command": "C", "major": "1"}),
        ("wait_command", {"iterator": "i", "command": "C", "major": 200}),
        ("wait_command", {"iterator": "i", "command": "C", "worker": []}),
        ("wait_event", {"iterator": {}}),
        ("wait_event", {"iterator": "i", "topic": 1}),
        ("wait_event", {"iterator": "i", "topic": "t", "reference": 1}),
        ("wait_event", {"iterator": "i", "topic": "t", "event": 1}),
        ("wait_event", {"iterator": "i", "topic": "t", "event": []}),
        ("beat", {"worker": 1}),
        ("beat", {"major": 1.0}),
        ("create_iterator", {"kind": "nonsense"}),
        ("create_iterator", {"kind": 1}),
    ],
    ids=str,
)
def test_an_argument_of_the_wrong_type_is_refused(op: str, args: dict[str, Any]) -> None:
    con = ready()
    assert con.refusal(con.call(op, **args)).reason is Reason.BAD_ARGUMENT


@pytest.mark.parametrize("op", ["wait_command", "wait_event"])
def test_an_unknown_iterator_is_an_error_to_that_caller_and_nothing_else(op: str) -> None:
    con = ready()
    waiting = con.wait_command()
    call = con.call(op, iterator="nobody's", command="CLONE", topic="T")
    assert con.refusal(call).reason is Reason.NOT_FOUND
    con.hear("a", command())
    assert con.result(waiting)["uuid"] == "c1"


def test_an_iterator_of_the_other_kind_is_unknown() -> None:
    con = ready()
    call = con.call("wait_event", iterator=con.iterator("command"), topic="T")
    assert con.refusal(call).reason is Reason.NOT_FOUND


def test_an_iterator_is_told_only_once_it_is_stored() -> None:
    con = ready()
    con.held = True
    call = con.call("create_iterator", kind="event")
    assert not con.answered(call)
    con.settle()
    assert con.result(call)["iterator"]


def test_a_disk_that_refuses_an_iterator_is_an_error() -> None:
    con = ready()
    con.full = True
    assert con.refusal(con.call("create_iterator", kind="event")).reason is Reason.STORAGE_FAILED


def test_a_command_reaches_its_waiter_with_header_and_payload() -> None:
    con = ready()
    call = con.wait_command()
    con.hear("a", command(context="ctx"))
    args = con.result(call)
    assert (args["uuid"], args["command"], args["source"], args["context"]) == ("c1", "CLONE", "ci", "ctx")
    assert "budget" not in args
    assert con.responses[call].payload == b'{"url":"x"}'
    steps = con.steps()
    assert steps.index("reach target.after_commit") < steps.index(f"respond {call}")


def test_an_event_reaches_its_waiter_with_header_and_payload() -> None:
    con = ready()
    call = con.wait_event("BUILDS")
    con.hear("a", event("e1", seq=1))
    assert con.result(call)["event"] == "DONE"
    assert con.responses[call].payload == b"{}"


def test_status_by_the_door_is_the_status() -> None:
    con = ready()
    status = con.result(con.call("status"))
    assert (status["tenant"], status["name"], status["type"]) == ("t1", "git", "Git")
    assert status["healthy"] is True
    assert status["versions"] == ["1.0"]


_NAMES = [
    *("uuid", "type", "command", "timeout", "major", "minor", "admin", "context", "token", "worker"),
    *("topic", "event", "reference", "iterator", "kind", "commands", "tenant"),
]
_OPERATIONS = [
    *("register", "beat", "send_command", "send_event"),
    *("create_iterator", "wait_command", "wait_event", "status"),
]
_ARGS = st.dictionaries(
    st.sampled_from(_NAMES),
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.lists(st.text(max_size=3), max_size=3)
    | st.floats(),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(_OPERATIONS),
    _ARGS,
    st.binary(max_size=8),
)
def test_no_call_breaks_the_core(op: str, args: dict[str, Any], payload: bytes) -> None:
    con = ready()
    call = con.call(op, payload, **args)
    con.cancel(call)
    con.wait(1.0)
