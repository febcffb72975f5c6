"""Peers: the other ends of validated and not yet validated sessions, and the role on top of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from zconnector.actions import Actions, Link
from zconnector.clock import Instant
from zconnector.errors import Refusal
from zconnector.messages.message import Message
from zconnector.shoset.pace import EVENTS_LEAVE_FREE


@dataclass(slots=True, eq=False)
class Peer:
    """One session with one other process. A new session is a new Peer; compare by identity.

    Invariant: `sent - acknowledged` never exceeds `credit` (WIRE.md section 5).
    """

    link: Link
    upward: bool
    """True: this end connected (the peer is an aggregator or a member)."""
    kind: str
    """connector, aggregator or member."""
    tenant: str
    name: str
    instance: str
    boot: str = ""
    session: str = ""
    key: str = ""
    type: str = ""
    """Connector type, of a connector."""
    endpoint: str = ""
    server_key: str = ""
    hello: Mapping[str, Any] = field(default_factory=dict)
    shown: bool = False
    """Of a peer below: it has sent a SECRET."""
    validated: bool = False
    permissions: tuple[str, ...] = ()
    """What it may send (`permissions.may_send`), as the cluster said when it was validated."""
    packs: bool = False
    """It reads PACKs."""
    credit: int = 0
    sent: int = 0
    acknowledged: int = 0
    received: int = 0
    granted: int = 0
    """Of `received`: what may be told to the peer, and gives it credit again."""
    reported: int = 0
    """`granted` as last told to the peer."""
    heard: float = 0.0
    """Monotonic time of the last frame from it."""

    @property
    def room(self) -> int:
        """How many messages may be sent to it now."""
        room = self.credit - self.sent + self.acknowledged
        return room if room > 0 else 0

    @property
    def room_for_events(self) -> int:
        """How many broadcast or fetched events may be sent to it now.

        They leave most of the credit free: what somebody waits for stands behind few.
        """
        return max(0, math.floor(self.room - self.credit * EVENTS_LEAVE_FREE) + 1)

    def status(self) -> dict[str, Any]:
        """Of one below, as `zconnector status` shows it."""
        return {
            "kind": self.kind,
            "tenant": self.tenant,
            "name": self.name,
            "instance": self.instance,
            "type": self.type,
            "state": "LIVE" if self.validated else "PENDING",
            "in_flight": self.sent - self.acknowledged,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.tenant}/{self.name}/{self.instance}"


class Role(Protocol):
    """What a connector, an aggregator or a member does with its peers' messages.

    The shoset calls these; only validated peers reach `peer_up`, `peer_down` and `received`.
    """

    def admit(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        """May a peer with this HELLO have a session here at all (declared kind, own tenant)?"""

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A SECRET came from a peer below: validate it, then call `Shoset.validate` or `refuse`."""

    def peer_up(self, peer: Peer, now: Instant) -> Actions:
        """The session is live."""

    def peer_down(self, peer: Peer, why: str, now: Instant) -> Actions:
        """A live session has ended (lost, GOAWAY, replaced, revoked)."""

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """A message from a live peer; never HELLO, WELCOME, HEARTBEAT, GOAWAY, REPLACED."""

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        """A peer that was busy has credit again."""

    def refused(self, peer: Peer, refusal: Refusal, now: Instant) -> Actions:
        """The other end refused our secret, or replaced or revoked us."""

    def beat(self, peer: Peer) -> Mapping[str, Any]:
        """Fields that go along with each HEARTBEAT to this peer, and with HELLO (`latest`, `cursor`)."""

    def welcome(self, peer: Peer) -> Mapping[str, Any]:
        """Fields that go along with WELCOME to this live peer: those of a beat, and `instances`."""

    def welcomed_again(self, peer: Peer, now: Instant) -> Actions:
        """A live peer above has said WELCOME once more: the cluster may have said what did not reach us."""

    def heard_beat(self, peer: Peer, header: Mapping[str, Any], now: Instant) -> Actions | None:
        """A HEARTBEAT or WELCOME of a live peer, with what it carried along. None: it told nothing new,
        and whatever waits for time does so as before."""
