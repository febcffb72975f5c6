"""Conversion between Gandalf messages and door calls."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.errors import Reason, Refusal
from zconnector.messages.checked import Checked
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE, Kind
from zconnector.messages.message import Message
from zconnector.rpc import convert
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb


def reason_of(call: object) -> tuple[Reason, str]:
    with pytest.raises(Refusal) as caught:
        call()  # type: ignore[operator]
    return caught.value.reason, caught.value.detail


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_version_is_one_signed_byte(number: int) -> None:
    if -128 <= number <= 127:
        assert convert.version("Major", number) == number
    else:
        reason, detail = reason_of(lambda: convert.version("Major", number))
        assert reason is Reason.BAD_ARGUMENT
        assert detail == f"Major must be from -128 to 127 (got {number})"


@pytest.mark.parametrize(("text", "number"), [("", 9), ("0", 9), ("1", 1), ("600000", 600_000)])
def test_timeouts(text: str, number: int) -> None:
    assert convert.milliseconds(text, 9) == number


@pytest.mark.parametrize("text", ["-1", "1.5", "soon", "٣", " 1", "9" * 5000, str(2**31 + 1)])
def test_a_bad_timeout_is_named(text: str) -> None:
    reason, detail = reason_of(lambda: convert.milliseconds(text, 9))
    assert reason is Reason.BAD_ARGUMENT
    assert "whole number of milliseconds" in detail
    assert text[:40] in detail


@given(st.text(max_size=40))
def test_an_events_timeout_never_refuses_it(text: str) -> None:
    args, _ = convert.event_args(pb.EventMessage(Topic="t", Timeout=text), "", default_timeout=9)
    assert 0 < args["timeout"] <= convert.MAX_TIMEOUT


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"UUID": "x" * 65}, "uuid is longer than 64 bytes"),
        ({"ConnectorType": "a/b"}, "type may hold only"),
        ({"Command": "é" * 129}, "command is longer than 256 bytes"),
        ({"Command": ""}, "Command must not be empty"),
        ({"Context": "x" * 4097}, "context is longer"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named(fields: dict[str, Any], rule: str) -> None:
    request = pb.CommandMessage(**{"Command": "A", "ConnectorType": "Git", **fields})
    reason, detail = reason_of(lambda: convert.command_args(request, "", definite=False, default_timeout=9))
    assert reason is Reason.BAD_ARGUMENT
    assert rule in detail


def test_what_is_accepted_fits_with_everything_that_routers_add() -> None:
    request = pb.CommandMessage(UUID="u" * 36, ConnectorType="Git", Command="A", Context="\x01" * 4096)
    low, high = 0, MAX_MESSAGE
    while low < high:  # the largest payload that is taken
        size = (low + high + 1) // 2
        request.Payload = "x" * size
        try:
            convert.command_args(request, "w", definite=False, default_timeout=9)
            low = size
        except Refusal as refusal:
            assert refusal.reason is Reason.TOO_LARGE  # noqa: PT017
            high = size - 1
    request.Payload = "x" * low
    args, payload = convert.command_args(request, "w", definite=False, default_timeout=9)
    name = "n" * 128
    added = {"tenant": name, "source": name, "target": name, "accept_until": 2**53, "budget": 2**31}
    added |= {"timestamp": 2**53, "detail": "d" * 1000, "seq": 2**53, "call": 2**53}
    encode_one(Message(Kind.COMMAND, {**args, **added}, payload))
    assert low > 3_900_000


def test_no_fields_are_too_long_with_what_routers_add() -> None:
    """So that only a payload near the limit need be measured with its fields."""
    long, medium, short = "\x01" * 4096, "\x01" * 256, "\x01" * 64
    command = pb.CommandMessage(
        UUID=short,
        Tenant="x" * 128,
        Token=long,
        Context=long,
        Major=-128,
        ConnectorType="x" * 128,
        CommandType=medium,
        Command=medium,
        SourceWorker=medium,
        Admin=True,
        Timeout=str(2**31),
    )
    args, _ = convert.command_args(command, "", definite=True, default_timeout=9)
    wishes = {"ttl": 2**53, "delay": 2**53, "priority": 9, "order_key": medium, "lease": 2**53}
    retry = {
        "attempts": 1000,
        "first": 2**53,
        "factor": 1.0000000000000002,
        "limit": 2**53,
        "jitter": 2**-1074,
    }
    fields = orjson.dumps({**args, **wishes, "target": "self", "retry": retry})
    assert 50_000 < len(fields) <= MAX_HEADER - convert.HEADROOM
    event = pb.EventMessage(UUID=short, Tenant="x" * 128, Token=long, Topic=medium, Event=medium)
    event.ReferenceUUID = short
    args, _ = convert.event_args(event, medium, default_timeout=9)
    assert len(orjson.dumps(args)) <= MAX_HEADER - convert.HEADROOM


def test_what_was_held_to_the_rules_says_so() -> None:
    request = pb.CommandMessage(Command="A", ConnectorType="Git")
    args, _ = convert.command_args(request, "", definite=False, default_timeout=9)
    assert type(args) is Checked
    assert type({**args, "worker": "w"}) is dict, "what is made of it is not trusted"


def test_names_of_a_command_list() -> None:
    request = pb.CommandList(Major=1, Minor=2, Commands=["A"])
    assert convert.register_args(request, "w") == {
        "worker": "w",
        "major": 1,
        "minor": 2,
        "commands": ["A"],
    }
    many = pb.CommandList(Commands=["A"] * 1001)
    assert reason_of(lambda: convert.register_args(many, "")) == (
        Reason.BAD_ARGUMENT,
        "1001 commands, limit 1000",
    )


def test_a_topic_wait_asks_for_any_event() -> None:
    args = convert.wait_event_args(
        pb.TopicMessageWait(WorkerSource="w", Topic="t", IteratorId="i", ReferenceUUID="r"),
        "identity",
        any_event=True,
    )
    assert args == {"iterator": "i", "topic": "t", "reference": "r", "worker": "w"}


def test_a_header_without_fields_is_a_message_without_fields() -> None:
    assert convert.command_message({}, b"") == pb.CommandMessage()
    assert convert.event_message({}, b"") == pb.EventMessage()
