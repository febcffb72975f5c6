"""How an aggregator hands messages on: to a member, to one connector, to all of them. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Flag, Kind, Outcome
from zconnector.messages.message import Message, clipped, receipt
from zconnector.shoset.dispatch import Burst
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset

_EVENT = Kind.EVENT
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""


class Forwarding:
    """Sends over live sessions only. What finds none, or no room, is counted: the ends send it again."""

    def __init__(self, identity: Identity, shoset: Shoset, rng: random.Random) -> None:
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._shoset = shoset
        self._burst: Burst[Peer] = Burst(rng)
        self._receipt_dropped = self._counted("receipt_dropped")
        self._delivery_dropped = self._counted("delivery_dropped")
        self._event_dropped = self._counted("event_dropped")
        self.presence = 0
        """Number of the last PRESENCE."""

    def members(self) -> Sequence[Peer]:
        """The live sessions with cluster members."""
        return self._shoset.above()

    def connectors(self) -> Sequence[Peer]:
        """The live sessions with connectors."""
        return self._shoset.below()

    def connector(self, name: str) -> Peer | None:
        """The live session with the connector of that name."""
        return self._shoset.below_named(name)

    def answer(
        self, peer: Peer, command: Message, event: str, reason: Reason, detail: str, now: Instant
    ) -> Actions:
        """Tell whoever a command came from what became of it."""
        message = receipt(command, event, reason=reason, detail=detail)
        return self._shoset.send(peer, (message,), now, self._receipt_dropped)

    def deliver(self, name: str, message: Message, now: Instant) -> Actions:
        """To the connector of that name."""
        connector = self._shoset.below_named(name)
        if connector is None:
            self.counters["recipient_away"] += 1
            return []
        if message.kind is _EVENT and "seq" in message.header and not connector.room_for_events:
            self.counters["event_dropped"] += 1  # it is FETCHed again
            return []
        return self._shoset.send(connector, (message,), now, self._delivery_dropped)

    def to_connectors(self, message: Message, now: Instant, *, but: str = "", of_type: str = "") -> Actions:
        """To every connector, or to those of a type; not to the one it came from (`but`)."""
        actions: Actions = []
        for connector in self.connectors():
            if connector.name == but or (of_type and connector.type != of_type):
                continue
            if message.kind is _EVENT and not connector.room_for_events:
                self.counters["event_dropped"] += 1  # it is FETCHed
            else:
                actions += self._shoset.send(connector, (message,), now, self._event_dropped)
        return actions

    def to_a_member(
        self, peer: Peer, message: Message, now: Instant, *, first: Peer | None = None
    ) -> Actions:
        """Hand a message to one live member, the next one when it is not taken."""
        members = self._burst.order(self._shoset.above(), now.mono)
        if first is not None and members and members[0] is not first and first in members:
            members.remove(first)
            members.insert(0, first)
        if not members:
            return self._hand_on(peer, message, members, now)
        return self._shoset.send(
            members[0], (message,), now, lambda later: self._hand_on(peer, message, members[1:], later)
        )

    def _hand_on(self, peer: Peer, message: Message, members: list[Peer], now: Instant) -> Actions:
        """To the first of these members, else the next one."""
        if not members:
            self.counters["no_member"] += 1
            if message.kind in (Kind.CONFIG, Kind.CONFIGURATION):
                answer = {
                    "reference": message.uuid,
                    "reason": Reason.NO_CLUSTER,
                    "detail": "no live cluster member",
                }
                return self._shoset.send(peer, (Message(message.kind, answer, flags=Flag.ANSWER),), now)
            return []
        return self._shoset.send(
            members[0], (message,), now, lambda later: self._hand_on(peer, message, members[1:], later)
        )

    def tell_presence(self, up: list[str], down: list[str], now: Instant) -> Actions:
        """Tell every member who has come, and who has gone."""
        members = self.members()
        if not members:
            return []
        self.presence += 1
        header = {"number": self.presence, "entries": up, **({"down": down} if down else {})}
        told = Message(Kind.PRESENCE, header)
        dropped = self._counted("presence_dropped")  # the member notices the gap, and a new session begins
        return [a for member in members for a in self._shoset.send(member, (told,), now, dropped)]

    def refuse(self, peer: Peer, message: Message, refusal: Refusal, now: Instant) -> Actions:
        """Tell a connector that its message goes no further."""
        if message.kind is Kind.COMMAND:
            mine = message.with_fields(tenant=self._identity.tenant, source=peer.name)
            return self.answer(peer, mine, Outcome.REJECTED, refusal.reason, refusal.detail, now)
        header = {"reason": refusal.reason, "detail": clipped(refusal.detail), "reference": message.uuid}
        return self._shoset.send(peer, (Message(Kind.ERROR, header),), now)

    def _counted(self, name: str) -> Any:
        def count(_: Instant) -> Actions:
            self.counters[name] += 1
            return []

        return count
