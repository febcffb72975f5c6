"""What is known of a dead letter without reading it, and which letters an operator means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.messages import Kind

_OVERHEAD = 256
"""Bytes that a letter counts for beside its body: its row, and what is in memory of it."""


@dataclass(slots=True, eq=False)
class Letter:
    """One dead letter. Its body is the message as it was: header (the original routing) and payload."""

    key: int
    uuid: str
    kind: str
    """COMMAND or EVENT (also a reply)."""
    name: str
    """The command's name, or the event's topic."""
    reason: str
    at: int
    """Wall clock, ms: when it became one."""
    size: int
    """Bytes of the body."""
    detail: str = ""
    attempts: int = 0
    """How often it was handed to a worker; of a reply: how often it was sent."""
    error: str = ""
    """The last error that a worker told."""
    source: str = ""
    """The connector that it came from."""
    edited: int = 0
    """Wall clock, ms, of the last change of its payload; 0: it is the original."""

    @property
    def weight(self) -> int:
        """What it counts for in the bound on bytes."""
        return self.size + _OVERHEAD

    def as_meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "reason": self.reason,
            "uuid": self.uuid,
            "name": self.name,
            "at": self.at,
            "kind": self.kind,
        }
        for field in ("detail", "attempts", "error", "source", "edited"):
            if value := getattr(self, field):
                meta[field] = value
        return meta

    @classmethod
    def from_meta(cls, key: int, meta: Mapping[str, Any], size: int) -> Letter:
        """From a stored row; one of before letters said more has what it has."""
        return cls(
            key=key,
            uuid=meta["uuid"],
            kind=meta.get("kind", Kind.COMMAND.name),
            name=meta["name"],
            reason=meta["reason"],
            at=meta["at"],
            size=size,
            detail=meta.get("detail", ""),
            attempts=meta.get("attempts", 0),
            error=meta.get("error", ""),
            source=meta.get("source", ""),
            edited=meta.get("edited", 0),
        )

    def row(self) -> dict[str, Any]:
        """As an operator sees it."""
        return {
            "uuid": self.uuid,
            "kind": self.kind,
            "command": self.name,
            "reason": self.reason,
            "detail": self.detail,
            "attempts": self.attempts,
            "error": self.error,
            "source": self.source,
            "at": self.at,
            "edited": self.edited,
            "size": self.size,
        }


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters are meant: those that meet all that is set."""

    reason: str = ""
    command: str = ""
    source: str = ""
    uuid: str = ""
    """The uuid, or how it begins."""
    before: int | None = None
    """Wall clock, ms: letters made at or before it."""

    def meets(self, letter: Letter) -> bool:
        return (
            (not self.reason or letter.reason == self.reason)
            and (not self.command or letter.name == self.command)
            and (not self.source or letter.source == self.source)
            and letter.uuid.startswith(self.uuid)
            and (self.before is None or letter.at <= self.before)
        )

    @classmethod
    def read(cls, args: Mapping[str, Any], wall: int) -> LetterFilter:
        """From an operation's arguments: reason, command, source, uuid, older_ms.

        Raises:
            Refusal: BAD_ARGUMENT, naming the field and the rule.
        """
        texts = {}
        for field in ("reason", "command", "source", "uuid"):
            value = args.get(field, "")
            if not isinstance(value, str):
                raise Refusal(Reason.BAD_ARGUMENT, f"{field} must be a text, not {type(value).__name__}")
            texts[field] = value
        older = args.get("older_ms")
        if older is not None and (type(older) is not int or older < 0):
            raise Refusal(Reason.BAD_ARGUMENT, f"older_ms must be an integer from 0 (got {older!r:.40})")
        return cls(**texts, before=None if older is None else wall - older)
