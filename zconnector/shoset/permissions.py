"""What a component may send: entries `*`, `TYPE`, `TYPE:COMMAND`; admin commands need `ADMIN` besides."""

from __future__ import annotations

from collections.abc import Collection

from zconnector.messages.message import Message

ADMIN = "ADMIN"


def may_send(permissions: Collection[str], command: Message) -> bool:
    """Whether these permissions cover a command."""
    if command.header.get("admin") and ADMIN not in permissions:
        return False
    if "*" in permissions:
        return True
    kind, name = command.text("type"), command.text("command")
    return kind in permissions or f"{kind}:{name}" in permissions
