"""The calls at the connector's door (WIRE.md section 14): which part of the router performs which. Pure.

| who | call | goes to |
|---|---|---|
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

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from zconnector.actions import Actions, Caller, Respond
from zconnector.clock import Instant
from zconnector.connector.arguments import number, small, text
from zconnector.connector.aside import Aside
from zconnector.connector.holding import Holding
from zconnector.connector.incoming import Incoming
from zconnector.connector.operating import Operating
from zconnector.connector.outgoing import Outgoing
from zconnector.connector.own import Own
from zconnector.connector.sending import EventSending
from zconnector.connector.setup import Setup
from zconnector.connector.steering import Steering
from zconnector.connector.subscribing import Subscribing
from zconnector.connector.tidings import Tidings
from zconnector.connector.versions import Versions
from zconnector.connector.workers import Workers
from zconnector.errors import Reason, Refusal
from zconnector.queue.local import LocalQueue

_LONGEST_WAIT_MS = 30 * 86_400_000


@dataclass(slots=True, eq=False, kw_only=True)
class Calls:
    """The parts of a router that calls go to. One of them answers each call, or its caller is refused."""

    boot: str
    """Boot id of this process."""
    queue: LocalQueue
    workers: Workers
    versions: Versions
    aside: Aside
    incoming: Incoming
    outgoing: Outgoing
    own: Own
    sending: EventSending
    setup: Setup
    subscribing: Subscribing
    holding: Holding
    tidings: Tidings
    steering: Steering
    operating: Operating
    status: Callable[[Instant], dict[str, Any]]
    """Of the whole router."""

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """One call. A Refusal becomes its answer."""
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
        if op == "await_reply":
            timeout = number(args, "timeout", 0, _LONGEST_WAIT_MS, 0)
            return self.queue.awaiting.wait(caller, text(args, "uuid", limit=64), timeout / 1000 or None, now)
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
            told = Respond(caller, {"valid": going_on, "boot": self.boot})
            return [told, *self.versions.follow(now), *self._heard(worker, now)]
        if op == "subscribe":
            return self.subscribing.subscribe(caller, args, now)
        if op == "take_events":
            return self.subscribing.take_events(caller, args, now)
        if op == "acknowledge":
            return self.subscribing.acknowledge(caller, args, now)
        if op == "unsubscribe":
            return self.subscribing.unsubscribe(caller, args, now)
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
        """Whoever made a call does not wait for its answer any more."""
        self.aside.drop(caller)
        self.outgoing.cancel(caller)
        self.setup.cancel(caller)
        self.steering.cancel(caller)
        return self.tidings.cancel(caller, now) + self.queue.cancel(caller, now)
