"""The shoset: sessions with all peers of a process, above and below (WIRE.md sections 4 and 5).

Pure: links, frames and time come in, actions go out. What messages mean is the role's affair
(`peers.Role`); a role hears only of validated peers.

This is its front: what roles call, and what the shell passes on, each message to the part it is for.

| part | its job |
|---|---|
| `sessions.py` | what is kept of each session, and its end |
| `connecting.py`, `uplinks.py` | sessions upwards: tries, HELLO, what peers above say of them |
| `accepting.py`, `lower.py` | sessions below: who gets one, SECRET, WELCOME |
| `greetings.py` | what both ends say of themselves |
| `credit.py` | how much each end may send, and the beats that say so |
| `paces.py`, `pace.py` | how fast peers below are read |
| `liveness.py` | what time does: beats, silence, tries |
| `faults.py`, `complaints.py` | what a peer gets that breaks the rules |
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from zconnector.actions import Actions, Link, Then, Transmit
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.errors import Reason, WireError
from zconnector.messages.codec import decode
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.settings import SessionSettings
from zconnector.shoset.accepting import AcceptingEnd
from zconnector.shoset.connecting import ConnectingEnd
from zconnector.shoset.credit import BEAT, Credit
from zconnector.shoset.faults import Faults
from zconnector.shoset.identity import Identity
from zconnector.shoset.liveness import Liveness
from zconnector.shoset.peers import Peer, Role
from zconnector.shoset.sessions import Sessions
from zconnector.shoset.uplinks import Target

_OF_THE_SESSION = frozenset(
    (
        BEAT,
        Kind.HELLO,
        Kind.WELCOME,
        Kind.SECRET,
        Kind.GOAWAY,
        Kind.REPLACED,
        Kind.ERROR,
    )
)
"""Kinds that the session itself needs; they are few, and credit does not hold them up."""


class Shoset:
    """All sessions of one process.

    Invariant: `sent` here and `received` there count the same messages: all but those `_OF_THE_SESSION`.
    """

    def __init__(self, identity: Identity, role: Role, settings: SessionSettings, rng: random.Random) -> None:
        self.identity = identity
        self.agenda = Agenda()
        """When `tick` is due, as far as that is known without asking `deadline`."""
        self._sessions = Sessions(identity, role, settings, rng, self.agenda)
        self.counters: Counter[str] = self._sessions.counters
        self._role = role
        self._uplinks, self._lower = self._sessions.uplinks, self._sessions.lower
        self._above, self._below = self._sessions.above, self._sessions.below
        self._busy = self._sessions.busy
        self._paces = self._sessions.paces
        self._credit = Credit(self._sessions)
        self._faults = Faults(self._sessions)
        self._connecting = ConnectingEnd(self._sessions)
        self._accepting = AcceptingEnd(self._sessions, self._faults)
        self._liveness = Liveness(self._sessions, self._credit)
        self.quiet = False
        """The last transmission was a beat that told nothing new: no deadline has changed by it."""

    # ---- what roles call

    def aim(self, targets: Sequence[Target], now: Instant) -> Actions:
        """Keep one session with each of these remote instances, and with no other."""
        actions: Actions = []
        for uplink in self._uplinks.aim(targets, now):
            actions += self._sessions.end_uplink(uplink, "no longer listed", now)
        return actions + ([] if self._sessions.leaving else self._uplinks.open_due(now))

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
        return self._sessions.current(peer.link) is peer

    def is_live(self, peer: Peer) -> bool:
        """Whether the session that this Peer stands for is live now."""
        return peer.validated and self._sessions.current(peer.link) is peer

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
        live = peer.validated  # which it is only while it has its session (`Sessions`)
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
            actions = self._sessions.vanished(peer, later)
            return actions + (refused(later) if refused else [])

        return [Transmit(link, tuple(messages), not_taken, peer.packs)]

    def validate(self, peer: Peer, now: Instant, fields: Mapping[str, Any] | None = None) -> Actions:
        """The role has validated a peer below: its session is live, an older one of its name ends."""
        return self._accepting.validate(peer, now, fields or {})

    def refuse(self, peer: Peer, reason: Reason, detail: str, now: Instant, reference: str = "") -> Actions:
        """The role found a peer's secret wrong: say so and drop the session."""
        return self._accepting.refuse(peer, reason, detail, now, reference)

    def drop(self, peer: Peer, reason: Reason, detail: str, now: Instant) -> Actions:
        """End a session with an ERROR that says why (revoked, protocol broken)."""
        return self._sessions.drop(peer, reason, detail, now)

    def welcome(self, peer: Peer, now: Instant) -> Actions:
        """Tell a live peer below anew what WELCOME carries (the instances changed)."""
        return [self._accepting.welcome(peer, {})] if self.is_live(peer) and not peer.upward else []

    def leave(self, now: Instant) -> Actions:
        """Say GOAWAY to everybody and open nothing more."""
        self._sessions.leaving = True
        goaway = Message(Kind.GOAWAY, {"reason": Reason.DRAINING})
        return [Transmit(peer.link, (goaway,)) for peer in self.peers()]

    # ---- what the machine passes on from its shell

    def link_opened(self, link: int, now: Instant) -> Actions:
        """A DEALER is connected and its handshake done: say HELLO, and the secret with it."""
        return self._connecting.link_opened(link, now)

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        """A DEALER's connection failed or broke."""
        return self._connecting.link_lost(link, why, now)

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
                return self._faults.flooded(link, None if theirs else peer, count, now)
        if theirs:
            return self._faults.wrong_key(link)
        try:
            messages = decode(frames)
        except WireError as error:
            return self._faults.bad_frame(link, peer, error, now)
        if below and len(messages) > count:  # those in PACKs were not counted yet
            more = len(messages) - count
            if not self._paces.draw(link, key, more, now):
                return self._faults.flooded(link, peer, more, now)
        if peer is not None and len(messages) == 1 and messages[0].kind is BEAT:  # as most are, while idle
            return self._lone_beat(peer, messages[0], now)
        actions: Actions = []
        received, mono, of_the_session = self._role.received, now.mono, _OF_THE_SESSION
        for message in messages:
            if peer is None or not peer.validated:
                peer = sessions.get(link)  # the message before may have begun or ended the session
            if peer is None:
                actions += self._accepting.first(link, key, message, now)
            elif peer.validated and message.kind not in of_the_session:
                peer.heard = mono
                peer.received += 1
                actions += received(peer, message, now)
            else:
                actions += self._heard(peer, message, now)
        peer = sessions.get(link)
        if peer is None:
            return actions
        granted = self._credit.grant(peer, now)
        return actions + granted if granted else actions

    def _heard(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A message within a session: about it, or of a peer that is not validated yet."""
        peer.heard = now.mono
        if message.kind is BEAT:
            return self._credit.heard(peer, message, now) or []
        if message.kind in _OF_THE_SESSION:
            return (self._connecting if peer.upward else self._accepting).heard(peer, message, now)
        peer.received += 1
        return [] if peer.upward else self._faults.not_validated(peer, message, now)

    def _lone_beat(self, peer: Peer, beat: Message, now: Instant) -> Actions:
        """Most of what comes to an idle process, hence cheap: only who owes something has to be told more."""
        peer.heard = now.mono
        told = self._credit.heard(peer, beat, now)
        actions = told or []
        if peer.upward or self._paces.settled(peer):  # nobody above is paced
            self.quiet = told is None
            return actions
        lasts = self._sessions.current(peer.link) is peer
        return actions + self._credit.grant(peer, now) if lasts else actions

    def tick(self, now: Instant) -> Actions:
        """Drop the dead, open what is due, beat. Called before frames are read, and for what else is due."""
        if now.mono < self.agenda.at < inf:
            return []
        self.agenda.doubt()
        return self._liveness.tick(now)

    def soon(self) -> float:
        """Nothing is due earlier. Not later than `deadline`, and cheaper."""
        at = self.agenda.at
        return at if at > 0.0 else self.agenda.soon(self.deadline)

    def due(self, now: Instant) -> bool:
        """Whether `tick` has anything to do."""
        return self.agenda.due(now.mono, self.deadline)

    def deadline(self) -> float | None:
        """When `tick` is due; None: it is not, before something else happens."""
        return self._liveness.deadline()

    def status(self) -> dict[str, Any]:
        """Sessions as `zconnector status` shows them."""
        return {
            "up": [uplink.status() for uplink in self._uplinks.all()],
            "down": [peer.status() for peer in self._below.values()],
            "counters": dict(self.counters),
        }
