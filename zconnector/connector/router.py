"""The connector's router: its parts, and which of them gets what aggregators send (DESIGN section 4). Pure.

What workers and operators call at the door goes where `calls.py` says.

| message | to |
|---|---|
| COMMAND | `Incoming`: check, local queue, receipt |
| receipt | the event queue, where `Outgoing` waits for it by uuid |
| reply (EVENT with `recipient`, without `seq`) | local queue, then CONFIRM |
| broadcast or fetched EVENT | local queue, cursor |
| CONFIRM, FETCH answer | `Replication` |
| PRESENCE | replies for who has returned are sent |
| CONFIG, CONFIGURATION | `Setup` |
| JOURNAL answer | `Journalling` |
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Note, Serve, Stop
from zconnector.clock import Deadlines, Instant, earliest, first_of
from zconnector.connector.aside import Aside
from zconnector.connector.calls import Calls
from zconnector.connector.dead_verbs import DeadVerbs
from zconnector.connector.explaining import Explaining
from zconnector.connector.holding import Holding
from zconnector.connector.incoming import Incoming
from zconnector.connector.initialisation import Initialisation
from zconnector.connector.journalling import Journalling
from zconnector.connector.operating import Operating
from zconnector.connector.outgoing import Outgoing
from zconnector.connector.own import Own
from zconnector.connector.queue_verbs import QueueVerbs
from zconnector.connector.reasons import Reasons
from zconnector.connector.replication import Replication
from zconnector.connector.requests import Requests
from zconnector.connector.sending import EventSending
from zconnector.connector.setup import Setup
from zconnector.connector.silence import Silence
from zconnector.connector.steering import Steering
from zconnector.connector.subscribing import Subscribing
from zconnector.connector.tidings import Tidings
from zconnector.connector.versions import Versions
from zconnector.connector.worker_verbs import WorkerVerbs
from zconnector.connector.workers import Workers
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.queue.local import LocalQueue
from zconnector.settings import ConnectorSettings
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset
from zconnector.shoset.traces import Traces
from zconnector.shoset.uplinks import Target

_COMMAND, _EVENT, _CONFIRM = Kind.COMMAND, Kind.EVENT, Kind.CONFIRM
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""


class ConnectorRouter:
    """The role of a connector on top of its shoset, its local queue below it; `calls` is its door."""

    def __init__(
        self,
        identity: Identity,
        queue: LocalQueue,
        settings: ConnectorSettings,
        rng: random.Random,
        now: Instant,
    ) -> None:
        self.identity = identity
        self.queue = queue
        self.shoset = Shoset(identity, self, settings.session, rng)
        self.initialisation = Initialisation()
        self.workers = Workers(settings.queue.beat_missed, now)
        self.versions = Versions(queue, self.workers)
        traces = Traces()
        self.outgoing = Outgoing(identity, self.shoset, queue, settings, rng, traces)
        self.replication = Replication(self.shoset, queue, rng)
        self.incoming = Incoming(
            identity, self.shoset, queue, queue.retry_policy, self.replication.flush, traces
        )
        self.sending = EventSending(identity, queue, settings, rng, self.replication.flush)
        self.journalling = Journalling(self.shoset, queue, rng)
        self.own = Own(identity, queue, self.incoming, self.outgoing, self.journalling.flush)
        queue.own.at_home(identity.name)
        self.requests = Requests(self.shoset, rng, queue.agenda)
        self.setup = Setup(
            identity, queue, self.requests, self.initialisation, self.incoming, self.versions, settings
        )
        aside = Aside()
        self.silence = Silence(queue, self.workers, self.versions, aside)
        self.tidings = Tidings(queue, self.workers)
        self.tidings.on_gone.append(queue.subscriptions.release_holder)
        self.holding = Holding(queue, self.workers, self.tidings, self.replication.flush)
        self.steering = Steering(
            queue, self.workers, self.versions, self.tidings, self.setup, self.silence.ended
        )
        self._reasons = Reasons(self.shoset, queue, self.workers)
        self.operating = Operating(
            self.steering.verbs,
            QueueVerbs(queue, self.workers).verbs,
            WorkerVerbs(queue, self.workers, self.tidings).verbs,
            DeadVerbs(queue.operators, self.incoming).verbs,
            Explaining(identity, queue, self.outgoing, self._reasons, traces).verbs,
        )
        self.calls = Calls(
            boot=identity.boot,
            queue=queue,
            workers=self.workers,
            versions=self.versions,
            aside=aside,
            incoming=self.incoming,
            outgoing=self.outgoing,
            own=self.own,
            sending=self.sending,
            setup=self.setup,
            subscribing=Subscribing(queue),
            holding=self.holding,
            tidings=self.tidings,
            steering=self.steering,
            operating=self.operating,
            status=self.status,
        )
        self._instances: list[Any] | None = None
        self._agenda = queue.agenda
        self._looks = self.workers.agenda
        self._overdue = queue.overdue
        self._deadlines = self.deadlines

    # ---- Role: sessions

    def admit(self, hello: Message, key: str, now: Instant) -> Refusal | None:
        return Refusal(Reason.UNDECLARED, "a connector binds no shoset")

    def secret(self, peer: Peer, message: Message, now: Instant) -> Actions:
        return []

    def peer_up(self, peer: Peer, now: Instant) -> Actions:
        self._reasons.aggregator = peer.name
        actions: Actions = [Note("info", "session live", {"peer": str(peer)})]
        actions += self.setup.validated(now)
        actions += self.requests.session_up(now)
        actions += self.outgoing.room_again(now)
        self.queue.outbox_wake()
        actions += self.journalling.room_again(now)
        return actions + self.replication.flush(now) + self.replication.look(now)

    def peer_down(self, peer: Peer, why: str, now: Instant) -> Actions:
        return [
            Note("info", "session ended", {"peer": str(peer), "why": why}),
            *self.outgoing.session_down(peer, now),
            *self.requests.session_down(peer, now),
            *self.journalling.session_down(peer, now),
        ]

    def room_again(self, peer: Peer, now: Instant) -> Actions:
        return self.outgoing.room_again(now) + self.replication.flush(now) + self.journalling.room_again(now)

    def refused(self, peer: Peer, refusal: Refusal, now: Instant) -> Actions:
        """The cluster does not want us (any more): what was kept for a fast start must not serve."""
        if refusal.reason is Reason.REPLACED:
            return [Stop(refusal)]
        return self.setup.refused(refusal)

    def beat(self, peer: Peer) -> Mapping[str, Any]:
        cursor = self.queue.cursor
        return {} if cursor is None else {"cursor": cursor}

    def welcome(self, peer: Peer) -> Mapping[str, Any]:
        return {}  # a connector binds no shoset

    def welcomed_again(self, peer: Peer, now: Instant) -> Actions:
        # A push may have missed the instance: ask again. And what no member took may go now.
        return self.setup.validated(now) + self.journalling.wake(now)

    def heard_beat(self, peer: Peer, header: Mapping[str, Any], now: Instant) -> Actions | None:
        instances = header.get("instances")
        if instances is None and not self.replication.is_news(int(header.get("latest", 0))):
            return None
        actions: Actions = []
        if instances and instances != self._instances:
            self._instances = list(instances)
            targets = _targets(instances)
            if targets:
                actions += self.setup.keep_instances(targets, now)
                actions += self.shoset.aim(targets, now)
        if "latest" in header:
            actions += self.replication.heard_of(int(header["latest"]), now)
        return actions

    # ---- Role: messages

    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        kind = message.kind
        if kind is _COMMAND:
            return self.incoming.command(peer, message, now)
        if kind is _EVENT:
            return self._event(peer, message, now)
        if kind is _CONFIRM:
            return self.replication.confirmed(message, now)
        if kind is Kind.PRESENCE:
            for name in message.header["entries"]:
                self.queue.outbox_wake(str(name))
            return self.replication.flush(now)
        if kind is Kind.FETCH and message.is_answer:
            return self.replication.answered(message, now)
        if kind is Kind.JOURNAL and message.is_answer:
            return self.journalling.answered(message, now)
        if kind in (Kind.CONFIG, Kind.CONFIGURATION):
            if message.is_answer:
                return self.requests.answer(message, peer, now)
            return self.setup.pushed(message, now)
        return [Note("warning", "unexpected kind", {"peer": str(peer), "kind": kind.name})]

    def _event(self, peer: Peer, event: Message, now: Instant) -> Actions:
        if event.is_receipt:
            return self.queue.announce(event, now) + self.outgoing.receipt(event, peer, now)
        if event.text("recipient") and "seq" not in event.header:
            return self.incoming.reply(peer, event, now)
        actions: Actions = []
        if "seq" in event.header:
            actions += self.replication.heard_of(event.number("seq"), now)
            if event.text("source") == self.identity.name:
                actions += self.queue.outbox_confirm([event.uuid], now)
        return actions + self.incoming.event(event, now)

    # ---- time

    def tick(self, now: Instant) -> Actions:
        """What is due: mostly a look at the workers, for which the other parts are not gone through."""
        others = self._others_soon() <= now.mono
        actions = self.silence.look(now)
        return actions + self._tick_others(now) if others else actions

    def _tick_others(self, now: Instant) -> Actions:
        self._agenda.doubt()
        actions = self.tidings.tick(now)
        actions += self.steering.tick(now)
        actions += self.outgoing.tick(now)
        actions += self.requests.tick(now)
        actions += self.queue.tick(now)
        actions += self.replication.look(now)
        actions += self.incoming.confirms.tick(now)
        return actions + self.replication.flush(now) + self.journalling.flush(now)

    @property
    def deadlines(self) -> Deadlines:
        """When `tick` is due, by parts, for other things than a look at the workers."""
        return (
            self.tidings.deadline,
            self.steering.deadline,
            *self.outgoing.deadlines,
            self.requests.deadline,
            *self.queue.deadlines,
            self.replication.deadline,
            self.incoming.confirms.deadline,
            self.journalling.deadline,
        )

    def deadline(self) -> float | None:
        """When `tick` is due."""
        return earliest(self.workers.deadline(), self._others_deadline())

    def _others_deadline(self) -> float | None:
        return first_of(self._deadlines)

    def soon(self) -> float:
        """`tick` is not due earlier. Not later than `deadline`, and cheaper: the parts are not asked."""
        look, others = self._looks.at, self._agenda.at
        if look <= 0.0:
            look = self._looks.soon(self.workers.deadline)
        if others <= 0.0:  # from here on as `_others_soon`, without a call: this is asked after every step
            others = self._agenda.soon(self._others_deadline)
        overdue = self._overdue()
        if overdue is not None and overdue < others:
            others = overdue
        return others if others < look else look

    def _others_soon(self) -> float:
        at = self._agenda.at
        if at <= 0.0:
            at = self._agenda.soon(self._others_deadline)
        overdue = self._overdue()
        return at if overdue is None or overdue > at else overdue

    def doubt(self) -> None:
        """Have the parts asked the next time."""
        self._agenda.doubt()
        self._looks.doubt()

    def due(self, now: Instant) -> bool:
        """Whether `tick` has anything to do."""
        return self._looks.due(now.mono, self.workers.deadline) or self._others_due(now)

    def _others_due(self, now: Instant) -> bool:
        if self._overdue() is not None:
            self._agenda.doubt()
        return self._agenda.due(now.mono, self._others_deadline)

    # ---- begin, end, status

    def serve_from_cache(self, now: Instant) -> Actions:
        """Begin: a connector that was validated before serves its workers at once."""
        return [Serve()] if self.setup.restore(now) else []

    def drain(self, now: Instant) -> Actions:
        """Take nothing new, hand out nothing more to streams, and let them finish."""
        self.incoming.draining = self.holding.draining = True
        refusal = Refusal(Reason.DRAINING, "the connector is stopping")
        actions = self.queue.end_takes(refusal, now) + self.tidings.drain(now)
        actions += self.steering.drain() + self.incoming.confirms.flush(now)
        return actions + self.journalling.hurry(now)

    def status(self, now: Instant) -> dict[str, Any]:
        """What `zconnector status` shows beside the sessions."""
        return {
            "tenant": self.identity.tenant,
            "name": self.identity.name,
            "type": self.identity.type,
            "initialisation": self.initialisation.status(self._waiting_for()),
            "healthy": self.queue.healthy,
            "queue": self.queue.depths(),
            "cursor": self.queue.cursor,
            "latest": self.replication.latest,
            "in_flight": len(self.outgoing),
            "workers": self.workers.status(now),
            "traffic": self.versions.status(),
            "rollout": self.steering.status(),
            "streams": len(self.tidings),
            "versions": [str(version) for version in self.incoming.catalogue.versions],
            "configuration": {"version": self.setup.configuration.version if self.setup.configuration else 0},
            "counters": {
                **self.outgoing.counters,
                **self.own.counters,
                **self.journalling.counters,
                **self.incoming.counters,
                **self.sending.counters,
                **self.replication.counters,
            },
        }

    def _waiting_for(self) -> str:
        if self.shoset.peers(upward=True):
            return ", ".join(self.requests.waiting())
        sessions = self.shoset.status()["up"]
        if any(session["state"] == "PENDING" for session in sessions):
            return "a cluster member, to validate the secret"
        return "; ".join(
            f"aggregator instance {s['instance']} at {s['endpoint']}: {s['last_error'] or s['state']}"
            for s in sessions
        )


def _targets(instances: Any) -> list[Target]:
    """The aggregator instances of a WELCOME; those that are no instance at all are passed over."""
    return [
        Target(str(item["instance"]), str(item["endpoint"]), str(item["key"]))
        for item in instances
        if isinstance(item, dict) and {"instance", "endpoint", "key"} <= item.keys()
    ]
