"""How fast each peer below may go on (WIRE.md section 5): who is read no more, and who waits for credit."""

from __future__ import annotations

from collections import OrderedDict

from zconnector.actions import Link
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.settings import SessionSettings
from zconnector.shoset.pace import Bucket
from zconnector.shoset.peers import Peer

_FINE = 50
"""Messages that a refused one counts for."""
PENALTY = 5.0
"""Seconds that nothing is read of a peer (of its key, over whatever link) that went beyond all it may owe."""
_MAY_OWE = 1.25
"""Times its credit that a peer is read beyond its pace: its credit, which it was given, and a quarter for
what needs none (beats, secrets, GOAWAY). Who keeps to its credit is never dropped."""


class Paces:
    """A bucket for each link from below, with a session or not; the peers that owe; the keys that are banned.

    Bounded: the links heard of least recently go, and the keys banned first.
    """

    def __init__(self, settings: SessionSettings, agenda: Agenda) -> None:
        """`agenda` is told when somebody owes."""
        self._agenda = agenda
        self._settings = settings
        self._buckets: OrderedDict[Link, Bucket] = OrderedDict()
        self._owing: dict[Link, Peer] = {}
        """Peers that have gone faster: they get no credit until they no longer owe anything."""
        self._banned: OrderedDict[str, float] = OrderedDict()
        """By key: until when nothing of it is read. Those whose time is over go as others come."""
        self._under_way: OrderedDict[Link, int] = OrderedDict()
        """Messages that may have been on their way when the session of a link ended."""

    def __len__(self) -> int:
        return len(self._buckets)

    @property
    def owing(self) -> list[Peer]:
        return list(self._owing.values())

    def draw(self, link: Link, key: str, count: int, now: Instant) -> bool:
        """Whether so many messages of a link, whose other end has this key, are read."""
        if self._banned and now.mono < self._banned.get(key, now.mono):
            return False
        bucket = self._buckets.get(link)
        if bucket is None:
            bucket = self._buckets[link] = Bucket(self._settings.rate, self._settings.burst, now.mono)
            if len(self._buckets) > 2 * self._settings.max_sessions:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(link)
        debt = _MAY_OWE * self._settings.credit
        if bucket.draw(count, debt, now.mono):
            return True
        self._banned[key] = now.mono + PENALTY
        self._banned.move_to_end(key)
        if len(self._banned) > self._settings.max_sessions:
            self._banned.popitem(last=False)
        return False

    def fine(self, link: Link) -> None:
        """What is refused costs more than what is not: who sends nothing else is soon not read any more."""
        bucket = self._buckets.get(link)
        if bucket is not None:
            bucket.spend(_FINE, 0.0)

    def stray(self, link: Link) -> None:
        """A message of a link without a session: refused, and only fined if it cannot have been sent in one.

        A peer that was silent for too long (it stood still, or this process did, or the link) sent within
        its credit what comes now, and did not know. It would be banned for that as its link is whole again.
        """
        left = self._under_way.pop(link, 0)
        if not left:
            self.fine(link)
        elif left > 1:
            self._under_way[link] = left - 1

    def settled(self, peer: Peer) -> bool:
        """Whether a peer that was just drawn owes nothing, and is not waiting to be told so."""
        bucket = self._buckets.get(peer.link)
        return (bucket is None or bucket.left >= 0) and peer.link not in self._owing

    def may_have_credit(self, peer: Peer, now: Instant) -> bool:
        """Whether a peer owes nothing now. One that does is in `owing` until this says so."""
        bucket = self._buckets.get(peer.link)
        if bucket is not None and bucket.left < 0 and bucket.level(now.mono) < 0:
            self._owing[peer.link] = peer
            self._agenda.doubt()
            return False
        if self._owing:
            self._owing.pop(peer.link, None)
        return True

    def forget(self, peer: Peer, *, flooded: bool) -> None:
        """Its session is over; what its link owes stays."""
        self._owing.pop(peer.link, None)
        if peer.validated and not flooded:
            self._under_way[peer.link] = int(_MAY_OWE * self._settings.credit)
            if len(self._under_way) > self._settings.max_sessions:
                self._under_way.popitem(last=False)

    def deadline(self) -> float | None:
        """When the first of those that owe owes nothing any more."""
        if not self._owing:
            return None
        buckets = (self._buckets.get(link) for link in self._owing)
        return min((bucket.ready_at(0.0) for bucket in buckets if bucket is not None), default=None)
