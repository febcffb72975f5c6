"""The connector's router: what comes by which way goes where (DESIGN section 4). Pure.

| from | message | to |
|---|---|---|
| aggregator | COMMAND | `Incoming`: check, local queue, receipt |
| aggregator | receipt | the event queue, where `Outgoing` waits for it by uuid |
| aggregator | reply (EVENT with `recipient`, without `seq`) | local queue, then CONFIRM |
| aggregator | broadcast or fetched EVENT | local queue, cursor |
| aggregator | CONFIRM, FETCH answer | `Replication` |
| aggregator | PRESENCE | replies for who has returned are sent |
| aggregator | CONFIG, CONFIGURATION | `Setup` |
| aggregator | JOURNAL answer | `Journalling` |
| worker | send_command | `Outgoing`; to "self": `Own` |
| worker | send_event | completion of a command, reply to an event, or broadcast |
| worker | wait_*, create_iterator | local queue |
| worker | await_reply | the event queue, where it waits for the final reply by uuid |
| worker | subscribe, take_events, acknowledge, unsubscribe | `Subscribing` |
| worker | take, settle, give_back, adopt | `Holding`, local queue |
| worker | tidings | `Tidings` |
| worker | register, beat | `Setup`, `Workers` |
| operator | operate | `Operating` |
| admin worker | admin_* | `Steering` |
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from zconnector.actions import Actions, Caller, Note, Respond, Serve, Stop
from zconnector.clock import Deadlines, Instant, earliest, first_of
from zconnector.connector.arguments import number, small, text
from zconnector.connector.aside import Aside
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

_LONGEST_WAIT_MS = 30 * 86_400_000
_COMMAND, _EVENT, _CONFIRM = Kind.COMMAND, Kind.EVENT, Kind.CONFIRM
"""Most of what comes. A member of an enumeration costs as much as ten names (CPython 3.11)."""


class ConnectorRouter:
    """The role of a connector on top of its shoset, its local queue below it."""

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
        queue.at_home(identity.name)
        self.requests = Requests(self.shoset, rng, queue.agenda)
        self.setup = Setup(
            identity, queue, self.requests, self.initialisation, self.incoming, self.versions, settings
        )
        self.aside = Aside()
        self.subscribing = Subscribing(queue)
        self.tidings = Tidings(queue, self.workers)
        self.tidings.on_gone.append(queue.subscriptions.release_holder)
        self.holding = Holding(queue, self.workers, self.tidings, self.replication.flush)
        self.steering = Steering(
            queue, self.workers, self.versions, self.tidings, self.setup, self.worker_ended
        )
        self._reasons = Reasons(self.shoset, queue, self.workers)
        self.operating = Operating(
            self.steering.verbs,
            QueueVerbs(queue, self.workers).verbs,
            WorkerVerbs(queue, self.workers, self.tidings).verbs,
            DeadVerbs(queue.operators, self.incoming).verbs,
            Explaining(identity, queue, self.outgoing, self._reasons, traces).verbs,
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

    # ---- the door

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """A worker's call (WIRE.md section 14). A Refusal becomes its answer."""
        try:
            return self._call(caller, op, args, payload, now)
        except Refusal as refusal:
            told: Actions = [Respond(caller, error=refusal)]
            uuid = args.get("uuid")
            if op != "send_command" or not isinstance(uuid, str) or self.outgoing.holds(uuid):
                return told
            return told + self.queue.refused(str(args.get("command", "")), uuid, refusal)

    def _call(
        self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant
    ) -> Actions:
        if self.steering.watched:
            self.steering.check_name(op, args)
        if op == "send_command":
            if self.incoming.draining:
                raise Refusal(Reason.DRAINING, "the connector is stopping")
            sender = self.own if self.own.is_for_us(args) else self.outgoing
            return sender.send(caller, args, payload, now)
        if op == "send_event":
            return self.sending.send(caller, args, payload, now)
        if op == "wait_command":
            worker, major = text(args, "worker"), small(args, "major")
            if self.workers.is_gone(worker):
                self.aside.put(worker, caller, args)
                return []
            self.workers.waits(worker, major, now)
            name = text(args, "command")
            serves = self.workers.serves(worker, major, name)
            return self.queue.wait_command(
                caller,
                text(args, "iterator"),
                name,
                major,
                worker,
                serves[-1] if serves else None,
                now,
                seen=text(args, "seen") if "seen" in args else None,
                serves=serves,
            )
        if op == "wait_event":
            return self.queue.wait_event(
                caller,
                text(args, "iterator"),
                text(args, "topic"),
                None if args.get("event") is None else text(args, "event"),
                text(args, "reference"),
                text(args, "worker"),
                now,
                seen=text(args, "seen") if "seen" in args else None,
                receipts=args.get("receipts") is not False,
            )
        if op == "create_iterator":
            kind = text(args, "kind")
            if kind not in ("command", "event"):
                raise Refusal(Reason.BAD_ARGUMENT, f"kind must be command or event (got {kind!r:.40})")
            return self.queue.create_iterator(
                kind,
                now,
                lambda _later, made: [
                    Respond(caller, error=made)
                    if isinstance(made, Refusal)
                    else Respond(caller, {"iterator": made})
                ],
            )
        if op == "register":
            return self.setup.register(caller, args, now) + self._heard(text(args, "worker"), now)
        if op == "beat":
            if self.incoming.draining:
                # An error ends a Gandalf worker as "leave" does; ours only waits for the next router.
                raise Refusal(Reason.DRAINING, "the connector is stopping")
            worker = text(args, "worker")
            going_on = self.workers.beat(worker, small(args, "major"), small(args, "minor"), now)
            told = Respond(caller, {"valid": going_on, "boot": self.identity.boot})
            return [told, *self.versions.follow(now), *self._heard(worker, now)]
        if op == "subscribe":
            return self.subscribing.subscribe(caller, args, now)
        if op == "take_events":
            return self.subscribing.take_events(caller, args, now)
        if op == "acknowledge":
            return self.subscribing.acknowledge(caller, args, now)
        if op == "unsubscribe":
            return self.subscribing.unsubscribe(caller, args, now)
        if op == "await_reply":
            timeout = number(args, "timeout", 0, _LONGEST_WAIT_MS, 0)
            return self.queue.awaiting.wait(caller, text(args, "uuid", limit=64), timeout / 1000 or None, now)
        if op == "take":
            return self.holding.take(caller, args, now)
        if op == "settle":
            return self.holding.settle(caller, args, payload, now)
        if op == "give_back":
            return self.holding.give_back(caller, args, now)
        if op == "adopt":
            return self.holding.adopt(caller, args, now)
        if op == "tidings":
            return self.tidings.ask(caller, args, now) + self.versions.follow(now)
        if op == "status":
            return [Respond(caller, self.status(now))]
        if op == "operate":
            return self.operating.call(caller, args, payload, now)
        steered = self.steering.call(caller, op, args, payload, now)
        if steered is not None:
            return steered
        raise Refusal(Reason.BAD_ARGUMENT, f"unknown operation {op!r}")

    def _heard(self, worker: str, now: Instant) -> Actions:
        """A worker registered or beat: what it waits for counts again."""
        if self.workers.is_gone(worker):
            return []
        waits = self.aside.take(worker)
        return [a for caller, args in waits for a in self.call(caller, "wait_command", args, b"", now)]

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        self.aside.drop(caller)
        self.outgoing.cancel(caller)
        self.setup.cancel(caller)
        self.steering.cancel(caller)
        return self.tidings.cancel(caller, now) + self.queue.cancel(caller, now)

    def drain(self, now: Instant) -> Actions:
        """Take nothing new, hand out nothing more to streams, and let them finish."""
        self.incoming.draining = self.holding.draining = True
        refusal = Refusal(Reason.DRAINING, "the connector is stopping")
        actions = self.queue.end_takes(refusal, now) + self.tidings.drain(now)
        actions += self.steering.drain() + self.incoming.confirms.flush(now)
        return actions + self.journalling.hurry(now)

    # ---- time

    def tick(self, now: Instant) -> Actions:
        """What is due: mostly a look at the workers, for which the other parts are not gone through."""
        others = self._others_soon() <= now.mono
        actions = self._look(now)
        return actions + self._tick_others(now) if others else actions

    def _look(self, now: Instant) -> Actions:
        """Take their leases from workers that are silent."""
        self._looks.doubt()
        actions: Actions = []
        for gone in (silent := self.workers.tick(now)):
            actions.append(Note("info", "worker gone", {"worker": gone.who}))
            self._set_aside(gone.worker, now)
        actions += self.versions.follow(now)  # what comes back goes where it goes without them
        for gone in silent:
            actions += self.queue.release(gone.held, f"{gone.who} is silent", now)
        if overdue := self.workers.overdue(now):
            actions += self.queue.release(overdue, "its worker never registered, and is silent", now)
        return actions

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

    def worker_ended(self, worker: str, now: Instant) -> Actions:
        """The process of a supervised worker has ended, as its supervisor saw: no silence is waited for."""
        gone = self.workers.forget(worker)
        self._set_aside(worker, now)
        return self.versions.follow(now) + self.queue.release(gone.held, f"{gone.who} has ended", now)

    def _set_aside(self, worker: str, now: Instant) -> None:
        """Hand nothing to the waits of a worker that is silent, until it is heard again."""
        for waiter in self.queue.pass_over(worker, now) if worker else ():
            args = {"iterator": waiter.iterator, "command": waiter.name, "major": waiter.major}
            # Who may have that name was looked at when the wait came.
            self.aside.put(worker, waiter.caller, {**args, "worker": worker, "own": True})

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

    def serve_from_cache(self, now: Instant) -> Actions:
        """Begin: a connector that was validated before serves its workers at once."""
        return [Serve()] if self.setup.restore(now) else []

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
