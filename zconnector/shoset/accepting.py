"""Who gets a session at this end, which binds, and what peers below say of it (WIRE.md section 4). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Link, Note, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset import greetings
from zconnector.shoset.faults import Faults
from zconnector.shoset.peers import Peer
from zconnector.shoset.sessions import Sessions, error


class AcceptingEnd:
    """Sessions with peers below: begun by HELLO, live once the role has validated the secret.

    Invariant: of one component no two sessions are live; the newest process of it has the one there is.
    """

    def __init__(self, sessions: Sessions, faults: Faults) -> None:
        self._sessions = sessions
        self._faults = faults

    def first(self, link: Link, key: str, message: Message, now: Instant) -> Actions:
        """A message of a link without a session: only HELLO begins one."""
        if not isinstance(link, bytes):
            return []
        if message.kind is not Kind.HELLO:
            return self._faults.no_session(link, message)
        sessions = self._sessions
        refusal = self._hello_refusal(message, key, now)
        if refusal is not None:
            sessions.counters[f"refused.{refusal.reason}"] += 1
            sessions.paces.fine(link)
            fields = {"name": message.text("name"), "reason": str(refusal.reason)}
            return [
                *sessions.complaints.about(link, "HELLO refused", fields, now),
                error(link, refusal.reason, refusal.detail),
            ]
        room = self._make_room(now)
        peer = greetings.peer_below(link, key, message, now)
        sessions.lower.enter(peer)
        sessions.agenda.doubt()
        return [*room, self.welcome(peer, {})]

    def heard(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A message about the session, other than a beat."""
        sessions = self._sessions
        if message.kind is Kind.SECRET:
            peer.shown = True
            return sessions.role.secret(peer, message, now)
        if message.kind is Kind.GOAWAY:
            return sessions.forget(peer, "GOAWAY", now)
        if message.kind is Kind.HELLO:
            sessions.paces.fine(peer.link)
            return [error(peer.link, Reason.BAD_HEADER, "this session has said HELLO before")]
        if not peer.validated:
            return self._faults.not_validated(peer, message, now)
        if message.kind is Kind.ERROR:
            sessions.counters[f"error_heard.{message.text('reason')}"] += 1
            fields = {"peer": str(peer), "reason": message.text("reason")}
            return sessions.complaints.about(peer.link, "peer refused a message", fields, now)
        return sessions.role.received(peer, message, now)

    def validate(self, peer: Peer, now: Instant, fields: Mapping[str, Any]) -> Actions:
        """See `Shoset.validate`."""
        sessions = self._sessions
        if not sessions.lower.has(peer) or peer.validated:
            return []
        actions: Actions = []
        for older in sessions.lower.earlier_of(peer):
            if older.boot > peer.boot:
                return sessions.replace(peer, now)
            if older.boot != peer.boot:
                actions += sessions.replace(older, now)
            else:
                actions += sessions.forget(older, "session renewed", now)
        sessions.lower.validate(peer)
        actions.append(self.welcome(peer, fields))
        return actions + sessions.role.peer_up(peer, now)

    def refuse(self, peer: Peer, reason: Reason, detail: str, now: Instant, reference: str) -> Actions:
        """See `Shoset.refuse`."""
        sessions = self._sessions
        if not sessions.lower.has(peer):
            return []
        answer = greetings.secret_refused(reason, detail, reference)
        sessions.counters[f"refused.{reason}"] += 1
        note = Note("warning", "peer refused", {"peer": str(peer), "reason": str(reason)})
        return [note, Transmit(peer.link, (answer,)), *sessions.forget(peer, str(reason), now)]

    def welcome(self, peer: Peer, fields: Mapping[str, Any]) -> Transmit:
        """Tell a peer how its session stands, and what the role and `fields` have for it."""
        sessions = self._sessions
        more = {**(sessions.role.welcome(peer) if peer.validated else {}), **fields}
        return Transmit(peer.link, (greetings.welcome(sessions.identity, peer, sessions.settings, more),))

    def _hello_refusal(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        sessions = self._sessions
        if (refusal := greetings.speaks_our_version(hello)) is not None:
            return refusal
        if sessions.leaving:
            return Refusal(Reason.DRAINING, "this process is stopping")
        if sessions.lower.is_full and sessions.lower.idler() is None:
            return Refusal(Reason.BUSY, "too many sessions")
        return sessions.role.admit(hello, key, now)

    def _make_room(self, now: Instant) -> Actions:
        """Who only says HELLO and beats gives way to who comes next: else it shuts everybody out."""
        sessions = self._sessions
        idler = sessions.lower.idler() if sessions.lower.is_full else None
        if idler is None:
            return []
        return sessions.drop(idler, Reason.BUSY, "no secret shown, and others are waiting", now)
