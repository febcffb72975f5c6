"""The operators' verbs are found by name and answered the way they were asked."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connector import Connector
from tests.support.operator import NOT_UTF8, control, kill, refused, through_the_door
from zconnector.actions import Caller
from zconnector.errors import Reason, Refusal
from zconnector.messages.codec import decode, encode_one
from zconnector.queue.door import _result


def ready(**settings: Any) -> Connector:
    con = Connector(["a", "b"], **settings)
    con.ready()
    return con


@pytest.mark.parametrize("verb", ["", "nonsense", "dead", "DEAD.LS", None, 7, []])
def test_an_unknown_verb_is_refused_with_those_that_there_are(verb: Any) -> None:
    con = ready()
    for refusal in (refused(con, verb), con.refusal(con.call("operate", verb=verb))):
        assert refusal.reason is Reason.BAD_ARGUMENT
        assert "dead.ls" in refusal.detail
        assert len(refusal.detail) < 1_000


def test_both_ways_answer_the_same() -> None:
    con = ready()
    kill(con, "c1")
    assert through_the_door(con, "dead.ls") == control(con, "dead.ls")
    assert control(con, "dead.ls")["rows"][0]["uuid"] == "c1"
    assert con.refusal(con.call("operate", verb="dead.show", uuid="no")).reason is Reason.NOT_FOUND
    assert refused(con, "dead.show", uuid="no").reason is Reason.NOT_FOUND


def test_a_payload_that_is_text_is_told_as_text_and_another_as_base64() -> None:
    con = ready()
    kill(con, "c1")
    shown = control(con, "dead.show", uuid="c1")
    assert base64.b64decode(shown["payload_base64"]) == NOT_UTF8
    assert "payload" not in shown
    control(con, "dead.edit", uuid="c1", payload='{"a": "ü"}')
    assert control(con, "dead.show", uuid="c1")["payload"] == '{"a": "ü"}'
    control(con, "dead.edit", uuid="c1", payload_base64=base64.b64encode(b'{"b":1}').decode())
    assert through_the_door(con, "dead.show", uuid="c1")["payload"] == b'{"b":1}'


@pytest.mark.parametrize(
    ("args", "told"),
    [({"payload": 1}, "payload"), ({"payload_base64": "?"}, "base64"), ({"payload_base64": []}, "payload")],
    ids=str,
)
def test_a_payload_that_is_none_is_refused(args: dict[str, Any], told: str) -> None:
    con = ready()
    kill(con, "c1")
    refusal = refused(con, "dead.edit", uuid="c1", **args)
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert told in refusal.detail


def test_a_result_too_large_for_a_header_goes_through_the_door_as_payload() -> None:
    con = ready(queue=None)
    kill(con, *(f"{number:04}-{'x' * 55}" for number in range(600)))
    call = con.call("operate", verb="dead.ls", limit=1000)
    assert set(con.responses[call].args) == {"json"}
    encode_one(_result(con.responses[call]))  # it is a message
    rows = through_the_door(con, "dead.ls", limit=1000)["rows"]
    assert [row["uuid"][:4] for row in rows] == [f"{number:04}" for number in range(600)]


def test_a_verb_that_waits_for_its_commit_is_answered_after_it() -> None:
    con = ready()
    con.held = True
    heard: list[Any] = []
    con.do(con.machine.control("operate", {"verb": "queue.pause", "command": "PULL"}, con.now, heard.append))
    assert heard == []
    con.settle()
    assert heard == [{"command": "PULL", "paused": ["PULL"]}]


def test_other_operations_of_the_control_socket_are_refused() -> None:
    con = ready()
    heard: list[Any] = []
    con.do(con.machine.control("nonsense", {}, con.now, heard.append))
    assert isinstance(heard[0], Refusal)


def test_a_header_nested_as_deep_as_it_may_be_comes_through_the_door() -> None:
    con = ready()
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    kill(con, "c1", extra=deep)
    call = con.call("operate", verb="dead.show", uuid="c1")
    (result,) = decode(encode_one(_result(con.responses[call])))
    assert set(result.header["args"]) == {"json"}
    assert through_the_door(con, "dead.show", uuid="c1")["header"]["extra"] == deep


VERBS = [verb for verb in ready().router.operating.verbs if not verb.startswith("worker.")]
"""Those that the router answers by itself."""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from("*aA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (
    *("uuid", "command", "limit", "after", "state", "reason", "source", "older_ms", "all"),
    *("payload", "payload_base64", "other"),
)


@settings(max_examples=80, deadline=None)
@given(
    verb=st.sampled_from(VERBS),
    args=st.dictionaries(st.sampled_from(FIELDS), VALUES),
    payload=st.binary(max_size=20),
)
def test_whatever_is_asked_is_answered_once_and_never_raises(
    verb: str, args: dict[str, Any], payload: bytes
) -> None:
    con = ready()
    kill(con, "a")
    answer = control(con, verb, **args)
    assert isinstance(answer, (dict, Refusal))
    caller = Caller(b"operator", 9_999)
    con.do(con.machine.call(caller, "operate", {**args, "verb": verb}, payload, con.now))
    encode_one(_result(con.responses[9_999]))
