"""What is on its way into the outbox, or home: reserved, and stored with what it is about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zconnector.clock import Instant
from zconnector.messages import Message
from zconnector.queue.retained import Event
from zconnector.queue.store import Put


@dataclass(slots=True, eq=False)
class Entry:
    """One message that is to be confirmed by somebody else."""

    key: int
    uuid: str
    name: str
    recipient: str
    lasting: bool
    """A reply to a command: past its retention it becomes a dead letter, not a mere count."""
    at: int
    """Wall time it was made."""
    size: int
    expires: float = 0.0
    attempts: int = 0
    damaged: bool = False
    """It can never be sent: its retention is over."""
    due: float = 0.0
    """Monotonic time of the next sending; 0: it is among the due."""


@dataclass(slots=True)
class Homecoming:
    """A reply that is for this connector itself: an event here, and a record for the journal.

    Never changed, nor is a Draft. (Frozen they would take three times as long to make.)
    """

    event: Event
    record: int | None


@dataclass(slots=True)
class Draft:
    """An entry whose commit is still to come: commit `write`, then `accept` or `abandon`."""

    entry: Entry
    write: Put
    coming: Homecoming | None = None
    """Set: it is no entry of the outbox, but an event."""
    message: Message | None = None


class AtHome(Protocol):
    """Who takes what is for this connector itself (`home.py`)."""

    name: str
    unshown: list[Event]

    def knows(self, uuid: str) -> bool: ...

    def draft(self, message: Message, now: Instant, *, force: bool) -> Draft | None: ...

    def accept(self, coming: Homecoming, write: Put, reply: Message | None) -> None: ...

    def abandon(self, coming: Homecoming) -> None: ...
