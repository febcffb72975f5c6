"""A message as the cores see it: a kind, routing fields, an opaque payload."""

from __future__ import annotations

import hashlib
import uuid as uuid_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.messages.kinds import Flag, Kind, Outcome

Header = Mapping[str, Any]

_NONE, _RECEIPT, _ANSWER, _EVENT = Flag.NONE, Flag.RECEIPT, Flag.ANSWER, Kind.EVENT
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""


def _has(flags: Flag, bit: Flag) -> bool:
    # As plain integers: every `&` of two Flags makes a Flag, and this is asked of every message.
    return bool(int.__and__(flags, bit))


@dataclass(slots=True)
class Message:
    """One message, never changed: `with_fields` makes a new one. (Frozen, each would take three times as
    long to make, and every hop makes some for every message.)"""

    kind: Kind
    header: Header
    payload: bytes = b""
    flags: Flag = field(default=Flag.NONE)
    digest: str = field(default="", init=False, repr=False, compare=False)
    """Of a command's body, once `body_digest` has made it."""

    def with_fields(self, **fields: Any) -> Message:
        """The same message with some routing fields set anew; unknown ones are kept."""
        return Message(self.kind, {**self.header, **fields}, self.payload, self.flags)

    def without(self, *names: str) -> Message:
        """The same message without some routing fields."""
        kept = dict(self.header)
        for name in names:
            kept.pop(name, None)
        return Message(self.kind, kept, self.payload, self.flags)

    @property
    def uuid(self) -> str:
        uuid = self.header.get("uuid", "")
        return uuid if type(uuid) is str else str(uuid)

    @property
    def reference(self) -> str:
        reference = self.header.get("reference", "")
        return reference if type(reference) is str else str(reference)

    def text(self, name: str) -> str:
        """A routing field that is a string; "" where absent."""
        value = self.header.get(name, "")
        return value if type(value) is str else str(value)

    def number(self, name: str, default: int = 0) -> int:
        """A routing field that is an integer."""
        return int(self.header.get(name, default))

    @property
    def is_receipt(self) -> bool:
        flags = self.flags
        return flags is _RECEIPT or (flags is not _NONE and _has(flags, _RECEIPT))

    @property
    def is_answer(self) -> bool:
        flags = self.flags
        return flags is _ANSWER or (flags is not _NONE and _has(flags, _ANSWER))


_SHA256 = hashlib.sha256()
"""Nothing yet: to copy it costs half of making another one."""


def body_digest(command: Message) -> str:
    """What must be equal for two commands of one uuid to be the same (DESIGN section 3, promise 3)."""
    if not command.digest:
        of = command.header.get
        admin = "admin" if of("admin") else ""
        parts = f"{of('type', '')}\0{of('command', '')}\0{of('major', 0)}\0{admin}\0"
        digest = _SHA256.copy()
        digest.update(parts.encode())
        digest.update(command.payload)
        command.digest = digest.hexdigest()
    return command.digest


_RECEIPTS = hashlib.sha1(
    uuid_module.UUID("7c0f3a62-5b1e-4f0e-9a55-2d5a7e1c9b11").bytes, usedforsecurity=False
)
"""Hashed so far: to copy a hash that has begun costs a third of beginning one."""


_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""What a hexadecimal digit becomes where a uuid says which variant it is."""


def derived_uuid(of: str, event: str) -> str:
    """The uuid of something a router makes about another message: copies of it are one."""
    # A uuid5; `uuid.uuid5` takes three times as long, and there is one for every receipt.
    digest = _RECEIPTS.copy()
    digest.update(f"{of}/{event}".encode())
    text = digest.hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"


_MAX_DETAIL = 1024


def clipped(detail: str, limit: int = _MAX_DETAIL) -> str:
    """A detail as it may stand in a header: what a peer refuses for its length would tell it nothing."""
    return detail.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def receipt(command: Message, event: str, *, source: str = "", reason: str = "", detail: str = "") -> Message:
    """The receipt of a command: ON_GOING, REJECTED or NO_ROUTE (WIRE.md section 6)."""
    uuid, of = command.uuid, command.header
    header: dict[str, Any] = {
        "uuid": derived_uuid(uuid, event),
        "topic": of.get("command", ""),
        "event": event,
        "reference": uuid,
        "digest": command.digest or body_digest(command),
    }
    if "tenant" in of:
        header["tenant"] = of["tenant"]
    if "timestamp" in of:
        header["timestamp"] = of["timestamp"]
    recipient = of.get("source", "")
    if recipient:
        header["recipient"] = recipient
    if source:
        header["source"] = source
    if reason:
        header["reason"] = reason
        header["detail"] = clipped(detail)
    return Message(_EVENT, header, b"", _RECEIPT)


_COMPLETIONS = (Outcome.SUCCESS, Outcome.FAIL)


def is_completion(event_name: str) -> bool:
    """Whether an event with this name and a reference ends the command it refers to."""
    return event_name in _COMPLETIONS
