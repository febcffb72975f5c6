"""Messages as the cores see them: never changed in place, the same body, copies that are one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zconnector.messages.codec import decode, encode_one
from zconnector.messages.fields import check_field
from zconnector.messages.kinds import Flag, Kind, Outcome
from zconnector.messages.message import Message, body_digest, clipped, derived_uuid, is_completion, receipt

COMMAND = Message(
    Kind.COMMAND,
    {
        "uuid": "c1",
        "type": "Git",
        "command": "CLONE",
        "major": 1,
        "timeout": 1000,
        "accept_until": 5000,
        "source": "ci",
        "tenant": "t1",
        "timestamp": 4000,
        "unknown": [1],
    },
    b'{"url":"x"}',
)


def test_with_fields_makes_a_new_message_and_keeps_the_rest() -> None:
    changed = COMMAND.with_fields(target="git", major=2)
    assert changed.header == {**COMMAND.header, "target": "git", "major": 2}
    assert (changed.payload, changed.kind) == (COMMAND.payload, COMMAND.kind)
    assert COMMAND.number("major") == 1
    assert "target" not in COMMAND.header


def test_without_makes_a_new_message() -> None:
    assert "unknown" not in COMMAND.without("unknown", "never there").header
    assert "unknown" in COMMAND.header


def test_absent_fields_have_a_value() -> None:
    empty = Message(Kind.EVENT, {})
    assert (empty.uuid, empty.reference, empty.text("topic"), empty.number("seq")) == ("", "", "", 0)
    assert empty.number("budget", 7) == 7


def test_flags() -> None:
    assert Message(Kind.EVENT, {}, b"", Flag.RECEIPT).is_receipt
    assert not Message(Kind.EVENT, {}, b"", Flag.ANSWER).is_receipt
    assert Message(Kind.FETCH, {}, b"", Flag.ANSWER | Flag.PUSH).is_answer
    assert not Message(Kind.FETCH, {}, b"", Flag.PUSH).is_answer


@pytest.mark.parametrize(
    "change",
    [{"type": "Ci"}, {"command": "PULL"}, {"major": 2}, {"major": 0}, {"admin": True}],
    ids=str,
)
def test_another_body(change: dict[str, Any]) -> None:
    assert body_digest(COMMAND.with_fields(**change)) != body_digest(COMMAND)


def test_another_payload_is_another_body() -> None:
    other = Message(COMMAND.kind, COMMAND.header, COMMAND.payload + b" ")
    assert body_digest(other) != body_digest(COMMAND)


@pytest.mark.parametrize(
    "change",
    [
        {"timeout": 9},
        {"accept_until": 9},
        {"timestamp": 9},
        {"source": "x"},
        {"target": "git"},
        {"budget": 3},
        {"minor": 3},
        {"token": "t"},
        {"context": "c"},
        {"admin": False},
    ],
    ids=str,
)
def test_the_same_body(change: dict[str, Any]) -> None:
    """A retry through another instance, later, with less time left, is still the same command."""
    assert body_digest(COMMAND.with_fields(**change)) == body_digest(COMMAND)


def test_an_absent_major_is_major_0() -> None:
    assert body_digest(COMMAND.without("major")) == body_digest(COMMAND.with_fields(major=0))


def test_parts_of_a_body_do_not_run_into_each_other() -> None:
    one = COMMAND.with_fields(type="Git", command="CLONE")
    other = COMMAND.with_fields(type="GitC", command="LONE")
    assert body_digest(one) != body_digest(other)


@given(st.text(), st.sampled_from(("ON_GOING", "FAIL", "né")))
def test_a_derived_uuid_is_the_uuid5_that_it_always_was(of: str, event: str) -> None:
    namespace = uuid.UUID("7c0f3a62-5b1e-4f0e-9a55-2d5a7e1c9b11")
    assert derived_uuid(of, event) == str(uuid.uuid5(namespace, f"{of}/{event}"))


def test_derived_uuids_are_one_for_copies_and_differ_otherwise() -> None:
    assert derived_uuid("c1", "ON_GOING") == derived_uuid("c1", "ON_GOING")
    distinct = {derived_uuid(of, event) for of in ("c1", "c2") for event in ("ON_GOING", "REJECTED", "FAIL")}
    assert len(distinct) == 6
    assert len(derived_uuid("c1", "ON_GOING")) == 36


def test_a_receipt_speaks_of_its_command() -> None:
    made = receipt(COMMAND, Outcome.ON_GOING, source="git")
    assert made.is_receipt
    assert made.header == {
        "uuid": derived_uuid("c1", "ON_GOING"),
        "topic": "CLONE",
        "event": "ON_GOING",
        "reference": "c1",
        "digest": body_digest(COMMAND),
        "tenant": "t1",
        "timestamp": 4000,
        "recipient": "ci",
        "source": "git",
    }
    assert decode(encode_one(made)) == [made]


def test_receipts_of_two_copies_are_one() -> None:
    assert receipt(COMMAND, "ON_GOING", source="git") == receipt(
        COMMAND.with_fields(budget=17), "ON_GOING", source="git"
    )


def test_a_refusing_receipt_says_why_within_the_limit_of_the_field() -> None:
    made = receipt(COMMAND, Outcome.REJECTED, reason="CONFLICT", detail="é" * 2000)
    assert made.text("reason") == "CONFLICT"
    assert decode(encode_one(made)) == [made], (
        "a receipt that the other end would refuse tells nobody anything"
    )


@pytest.mark.parametrize(
    ("event", "completes"),
    [
        ("SUCCES", True),
        ("FAIL", True),
        ("SUCCESS", False),
        ("ON_GOING", False),
        ("REJECTED", False),
        ("", False),
    ],
)
def test_what_completes_a_command(event: str, completes: bool) -> None:
    assert is_completion(event) is completes


@pytest.mark.parametrize("detail", ["", "short", "x" * 5000, "é" * 5000, "𝄞" * 5000, "\ud800 alone" * 100])
def test_a_clipped_detail_keeps_the_rule_of_its_field(detail: str) -> None:
    clip = clipped(detail)
    assert check_field("detail", clip) == ""
    assert clip[:10] == detail[:10].replace("\ud800", "?")


def test_a_clipped_detail_is_no_shorter_than_it_must_be() -> None:
    assert clipped("x" * 1024) == "x" * 1024
    assert clipped("x" * 1023 + "é") == "x" * 1023
