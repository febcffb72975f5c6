"""Message kinds and the frame codec: `protos/WIRE.md` sections 1 to 3, pure."""

from zconnector.messages.kinds import Flag, Kind, Outcome
from zconnector.messages.message import (
    Header,
    Message,
    body_digest,
    clipped,
    derived_uuid,
    is_completion,
    receipt,
)

__all__ = [
    "Flag",
    "Header",
    "Kind",
    "Message",
    "Outcome",
    "body_digest",
    "clipped",
    "derived_uuid",
    "is_completion",
    "receipt",
]
