"""What a worker asks to send, as the command that is sent."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.transcript import START
from zconnector.connector.composing import OPTIONAL, Composer
from zconnector.errors import Reason, Refusal
from zconnector.messages.checked import Checked
from zconnector.messages.codec import encode_one
from zconnector.messages.fields import BOUNDS, FIELDS
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE, Kind
from zconnector.messages.message import Message
from zconnector.messages.retry import RULES
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity

ME = Identity("connector", "acme", "git", "0", "b1", type="Git")
GIVEN = {"uuid": "c1", "type": "Ci", "command": "BUILD"}


def composer() -> Composer:
    return Composer(ME, ConnectorSettings(state_dir=Path("nowhere")), random.Random(1))


def compose(payload: bytes = b"", own: bool = False, **more: Any) -> Message:
    return composer().command({**GIVEN, **more}, payload, START, own=own)


def refusal(payload: bytes = b"", **more: Any) -> Refusal:
    with pytest.raises(Refusal) as raised:
        compose(payload, **more)
    return raised.value


def longest(name: str) -> Any:
    """A value of a field than which none is longer in JSON."""
    kind, limit = FIELDS[name]
    if name == "retry":
        return {key: greatest for key, (_, greatest) in RULES.items()}
    if kind is str:
        return ("x" if name in ("tenant", "type") else "\x01") * limit
    return True if kind is bool else BOUNDS.get(name, (0, 2**53))[1]


def test_no_header_is_too_long_with_all_that_hops_add() -> None:
    """So that only a payload near the limit need be encoded to be measured."""
    names = ("uuid", "tenant", "type", "command", "major", "minor", "timeout", *OPTIONAL)
    command = compose(**{name: longest(name) for name in names})
    assert {*names, "source", "timestamp", "accept_until"} == set(command.header)
    _, header, _ = encode_one(command.with_fields(source="x" * 128, target="x" * 128, budget=2**53))
    assert 50_000 < len(header) <= MAX_HEADER


@pytest.mark.parametrize("beside", [300, 500])
def test_a_payload_near_the_limit_is_measured_with_its_header(beside: int) -> None:
    payload = bytes(MAX_MESSAGE - beside)
    if beside == 300:
        assert refusal(payload).reason is Reason.TOO_LARGE
    else:
        assert compose(payload).payload == payload


def test_what_is_not_given_is_ours() -> None:
    command = compose(context="", token="", priority=0, retry={})
    assert command.kind is Kind.COMMAND
    assert not {"context", "token", "priority", "retry", "target"} & set(command.header)
    assert command.text("source") == ME.name
    assert command.number("accept_until") == START.wall + command.number("timeout")


def test_to_the_own_connector_it_is_of_its_type() -> None:
    command = composer().command({"uuid": "c1", "command": "BUILD"}, b"", START, own=True)
    assert (command.text("type"), command.text("target")) == (ME.type, ME.name)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("uuid", 7, "uuid must be str, not int"),
        ("tenant", "a/b", "tenant may hold only A-Z a-z 0-9 _ . - (got 'a/b')"),
        ("type", None, "type must be str, not NoneType"),
        ("type", "", "type must not be empty"),
        ("command", "", "command is missing"),
        ("command", "ä" * 129, "command is longer than 256 bytes"),
        ("major", 128, "major must be from -128 to 127 (got 128)"),
        ("minor", True, "minor must be int, not bool"),
        ("timeout", "1", "timeout must be int, not str"),
        ("timeout", -1, "timeout must be at least 1 ms (got -1)"),
        ("admin", 1, "admin must be bool, not int"),
        ("context", 5, "context must be str, not int"),
        ("lease", 999, "lease must be from 1000 to 86400000 (got 999)"),
        ("began", 1.5, "began must be int, not float"),
    ],
)
def test_each_argument_is_held_to_its_rule(name: str, value: Any, said: str) -> None:
    refused = refusal(**{name: value})
    assert (refused.reason, refused.detail) == (Reason.BAD_ARGUMENT, said)


def test_what_was_held_to_the_rules_before_is_taken_as_it_is() -> None:
    given = Checked(GIVEN, context="x", priority=3)
    assert composer().command(given, b"", START).header == compose(context="x", priority=3).header
    with pytest.raises(Refusal, match="command is missing"):
        composer().command(Checked(GIVEN, command=""), b"", START)
