"""What a component may send."""

from __future__ import annotations

import pytest

from zconnector.messages.fields import check_field
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.permissions import may_send


def command(type_: str = "Git", name: str = "CLONE", *, admin: bool = False) -> Message:
    return Message(Kind.COMMAND, {"type": type_, "command": name, "admin": admin})


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ([], False),
        (["*"], True),
        (["Git"], True),
        (["Git:CLONE"], True),
        (["Git:PULL"], False),
        (["Ci"], False),
        (["CLONE"], False),
        (["Git:"], False),
        (["Git:*"], False),
        (["git"], False),
        (["Ci", "Git:CLONE"], True),
        (["ADMIN"], False),
    ],
)
def test_a_command(held: list[str], allowed: bool) -> None:
    assert may_send(held, command()) is allowed


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        (["*"], False),
        (["Git"], False),
        (["ADMIN"], False),
        (["ADMIN", "*"], True),
        (["ADMIN", "Git"], True),
        (["ADMIN", "Git:CLONE"], True),
        (["ADMIN", "Ci"], False),
    ],
)
def test_an_admin_command_needs_more(held: list[str], allowed: bool) -> None:
    assert may_send(held, command(admin=True)) is allowed


def test_no_type_can_look_like_an_entry_for_a_command() -> None:
    assert check_field("type", "Git:CLONE") != ""
    assert check_field("type", "*") != ""
