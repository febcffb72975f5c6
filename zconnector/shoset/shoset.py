"""The shoset: sessions with all peers of a process, above and below (WIRE.md sections 4 and 5).

Pure: links, frames and time come in, actions go out. What messages mean is the role's affair
(`peers.Role`); a role hears only of validated peers.

Who owns what: `Uplinks` owns the tries upwards, `Lower` the peers below, `Paces` how fast these are read;
`greetings.py` has what both ends say of themselves. This class owns the rules that are the same for above and
below: heartbeats, credit, what a bad frame gets.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from zconnector.actions import Actions, Link, Note, Slow, Then, Transmit
from zconnector.agenda import Agenda
from zconnector.clock import Instant, earliest
from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.codec import decode
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.settings import SessionSettings
from zconnector.shoset import greetings
from zconnector.shoset.complaints import Complaints
from zconnector.shoset.identity import Identity, fresh_uuid
from zconnector.shoset.lower import Lower
from zconnector.shoset.paces import PENALTY, Paces
from zconnector.shoset.peers import Peer, Role
from zconnector.shoset.uplinks import Target, Uplink, Uplinks, UplinkState

_BEAT = Kind.HEARTBEAT
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""
_OF_THE_SESSION = frozenset(
    (
        _BEAT,
        Kind.HELLO,
        Kind.WELCOME,
        Kind.SECRET,
        Kind.GOAWAY,
        Kind.REPLACED,
        Kind.ERROR,
    )
)
"""Kinds that the session itself needs; they are few, and credit does not hold them up."""
_REFUSED_FOR_GOOD = (
    Reason.REVOKED,
    Reason.UNSUPPORTED_VERSION,
    Reason.UNDECLARED,
    Reason.WRONG_TENANT,
    Reason.WRONG_KEY,
)
"""Trying again does not mend these, so the role hears of them. In a live session only the first two can be
about the session; the others are about one message."""
_SLOW = 0.003
"""Seconds between two wakes while a peer floods."""
_FLOOD = "flood"
"""Why the session of a peer ends that sent without credit."""
_PASSING = (Reason.BUSY, Reason.STORAGE_FAILED, Reason.DRAINING, Reason.NO_CLUSTER, Reason.TIMED_OUT)
"""Reasons that say nothing about a secret: whoever hears one tries again."""
_ENDS_A_LIVE_SESSION = (Reason.NO_SESSION, Reason.BUSY, Reason.DRAINING)


class Shoset:
    """All sessions of one process."""

    def __init__(self, identity: Identity, role: Role, settings: SessionSettings, rng: random.Random) -> None:
        self.identity = identity
        self.counters: Counter[str] = Counter()
        self._role = role
        self._settings = settings
        self._rng = rng
        self.agenda = Agenda()
        """When `tick` is due, as far as that is known without asking `deadline`."""
        self._uplinks = Uplinks(settings, rng, self.agenda)
        self._above: Mapping[Link, Peer] = self._uplinks.peers
        self._lower = Lower(settings)
        self._below: Mapping[Link, Peer] = self._lower.peers
        self._next_beat = 0.0
        self._next_silence = 0.0
        """Before this time nobody can have been silent for too long."""
        self._reported_each = max(1, settings.credit // 4)
        """Messages taken after which a peer is told so before the next beat."""
        self._busy: set[int] = set()
        """ids of peers that were refused for want of credit and wait for room."""
        self._complaints = Complaints(settings.max_sessions)
        self._paces = Paces(settings, self.agenda)
        self._leaving = False
        self.quiet = False
        """The last transmission was a beat that told nothing new: no deadline has changed by it."""

    # ---- what roles call

    def aim(self, targets: Sequence[Target], now: Instant) -> Actions:
        """Keep one session with each of these remote instances, and with no other."""
        actions: Actions = []
        for uplink in self._uplinks.aim(targets, now):
            actions += self._end_uplink(uplink, "no longer listed", now)
        return actions + ([] if self._leaving else self._uplinks.open_due(now))

    def above(self) -> Sequence[Peer]:
        """As `peers` of those above; the list is never changed, a new one comes in its place."""
        return self._uplinks.live()

    def below(self) -> Sequence[Peer]:
        """The same of those below."""
        return self._lower.live()

    def below_named(self, name: str) -> Peer | None:
        """The first of those below that has this name."""
        return self._lower.named(name)

    def peers(self, kind: str | None = None, upward: bool | None = None) -> list[Peer]:
        """Live, validated peers in the order in which their sessions began."""
        found = list(self._uplinks.live()) if upward is not False else []
        if upward is not True and self._below:
            found += self._lower.live()
        return found if kind is None else [peer for peer in found if peer.kind == kind]

    def knows(self, peer: Peer) -> bool:
        """Whether the session that this Peer stands for still exists, validated or not."""
        return self._current(peer.link) is peer

    def is_live(self, peer: Peer) -> bool:
        """Whether the session that this Peer stands for is live now."""
        return peer.validated and self._current(peer.link) is peer

    def await_room(self, peer: Peer) -> None:
        """Have `Role.room_again` called once a peer without credit has some again."""
        self._busy.add(id(peer))

    def send(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions:
        """Hand messages to a live peer, within its credit.

        `refused` runs when they were certainly not handed over: the peer is gone, has no room for
        all of them, or the socket would not take them.
        """
        count = 0
        for message in messages:
            if message.kind not in _OF_THE_SESSION:
                count += 1
        link = peer.link
        live = peer.validated and (self._above if peer.upward else self._below).get(link) is peer
        # As `is_live` and `room`, without calls: every message that is sent comes by here.
        if not live or (count and peer.credit - peer.sent + peer.acknowledged < count):
            if live:
                self._busy.add(id(peer))
                self.counters["busy"] += 1
            return refused(now) if refused else []
        peer.sent += count

        def not_taken(later: Instant) -> Actions:
            peer.sent -= count
            self.counters["not_taken"] += count
            actions = self._vanished(peer, later)
            return actions + (refused(later) if refused else [])

        return [Transmit(link, tuple(messages), not_taken, peer.packs)]

    def validate(self, peer: Peer, now: Instant, fields: Mapping[str, Any] | None = None) -> Actions:
        """The role has validated a peer below: its session is live, an older one of its name ends."""
        if not self._lower.has(peer) or peer.validated:
            return []
        actions: Actions = []
        for older in self._lower.earlier_of(peer):
            if older.boot > peer.boot:
                return self._replace(peer, now)
            if older.boot != peer.boot:
                actions += self._replace(older, now)
            else:
                actions += self._forget(older, "session renewed", now)
        self._lower.validate(peer)
        actions.append(self._welcome(peer, fields or {}))
        return actions + self._role.peer_up(peer, now)

    def refuse(self, peer: Peer, reason: Reason, detail: str, now: Instant, reference: str = "") -> Actions:
        """The role found a peer's secret wrong: say so and drop the session."""
        if not self._lower.has(peer):
            return []
        answer = greetings.secret_refused(reason, detail, reference)
        self.counters[f"refused.{reason}"] += 1
        note = Note("warning", "peer refused", {"peer": str(peer), "reason": str(reason)})
        return [note, Transmit(peer.link, (answer,)), *self._forget(peer, str(reason), now)]

    def drop(self, peer: Peer, reason: Reason, detail: str, now: Instant) -> Actions:
        """End a session with an ERROR that says why (revoked, protocol broken)."""
        return [self._error(peer.link, reason, detail), *self._forget(peer, str(reason), now)]

    def welcome(self, peer: Peer, now: Instant) -> Actions:
        """Tell a live peer below anew what WELCOME carries (the instances changed)."""
        return [self._welcome(peer, {})] if self.is_live(peer) and not peer.upward else []

    def leave(self, now: Instant) -> Actions:
        """Say GOAWAY to everybody and open nothing more."""
        self._leaving = True
        goaway = Message(Kind.GOAWAY, {"reason": Reason.DRAINING})
        return [Transmit(peer.link, (goaway,)) for peer in self.peers()]

    # ---- what the machine passes on from its shell

    def link_opened(self, link: int, now: Instant) -> Actions:
        """A DEALER is connected and its handshake done: say HELLO, and the secret with it."""
        uplink = self._uplinks.find(link)
        if uplink is None or uplink.state is not UplinkState.OPENING:
            return []
        me, session = self.identity, fresh_uuid(self._rng)
        peer = greetings.peer_above(me, link, uplink.target, session, now)
        hello = greetings.hello(me, session, self._settings, self._role.beat(peer))
        secret = greetings.secret(me, self._rng, now)
        self._uplinks.greet(uplink, peer, now.mono + self._settings.greeting)
        return [Transmit(link, (hello, secret))]

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        """A DEALER's connection failed or broke."""
        uplink = self._uplinks.find(link)
        return [] if uplink is None else self._end_uplink(uplink, why, now)

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        """One transmission from a link."""
        self.quiet = False
        below = type(link) is bytes
        sessions = self._below if below else self._above
        peer = sessions.get(link)
        theirs = peer is not None and peer.key != key
        if below:
            count = len(frames) // 3 or 1
            if not self._paces.draw(link, key, count, now):
                return self._flooded(link, None if theirs else peer, count, now)
        if theirs:
            self.counters["wrong_key"] += 1
            self._paces.fine(link)
            return [self._error(link, Reason.NO_SESSION, "this session belongs to another key")]
        try:
            messages = decode(frames)
        except WireError as error:
            return self._bad_frame(link, peer, error, now)
        if below and len(messages) > count:  # those in PACKs were not counted yet
            more = len(messages) - count
            if not self._paces.draw(link, key, more, now):
                return self._flooded(link, peer, more, now)
        if peer is not None and len(messages) == 1 and messages[0].kind is _BEAT:  # as most are, while idle
            return self._lone_beat(peer, messages[0], now)
        actions: Actions = []
        for message in messages:
            peer = sessions.get(link)  # the message before may have begun or ended the session
            if peer is None:
                actions += self._first(link, key, message, now)
            elif peer.validated and message.kind not in _OF_THE_SESSION:
                peer.heard = now.mono
                peer.received += 1
                actions += self._role.received(peer, message, now)
            else:
                actions += self._heard(peer, message, now)
        peer = sessions.get(link)
        if peer is None:
            return actions
        granted = self._grant(peer, now)
        return actions + granted if granted else actions

    def _heard(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A message within a session: about it, or of a peer that is not validated yet."""
        peer.heard = now.mono
        if message.kind in _OF_THE_SESSION:
            return self._about_session(peer, message, now)
        peer.received += 1
        return [] if peer.upward else self._not_validated(peer, message, now)

    def _lone_beat(self, peer: Peer, beat: Message, now: Instant) -> Actions:
        """Most of what comes to an idle process, hence cheap: only who owes something has to be told more."""
        peer.heard = now.mono
        told = self._heard_beat(peer, beat, now)
        actions = told or []
        if peer.upward or self._paces.settled(peer):  # nobody above is paced
            self.quiet = told is None
            return actions
        return actions + self._grant(peer, now) if self._current(peer.link) is peer else actions

    def _flooded(self, link: Link, peer: Peer | None, count: int, now: Instant) -> Actions:
        """More than is read of one peer, so that no other waits behind it: dropped unread, and counted."""
        self.counters["flood_dropped"] += count
        fields = {"peer": str(peer) if peer else "unknown", "limit": self._settings.rate}
        actions: Actions = [Slow(_SLOW)]
        if peer is not None:
            detail = f"sent without credit: nothing of it is read for {PENALTY:g} s"
            actions += [self._error(link, Reason.NO_SESSION, detail), *self._forget(peer, _FLOOD, now)]
        return actions + self._complaints.about(link, "more messages than are read of one peer", fields, now)

    def _grant(self, peer: Peer, now: Instant) -> Actions:
        """Give credit for what was taken, unless the peer owes: then it gets it when it no longer does."""
        if not peer.upward and not self._paces.may_have_credit(peer, now):
            return []
        peer.granted = peer.received
        return [self._beat(peer)] if peer.granted - peer.reported >= self._reported_each else []

    def tick(self, now: Instant) -> Actions:
        """Drop the dead, open what is due, beat. Called before frames are read, and for what else is due."""
        if now.mono < self.agenda.at < inf:
            return []
        self.agenda.doubt()
        actions: Actions = []
        for peer in self._paces.owing:
            actions += self._grant(peer, now)
        mono = now.mono
        beats = mono >= self._next_beat
        look = beats or mono >= self._next_silence
        if look:
            for peer in [p for p in self._below.values() if self._silent(p, now)]:
                actions += self._forget(peer, "silent", now)
        for uplink in self._uplinks.all():
            above = uplink.greeted
            if above is not None:
                if look and self._silent(above, now):
                    actions += self._end_uplink(uplink, "silent", now)
            elif uplink.due <= mono and uplink.state is not UplinkState.WAITING:
                opening = uplink.state is UplinkState.OPENING
                actions += self._end_uplink(uplink, "no connection" if opening else "no WELCOME", now)
        if not self._leaving:
            actions += self._uplinks.open_due(now)
        if look:  # at each beat, so that no timer of its own is needed while all are heard
            greeted = [uplink.greeted for uplink in self._uplinks.all()]
            peers = [*self._below.values(), *filter(None, greeted)]
            heard = min([peer.heard for peer in peers], default=mono)
            self._next_silence = heard + self._settings.dead_after
            if beats:
                self._next_beat = mono + self._settings.heartbeat
                actions += [self._beat(peer) for peer in peers]
        return actions

    def _silent(self, peer: Peer, now: Instant) -> bool:
        # The same sum as in `_next_silence`: rounding must not leave a deadline behind that its tick ignores.
        return peer.heard + self._settings.dead_after <= now.mono

    def soon(self) -> float:
        """Nothing is due earlier. Not later than `deadline`, and cheaper."""
        at = self.agenda.at
        return at if at > 0.0 else self.agenda.soon(self.deadline)

    def due(self, now: Instant) -> bool:
        """Whether `tick` has anything to do."""
        return self.agenda.due(now.mono, self.deadline)

    def deadline(self) -> float | None:
        """When `tick` is due: the next beat, the next silence to notice, or the next uplink."""
        if not self._below and not len(self._uplinks):
            return None
        uplink = None if self._leaving else self._uplinks.deadline()
        return earliest(self._next_beat, self._next_silence, uplink, self._paces.deadline())

    def status(self) -> dict[str, Any]:
        """Sessions as `zconnector status` shows them."""
        return {
            "up": [uplink.status() for uplink in self._uplinks.all()],
            "down": [peer.status() for peer in self._below.values()],
            "counters": dict(self.counters),
        }

    # ---- messages

    def _current(self, link: Link) -> Peer | None:
        return self._below.get(link) if type(link) is bytes else self._above.get(link)

    def _about_session(self, peer: Peer, message: Message, now: Instant) -> Actions:
        if message.kind is _BEAT:
            return self._heard_beat(peer, message, now) or []
        if peer.upward:
            return self._from_above(peer, message, now)
        return self._from_below(peer, message, now)

    def _from_above(self, peer: Peer, message: Message, now: Instant) -> Actions:
        uplink = self._uplinks.find(peer.link) if isinstance(peer.link, int) else None
        if uplink is None:
            return []
        kind = message.kind
        if kind is Kind.WELCOME:
            return self._welcomed(uplink, peer, message, now)
        invalid = message.is_answer and message.header.get("valid") is False
        if kind is Kind.SECRET and invalid and not peer.validated:  # later: about peers of the role
            refusal = greetings.refusal_of(message)
            ended = self._end_uplink(uplink, str(refusal), now)
            return ended if refusal.reason in _PASSING else ended + self._role.refused(peer, refusal, now)
        if kind is Kind.REPLACED:
            refusal = Refusal(Reason.REPLACED, "a newer process has this name")
            return self._end_uplink(uplink, "replaced", now) + self._role.refused(peer, refusal, now)
        if kind is Kind.GOAWAY:
            return self._end_uplink(uplink, "GOAWAY", now)
        if kind is Kind.ERROR and not message.text("name"):
            return self._heard_error(uplink, peer, message, now)
        return self._role.received(peer, message, now) if peer.validated else []

    def _heard_error(self, uplink: Uplink, peer: Peer, message: Message, now: Instant) -> Actions:
        reason = message.text("reason")
        live = uplink.state is UplinkState.LIVE
        if reason in (_REFUSED_FOR_GOOD[:2] if live else _REFUSED_FOR_GOOD):
            ended = self._end_uplink(uplink, reason, now)
            return ended + self._role.refused(peer, greetings.refusal_of(message), now)
        if live and reason not in _ENDS_A_LIVE_SESSION:
            self.counters[f"error_heard.{reason}"] += 1
            fields = {"peer": str(peer), "reason": reason, "detail": message.text("detail")}
            return [Note("warning", "peer refused a message", fields)]
        return self._end_uplink(uplink, reason, now)

    def _welcomed(self, uplink: Uplink, peer: Peer, message: Message, now: Instant) -> Actions:
        if message.text("session") != peer.session:
            return []
        header = message.header
        greetings.take_welcome(peer, message)
        if not header["validated"]:
            if uplink.state is UplinkState.GREETING:
                uplink.state = UplinkState.PENDING
            return []
        actions: Actions = []
        if not peer.validated:
            self._uplinks.begin(uplink)
            peer.validated = True
            peer.hello = header
            actions += self._role.peer_up(peer, now)
        else:
            actions += self._role.welcomed_again(peer, now)
        return actions + (self._role.heard_beat(peer, header, now) or [])

    def _first(self, link: Link, key: str, message: Message, now: Instant) -> Actions:
        """A message of a link without a session: only HELLO begins one."""
        if not isinstance(link, bytes):
            return []
        if message.kind is not Kind.HELLO:
            self.counters["no_session"] += 1
            self._paces.stray(link)
            if message.kind is Kind.ERROR:
                return []
            return [self._error(link, Reason.NO_SESSION, "say HELLO first", message.uuid)]
        refusal = self._hello_refusal(message, key, now)
        if refusal is not None:
            self.counters[f"refused.{refusal.reason}"] += 1
            self._paces.fine(link)
            fields = {"name": message.text("name"), "reason": str(refusal.reason)}
            return [
                *self._complaints.about(link, "HELLO refused", fields, now),
                self._error(link, refusal.reason, refusal.detail),
            ]
        room = self._make_room(now)
        peer = greetings.peer_below(link, key, message, now)
        self._lower.enter(peer)
        self.agenda.doubt()
        return [*room, self._welcome(peer, {})]

    def _hello_refusal(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        if (refusal := greetings.speaks_our_version(hello)) is not None:
            return refusal
        if self._leaving:
            return Refusal(Reason.DRAINING, "this process is stopping")
        if self._lower.is_full and self._lower.idler() is None:
            return Refusal(Reason.BUSY, "too many sessions")
        return self._role.admit(hello, key, now)

    def _make_room(self, now: Instant) -> Actions:
        """Who only says HELLO and beats gives way to who comes next: else it shuts everybody out."""
        idler = self._lower.idler() if self._lower.is_full else None
        if idler is None:
            return []
        return self.drop(idler, Reason.BUSY, "no secret shown, and others are waiting", now)

    def _from_below(self, peer: Peer, message: Message, now: Instant) -> Actions:
        if message.kind is Kind.SECRET:
            peer.shown = True
            return self._role.secret(peer, message, now)
        if message.kind is Kind.GOAWAY:
            return self._forget(peer, "GOAWAY", now)
        if message.kind is Kind.HELLO:
            self._paces.fine(peer.link)
            return [self._error(peer.link, Reason.BAD_HEADER, "this session has said HELLO before")]
        if not peer.validated:
            return self._not_validated(peer, message, now)
        if message.kind is Kind.ERROR:
            self.counters[f"error_heard.{message.text('reason')}"] += 1
            fields = {"peer": str(peer), "reason": message.text("reason")}
            return self._complaints.about(peer.link, "peer refused a message", fields, now)
        return self._role.received(peer, message, now)

    def _not_validated(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A peer below sends what only validated ones may."""
        self.counters["not_validated"] += 1
        self._paces.fine(peer.link)
        fields = {"peer": str(peer), "kind": message.kind.name, "uuid": message.uuid}
        return [
            *self._complaints.about(peer.link, "peer is not validated", fields, now),
            self._error(
                peer.link,
                Reason.NOT_VALIDATED,
                "HELLO, SECRET and HEARTBEAT only until the secret is validated",
                message.uuid,
            ),
        ]

    def _heard_beat(self, peer: Peer, message: Message, now: Instant) -> Actions | None:
        """None: nothing has changed but counts."""
        taken: int = message.header["received"]
        if taken > peer.acknowledged:
            peer.acknowledged = taken if taken < peer.sent else max(peer.acknowledged, peer.sent)
        if not peer.validated:
            return []
        told = self._role.heard_beat(peer, message.header, now)
        if self._busy and id(peer) in self._busy and peer.room > 0:
            self._busy.discard(id(peer))
            return (told or []) + self._role.room_again(peer, now)
        return told

    # ---- endings

    def _end_uplink(self, uplink: Uplink, why: str, now: Instant) -> Actions:
        peer = uplink.peer
        live = uplink.state is UplinkState.LIVE
        actions = self._uplinks.give_up(uplink, why, now)
        if peer is None or not live:
            return actions
        self._busy.discard(id(peer))
        peer.validated = False
        return actions + self._role.peer_down(peer, why, now)

    def _forget(self, peer: Peer, why: str, now: Instant) -> Actions:
        """End the session of a peer below."""
        if not self._lower.has(peer):
            return []
        self._paces.forget(peer, flooded=why == _FLOOD)  # while it is known whether that was validated
        was_live = self._lower.leave(peer)
        self._busy.discard(id(peer))
        self._complaints.forget(peer.link)
        return self._role.peer_down(peer, why, now) if was_live else []

    def _vanished(self, peer: Peer, now: Instant) -> Actions:
        """The socket did not take a message: below, the peer is gone; above, the monitor will say."""
        return [] if peer.upward else self._forget(peer, "unreachable", now)

    def _replace(self, peer: Peer, now: Instant) -> Actions:
        message = Message(Kind.REPLACED, {"reason": Reason.REPLACED})
        note = Note("warning", "peer replaced", {"peer": str(peer), "boot": peer.boot})
        return [note, Transmit(peer.link, (message,)), *self._forget(peer, "replaced", now)]

    def _bad_frame(self, link: Link, peer: Peer | None, error: WireError, now: Instant) -> Actions:
        self.counters[f"bad.{error.reason}"] += 1
        self._paces.fine(link)
        fields = {
            "peer": str(peer) if peer else "unknown",
            "reason": str(error.reason),
            "detail": error.detail,
            "uuid": error.uuid,
        }
        actions: Actions = self._complaints.about(link, "bad frame", fields, now)
        actions.append(self._error(link, error.reason, error.detail, error.uuid))
        if peer is None or error.survives:
            return actions
        if peer.upward and isinstance(link, int):
            uplink = self._uplinks.find(link)
            return actions + (self._end_uplink(uplink, str(error), now) if uplink else [])
        return actions + self._forget(peer, str(error.reason), now)

    # ---- making messages

    def _error(self, link: Link, reason: Reason, detail: str, reference: str = "") -> Transmit:
        return Transmit(link, (greetings.error(reason, detail, reference),))

    def _beat(self, peer: Peer) -> Transmit:
        peer.reported = peer.granted
        header: dict[str, Any] = {"received": peer.granted, **self._role.beat(peer)}
        if peer.upward:  # of a loss above the monitor tells
            return Transmit(peer.link, (Message(_BEAT, header),))
        return Transmit(peer.link, (Message(_BEAT, header),), lambda later: self._vanished(peer, later))

    def _welcome(self, peer: Peer, fields: Mapping[str, Any]) -> Transmit:
        more = {**(self._role.welcome(peer) if peer.validated else {}), **fields}
        return Transmit(peer.link, (greetings.welcome(self.identity, peer, self._settings, more),))
