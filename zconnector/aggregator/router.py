"""The aggregator's routing (DESIGN section 4), pure: between the connectors of one tenant and the cluster.

It keeps no state that matters: what it forgets in a crash, the ends send again. Tenant and source of
every message are set here from the session it came by.

| from | message | to |
|---|---|---|
| connector | SECRET | a member, with what the session knows of the peer |
| connector | COMMAND | serial try over the members |
| connector | broadcast EVENT | one member, and every other connector |
| connector | receipt | the member that the command came from |
| connector | reply, CONFIRM, FETCH, CONFIG, CONFIGURATION, JOURNAL | one member |
| member | COMMAND | the connector `target`; no session: NO_ROUTE back |
| member | receipt | whoever waits for it here, else the connector `recipient` |
| member | EVENT, CONFIRM, answers with `recipient` | that connector |
| member | EVENT, CONFIRM, PRESENCE without | every connector |
| member | CONFIG, CONFIGURATION pushed | connectors of `type` |
"""

from __future__ import annotations

import random
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from zconnector.actions import Actions, Note, Serve, Stop
from zconnector.agenda import Agenda
from zconnector.aggregator.forwarding import Forwarding
from zconnector.aggregator.validation import Validations
from zconnector.clock import Instant, earliest
from zconnector.errors import Reason, Refusal, WireError
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE, Flag, Kind, Outcome
from zconnector.messages.message import Message
from zconnector.settings import AggregatorSettings
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.identity import Identity, fresh_uuid
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT, EVENTS_AT_ONCE, EVENTS_PER_SECOND, Bucket
from zconnector.shoset.peers import Peer
from zconnector.shoset.permissions import may_send
from zconnector.shoset.shoset import Shoset

_NAMES_AT_ONCE = 400
"""So many names of the greatest length fit into one header."""
_NEAR_THE_LIMIT = MAX_MESSAGE - MAX_HEADER
"""A payload of fewer bytes leaves room for any header."""
_LONGEST = "x" * 128
_MARGIN = 1.25
"""A connector keeps to the pace itself; what it sends may arrive in lumps."""
_COMMAND, _EVENT = Kind.COMMAND, Kind.EVENT
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""
_PLAIN = Flag.NONE
_ACCEPTED, _REJECTED, _NO_CLUSTER = Verdict.ACCEPTED, Verdict.REJECTED, Reason.NO_CLUSTER
_UP = frozenset((Kind.CONFIG, Kind.CONFIGURATION, Kind.FETCH, Kind.CONFIRM, Kind.JOURNAL))


class AggregatorRouter:
    """The role of an aggregator instance on top of its shoset."""

    def __init__(self, identity: Identity, settings: AggregatorSettings, rng: random.Random) -> None:
        self.identity = identity
        self._tenant = identity.tenant
        self._agenda = Agenda()
        self.shoset = Shoset(identity, self, settings.session, rng)
        self.forwarding = Forwarding(identity, self.shoset, rng)
        self.counters = self.forwarding.counters
        self._rng = rng
        self._tries: Dispatches[Peer] = Dispatches(
            settings.max_in_flight, rng, self.shoset.send, self._ended, agenda=self._agenda
        )
        self._validations = Validations(self.shoset, rng, self._agenda)
        self._came_from: OrderedDict[str, Peer] = OrderedDict()
        """Which member sent a command down: its receipt goes back there. Bounded like the tries."""
        self._limit = settings.max_in_flight
        self._under_way: Counter[Peer] = Counter()
        """Commands in flight of each connector session."""
        self._paces: dict[Peer, Bucket] = {}
        """Of the broadcast events of each connector session."""
        self._latest = 0
        self._instances: list[Any] = []

    # ---- Role: sessions

    def admit(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        if hello.text("kind") != "connector":
            return Refusal(Reason.UNDECLARED, "an aggregator has sessions with connectors only")
        if hello.text("tenant") != self.identity.tenant:
            return Refusal(Reason.WRONG_TENANT, "this aggregator belongs to another tenant")
        return None

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        return self._validations.begin(peer, message, self.forwarding.members(), now)

    def peer_up(self, peer: Peer, now: Instant) -> Actions:
        if not peer.upward:
            return self.forwarding.tell_presence([peer.name], [], now)
        names = sorted({p.name for p in self.forwarding.connectors()})
        self.forwarding.presence = -1  # numbering begins anew, for all of them
        parts = [names[at : at + _NAMES_AT_ONCE] for at in range(0, len(names), _NAMES_AT_ONCE)] or [[]]
        actions = [action for part in parts for action in self.forwarding.tell_presence(part, [], now)]
        actions += self._validations.again(self.forwarding.members(), now)
        # What the member pushed while this session was away did not come here.
        actions += [
            a for connector in self.forwarding.connectors() for a in self.shoset.welcome(connector, now)
        ]
        return [*actions, Serve()]

    def peer_down(self, peer: Peer, why: str, now: Instant) -> Actions:
        fields = {"peer": str(peer), "why": why}
        actions: Actions = [Note("info", "session ended", fields)]
        self._paces.pop(peer, None)
        self._under_way.pop(peer, None)
        actions += self._tries.lost(peer, now)
        if peer.upward:
            return actions + self._validations.member_down(peer, self.forwarding.members(), now)
        if self.forwarding.connector(peer.name) is None:
            actions += self.forwarding.tell_presence([], [peer.name], now)
        return actions

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        return []  # nothing is kept here for a busy peer: the ends send again

    def refused(self, peer: Peer, refusal: Refusal, now: Instant) -> Actions:
        return [Stop(refusal)]

    def beat(self, peer: Peer) -> Mapping[str, Any]:
        if peer.upward:
            return {}
        return {"latest": self._latest}

    def welcome(self, peer: Peer) -> Mapping[str, Any]:
        return {"latest": self._latest, "instances": self._instances}

    def welcomed_again(self, peer: Peer, now: Instant) -> Actions:
        return []

    def heard_beat(self, peer: Peer, header: Mapping[str, Any], now: Instant) -> Actions | None:
        if not peer.upward:
            return None
        self._latest = max(self._latest, int(header.get("latest", 0)))
        instances = header.get("instances")
        if instances is None or instances == self._instances:
            return None
        self._instances = list(instances)
        return [a for connector in self.forwarding.connectors() for a in self.shoset.welcome(connector, now)]

    # ---- Role: messages

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        if peer.upward:
            return self._from_member(peer, message, now)
        kind, header, payload = message.kind, message.header, message.payload
        tenant = self._tenant
        theirs = header.get("tenant")
        if theirs and theirs != tenant:
            return self._wrong_tenant(peer, message, now)
        if theirs == tenant and header.get("source") == peer.name:  # as it mostly says of itself
            stamped = message
        else:
            header = {**header, "tenant": tenant, "source": peer.name}
            stamped = Message(kind, header, payload, message.flags)
        if len(payload) > _NEAR_THE_LIMIT:
            try:
                encode_one(stamped.with_fields(target=_LONGEST, seq=2**53))
            except WireError as error:
                return self.forwarding.refuse(peer, message, error, now)
        if kind is _COMMAND:
            return self._command_up(peer, stamped, now)
        if kind is _EVENT:
            if "seq" in header:
                stamped = stamped.without("seq")  # its number is the cluster's to give
            return self._event_up(peer, stamped, now)
        if kind in _UP:
            typed = stamped.with_fields(type=peer.type) if peer.type else stamped.without("type")
            return self.forwarding.to_a_member(peer, typed, now)
        return [Note("warning", "unexpected kind", {"peer": str(peer), "kind": kind.name})]

    def _wrong_tenant(self, peer: Peer, message: Message, now: Instant) -> Actions:
        """Not forwarded; the sender is refused, the cluster hears of it (DESIGN section 4)."""
        self.counters["wrong_tenant"] += 1
        fields = {"peer": str(peer), "uuid": message.uuid}
        actions: Actions = [Note("warning", "message for another tenant", fields)]
        refusal = Refusal(Reason.WRONG_TENANT, f"{peer.name} belongs to tenant {self.identity.tenant}")
        actions += self.forwarding.refuse(peer, message, refusal, now)
        report = Message(
            Kind.EVENT,
            {
                "uuid": fresh_uuid(self._rng),
                "tenant": self.identity.tenant,
                "source": peer.name,
                "topic": "ERROR",
                "event": str(Reason.WRONG_TENANT),
                "timestamp": now.wall,
            },
            orjson.dumps({"connector": peer.name, "uuid": message.uuid, "kind": message.kind.name}),
        )
        return actions + self.forwarding.to_a_member(peer, report, now)

    def _command_up(self, peer: Peer, command: Message, now: Instant) -> Actions:
        if not may_send(peer.permissions, command):
            detail = f"{peer.name} may not send {command.text('type')}:{command.text('command')}"
            return self.forwarding.answer(peer, command, Outcome.REJECTED, Reason.NOT_PERMITTED, detail, now)
        header = command.header
        uuid: str = header["uuid"]
        under_way, in_flight = self._tries.get(uuid), self._under_way.get(peer, 0)
        if under_way is not None:
            self._settled(under_way.context)
            in_flight = self._under_way.get(peer, 0)
        elif in_flight >= COMMANDS_IN_FLIGHT or self._tries.full:
            detail = f"{COMMANDS_IN_FLIGHT} commands of {peer.name} are in flight here"
            return self.forwarding.answer(peer, command, Outcome.NO_ROUTE, Reason.BUSY, detail, now)
        self._under_way[peer] = in_flight + 1
        budget = max(0, header["budget"] if "budget" in header else header["timeout"]) / 1000
        members = self.shoset.above()
        return self._tries.start(uuid, command, members, budget, peer, now, without_routes=_NO_CLUSTER)

    def _ended(self, dispatch: Dispatch[Peer], ending: Ending, now: Instant) -> Actions:
        """A command's try over the members is over: tell the connector it came from."""
        self._settled(dispatch.context)
        if ending.answer is not None:
            return self.forwarding.deliver(dispatch.context.name, ending.answer, now)
        if ending.verdict is Verdict.NOT_SENT:
            return self.forwarding.answer(
                dispatch.context,
                dispatch.message,
                Outcome.NO_ROUTE,
                ending.reason,
                ending.detail,
                now,
            )
        return []  # UNKNOWN: its own share at the connector ends now, and it moves on

    def _settled(self, peer: Peer) -> None:
        left = self._under_way[peer] - 1
        if left > 0:
            self._under_way[peer] = left
        else:
            del self._under_way[peer]

    def _event_up(self, peer: Peer, event: Message, now: Instant) -> Actions:
        header = event.header
        if event.flags is not _PLAIN and event.is_receipt:
            member = self._came_from.pop(header.get("reference", ""), None)
            return self.forwarding.to_a_member(peer, event, now, first=member)
        if header.get("recipient"):
            return self.forwarding.to_a_member(peer, event, now)
        pace = self._paces.setdefault(peer, Bucket(EVENTS_PER_SECOND * _MARGIN, EVENTS_AT_ONCE * 2, now.mono))
        if not pace.take(1, now.mono):
            self.counters["event_over_pace"] += 1  # its outbox sends it again
            return []
        actions = self.forwarding.to_a_member(peer, event, now)
        return actions + self.forwarding.to_connectors(event, now, but=peer.name)

    def _from_member(self, peer: Peer, message: Message, now: Instant) -> Actions:
        kind, header = message.kind, message.header
        tenant = header.get("tenant")
        if tenant and tenant != self._tenant:
            self.counters["other_tenant"] += 1
            return [Note("error", "message of another tenant", {"uuid": message.uuid})]
        if kind is _COMMAND:
            return self._command_down(peer, message, now)
        if kind is _EVENT:
            if "seq" in header:
                self._latest = max(self._latest, header["seq"])
            if message.flags is not _PLAIN and message.is_receipt:
                return self._receipt_down(peer, message, now)
        elif kind is Kind.SECRET and message.is_answer:
            return self._validated(message, now)
        elif kind is Kind.ERROR:
            return self._error_down(message, now)
        recipient = header.get("recipient")
        if recipient:
            return self.forwarding.deliver(recipient, message, now)
        if kind in (Kind.EVENT, Kind.CONFIRM, Kind.PRESENCE):
            return self.forwarding.to_connectors(message, now)
        if kind in (Kind.CONFIG, Kind.CONFIGURATION):
            return self.forwarding.to_connectors(message, now, of_type=message.text("type"))
        return [Note("warning", "unexpected kind", {"peer": str(peer), "kind": kind.name})]

    def _command_down(self, member: Peer, command: Message, now: Instant) -> Actions:
        target = command.text("target")
        connector = self.shoset.below_named(target)

        def away(later: Instant) -> Actions:
            return self.forwarding.answer(
                member,
                command,
                Outcome.NO_ROUTE,
                Reason.TARGET_AWAY,
                f"{target} has no session with {self.identity.name}/{self.identity.instance}",
                later,
            )

        if connector is None:
            return away(now)
        self._came_from[command.header["uuid"]] = member
        while len(self._came_from) > self._limit:
            self._came_from.popitem(last=False)
        return self.shoset.send(connector, (command,), now, away)

    def _receipt_down(self, member: Peer, event: Message, now: Instant) -> Actions:
        header = event.header
        uuid, name = header.get("reference", ""), header["event"]
        if self._tries.get(uuid) is None:
            if name == Outcome.NO_ROUTE:
                return []
            return self.forwarding.deliver(event.text("recipient"), event, now)
        if name == Outcome.NO_ROUTE:
            return self._tries.decline(uuid, member, _reason(event), event.text("detail"), now)
        return self._tries.settle(uuid, _REJECTED if name == Outcome.REJECTED else _ACCEPTED, event, now)

    def _validated(self, answer: Message, now: Instant) -> Actions:
        asked = self._validations.answered(answer)
        if asked is None:
            return []
        if answer.header.get("valid"):
            permissions = answer.header.get("permissions", [])
            asked.peer.permissions = tuple(str(item) for item in permissions)
            return self.shoset.validate(asked.peer, now)
        reason = _reason(answer)
        return self.shoset.refuse(asked.peer, reason, answer.text("detail"), now, asked.original)

    def _error_down(self, error: Message, now: Instant) -> Actions:
        """The cluster ends a connector's session (revoked)."""
        actions: Actions = []
        for connector in self.forwarding.connectors():
            if connector.name == error.text("name"):
                actions += self.shoset.drop(connector, _reason(error), error.text("detail"), now)
        return actions

    # ---- time

    def tick(self, now: Instant) -> Actions:
        """Tries whose share is over, secrets that no member has answered."""
        self._agenda.doubt()
        return self._tries.tick(now) + self._validations.tick(self.forwarding.members(), now)

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return earliest(self._tries.deadline(), self._validations.deadline())

    def soon(self) -> float:
        """`tick` is not due earlier. Not later than `deadline`, and cheaper."""
        at = self._agenda.at
        return at if at > 0.0 else self._agenda.soon(self.deadline)

    def doubt(self) -> None:
        """Have the parts asked the next time."""
        self._agenda.doubt()

    def due(self, now: Instant) -> bool:
        """Whether `tick` has anything to do."""
        return self._agenda.due(now.mono, self.deadline)

    def status(self) -> dict[str, Any]:
        """What `zconnector status` shows beside the sessions."""
        return {
            "tenant": self.identity.tenant,
            "name": self.identity.name,
            "instance": self.identity.instance,
            "in_flight": len(self._tries),
            "latest": self._latest,
            "counters": dict(self.counters),
        }


def _reason(message: Message) -> Reason:
    try:
        return Reason(message.text("reason"))
    except ValueError:
        return Reason.TIMED_OUT
