"""Commands sent from here whose outcome is unknown: each ends in a receipt, a reply, or a FAIL made here.

The FAIL comes when the last copy of the uuid can no longer be stored: never while another is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from zconnector.actions import Actions
from zconnector.alarms import Alarms
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal, StorageError
from zconnector.messages import Kind, Message, Outcome, derived_uuid
from zconnector.messages.late import GRACE_MS
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.outcomes import OnPublished, Published
from zconnector.queue.store import DOCUMENTS, Delete, Put

PREFIX = "unknown/"
LONGEST = 3_600.0
"""Seconds, as `_Unknown.longest`, for what an older version stored, which did not say."""

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

    @classmethod
    def of(cls, command: Message, earlier: _Unknown | None) -> _Unknown:
        """What is to be remembered of a copy beside an earlier one of its uuid: the longer wait."""
        accept_until = command.number("accept_until")
        longest = (command.number("timeout") + GRACE_MS) / 1000
        if earlier is not None:
            accept_until = max(accept_until, earlier.accept_until)
            return replace(earlier, accept_until=accept_until, longest=max(longest, earlier.longest))
        name, tenant, source = (command.text(field) for field in ("command", "tenant", "source"))
        return cls(command.uuid, name, tenant, source, accept_until, longest)

    def put(self) -> Put:
        meta = asdict(self)
        return Put(DOCUMENTS, PREFIX + str(meta.pop("uuid")), meta)


class Unknowns:
    """Remembered on the disk before the sender hears UNKNOWN.

    Invariant: each has a due time in `_due_at`, and an alarm then, unless its FAIL is being stored.
    Bounded by count, at the door: whatever may become unknown has its place here before it is sent
    (`has_room`). Then its sender can be refused; later it is told UNKNOWN, and has to hear how that ended.
    """

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
        self.limit = limit
        self._unknown: dict[str, _Unknown] = {}
        self._due_at: dict[str, float] = {}
        self._due: Alarms[str] = Alarms(commits.agenda)
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
        """`done` gets None once it is stored, or why it is not yet: then only a crash can forget it.

        Also before another copy of one that is held goes: the FAIL waits until that can no longer be stored.
        """
        uuid = command.uuid
        unknown = _Unknown.of(command, self._unknown.get(uuid))
        self._add(unknown, now)
        put = unknown.put()

        def failed(now: Instant, error: StorageError) -> Actions:
            # It stays in memory, and goes to the disk as soon as that takes it: the sender is told UNKNOWN
            # whatever the disk says, and would wait for the FAIL for ever. What it is by now: another copy
            # may have gone since, and its commit succeeded.
            if (latest := self._unknown.get(uuid)) is not None:
                self._commits.ride(latest.put())
            return done(now, Refusal(Reason.STORAGE_FAILED, str(error), uuid))

        return [self._commits.commit([put], lambda now: done(now, None), failed)]

    def has_room(self, under_way: int, uuids: Callable[[], Iterable[str]]) -> bool:
        """For one more, if those that are `under_way` become unknown too.

        `uuids` says which those are. It is asked only where there is no room unless some of them, sent again,
        have their place already.
        """
        held = len(self._unknown)
        if held + under_way < self.limit:
            return True
        return held < self.limit and held + sum(uuid not in self._unknown for uuid in uuids()) < self.limit

    def holds(self, uuid: str) -> bool:
        return uuid in self._unknown

    def until(self, uuid: str, now: Instant) -> int | None:
        """When its FAIL is made (wall clock, ms); None: it is not held."""
        due = self._due_at.get(uuid)
        return None if due is None else now.wall + round((due - now.mono) * 1000)

    def forget(self, uuid: str, now: Instant) -> Actions:
        """A receipt or a reply was heard."""
        if self._unknown.pop(uuid, None) is None:
            return []
        self._due_at.pop(uuid, None)
        self._due.cancel(uuid)
        self._commits.ride(Delete(DOCUMENTS, PREFIX + uuid))
        return self._commits.flush(now)

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        while (uuid := self._due.pop(now.mono)) is not None:
            actions += self._unreceipted(self._unknown[uuid], now)
        return actions

    def deadline(self) -> float | None:
        return self._due.deadline()

    def _add(self, unknown: _Unknown, now: Instant) -> None:
        self._unknown[unknown.uuid] = unknown
        left = (unknown.accept_until + GRACE_MS - now.wall) / 1000
        due = now.mono + min(max(left, 0.0), unknown.longest)
        self._put_off(unknown.uuid, max(due, self._due_at.get(unknown.uuid, due)))

    def _put_off(self, uuid: str, due: float) -> None:
        self._due_at[uuid] = due
        self._due.set(uuid, due)

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
                self._put_off(unknown.uuid, max(now.mono + RETRY, self._due_at[unknown.uuid]))
            return []

        return self._publish(Message(Kind.EVENT, header), now, done)
