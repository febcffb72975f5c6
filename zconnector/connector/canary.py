"""The canary command: what a new version has to answer before it gets traffic."""

from __future__ import annotations

import orjson

from zconnector.connector.door import Door
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.versions.editions import Edition
from zconnector.versions.traffic import CANARY
from zconnector.versions.wanted import Canary

NOT_PASSING = (Reason.UNKNOWN_COMMAND, Reason.UNKNOWN_VERSION, Reason.INVALID_PAYLOAD, Reason.BAD_ARGUMENT)
"""Refusals of a canary that a second try meets again."""


async def send_canary(
    door: Door, type_: str, edition: Edition, canary: Canary, ident: str
) -> tuple[str, bool]:
    """Send it to this connector, under the uuid `ident`, and wait for its end.

    Returns "" for SUCCES, else what went wrong; and whether that was not the version's doing.

    One that is not answered in time is withdrawn, so that no other version runs it.
    """
    timeout = max(1, round(canary.timeout * 1000))
    args = {
        "target": "self",
        "uuid": ident,
        "type": type_,
        "command": canary.command,
        "major": edition.major,
        "timeout": timeout,
        "ttl": timeout,
        "context": f"{CANARY}{edition}",
        "retry": {"attempts": 1},
        "worker": ADMIN_WORKER,
    }
    payload = b"" if canary.payload is None else orjson.dumps(canary.payload)
    try:
        await door.call("send_command", args, payload)
    except Refusal as refusal:
        return f"{refusal.reason}: {refusal.detail}", refusal.reason not in NOT_PASSING
    try:
        header, reply = await door.call("await_reply", {"uuid": ident, "timeout": timeout})
    except Refusal as refusal:
        if refusal.reason is Reason.TIMED_OUT:
            await withdraw(door, ident)
            return f"no answer within {canary.timeout:g} s", False
        return f"{refusal.reason}: {refusal.detail}", True
    if header.get("event") == Outcome.SUCCESS:
        return "", False
    what = reply[:200].decode("utf-8", "replace") or str(header.get("detail", ""))
    return f"{header.get('event')} {what}".strip(), False


async def withdraw(door: Door, ident: str) -> None:
    """End it, unless it has ended."""
    try:
        await door.call("operate", {"verb": "cancel", "uuid": ident})
    except Refusal:
        return  # it has ended meanwhile
