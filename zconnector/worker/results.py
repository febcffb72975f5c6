"""What a client gets: how commands ended, and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """How a command ended."""

    ok: bool
    event: str
    """`SUCCES` or `FAIL`."""
    payload: str
    reason: str = ""
    """Of a FAIL that no worker made: one of the reasons of WIRE.md section 10."""
    detail: str = ""
    data: bytes = b""
    """The payload as it came, where zconnector.v1 carried it: it need not be text."""

    def json(self) -> Any:
        """The payload, parsed. Raises orjson.JSONDecodeError."""
        return orjson.loads(self.payload)


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it arrived."""

    uuid: str
    topic: str
    event: str
    payload: str
    reference: str
    """uuid of the message that it is about; "" for a plain event."""
    timestamp: int
    """Seconds since 1970; 0 when unknown."""

    def json(self) -> Any:
        """The payload, parsed. Raises orjson.JSONDecodeError."""
        return orjson.loads(self.payload)


def event_of(message: Any) -> Event:
    """An EventMessage as the SDK shows it."""
    timestamp = int(message.Timestamp) if message.Timestamp.isdigit() else 0
    return Event(
        message.UUID, message.Topic, message.Event, message.Payload, message.ReferenceUUID, timestamp
    )
