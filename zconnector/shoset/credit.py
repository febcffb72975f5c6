"""How much each end may send to the other, and the beats that say so (WIRE.md section 5). Pure."""

from __future__ import annotations

from typing import Any

from zconnector.actions import Actions, Transmit
from zconnector.clock import Instant
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer
from zconnector.shoset.sessions import Sessions

BEAT = Kind.HEARTBEAT
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""


class Credit:
    """Invariant: `reported <= granted <= received` of each peer, and `acknowledged` only grows."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._reported_each = max(1, sessions.settings.credit // 4)
        """Messages taken after which a peer is told so before the next beat."""

    def beat(self, peer: Peer) -> Transmit:
        """Tell a peer how much of what it sent is taken, and what the role has to tell."""
        sessions = self._sessions
        peer.reported = peer.granted
        header: dict[str, Any] = {"received": peer.granted, **sessions.role.beat(peer)}
        if peer.upward:  # of a loss above the monitor tells
            return Transmit(peer.link, (Message(BEAT, header),))
        return Transmit(peer.link, (Message(BEAT, header),), lambda later: sessions.vanished(peer, later))

    def heard(self, peer: Peer, beat: Message, now: Instant) -> Actions | None:
        """A beat of a peer. None: nothing has changed but counts."""
        taken: int = beat.header["received"]
        if taken > peer.acknowledged:
            peer.acknowledged = taken if taken < peer.sent else max(peer.acknowledged, peer.sent)
        if not peer.validated:
            return []
        sessions = self._sessions
        told = sessions.role.heard_beat(peer, beat.header, now)
        if sessions.busy and id(peer) in sessions.busy and peer.room > 0:
            sessions.busy.discard(id(peer))
            return (told or []) + sessions.role.room_again(peer, now)
        return told

    def grant(self, peer: Peer, now: Instant) -> Actions:
        """Give credit for what was taken, unless the peer owes: then it gets it when it no longer does."""
        if not peer.upward and not self._sessions.paces.may_have_credit(peer, now):
            return []
        peer.granted = peer.received
        return [self.beat(peer)] if peer.granted - peer.reported >= self._reported_each else []
