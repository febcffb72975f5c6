"""The sessions of one process, above and below, and how each of them ends. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping

from zconnector.actions import Actions, Link, Note, Transmit
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.settings import SessionSettings
from zconnector.shoset import greetings
from zconnector.shoset.complaints import Complaints
from zconnector.shoset.identity import Identity
from zconnector.shoset.lower import Lower
from zconnector.shoset.paces import Paces
from zconnector.shoset.peers import Peer, Role
from zconnector.shoset.uplinks import Uplink, Uplinks, UplinkState

FLOOD = "flood"
"""Why the session of a peer ends that sent without credit."""


class Sessions:
    """What the parts of a shoset share: all that is kept of its sessions.

    Invariants: a Peer is in `above` or in `below`, by its link, from its HELLO to the end of its session, and
    never again. Whichever way a session ends, its end is here: nothing that is kept of the peer outlasts it
    (what its link owes does), and of a live one the role hears `peer_down`, once. `validated` is true from
    when it becomes live to its end, so that only a peer that is not has to be looked up by its link.
    """

    def __init__(
        self, identity: Identity, role: Role, settings: SessionSettings, rng: random.Random, agenda: Agenda
    ) -> None:
        """`agenda` is told when something is due."""
        self.identity = identity
        self.role = role
        self.settings = settings
        self.rng = rng
        self.agenda = agenda
        self.counters: Counter[str] = Counter()
        self.uplinks = Uplinks(settings, rng, agenda)
        self.above: Mapping[Link, Peer] = self.uplinks.peers
        self.lower = Lower(settings)
        self.below: Mapping[Link, Peer] = self.lower.peers
        self.paces = Paces(settings, agenda)
        self.complaints = Complaints(settings.max_sessions)
        self.busy: set[int] = set()
        """ids of peers that were refused for want of credit and wait for room."""
        self.leaving = False
        """This process is stopping: no session begins any more."""

    def current(self, link: Link) -> Peer | None:
        """Who has a session over this link now, validated or not."""
        return self.below.get(link) if type(link) is bytes else self.above.get(link)

    def end_uplink(self, uplink: Uplink, why: str, now: Instant) -> Actions:
        """End the session with a peer above, or the try to have one; the next try comes by itself."""
        peer = uplink.peer
        live = uplink.state is UplinkState.LIVE
        actions = self.uplinks.give_up(uplink, why, now)
        if peer is None or not live:
            return actions
        self.busy.discard(id(peer))
        peer.validated = False
        return actions + self.role.peer_down(peer, why, now)

    def forget(self, peer: Peer, why: str, now: Instant) -> Actions:
        """End the session of a peer below."""
        if not self.lower.has(peer):
            return []
        self.paces.forget(peer, flooded=why == FLOOD)  # while it is known whether that was validated
        was_live = self.lower.leave(peer)
        self.busy.discard(id(peer))
        self.complaints.forget(peer.link)
        return self.role.peer_down(peer, why, now) if was_live else []

    def drop(self, peer: Peer, reason: Reason, detail: str, now: Instant) -> Actions:
        """The same, and tell it why."""
        return [error(peer.link, reason, detail), *self.forget(peer, str(reason), now)]

    def replace(self, peer: Peer, now: Instant) -> Actions:
        """The same of one whose component has a newer process."""
        message = Message(Kind.REPLACED, {"reason": Reason.REPLACED})
        note = Note("warning", "peer replaced", {"peer": str(peer), "boot": peer.boot})
        return [note, Transmit(peer.link, (message,)), *self.forget(peer, "replaced", now)]

    def vanished(self, peer: Peer, now: Instant) -> Actions:
        """The socket did not take a message: below, the peer is gone; above, the monitor will say."""
        return [] if peer.upward else self.forget(peer, "unreachable", now)


def error(link: Link, reason: Reason, detail: str, reference: str = "") -> Transmit:
    """Tell the other end what it did wrong; `reference`: uuid of the message, if it is about one."""
    return Transmit(link, (greetings.error(reason, detail, reference),))
