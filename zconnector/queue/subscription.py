"""One named durable subscription: how far it has read, and what it handed out that is not acknowledged.

The position is kept as (`next`, `open`) rather than as a floor and what was acknowledged above it: both say
the same, and this form is bounded by `max_unacked`, however long one event stays unacknowledged. The
**floor** (everything up to it is acknowledged, or lost to retention) lies before the oldest of `open`, or is
`next`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from zconnector.actions import Caller
from zconnector.queue.lanes import LaneKey
from zconnector.queue.store import POSITIONS, Put

_WAITING = -1
"""Stands for a holder where nobody holds the event."""


class Terms(NamedTuple):
    """What a subscriber asks for."""

    topics: tuple[LaneKey, ...]
    """Disjoint: an event stands in one of them at most (`disjoint`)."""
    max_unacked: int
    lease_ms: int


@dataclass(slots=True, eq=False)
class Outstanding:
    """An event that was handed out and is not acknowledged."""

    attempt: int
    """How often it was handed out."""
    held: bool = False
    """With its holder, until the lease ends; else its turn comes again."""
    holder: str = ""
    """The last one."""
    caller: Caller | None = None
    """The call that it was the answer to."""
    settling: int = 0
    """Commits of its acknowledgement under way: meanwhile it is nobody's, and stored as acknowledged."""


@dataclass(slots=True)
class Wait:
    """A call that is held until there is an event."""

    caller: Caller
    holder: str
    limit: int


@dataclass(slots=True, eq=False)
class Subscription:
    """Invariants: keys of `open` are at most `next`; `again` holds exactly those of them, in order, that are
    neither held nor settling; every matching event up to `next` that is not in `open` is done with."""

    name: str
    terms: Terms
    next: int
    missed: int = 0
    """Events lost unacknowledged since that was last told."""
    told: tuple[Caller, int] | None = None
    """The call that was last told how many; for when nobody read that."""
    open: dict[int, Outstanding] = field(default_factory=dict)
    again: list[int] = field(default_factory=list)
    waits: OrderedDict[Caller, Wait] = field(default_factory=OrderedDict)
    stored: bool = False
    commits: int = 0
    """Of its making (or change), under way."""

    @property
    def floor(self) -> int:
        """Everything up to here is acknowledged or lost."""
        return min(self.open, default=self.next + 1) - 1

    @property
    def has_room(self) -> bool:
        """Whether an event that was not handed out before may be."""
        return len(self.open) < self.terms.max_unacked

    def let_go(self, key: int, out: Outstanding) -> None:
        """Nobody holds it any more: its turn comes again."""
        out.held = False
        if not out.settling:
            insort(self.again, key)

    def settle(self, key: int) -> Outstanding | None:
        """It is acknowledged, or lost: not outstanding any more."""
        index = bisect_left(self.again, key)
        if self.again[index : index + 1] == [key]:
            del self.again[index]
        return self.open.pop(key, None)

    def as_put(self) -> Put:
        """The stored form, small enough to be written anew at each change: 12 bytes an outstanding event."""
        holders: dict[str, int] = {}
        rows = [
            [key, out.attempt, holders.setdefault(out.holder, len(holders)) if out.held else _WAITING]
            for key, out in self.open.items()
            if not out.settling
        ]
        meta = {
            "topics": [[lane.topic, lane.event] for lane in self.terms.topics],
            "max_unacked": self.terms.max_unacked,
            "lease": self.terms.lease_ms,
            "at": self.next,
            "missed": self.missed,
            "holders": list(holders),
            "open": rows,
        }
        return Put(POSITIONS, row_key(self.name), meta)

    @classmethod
    def from_meta(cls, name: str, meta: dict[str, Any]) -> Subscription:
        """What `as_put` wrote."""
        topics = tuple(LaneKey(topic, event, "") for topic, event in meta["topics"])
        terms = Terms(topics, int(meta["max_unacked"]), int(meta["lease"]))
        subscription = cls(name, terms, int(meta["at"]), int(meta["missed"]), stored=True)
        for key, attempt, index in sorted(meta["open"]):
            held = index != _WAITING
            holder = meta["holders"][index] if held else ""
            subscription.open[key] = Outstanding(attempt, held, holder)
            if not held:
                subscription.again.append(key)
        return subscription


def disjoint(topics: Iterable[LaneKey]) -> tuple[LaneKey, ...]:
    """The same events, each by one topic only."""
    unique = dict.fromkeys(topics)
    return tuple(lane for lane in unique if lane.event is None or lane._replace(event=None) not in unique)


def row_key(name: str) -> str:
    """Where it is stored, beside the positions of iterators."""
    return orjson.dumps(["s", name]).decode()


def name_in(key: str) -> str | None:
    """The subscription that a stored position is of; None: it is an iterator's, or a worker's."""
    match orjson.loads(key):
        case ["s", str(name)]:
            return name
        case _:
            return None
