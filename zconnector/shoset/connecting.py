"""How this end, which connects, begins a session; what peers above say of it (WIRE.md section 4). Pure."""

from __future__ import annotations

from zconnector.actions import Actions, Note, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset import greetings
from zconnector.shoset.identity import fresh_uuid
from zconnector.shoset.peers import Peer
from zconnector.shoset.sessions import Sessions
from zconnector.shoset.uplinks import Uplink, UplinkState

_REFUSED_FOR_GOOD = (
    Reason.REVOKED,
    Reason.UNSUPPORTED_VERSION,
    Reason.UNDECLARED,
    Reason.WRONG_TENANT,
    Reason.WRONG_KEY,
)
"""Trying again does not mend these, so the role hears of them. In a live session only the first two can be
about the session; the others are about one message."""
_PASSING = (Reason.BUSY, Reason.STORAGE_FAILED, Reason.DRAINING, Reason.NO_CLUSTER, Reason.TIMED_OUT)
"""Reasons that say nothing about a secret: whoever hears one tries again."""
_ENDS_A_LIVE_SESSION = (Reason.NO_SESSION, Reason.BUSY, Reason.DRAINING)


class ConnectingEnd:
    """Sessions with peers above.

    Invariant: a peer above is validated exactly while its uplink is LIVE.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def link_opened(self, link: int, now: Instant) -> Actions:
        """A DEALER is connected and its handshake done: say HELLO, and the secret with it."""
        sessions = self._sessions
        uplink = sessions.uplinks.find(link)
        if uplink is None or uplink.state is not UplinkState.OPENING:
            return []
        me, settings, session = sessions.identity, sessions.settings, fresh_uuid(sessions.rng)
        peer = greetings.peer_above(me, link, uplink.target, session, now)
        hello = greetings.hello(me, session, settings, sessions.role.beat(peer))
        secret = greetings.secret(me, sessions.rng, now)
        sessions.uplinks.greet(uplink, peer, now.mono + settings.greeting)
        return [Transmit(link, (hello, secret))]

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        """A DEALER's connection failed or broke."""
        uplink = self._sessions.uplinks.find(link)
        return [] if uplink is None else self._sessions.end_uplink(uplink, why, now)

    def heard(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A message about the session, other than a beat."""
        sessions = self._sessions
        uplink = sessions.uplinks.find(peer.link) if isinstance(peer.link, int) else None
        if uplink is None:
            return []
        kind = message.kind
        if kind is Kind.WELCOME:
            return self._welcomed(uplink, peer, message, now)
        invalid = message.is_answer and message.header.get("valid") is False
        if kind is Kind.SECRET and invalid and not peer.validated:  # later: about peers of the role
            refusal = greetings.refusal_of(message)
            ended = sessions.end_uplink(uplink, str(refusal), now)
            return ended if refusal.reason in _PASSING else ended + sessions.role.refused(peer, refusal, now)
        if kind is Kind.REPLACED:
            refusal = Refusal(Reason.REPLACED, "a newer process has this name")
            return sessions.end_uplink(uplink, "replaced", now) + sessions.role.refused(peer, refusal, now)
        if kind is Kind.GOAWAY:
            return sessions.end_uplink(uplink, "GOAWAY", now)
        if kind is Kind.ERROR and not message.text("name"):
            return self._heard_error(uplink, peer, message, now)
        return sessions.role.received(peer, message, now) if peer.validated else []

    def _heard_error(self, uplink: Uplink, peer: Peer, message: Message, now: Instant) -> Actions:
        sessions = self._sessions
        reason = message.text("reason")
        live = uplink.state is UplinkState.LIVE
        if reason in (_REFUSED_FOR_GOOD[:2] if live else _REFUSED_FOR_GOOD):
            ended = sessions.end_uplink(uplink, reason, now)
            return ended + sessions.role.refused(peer, greetings.refusal_of(message), now)
        if live and reason not in _ENDS_A_LIVE_SESSION:
            sessions.counters[f"error_heard.{reason}"] += 1
            fields = {"peer": str(peer), "reason": reason, "detail": message.text("detail")}
            return [Note("warning", "peer refused a message", fields)]
        return sessions.end_uplink(uplink, reason, now)

    def _welcomed(self, uplink: Uplink, peer: Peer, message: Message, now: Instant) -> Actions:
        if message.text("session") != peer.session:
            return []
        role, header = self._sessions.role, message.header
        greetings.take_welcome(peer, message)
        if not header["validated"]:
            if uplink.state is UplinkState.GREETING:
                uplink.state = UplinkState.PENDING
            return []
        actions: Actions = []
        if not peer.validated:
            self._sessions.uplinks.begin(uplink)
            peer.validated = True
            peer.hello = header
            actions += role.peer_up(peer, now)
        else:
            actions += role.welcomed_again(peer, now)
        return actions + (role.heard_beat(peer, header, now) or [])
