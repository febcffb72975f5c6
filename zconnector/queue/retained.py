"""The events that are here: stored ones until retention, announcements (receipts) for a short while.

Both stand in the same order of arrival and the same lanes; only stored ones survive a restart.

Bounds: stored events by count, bytes and age. Full: the oldest broadcast event goes, counted; only
when there is none left does the oldest directed one (a reply) go. Announcements by count and age.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages import Message, Outcome, derived_uuid, is_completion
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import Commits
from zconnector.queue.lanes import IndexKey, LaneKey, Lanes, lanes_of
from zconnector.queue.outcomes import OnPublished
from zconnector.queue.store import EVENTS, Delete
from zconnector.settings import QueueSettings

_FAIL = Outcome.FAIL
MAX_ANNOUNCED = 10_000
ANNOUNCED_FOR = 660.0
"""Seconds: longer than a copy of a command may be in doubt (600 s and 30 s), so that a receipt is known
until no FAIL UNRECEIPTED can contradict it any more."""


@dataclass(slots=True, eq=False)
class Event:
    """What is in memory of an event."""

    key: int
    uuid: str
    topic: str
    event: str
    reference: str
    source: str
    directed: bool
    """For this connector alone (a reply), hence nowhere else to be had."""
    size: int
    expires: float
    """Monotonic."""
    message: Message | None = None
    """Of an announcement; a stored event is read from the store."""
    stored: bool = False
    asked: tuple[OnPublished, ...] = ()
    """Who gave further copies while the first one was being stored."""
    is_final: bool = False
    """It is visible, and the final reply to a command, or an event, that was sent from here."""

    @property
    def lanes(self) -> tuple[IndexKey, ...]:
        return lanes_of(self.topic, self.event, self.reference)

    @property
    def is_unreceipted(self) -> bool:
        """Whether it is the FAIL made here of a command that nobody receipted in time."""
        return self.event == _FAIL and self.uuid == derived_uuid(self.reference, Reason.UNRECEIPTED)

    def as_meta(self, wall: int) -> dict[str, Any]:
        return {
            "uuid": self.uuid,
            "topic": self.topic,
            "event": self.event,
            "reference": self.reference,
            "source": self.source,
            "directed": self.directed,
            "at": wall,
        }


class Retained:
    """All events that a waiter may still be shown."""

    def __init__(self, settings: QueueSettings, commits: Commits, messages: Messages) -> None:
        self._settings = settings
        self._commits = commits
        self._messages = messages
        self._events: dict[int, Event] = {}
        self._by_uuid: dict[str, Event] = {}
        self._lanes = Lanes()
        self._finals: dict[str, int] = {}
        """The first final reply of those visible, by the uuid that it answers."""
        self._broadcast: deque[int] = deque()
        self._directed: deque[int] = deque()
        self._announced: deque[int] = deque()
        self._first: float | None = None
        """What `deadline` last found: it is asked after every step, and few change it."""
        self._first_is_known = False
        self._announced_count = 0
        self._count = 0
        self._bytes = 0
        self._last = 0
        self._coming: OrderedDict[int, Event | None] = OrderedDict()
        """By key, what waiters may not see yet: None while it is being stored.

        Invariant: events become visible in the order of their keys. A position is a key, so whoever
        has seen a later one would never be shown an earlier one.
        """
        self.dropped = 0
        self.expired = 0
        self._untold = 0
        self.on_remove: Callable[[Event], None] = lambda _: None
        """Told of each stored event that goes."""

    @property
    def end(self) -> int:
        """Position behind everything that has arrived."""
        return self._last

    def begin_after(self, position: int) -> None:
        """Keys below were used before a restart: positions refer to them."""
        self._last = max(self._last, position)

    def restore(self, key: int, meta: dict[str, Any], size: int, now: Instant) -> None:
        retention = self._settings.event_retention
        left = meta["at"] / 1000 + retention - now.wall / 1000
        event = Event(
            key=key,
            uuid=meta["uuid"],
            topic=meta["topic"],
            event=meta["event"],
            reference=meta["reference"],
            source=meta["source"],
            directed=meta["directed"],
            size=size,
            expires=now.mono + min(max(left, 0.0), retention),
            stored=True,
        )
        self.begin_after(key)
        self._by_uuid[event.uuid] = event
        self._count += 1
        self._bytes += size
        self._show(event)

    def find(self, uuid: str) -> Event | None:
        """The stored (or nearly stored) event of that uuid, or the announcement."""
        return self._by_uuid.get(uuid)

    def about(self, reference: str, now: Instant) -> list[tuple[int, Event]]:
        """What refers to a uuid, in order of arrival, and when it came (wall clock, ms). Walks all."""
        found: list[tuple[int, Event]] = []
        for event in self._by_uuid.values():
            if event.reference == reference:
                kept_for = ANNOUNCED_FOR if event.message is not None else self._settings.event_retention
                age = kept_for - (event.expires - now.mono)
                found.append((now.wall - round(age * 1000), event))
        return sorted(found, key=lambda pair: pair[1].key)

    def get(self, key: int) -> Event | None:
        """The event, when waiters may see it."""
        return self._events.get(key)

    def final(self, uuid: str) -> Event | None:
        """The first final reply to what has this uuid; a FAIL UNRECEIPTED only while there is no other."""
        key = self._finals.get(uuid)
        return None if key is None else self._events[key]

    def refers(self, topic: str, reference: str) -> bool:
        """Whether there is any event of a topic with that reference."""
        return (topic, None, reference) in self._lanes

    def after(self, lane: IndexKey, position: int) -> Event | None:
        """The oldest event beyond a position that a lane leads to."""
        key = self._lanes.after(lane, position)
        return None if key is None else self._events[key]

    def admit(self, message: Message, size: int, now: Instant, *, force: bool = False) -> Event | None:
        """Reserve room for an event that is about to be stored; None: it is larger than all room.

        `force`: it is taken, beyond the bound if need be.
        """
        if not force and (size > self._settings.max_event_bytes or self._settings.max_events < 1):
            return None
        if not self._make_room(1, size) and not force:
            return None  # all room is taken by what is being stored just now
        event = self._make(message, size, now.mono + self._settings.event_retention)
        self._by_uuid[event.uuid] = event
        self._coming[event.key] = None
        self._count += 1
        self._bytes += size
        return event

    def accept(self, event: Event) -> list[Event]:
        """It is stored. Returns what waiters may see from now on."""
        event.stored = True
        self._coming[event.key] = event
        return self._emerge()

    def abandon(self, event: Event) -> list[Event]:
        """It was not stored. Returns what waiters may see from now on."""
        del self._by_uuid[event.uuid]
        del self._coming[event.key]
        self._count -= 1
        self._bytes -= event.size
        return self._emerge()

    def announce(self, message: Message, now: Instant) -> list[Event]:
        """Take something that is never stored. Returns what waiters may see from now on."""
        while self._announced_count >= MAX_ANNOUNCED and self._forget_oldest_announcement():
            pass
        event = self._make(message, 0, now.mono + ANNOUNCED_FOR)
        event.message = message
        self._by_uuid[event.uuid] = event
        self._announced_count += 1
        self._coming[event.key] = event
        return self._emerge()

    def remove(self, event: Event) -> None:
        """Nobody is shown it any more; its row goes with the next commit."""
        self._first_is_known = False
        self._commits.agenda.doubt()  # the next one may go earlier: it was stored under another clock
        del self._by_uuid[event.uuid]
        if self._events.pop(event.key, None) is None:
            del self._coming[event.key]
        else:
            self._lanes.remove(event.lanes, event.key)
            if self._finals.get(event.reference) == event.key:
                self._next_final(event)
        if event.message is not None:
            self._announced_count -= 1
            return
        self._count -= 1
        self._bytes -= event.size
        self._messages.forget(EVENTS, event.key)
        self._commits.ride(Delete(EVENTS, event.key))
        self.on_remove(event)

    def tick(self, now: Instant) -> Actions:
        self._make_room(0, 0)  # after a restart with smaller bounds
        for queue in (self._broadcast, self._directed):
            while (oldest := self._peek(queue)) is not None and oldest.expires <= now.mono:
                self.remove(oldest)
                self.expired += 1
        while (oldest := self._peek(self._announced)) is not None and oldest.expires <= now.mono:
            self.remove(oldest)
        if not self._untold:
            return []
        count, self._untold = self._untold, 0
        return [Note("warning", "event store full: oldest events dropped", {"count": count})]

    def deadline(self) -> float | None:
        if not self._first_is_known:
            heads = [self._peek(queue) for queue in (self._broadcast, self._directed, self._announced)]
            self._first = min((head.expires for head in heads if head is not None), default=None)
            self._first_is_known = True
        return self._first

    def depths(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "bytes": self._bytes,
            "announced": self._announced_count,
            "dropped": self.dropped,
            "expired": self.expired,
        }

    def _make_room(self, count: int, size: int) -> bool:
        """Drop the oldest until so many events of so many bytes fit. Whether they do."""
        limit, byte_limit = self._settings.max_events, self._settings.max_event_bytes
        while self._count + count > limit or self._bytes + size > byte_limit:
            victim = self._oldest(self._broadcast) or self._oldest(self._directed)
            if victim is None:
                return False
            self.remove(victim)
            self.dropped += 1
            self._untold += 1
        return True

    def _make(self, message: Message, size: int, expires: float) -> Event:
        self._last += 1
        field = message.header.get  # these were held to their rules as they came in, or are of our making
        return Event(
            key=self._last,
            uuid=message.uuid,
            topic=field("topic", ""),
            event=field("event", ""),
            reference=field("reference", ""),
            source=field("source", ""),
            directed=bool(field("recipient")) and not field("seq"),
            size=size,
            expires=expires,
        )

    def _emerge(self) -> list[Event]:
        """Show what has come, up to the first that is still being stored."""
        shown: list[Event] = []
        while self._coming:
            key, event = next(iter(self._coming.items()))
            if event is None:
                break
            del self._coming[key]
            self._show(event)
            shown.append(event)
        return shown

    def _show(self, event: Event) -> None:
        key = event.key
        self._events[key] = event
        self._first_is_known = False
        self._commits.agenda.by(event.expires)
        self._lanes.append(event.lanes, key)
        if event.directed and event.message is None and event.reference and is_completion(event.event):
            event.is_final = True
            known = self._finals.setdefault(event.reference, key)
            if known != key and self._events[known].is_unreceipted:
                self._finals[event.reference] = key
        if event.message is not None:
            self._announced.append(key)
        else:
            (self._directed if event.directed else self._broadcast).append(key)

    def _next_final(self, gone: Event) -> None:
        """Of a command in doubt there may be two: a FAIL made here, and then the reply all the same."""
        del self._finals[gone.reference]
        for name in (Outcome.SUCCESS, Outcome.FAIL):
            other = self.after(LaneKey(gone.topic, name, gone.reference), gone.key)
            if other is not None and other.is_final:
                self._finals[gone.reference] = other.key
                return

    def _peek(self, queue: deque[int]) -> Event | None:
        while queue:
            event = self._events.get(queue[0])
            if event is not None:
                return event
            queue.popleft()
        return None

    def _oldest(self, queue: deque[int]) -> Event | None:
        event = self._peek(queue)
        if event is not None:
            queue.popleft()
        return event

    def _forget_oldest_announcement(self) -> bool:
        oldest = self._oldest(self._announced)
        if oldest is not None:
            self.remove(oldest)
        return oldest is not None
