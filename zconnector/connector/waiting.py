"""Commands of ours that wait for their turn: no more are under way than the aggregator instances take."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from zconnector.actions import Caller
from zconnector.messages.message import Message


@dataclass(slots=True)
class Senders:
    """Who waits for the outcome of one command."""

    callers: list[Caller] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Queued:
    """A command with its senders, and the monotonic time at which its timeout is over."""

    command: Message
    senders: Senders
    ends: float
    doubt: bool = False
    """A copy of it may be stored somewhere: it may not end NOT_SENT."""


class WaitingRoom:
    """In order of arrival; each goes when it is taken, or when its time is over."""

    def __init__(self) -> None:
        self._queued: OrderedDict[str, Queued] = OrderedDict()
        self._ends: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._queued)

    def __iter__(self) -> Iterator[Queued]:
        return iter(self._queued.values())

    def get(self, uuid: str) -> Queued | None:
        return self._queued.get(uuid)

    def add(self, queued: Queued) -> None:
        uuid = queued.command.uuid
        self._queued[uuid] = queued
        heapq.heappush(self._ends, (queued.ends, uuid))

    def take_first(self) -> Queued | None:
        """Remove and return the one that has waited longest."""
        return self._queued.popitem(last=False)[1] if self._queued else None

    def take(self, uuid: str) -> Queued | None:
        """Remove and return the one of this uuid."""
        return self._queued.pop(uuid, None)

    def overdue(self, now: float) -> list[Queued]:
        """Remove and return those whose time is over."""
        over: list[Queued] = []
        while self._ends and self._ends[0][0] <= now:
            _, uuid = heapq.heappop(self._ends)
            queued = self._queued.get(uuid)
            if queued is not None and queued.ends <= now:
                over.append(self._queued.pop(uuid))
        return over

    def deadline(self) -> float | None:
        """When `overdue` is due; at times too early, never too late."""
        while self._ends and self._ends[0][1] not in self._queued:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None
