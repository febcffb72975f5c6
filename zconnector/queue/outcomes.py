"""What `LocalQueue` answers through its continuations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of a command that was offered."""

    outcome: Literal["STORED", "DUPLICATE", "REFUSED", "FAILED"]
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of an event with a reference."""

    outcome: Literal["COMPLETED", "LATE", "PROGRESS", "NOT_MINE", "FAILED"]
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What became of an event."""

    outcome: Literal["STORED", "DUPLICATE", "REFUSED", "FAILED"]
    refusal: Refusal | None = None


Done = Callable[[Instant, Refusal | None], Actions]
"""Hears None when it is committed, else why it is not."""
OnOffered = Callable[[Instant, Offered], Actions]
OnCompleted = Callable[[Instant, Completed], Actions]
OnPublished = Callable[[Instant, Published], Actions]
