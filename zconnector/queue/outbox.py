"""The outbox: what must still be confirmed by somebody else, and is sent until it is.

Broadcast events wait for the journal's CONFIRM, replies for that of the source connector. The outbox
is bounded by count and bytes; its last tenth is for directed messages alone, so that a flood of events
never keeps a completion from being taken.

An entry is **due** (may be sent now) or **later** (was sent; is due again after 1 s doubling to 30 s).
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.errors import DamagedError, Reason, StorageError
from zconnector.messages import Kind, Message
from zconnector.queue.bodies import Messages
from zconnector.queue.commits import RETRY, Commits
from zconnector.queue.dead import DeadLetters
from zconnector.queue.drafts import AtHome, Draft, Entry
from zconnector.queue.envelope import pack
from zconnector.queue.store import OUTBOX, Delete, Put
from zconnector.settings import QueueSettings

BROADCAST_SHARE = 0.9
BATCH = 256


@dataclass(slots=True)
class OutboxEntry:
    """One message to send now. Never changed. (Frozen it would take three times as long to make.)"""

    key: int
    message: Message
    recipient: str
    """The connector it is for; "": broadcast."""


class Outbox:
    """Entries by key, the due ones in order of arrival, the later ones in a heap."""

    def __init__(
        self, settings: QueueSettings, commits: Commits, messages: Messages, dead: DeadLetters
    ) -> None:
        self._settings = settings
        self._commits = commits
        self._messages = messages
        self._dead = dead
        self._entries: dict[int, Entry] = {}
        self._keys: dict[str, int] = {}
        self._drafts: dict[str, Draft] = {}
        self._due: dict[bool, OrderedDict[int, None]] = {True: OrderedDict(), False: OrderedDict()}
        """Due keys by whether they are directed: replies must not wait behind events that are paced."""
        self._later: list[tuple[float, int]] = []
        self._directed: dict[str, dict[int, None]] = {}
        self._expiring: dict[bool, deque[int]] = {True: deque(), False: deque()}
        self._hold_expiry = 0.0
        self.unseen = False
        """Something has become due that the caller has not been shown."""
        self._next = 1
        self._count = 0
        self._bytes = 0
        self.home: AtHome | None = None
        self.expired = 0
        self.gone = 0
        """Replies that became dead letters."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, uuid: str) -> bool:
        """Whether a message of that uuid is here, or went home."""
        # As `holds`, without a call: every reply is looked for.
        return uuid in self._keys or uuid in self._drafts or (self.home is not None and self.home.knows(uuid))

    def holds(self, uuid: str) -> bool:
        """Whether a message of that uuid is to be confirmed, or about to be."""
        return uuid in self._keys or uuid in self._drafts

    def waits(self, uuid: str, now: Instant) -> tuple[int, float] | None:
        """How often an entry was sent, and in how many seconds it is again; None: there is none."""
        key = self._keys.get(uuid)
        if key is None:
            return None
        entry = self._entries[key]
        return entry.attempts, max(0.0, entry.due - now.mono) if entry.due else 0.0

    def restore(self, key: int, meta: dict[str, Any], size: int, now: Instant) -> None:
        entry = Entry(key, meta["uuid"], meta["name"], meta["to"], meta["lasting"], meta["at"], size)
        self._next = max(self._next, key + 1)
        self._reserve(entry)
        left = meta["at"] / 1000 + self._retention(entry) - now.wall / 1000
        self._enter(entry, now.mono + min(max(left, 0.0), self._retention(entry)))

    def draft(
        self, message: Message, now: Instant, *, lasting: bool = False, force: bool = False
    ) -> Draft | None:
        """Reserve room for a message; None when there is none (`force`: beyond the bound if need be)."""
        header = message.header
        recipient = header.get("recipient", "")
        if self.home is not None and recipient == self.home.name:
            return self.home.draft(message, now, force=force)
        body = pack(message)
        share = 1.0 if recipient else BROADCAST_SHARE
        full = (
            self._count + 1 > self._settings.max_outbox * share
            or self._bytes + len(body) > self._settings.max_outbox_bytes * share
        )
        if full and not force:
            return None
        topic = header.get("topic", "")
        entry = Entry(self._next, header["uuid"], topic, recipient, lasting, now.wall, len(body))
        self._next += 1
        meta = {
            "uuid": entry.uuid,
            "name": entry.name,
            "to": recipient,
            "lasting": lasting,
            "at": now.wall,
        }
        draft = Draft(entry, Put(OUTBOX, entry.key, meta, body), message=message)
        self._reserve(entry)
        self._drafts[entry.uuid] = draft
        return draft

    def accept(self, draft: Draft, now: Instant) -> None:
        """The draft is stored: it is due now."""
        if draft.coming is not None and self.home is not None:
            self.home.accept(draft.coming, draft.write, draft.message)
            return
        self.unseen = True
        self._drafts.pop(draft.entry.uuid, None)
        self._messages.keep(OUTBOX, draft.entry.key, draft.write.body or b"", draft.message)
        self._enter(draft.entry, now.mono + self._retention(draft.entry))

    def abandon(self, draft: Draft) -> None:
        """The draft was not stored."""
        if draft.coming is not None and self.home is not None:
            self.home.abandon(draft.coming)
            return
        self._drafts.pop(draft.entry.uuid, None)
        self._release(draft.entry)

    def due(self, now: Instant, limit: int = BATCH, *, broadcast: int = BATCH) -> list[OutboxEntry]:
        """What to send now, at most `limit`: replies, then up to `broadcast` events; marks nothing."""
        self.unseen = False
        self._ripen(now)
        found: list[OutboxEntry] = []
        keys = chain(self._due[True], islice(self._due[False], broadcast))
        for key in list(islice(keys, limit)):
            entry = self._entries[key]
            try:
                message = self._messages.message(OUTBOX, key)
            except DamagedError:
                self._give_up(entry, now)
                continue
            except StorageError:
                self._commits.failed()
                self._put_off(entry, now.mono + RETRY)
                continue
            found.append(OutboxEntry(key, message, entry.recipient))
        return found

    def sent(self, key: int, now: Instant) -> None:
        """It was handed to a socket: due again after 1 s doubling to 30 s, unless confirmed."""
        entry = self._entries.get(key)
        if entry is None:
            return
        first, limit = self._settings.resend_first, self._settings.resend_limit
        delay = min(limit, first * 2 ** min(entry.attempts, 30))
        entry.attempts += 1
        self._put_off(entry, now.mono + delay)

    def wake(self, recipient: str | None) -> None:
        """Everything (None), or all that is for one connector, is due now, from the shortest pause on."""
        keys = self._entries if recipient is None else self._directed.get(recipient, {})
        for key in keys:
            entry = self._entries[key]
            entry.attempts = 0
            if entry.due:
                self._make_due(entry)
        if recipient is None:
            self._later.clear()
            for directed, due in self._due.items():
                due.clear()
                due.update(
                    (k, None) for k, entry in self._entries.items() if bool(entry.recipient) is directed
                )

    def wake_one(self, uuid: str) -> None:
        """Somebody asked for this one again."""
        key = self._keys.get(uuid)
        if key is not None and self._entries[key].due:
            self._make_due(self._entries[key])

    def confirm(self, uuids: Iterable[str], now: Instant) -> Actions:
        """They have arrived; unknown ones are none of ours, or were confirmed before."""
        for uuid in uuids:
            key = self._keys.get(uuid)
            if key is not None:
                self._drop(self._entries[key])
                self._commits.ride(Delete(OUTBOX, key))
        return self._commits.flush(now, lazy=True)

    def tick(self, now: Instant) -> Actions:
        """Retention: replies to commands become dead letters, the rest is counted.

        The caller asks `due` after each tick.
        """
        self.unseen = False
        self._ripen(now)
        actions: Actions = []
        dropped = 0
        for entry in self._past(lasting=False, now=now):
            self._drop(entry)
            self._commits.ride(Delete(OUTBOX, entry.key))
            dropped += 1
        if dropped:
            self.expired += dropped
            actions.append(Note("warning", "outbox entries past retention", {"count": dropped}))
        if now.mono >= self._hold_expiry:
            for entry in self._past(lasting=True, now=now):
                actions += self._source_gone(entry, now)
        return actions

    def deadline(self) -> float | None:
        """When to tick: retention, and what becomes due. What is due, or `unseen`, waits for no time."""
        if not self._entries:
            return None
        while self._later and self._stale(*self._later[0]):
            heapq.heappop(self._later)
        first = self._later[0][0] if self._later else None
        for queue in self._expiring.values():
            if self._head(queue):
                expires = max(self._entries[queue[0]].expires, self._hold_expiry)
                first = expires if first is None else min(first, expires)
        return first

    def depths(self) -> dict[str, Any]:
        return {
            "count": len(self._entries),
            "bytes": self._bytes,
            "due": sum(map(len, self._due.values())),
            "replies": sum(len(keys) for keys in self._directed.values()),
            "expired": self.expired,
            "source_gone": self.gone,
        }

    def _retention(self, entry: Entry) -> float:
        return self._settings.reply_retention if entry.lasting else self._settings.event_retention

    def _reserve(self, entry: Entry) -> None:
        self._count += 1
        self._bytes += entry.size

    def _release(self, entry: Entry) -> None:
        self._count -= 1
        self._bytes -= entry.size

    def _enter(self, entry: Entry, expires: float) -> None:
        entry.expires = expires
        self._commits.agenda.by(expires)
        self._entries[entry.key] = entry
        self._keys[entry.uuid] = entry.key
        self._due[bool(entry.recipient)][entry.key] = None
        if entry.recipient:
            self._directed.setdefault(entry.recipient, {})[entry.key] = None
        self._expiring[entry.lasting].append(entry.key)

    def _drop(self, entry: Entry) -> None:
        del self._entries[entry.key]
        self._keys.pop(entry.uuid, None)
        self._due[bool(entry.recipient)].pop(entry.key, None)
        if entry.recipient:
            group = self._directed[entry.recipient]
            del group[entry.key]
            if not group:
                del self._directed[entry.recipient]
        self._messages.forget(OUTBOX, entry.key)
        self._release(entry)
        expiring = self._expiring[entry.lasting]
        if self._head(expiring):  # it may go earlier: it was stored under another clock
            self._commits.agenda.by(self._entries[expiring[0]].expires)

    def _make_due(self, entry: Entry) -> None:
        entry.due = 0.0
        self._due[bool(entry.recipient)][entry.key] = None

    def _put_off(self, entry: Entry, until: float) -> None:
        self._due[bool(entry.recipient)].pop(entry.key, None)
        entry.due = until
        self._commits.agenda.by(until)
        heapq.heappush(self._later, (until, entry.key))

    def _give_up(self, entry: Entry, now: Instant) -> None:
        """Its bytes are no message any more: to read them again would not help."""
        expiring = self._expiring[entry.lasting]
        if entry.key in expiring:  # else its dead letter is being stored
            entry.damaged = True
            entry.expires = now.mono
            self._commits.agenda.by(now.mono)
            expiring.remove(entry.key)
            expiring.appendleft(entry.key)
        self._put_off(entry, now.mono + RETRY)

    def _stale(self, due: float, key: int) -> bool:
        entry = self._entries.get(key)
        return entry is None or entry.due != due

    def _ripen(self, now: Instant) -> None:
        while self._later and self._later[0][0] <= now.mono:
            due, key = heapq.heappop(self._later)
            if not self._stale(due, key):
                self._make_due(self._entries[key])

    def _head(self, queue: deque[int]) -> bool:
        while queue and queue[0] not in self._entries:
            queue.popleft()
        return bool(queue)

    def _past(self, *, lasting: bool, now: Instant) -> list[Entry]:
        queue = self._expiring[lasting]
        past: list[Entry] = []
        while self._head(queue) and self._entries[queue[0]].expires <= now.mono:
            past.append(self._entries[queue.popleft()])
        return past

    def _source_gone(self, entry: Entry, now: Instant) -> Actions:
        """Make it a dead letter and take it out, in one commit; until then it may still be confirmed."""
        try:
            body = self._messages.body(OUTBOX, entry.key)
        except StorageError as error:
            self._commits.failed()
            return self._again(entry, now, error)
        reason = Reason.STORAGE_FAILED if entry.damaged else Reason.SOURCE_GONE
        letter = self._dead.bury(
            body,
            entry.uuid,
            entry.name,
            reason,
            now,
            kind=Kind.EVENT,
            detail=f"a reply to {entry.recipient}, which did not confirm it",
            attempts=entry.attempts,
        )

        def then(now: Instant) -> Actions:
            if entry.key in self._entries:
                self._drop(entry)
            self.gone += 1
            fields = {"uuid": entry.uuid, "recipient": entry.recipient, "reason": str(reason)}
            return [Note("warning", "reply that cannot be delivered is a dead letter", fields)]

        def failed(now: Instant, error: StorageError) -> Actions:
            self._dead.undo(letter)
            return self._again(entry, now, error)

        return [self._commits.commit([letter, Delete(OUTBOX, entry.key)], then, failed)]

    def _again(self, entry: Entry, now: Instant, error: StorageError) -> Actions:
        self._hold_expiry = now.mono + RETRY
        if entry.key in self._entries:
            self._expiring[entry.lasting].appendleft(entry.key)
        return [Note("error", "dead letter not stored", {"uuid": entry.uuid, "error": str(error)})]
