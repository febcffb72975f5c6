"""What the parts of a member's router share: its sessions, its store, and what it knows of both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zconnector.actions import Actions, Then
from zconnector.clock import Instant
from zconnector.cluster.catalogues import Catalogues
from zconnector.cluster.components import Components
from zconnector.cluster.health import Commits
from zconnector.cluster.presence import Presence
from zconnector.cluster.store import Reads
from zconnector.errors import Reason
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer
from zconnector.shoset.traces import Traces


class Sessions(Protocol):
    """What a member needs of its shoset."""

    def peers(self, kind: str | None = None, upward: bool | None = None) -> list[Peer]: ...

    def is_live(self, peer: Peer) -> bool: ...

    def send(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions: ...

    def validate(self, peer: Peer, now: Instant, fields: Mapping[str, Any] | None = None) -> Actions: ...

    def refuse(
        self, peer: Peer, reason: Reason, detail: str, now: Instant, reference: str = ""
    ) -> Actions: ...

    def drop(self, peer: Peer, reason: Reason, detail: str, now: Instant) -> Actions: ...

    def welcome(self, peer: Peer, now: Instant) -> Actions: ...


def of_tenant(message: Message, tenant: str) -> Message:
    """A message as one of the tenant whose session it came by, whatever it says itself."""
    said = message.header.get("tenant") == tenant  # as what comes by way of an aggregator does
    return message if said else message.with_fields(tenant=tenant)


@dataclass(slots=True)
class Context:
    """Handed to every part; each part owns its own state and only reads the others'."""

    sessions: Sessions
    reads: Reads
    commits: Commits
    components: Components
    catalogues: Catalogues
    presence: Presence
    rng: random.Random
    counters: Counter[str] = field(default_factory=Counter)
    traces: Traces = field(default_factory=Traces)

    _counts: dict[str, Then] = field(default_factory=dict)
    """What `counted` has made, by name."""

    def instances(self, tenant: str) -> list[Peer]:
        """The live aggregator instances of a tenant: nothing of a tenant goes to anybody else."""
        return [peer for peer in self.sessions.peers(kind="aggregator") if peer.tenant == tenant]

    def counted(self, name: str) -> Then:
        """A `refused` that counts a drop which something else makes good."""
        known = self._counts.get(name)
        if known is not None:
            return known

        def count(_: Instant) -> Actions:
            self.counters[name] += 1
            return []

        self._counts[name] = count
        return count

    def send(self, peer: Peer, message: Message, now: Instant, dropped: str) -> Actions:
        """Send one message; when the peer has no room it is dropped and counted under a name."""
        return self.sessions.send(peer, (message,), now, self._counts.get(dropped) or self.counted(dropped))

    def deliver(
        self, tenant: str, name: str, message: Message, now: Instant, dropped: str, first: Peer | None = None
    ) -> Actions:
        """Send a message towards a connector, over `first` if that reports a session with it."""
        route = self.presence.route(tenant, name, self.rng, first)
        if route is None:
            self.counters[f"{dropped}.away"] += 1
            return []
        return self.sessions.send(route, (message,), now, self._counts.get(dropped) or self.counted(dropped))
