"""The model's part on broadcast events and the iterators that show them."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from tests.simulation.rules import Book, tenant_of
from tests.simulation.scheduler import SECOND

SHOWN_AGAIN = 2 * SECOND
"""What was handed over so shortly before a crash may be shown again: its position was not durable yet."""


@dataclass(slots=True)
class _Event:
    """One broadcast event."""

    node: str
    at: int
    published: bool = False
    stored: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Reader:
    """One iterator of a subscriber."""

    node: str
    since: int
    shown: dict[str, int] = field(default_factory=dict)


class EventRules(Book):
    """Every connector has every event, every iterator shows each once."""

    def __init__(self) -> None:
        super().__init__()
        self._events: dict[tuple[str, str], _Event] = {}
        self._readers: dict[str, _Reader] = {}

    def publishing(self, at: int, node: str, uuid: str) -> None:
        """A client hands an event over (again)."""
        key = (tenant_of(node), uuid)
        if key not in self._events:
            self._events[key] = _Event(node, at)

    def published(self, at: int, node: str, uuid: str) -> None:
        """The client is told that it is stored."""
        self._events[tenant_of(node), uuid].published = True
        self.counts["events published"] += 1

    def subscribed(self, at: int, node: str, iterator: str) -> None:
        """A wait of a subscriber's iterator stands; its first one decides where it begins."""
        if iterator not in self._readers:
            self._readers[iterator] = _Reader(node, at)

    def unsubscribed(self, iterator: str) -> None:
        """Its reader has gone: what it was never shown does not count."""
        self._readers.pop(iterator, None)

    def shown(self, at: int, node: str, iterator: str, uuid: str, payload: bytes) -> None:
        """An event is handed to a wait on an iterator."""
        self.counts["events shown"] += 1
        self._check_tenant(at, node, uuid, payload)
        reader = self._readers.get(iterator)
        if reader is None:
            reader = self._readers[iterator] = _Reader(node, at)
        self.checked["event twice"] += 1
        before = reader.shown.get(uuid)
        if before is not None and not self._may_be_shown_again(node, before):
            self._broken(at, "event twice", uuid, f"iterator {iterator} of {node} was shown {uuid} twice")
        reader.shown[uuid] = at

    def seen(self, at: int, node: str, iterator: str, uuid: str, payload: bytes) -> None:
        """A reader that says with each wait what it has is given an event: never again, whatever crashed."""
        self.counts["events shown"] += 1
        self._check_tenant(at, node, uuid, payload)
        reader = self._readers.setdefault(iterator, _Reader(node, at))
        self.checked["event twice"] += 1
        if uuid in reader.shown:
            self._broken(at, "event twice", uuid, f"iterator {iterator} of {node} had {uuid} already")
        reader.shown[uuid] = at

    def _may_be_shown_again(self, node: str, before: int) -> bool:
        """Whether a crash may have taken the position of a hand-over with it."""
        for end in self._ends.get(node, ()):
            if end >= before and (
                end - before <= SHOWN_AGAIN or self._troubled(node, before, before + SHOWN_AGAIN)
            ):
                return True
        return False

    def taken_back(self, at: int, node: str, iterator: str, uuid: str) -> None:
        """The hand-over of an event was cancelled before the reader had it: it is to be shown again."""
        reader = self._readers.get(iterator)
        if reader is not None:
            reader.shown.pop(uuid, None)

    def _event_stored(self, at: int, node: str, uuid: str) -> None:
        """A broadcast event is durable at a connector."""
        event = self._events.get((tenant_of(node), uuid))
        self.checked["cross-tenant"] += 1
        if event is None:
            text = f"{node} stored {uuid}, which nobody of its tenant published"
            self._broken(at, "cross-tenant", uuid, text)
            return
        event.stored.setdefault(node, at)

    def _check_tenant(self, at: int, node: str, uuid: str, payload: bytes) -> None:
        self.checked["cross-tenant"] += 1
        tenant = orjson.loads(payload or b"{}").get("tenant", tenant_of(node))
        if tenant != tenant_of(node):
            self._broken(at, "cross-tenant", uuid, f"{uuid} of {tenant} was seen at {node}")

    def _finish_events(self, at: int, connectors: list[str]) -> None:
        for (tenant, uuid), event in self._events.items():
            for node in connectors:
                if event.published and tenant_of(node) == tenant:
                    self.checked["missed event"] += 1
                    if node not in event.stored:
                        self._broken(at, "missed event", uuid, f"{node} never stored {uuid} of {event.node}")
        for iterator, reader in self._readers.items():
            self._finish_reader(at, iterator, reader)

    def _finish_reader(self, at: int, iterator: str, reader: _Reader) -> None:
        for (_, uuid), event in self._events.items():
            if event.at > reader.since and reader.node in event.stored:
                self.checked["missed event"] += 1
                if uuid not in reader.shown:
                    text = f"iterator {iterator} of {reader.node} was never shown {uuid} of {event.node}"
                    self._broken(at, "missed event", uuid, text)
