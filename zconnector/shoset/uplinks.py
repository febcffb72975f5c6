"""The end of a session that connects (first table of WIRE.md section 4).

One `Uplink` for each remote instance this process wants a session with; each try has a DEALER and a
Peer of its own, so nothing of an old session is ever mistaken for the new one.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from zconnector.actions import Actions, Close, Link, Open
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.settings import SessionSettings
from zconnector.shoset.peers import Peer


@dataclass(frozen=True, slots=True)
class Target:
    """A remote instance to keep a session with."""

    instance: str
    endpoint: str
    server_key: str


class UplinkState(StrEnum):
    WAITING = "WAITING"
    OPENING = "OPENING"
    GREETING = "GREETING"
    PENDING = "PENDING"
    LIVE = "LIVE"


_GREETED = frozenset((UplinkState.PENDING, UplinkState.LIVE))
"""States in which the other end has said WELCOME. They do not end by time, all others do."""


@dataclass(slots=True)
class Uplink:
    """The tries to have one session.

    Invariant: `peer` and `link` belong to the present try; in WAITING there is neither.
    """

    target: Target
    state: UplinkState = UplinkState.WAITING
    due: float = 0.0
    """WAITING: when to open; OPENING, GREETING: when to give up."""
    tries: int = 0
    """Since the last live session."""
    link: int = 0
    peer: Peer | None = None
    last_error: str = ""

    @property
    def greeted(self) -> Peer | None:
        """Its peer, if that has said WELCOME."""
        return self.peer if self.state in _GREETED else None

    def status(self) -> dict[str, Any]:
        """As `zconnector status` shows it."""
        return {
            "instance": self.target.instance,
            "endpoint": self.target.endpoint,
            "state": str(self.state),
            "tries": self.tries,
            "last_error": self.last_error,
            "in_flight": self.peer.sent - self.peer.acknowledged if self.peer else 0,
        }


class Uplinks:
    """All uplinks of a process, by target and by link."""

    def __init__(self, settings: SessionSettings, rng: random.Random, agenda: Agenda) -> None:
        """`agenda` is told when tries begin and end."""
        self._agenda = agenda
        self._settings = settings
        self._rng = rng
        self._by_target: dict[Target, Uplink] = {}
        self._by_link: dict[int, Uplink] = {}
        self.peers: dict[Link, Peer] = {}
        """Of the tries that have one, by their links."""
        self._live: list[Peer] | None = []
        """What `live` last said; None: a session has begun or ended since."""
        self._links = 0

    def all(self) -> list[Uplink]:
        return list(self._by_target.values())

    def live(self) -> Sequence[Peer]:
        """The peers of live sessions. Asked for nearly every message, and changed by few."""
        if self._live is None:
            ups = self._by_target.values()
            self._live = [up.peer for up in ups if up.state is UplinkState.LIVE and up.peer is not None]
        return self._live

    def begin(self, uplink: Uplink) -> None:
        """The session that it tried to have is live."""
        uplink.state = UplinkState.LIVE
        uplink.last_error = ""
        uplink.tries = 0
        self._live = None

    def greet(self, uplink: Uplink, peer: Peer, until: float) -> None:
        """Its connection stands: HELLO goes, and WELCOME has so long to come."""
        uplink.peer = self.peers[uplink.link] = peer
        uplink.state = UplinkState.GREETING
        self.give_until(uplink, until)

    def give_until(self, uplink: Uplink, due: float) -> None:
        """What it does now ends at that time."""
        uplink.due = due
        self._agenda.by(due)

    def __len__(self) -> int:
        return len(self._by_target)

    def find(self, link: int) -> Uplink | None:
        return self._by_link.get(link)

    def aim(self, targets: Iterable[Target], now: Instant) -> list[Uplink]:
        """Keep sessions with exactly these targets. Returns the uplinks that are no longer wanted."""
        wanted = set(targets)
        gone = [up for target, up in self._by_target.items() if target not in wanted]
        for uplink in gone:
            del self._by_target[uplink.target]
        self._live = None
        for target in sorted(wanted - self._by_target.keys(), key=lambda t: (t.instance, t.endpoint)):
            self._by_target[target] = Uplink(target, due=now.mono)
            self._agenda.doubt()
        return gone

    def open_due(self, now: Instant) -> Actions:
        """Open every uplink whose backoff is over."""
        actions: Actions = []
        for uplink in self._by_target.values():
            if uplink.due <= now.mono and uplink.state is UplinkState.WAITING:
                self._links += 1
                uplink.link = self._links
                uplink.state = UplinkState.OPENING
                self.give_until(uplink, now.mono + self._settings.greeting)
                uplink.tries += 1
                self._by_link[uplink.link] = uplink
                actions.append(Open(uplink.link, uplink.target.endpoint, uplink.target.server_key))
        return actions

    def give_up(self, uplink: Uplink, why: str, now: Instant, *, close: bool = True) -> Actions:
        """End the present try; the next one comes after the backoff (at once after a live session)."""
        actions: Actions = []
        if uplink.state is UplinkState.WAITING:
            return actions
        if close:
            actions.append(Close(uplink.link))
        self._by_link.pop(uplink.link, None)
        self.peers.pop(uplink.link, None)
        if uplink.state is UplinkState.LIVE:
            uplink.tries = 0
        uplink.state = UplinkState.WAITING
        self._live = None
        self.give_until(uplink, now.mono + self._backoff(uplink.tries))
        uplink.peer = None
        uplink.last_error = why
        return actions

    def _backoff(self, tries: int) -> float:
        """Seconds until the next try: none after a loss, then doubling with full jitter."""
        if tries == 0:
            return 0.0
        ceiling = min(self._settings.backoff_limit, self._settings.backoff_first * 2.0 ** min(tries - 1, 16))
        return self._rng.uniform(ceiling / 2, ceiling)

    def deadline(self) -> float | None:
        """When the next uplink is due (to open, or to give up)."""
        if len(self.live()) == len(self._by_target):
            return None
        first: float | None = None
        for uplink in self._by_target.values():
            if uplink.state not in _GREETED and (first is None or uplink.due < first):
                first = uplink.due
        return first
