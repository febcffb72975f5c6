"""What a component may send: entries `*`, `TYPE`, `TYPE:COMMAND`; admin commands need `ADMIN` besides."""

from __future__ import annotations

from collections.abc import Iterable

from zconnector.messages.message import Message

ADMIN = "ADMIN"


def may_send(permissions: Iterable[str], command: Message) -> bool:
    """Whether these permissions cover a command."""
    held = set(permissions)
    if command.header.get("admin") and ADMIN not in held:
        return False
    kind, name = command.text("type"), command.text("command")
    return bool(held & {"*", kind, f"{kind}:{name}"})
