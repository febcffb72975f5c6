"""The metadata that our own SDK and the service exchange beside the Gandalf messages.

A Gandalf worker sends none and ignores it all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, unquote

WORKER = "x-zconnector-worker"
"""Request: identity of the worker process; leases and registrations are its."""
SEEN = "x-zconnector-seen"
"""Request to a Wait call by a reader of one message at a time: uuid of the last one of its iterator that
reached it, percent-encoded (empty: none yet). What was handed out since was lost: it comes again."""
RECEIPTS = "x-zconnector-receipts"
"""Request to WaitTopicMessage and WaitEventMessage: `0`: pass over receipts (SendCommandMessage tells it)."""
DEFINITE = "x-zconnector-definite"
"""Request to SendCommandMessage: `1`: tell errors at once, do not hold them for a second."""
BOOT = "x-zconnector-boot"
"""Answer to SendCommandList and SendStop: boot id of the router."""
MISSING = "x-zconnector-missing"
"""Answer to SendCommandList that is not valid: JSON list of the command names that are lacking."""
OUTCOME = "x-zconnector-outcome"
"""Answer to SendCommandMessage: ACCEPTED or UNKNOWN."""
REASON = "x-zconnector-reason"
"""Any error, and an event that says why: one of the reasons of WIRE.md section 10."""
DETAIL = "x-zconnector-detail"
"""The same for people, percent-encoded (metadata is ASCII)."""
UUID = "x-zconnector-uuid"
"""Any error about one message: its uuid."""
AUTHORIZATION = "authorization"
"""Request over TCP: `Bearer TOKEN`."""

Pairs = tuple[tuple[str, str], ...]
Heard = Iterable[Any]
"""Pairs of a name and a str or bytes, for which gRPC's stubs have a type of their own."""

_SAFE = " !#$&'()*+,/:;=?@[]-._~"
_UNQUOTED = re.compile(r"[A-Za-z0-9._-]*")

_ROOM = 4_000
"""Bytes of one value: gRPC peers refuse more than 8 KiB of metadata in all."""


def value(pairs: Heard | None, key: str) -> str:
    """The first value of a key; "" where absent."""
    for name, found in pairs or ():
        if name == key:
            return found.decode("ascii", "replace") if isinstance(found, bytes) else found
    return ""


def heard(pairs: Heard | None) -> dict[str, str]:
    """The first value of each key. Asked for once a call: gRPC makes the pairs anew each time."""
    said: dict[str, str] = {}
    for name, found in pairs or ():
        if name not in said:
            said[name] = found.decode("ascii", "replace") if isinstance(found, bytes) else found
    return said


def encode_text(text: str) -> str:
    """Any text as printable ASCII, cut to what fits."""
    # Most are uuids, which need no quoting, and have it looked up for each letter otherwise.
    encoded = text if _UNQUOTED.fullmatch(text) else quote(text, safe=_SAFE)
    return encoded if len(encoded) <= _ROOM else encoded[:_ROOM].rpartition("%")[0]


def decode_text(encoded: str) -> str:
    """What `encode_text` encoded."""
    return unquote(encoded)


def encode_names(names: Sequence[str]) -> str:
    """As many names as fit, as a JSON list in ASCII."""
    kept: list[str] = []
    room = _ROOM
    for name in names:
        room -= len(json.dumps(name)) + 2
        if room < 0:
            break
        kept.append(name)
    return json.dumps(kept)


def decode_names(encoded: str) -> list[str]:
    """What `encode_names` encoded; [] for anything else."""
    try:
        names = json.loads(encoded)
    except json.JSONDecodeError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
