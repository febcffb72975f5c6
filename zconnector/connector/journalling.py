"""Tells the cluster's journal what this connector sent to itself (WIRE.md section 8). Pure.

One JOURNAL is under way at a time, with as many records as fit: what comes meanwhile is the next one. Its
first record waits `LINGER` for company: nobody waits for a JOURNAL, and each costs this connector, an
instance and a member a wake and a commit, which a lone command would have to share the processors with.
Unanswered it is sent again, over whatever instance, when its session ends and after 1 s doubling to 30 s.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.local import LocalQueue
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

MAX_RECORDS = 200
MAX_PAYLOADS = 1_000_000
"""Bytes of one JOURNAL, unless its only record has more."""
MAX_HEADERS = 56_000
_BESIDE = 48
"""Bytes that a record has beside its message's header."""
_RECEIPTS_FIRST = 0.25
"""Share of an instance's credit that is left to receipts."""
AGAIN_FIRST, AGAIN_LIMIT = 1.0, 30.0
_COMMAND = Kind.COMMAND
LINGER = 0.02
"""Seconds; a full JOURNAL goes at once."""


class Journalling:
    """Invariant: `_keys` are the records of the JOURNAL under way, `_uuid` is its uuid; or both are empty."""

    def __init__(self, shoset: Shoset, queue: LocalQueue, rng: random.Random) -> None:
        self.counters: Counter[str] = Counter()
        self._shoset = shoset
        self._queue = queue
        self._rng = rng
        self._uuid = ""
        self._keys: list[int] = []
        self._over: Peer | None = None
        self._tries = 0
        self._due = 0.0
        self._gathered: float | None = None
        """When those that wait for company have waited enough; None: none does."""
        self._cut = False
        """More waited than the JOURNAL under way could take."""
        self._held_up = False
        """There was nobody to send to; a session that comes up, or has room, is what it waits for."""

    def flush(self, now: Instant) -> Actions:
        """Send the oldest records, unless some are under way, or wait for company."""
        if self._uuid and now.mono < self._due:
            return []  # it is asked after each command
        count = len(self._queue.journal)
        if not count:
            return []
        if not self._uuid and count < MAX_RECORDS:
            if self._gathered is None:
                self._gathered = now.mono + LINGER
                self._queue.agenda.by(self._gathered)
            if now.mono < self._gathered:
                return []
        return self._flush(now)

    def hurry(self, now: Instant) -> Actions:
        """What waits for company does so no longer."""
        if not len(self._queue.journal):
            return []
        self._gathered = now.mono
        return self.flush(now)

    def _flush(self, now: Instant) -> Actions:
        live = self._shoset.above()
        peers = [peer for peer in live if peer.room > peer.credit * _RECEIPTS_FIRST]
        if not peers:
            for peer in live:
                self._shoset.await_room(peer)
            self._uuid, self._keys, self._held_up = "", [], True
            return []
        return self._send(self._rng.choice(peers), now)

    def room_again(self, now: Instant) -> Actions:
        """A session came up, or has room: there is somebody to send to."""
        self._held_up = False
        return self.wake(now) if self._tries > 1 else self.hurry(now)

    def wake(self, now: Instant) -> Actions:
        """An instance has a member again: what was under way may have found none."""
        self._held_up = False
        self._tries = 0
        self._due = 0.0
        return self.hurry(now)

    def session_down(self, peer: Peer, now: Instant) -> Actions:
        """What went over it may be lost."""
        if self._over is not peer or not self._uuid:
            return []
        self._due = 0.0
        return self.flush(now)

    def answered(self, answer: Message, now: Instant) -> Actions:
        """A member has the records in its journal."""
        if not self._uuid or answer.reference != self._uuid:
            return []  # of one that was sent again meanwhile: that will be answered too
        keys, self._keys, self._uuid = self._keys, [], ""
        self._tries = 0
        self.counters["journalled"] += len(keys)
        return self._queue.journal.told(keys, now) + (self.hurry(now) if self._cut else self.flush(now))

    def deadline(self) -> float | None:
        """When `flush` is due."""
        if self._held_up or not len(self._queue.journal):
            return None
        return self._due if self._uuid else self._gathered or 0.0

    def _send(self, peer: Peer, now: Instant) -> Actions:
        journal = self._queue.journal
        records, notes = journal.first(MAX_RECORDS)
        entries: list[dict[str, Any]] = []
        payloads: list[bytes] = []
        self._keys = []
        headers = sizes = 0
        for key, message in records:
            payload = message.payload
            size = len(payload)
            headers += journal.header_size(key, message) + _BESIDE
            sizes += size
            if entries and (headers > MAX_HEADERS or sizes > MAX_PAYLOADS):
                break
            kind = "COMMAND" if message.kind is _COMMAND else "REPLY"
            entries.append({**message.header, "kind": kind, "size": size})
            payloads.append(payload)
            self._keys.append(key)
        self._cut = len(self._keys) < len(self._queue.journal)
        self._uuid = fresh_uuid(self._rng)
        self._over = peer
        self._gathered = None
        self._due = now.mono + min(AGAIN_LIMIT, AGAIN_FIRST * 2 ** min(self._tries, 10))
        self._queue.agenda.by(self._due)
        self._tries += 1
        if not entries:
            return notes  # none can be read just now
        header = {"uuid": self._uuid, "entries": entries}
        return notes + self._shoset.send(peer, (Message(Kind.JOURNAL, header, b"".join(payloads)),), now)
