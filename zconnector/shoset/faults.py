"""What a peer gets that breaks the rules (WIRE.md sections 4, 5): an ERROR, a fine, a line in the log. Pure.

Whatever is refused costs its sender more than what is not (`Paces.fine`), and is counted.
"""

from __future__ import annotations

from zconnector.actions import Actions, Link, Slow
from zconnector.clock import Instant
from zconnector.errors import Reason, WireError
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.paces import PENALTY
from zconnector.shoset.peers import Peer
from zconnector.shoset.sessions import FLOOD, Sessions, error

_SLOW = 0.003
"""Seconds between two wakes while a peer floods."""


class Faults:
    """Answers what may not be. A peer is None where the fault is of nobody who has a session."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def flooded(self, link: Link, peer: Peer | None, count: int, now: Instant) -> Actions:
        """More than is read of one peer, so that no other waits behind it: dropped unread, and counted."""
        sessions = self._sessions
        sessions.counters["flood_dropped"] += count
        fields = {"peer": str(peer) if peer else "unknown", "limit": sessions.settings.rate}
        actions: Actions = [Slow(_SLOW)]
        if peer is not None:
            detail = f"sent without credit: nothing of it is read for {PENALTY:g} s"
            actions += [error(link, Reason.NO_SESSION, detail), *sessions.forget(peer, FLOOD, now)]
        what = "more messages than are read of one peer"
        return actions + sessions.complaints.about(link, what, fields, now)

    def wrong_key(self, link: Link) -> Actions:
        """A transmission over the link of a session that another key began."""
        self._sessions.counters["wrong_key"] += 1
        self._sessions.paces.fine(link)
        return [error(link, Reason.NO_SESSION, "this session belongs to another key")]

    def bad_frame(self, link: Link, peer: Peer | None, fault: WireError, now: Instant) -> Actions:
        """A transmission that is none; where the session cannot survive it, that ends."""
        sessions = self._sessions
        sessions.counters[f"bad.{fault.reason}"] += 1
        sessions.paces.fine(link)
        fields = {
            "peer": str(peer) if peer else "unknown",
            "reason": str(fault.reason),
            "detail": fault.detail,
            "uuid": fault.uuid,
        }
        actions: Actions = sessions.complaints.about(link, "bad frame", fields, now)
        actions.append(error(link, fault.reason, fault.detail, fault.uuid))
        if peer is None or fault.survives:
            return actions
        if peer.upward and isinstance(link, int):
            uplink = sessions.uplinks.find(link)
            return actions + (sessions.end_uplink(uplink, str(fault), now) if uplink else [])
        return actions + sessions.forget(peer, str(fault.reason), now)

    def no_session(self, link: Link, message: Message) -> Actions:
        """A message over a link without a session that is no HELLO."""
        self._sessions.counters["no_session"] += 1
        self._sessions.paces.stray(link)
        if message.kind is Kind.ERROR:
            return []
        return [error(link, Reason.NO_SESSION, "say HELLO first", message.uuid)]

    def not_validated(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A peer below sends what only validated ones may."""
        sessions = self._sessions
        sessions.counters["not_validated"] += 1
        sessions.paces.fine(peer.link)
        fields = {"peer": str(peer), "kind": message.kind.name, "uuid": message.uuid}
        detail = "HELLO, SECRET and HEARTBEAT only until the secret is validated"
        return [
            *sessions.complaints.about(peer.link, "peer is not validated", fields, now),
            error(peer.link, Reason.NOT_VALIDATED, detail, message.uuid),
        ]
