"""Commands sent from here whose outcome is unknown: each ends in a receipt, a reply, or a FAIL made here.

The FAIL waits for the last copy that was sent: as long as one may still be stored by its target, nobody can
say that none ever was.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, replace

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome, derived_uuid
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.outcomes import OnPublished, Published
from zconnector.queue.store import DOCUMENTS, Delete, Put

PREFIX = "unknown/"
GRACE_MS = 30_000
"""A target never first stores a command later than `accept_until` + this."""
LONGEST = 3_600.0
"""The same for what an older version stored, which did not say."""

Remembered = Callable[[Instant, Refusal | None], Actions]


@dataclass(frozen=True, slots=True)
class _Unknown:
    uuid: str
    name: str
    tenant: str
    source: str
    accept_until: int
    longest: float
    """Seconds that are left at most, whatever the clocks say: its whole timeout and the grace."""


class Unknowns:
    """Bounded by count; remembered on the disk before the sender hears UNKNOWN."""

    def __init__(
        self,
        commits: Commits,
        publish: Callable[[Message, Instant, OnPublished], Actions],
        taken: Callable[[str, str], bool],
        limit: int,
    ) -> None:
        """`taken`: whether a receipt of, or a reply to, a command (its name, its uuid) is known here."""
        self._commits = commits
        self._publish = publish
        self._taken = taken
        self._limit = limit
        self._unknown: dict[str, _Unknown] = {}
        self._ends: dict[str, float] = {}
        """By uuid: when its FAIL is due, if nothing else is heard."""
        self._due: list[tuple[float, str]] = []
        """The same in order, and what it was before a later copy was sent."""
        self.failed = 0
        """Ended by a FAIL made here."""

    def __len__(self) -> int:
        return len(self._unknown)

    def restore(self, uuid: str, meta: dict[str, str | int | float], now: Instant) -> None:
        unknown = _Unknown(
            uuid,
            str(meta["name"]),
            str(meta["tenant"]),
            str(meta["source"]),
            int(meta["accept_until"]),
            float(meta.get("longest", LONGEST)),
        )
        self._add(unknown, now)

    def remember(self, command: Message, now: Instant, done: Remembered) -> Actions:
        """`done` gets None once it is stored, or why it is not (yet): then only a crash can forget it."""
        uuid = command.uuid
        if uuid not in self._unknown and len(self._unknown) >= self._limit:
            return done(now, Refusal(Reason.BUSY, f"{self._limit} outcomes are unknown already", uuid))
        unknown = _Unknown(
            uuid,
            command.text("command"),
            command.text("tenant"),
            command.text("source"),
            command.number("accept_until"),
            (command.number("timeout") + GRACE_MS) / 1000,
        )
        self._add(unknown, now)
        meta = {
            "name": unknown.name,
            "tenant": unknown.tenant,
            "source": unknown.source,
            "accept_until": unknown.accept_until,
            "longest": unknown.longest,
        }

        put = Put(DOCUMENTS, PREFIX + uuid, meta)

        def failed(now: Instant, error: StorageError) -> Actions:
            # It stays in memory, and goes to the disk as soon as that takes it: the sender is told UNKNOWN
            # whatever the disk says, and would wait for the FAIL for ever.
            if uuid in self._unknown:
                self._commits.ride(put)
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error), uuid))

        return [self._commits.commit([put], lambda now: done(now, None), failed)]

    def sent_again(self, command: Message, now: Instant) -> None:
        """Another copy is about to go out; should it end UNKNOWN too, that will be remembered."""
        known = self._unknown.get(command.uuid)
        if known is not None:
            longest = (command.number("timeout") + GRACE_MS) / 1000
            self._add(replace(known, accept_until=command.number("accept_until"), longest=longest), now)

    def forget(self, uuid: str, now: Instant) -> Actions:
        """A receipt or a reply was heard."""
        self._ends.pop(uuid, None)
        if self._unknown.pop(uuid, None) is None:
            return []
        self._commits.ride(Delete(DOCUMENTS, PREFIX + uuid))
        return self._commits.flush(now)

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        while self._due and self._due[0][0] <= now.mono:
            due, uuid = heapq.heappop(self._due)
            if self._ends.get(uuid) == due:
                actions += self._unreceipted(self._unknown[uuid], now)
        return actions

    def deadline(self) -> float | None:
        return self._due[0][0] if self._due else None

    def _add(self, unknown: _Unknown, now: Instant) -> None:
        self._unknown[unknown.uuid] = unknown
        left = (unknown.accept_until + GRACE_MS - now.wall) / 1000
        self._await(unknown.uuid, now.mono + min(max(left, 0.0), unknown.longest))

    def _await(self, uuid: str, due: float) -> None:
        """Its FAIL is due then; never earlier than it was."""
        before = self._ends.get(uuid)
        if before is None or due > before:
            self._ends[uuid] = due
            heapq.heappush(self._due, (due, uuid))

    def _unreceipted(self, unknown: _Unknown, now: Instant) -> Actions:
        if self._taken(unknown.name, unknown.uuid):
            # An earlier try of the same uuid was receipted: the reply is here, or on its way.
            return self.forget(unknown.uuid, now)
        header = {
            "uuid": derived_uuid(unknown.uuid, Reason.UNRECEIPTED),
            "topic": unknown.name,
            "event": Outcome.FAIL,
            "reference": unknown.uuid,
            "timestamp": now.wall,
            "reason": str(Reason.UNRECEIPTED),
            "detail": "no receipt in time; whether it was executed is not known",
        }
        if unknown.tenant:
            header["tenant"] = unknown.tenant
        if unknown.source:
            header["recipient"] = unknown.source

        def done(now: Instant, published: Published) -> Actions:
            if published.outcome in ("STORED", "DUPLICATE"):
                self.failed += unknown.uuid in self._unknown
                return self.forget(unknown.uuid, now)
            if unknown.uuid in self._unknown:
                self._await(unknown.uuid, now.mono + RETRY)
            return []

        return self._publish(Message(Kind.EVENT, header), now, done)
