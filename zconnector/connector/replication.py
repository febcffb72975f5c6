"""Keeping up with the tenant: the outbox towards the others, the cursor towards the journal. Pure.

Outbox: broadcast events go to every live aggregator instance until the journal CONFIRMs them,
replies over one at a time until their receiver does (WIRE.md sections 7, 8). Cursor: what is missing
is FETCHed.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from zconnector.actions import Actions, Commit, Note, Reach
from zconnector.clock import Instant
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.local import LocalQueue, OutboxEntry
from zconnector.shoset.dispatch import Burst
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.pace import EVENTS_AT_ONCE, EVENTS_PER_SECOND, Bucket
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_RECEIPTS_FIRST = 0.25
"""Share of an instance's credit that the outbox leaves free: a receipt has no other place to wait."""
_AFTER_REPLY = Reach("target.after_reply")
_LUMP = 32
"""Events that are sent together when the pace holds them up."""


class Replication:
    """What this connector owes the others, and what they may still owe it.

    Invariant: only the latest FETCH counts; the cursor moves past a number only when its event is committed,
    or retention has dropped it.
    """

    def __init__(self, shoset: Shoset, queue: LocalQueue, rng: random.Random) -> None:
        self.counters: Counter[str] = Counter()
        self.latest = 0
        self._told = False
        """Whether anybody has said how far the sequence reaches. Until then 0 is no number to begin at:
        the whole journal would be fetched."""
        self._shoset = shoset
        self._queue = queue
        self._rng = rng
        self._burst: Burst[Peer] = Burst(rng)
        self._fetch = ""
        """uuid of the latest FETCH, until it is answered."""
        self._pace = Bucket(EVENTS_PER_SECOND, EVENTS_AT_ONCE, 0.0)
        self._resume_at: float | None = None
        """When broadcast events that are due go on; None: nothing holds them up."""

    def deadline(self) -> float | None:
        """When `flush` is due again for the pace's sake."""
        return self._resume_at

    # ---- outbox

    def flush(self, now: Instant) -> Actions:
        """Send whatever is due in the outbox, as far as pace and room allow; replies wait for no event."""
        actions = self._queue.come_home(now)
        paced = self._resume_at is not None and now.mono < self._resume_at
        if not paced:
            self._resume_at = None
        # No more events are read than may be sent; one more shows whether the pace holds any up.
        while entries := self._queue.outbox_due(
            now, broadcast=0 if paced else int(self._pace.level(now.mono)) + 1
        ):
            for entry in entries:
                live = self._shoset.above()
                # As `Peer.room`, without a call for each and each reply.
                peers = [p for p in live if p.credit - p.sent + p.acknowledged > p.credit * _RECEIPTS_FIRST]
                if not peers:  # what is left stays due until a session comes up or has room again
                    for peer in live:
                        self._shoset.await_room(peer)
                    return actions
                if not entry.recipient and not self._pace.take(1, now.mono):
                    self._resume_at = self._pace.ready_at(_LUMP)
                    self._queue.agenda.by(self._resume_at)
                    paced = True
                    break
                self._queue.outbox_sent(entry.key, now)
                actions += self._send(entry, peers, now)
        return actions

    def _send(self, entry: OutboxEntry, peers: list[Peer], now: Instant) -> Actions:
        if entry.recipient:
            routes = self._burst.order(peers, now.mono)
            return [*self._reply_over(routes, entry.message, now), _AFTER_REPLY]
        return [a for peer in peers for a in self._shoset.send(peer, (entry.message,), now)]

    def _reply_over(self, routes: list[Peer], reply: Message, now: Instant) -> Actions:
        if not routes:
            return []  # every session is busy: it is due again after its backoff
        return self._shoset.send(
            routes[0], (reply,), now, lambda later: self._reply_over(routes[1:], reply, later)
        )

    def confirmed(self, message: Message, now: Instant) -> Actions:
        """A CONFIRM: of the journal (with numbers), or of a reply's receiver (numbers 0)."""
        pairs = [
            (entry[0], entry[1])
            for entry in message.header["entries"]
            if type(entry) is list and len(entry) == 2 and type(entry[0]) is str and type(entry[1]) is int
        ]
        actions = self._queue.outbox_confirm([uuid for uuid, _ in pairs], now)
        for uuid, seq in pairs:
            if seq > 0:
                if self._queue.knows_event(uuid):
                    self._queue.sequenced(seq, now)
                actions += self.heard_of(seq, now)
        return actions

    # ---- cursor

    def heard_of(self, latest: int, now: Instant) -> Actions:
        """The tenant's sequence has reached at least this number."""
        self._told = True
        self.latest = max(self.latest, latest)
        cursor = self._queue.cursor
        return [] if cursor is not None and cursor >= self.latest else self.look(now)

    def is_news(self, latest: int) -> bool:
        """Whether `heard_of` this number would change anything."""
        cursor = self._queue.cursor
        return not self._told or latest > self.latest or cursor is None or cursor < self.latest

    def look(self, now: Instant) -> Actions:
        """FETCH what has been missing for long enough, if there is anybody to ask.

        A FETCH without an answer is superseded: the queue names the same span again after a second.
        """
        peers = self._shoset.above()
        span = self._queue.gap(self.latest, now) if peers and self._told else None
        if span is None:
            return []
        self._fetch = fresh_uuid(self._rng)
        self.counters["fetches"] += 1
        header = {"uuid": self._fetch, "after": span[0], "upto": span[1]}
        return self._shoset.send(self._rng.choice(peers), (Message(Kind.FETCH, header),), now)

    def answered(self, answer: Message, now: Instant) -> Actions:
        """The end of a FETCH: its events are with the queue already; after their commit the cursor moves."""
        if answer.reference != self._fetch:
            return []
        self._fetch = ""
        upto, latest, missed = (answer.number(name) for name in ("upto", "latest", "missed"))

        def after_the_events(later: Instant, _: Any) -> Actions:
            actions = self._queue.fetched(upto, latest, missed, later)
            if missed:
                note = "events missed: the journal has them no more"
                actions.append(Note("warning", note, {"missed": missed}))
            return actions + self.heard_of(latest, later)

        return [Commit((), after_the_events, lambda later, error: self.heard_of(latest, later))]
