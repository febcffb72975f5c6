"""Commands that our workers send (DESIGN section 4, "Send a command"), pure.

| outcome | the sender hears |
|---|---|
| ACCEPTED | its uuid |
| REJECTED | the target's or the cluster's reason |
| NOT_SENT | the last reason heard (NO_AGGREGATOR, TARGET_AWAY, ...): no copy of this uuid was stored |
| UNKNOWN | its uuid, once it is remembered that a FAIL follows if no receipt ever comes |
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zconnector.actions import Actions, Caller, Note, Reach, Respond, Then
from zconnector.clock import Deadlines, Instant
from zconnector.connector.composing import Composer
from zconnector.connector.places import InstancePlaces
from zconnector.connector.waiting import Line, Queued, Senders, WaitingRoom
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.messages.message import Message, body_digest
from zconnector.queue.local import LocalQueue
from zconnector.settings import ConnectorSettings
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.identity import Identity
from zconnector.shoset.peers import Peer
from zconnector.shoset.shoset import Shoset
from zconnector.shoset.traces import Traces

_MAX_IN_FLIGHT = 10_000
_BEFORE_SEND, _AFTER_SEND = Reach("source.before_send"), Reach("source.after_send")
_AFTER_RECEIPT = Reach("source.after_receipt")
_ACCEPTED, _NO_AGGREGATOR = Verdict.ACCEPTED, Reason.NO_AGGREGATOR
"""A member of an enumeration costs as much as ten names (CPython 3.11)."""


class Outgoing:
    """Commands of ours without an outcome yet.

    Invariant: while a command waits, there is no place for it (see `places.py`). One that was under way and
    finds no place any more waits too: before those that came after it.
    """

    def __init__(
        self,
        identity: Identity,
        shoset: Shoset,
        queue: LocalQueue,
        settings: ConnectorSettings,
        rng: random.Random,
        traces: Traces | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.composer = Composer(identity, settings, rng)
        self._traces = traces or Traces()
        self._identity = identity
        self._shoset = shoset
        self._queue = queue
        self._places = InstancePlaces(queue.agenda)
        self._tries: Dispatches[Queued] = Dispatches(
            _MAX_IN_FLIGHT, rng, self._send_over, self._ended, self._places, queue.agenda
        )
        self._waiting = WaitingRoom(queue.agenda)
        self._senders: dict[Caller, Senders] = {}
        """By each call that waits for the outcome of one of them."""
        self._letting_in = False

    def __len__(self) -> int:
        return len(self._tries) + len(self._waiting)

    def _uuids(self) -> Iterator[str]:
        """Of all that are here."""
        yield from (dispatch.key for dispatch in self._tries.all())
        yield from self._waiting.queued

    def holds(self, uuid: str) -> bool:
        """Whether a command of that uuid is here, without an outcome yet."""
        return self._tries.get(uuid) is not None or self._waiting.get(uuid) is not None

    def send(self, caller: Caller, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        """A worker sends a command; `caller` is answered with the outcome.

        Raises:
            Refusal: BAD_ARGUMENT, TOO_LARGE, BUSY; CONFLICT with one of the same uuid under way.
        """
        command = self.composer.command(args, payload, now)
        uuid = command.uuid
        under_way, waiting = self._tries.get(uuid), self._waiting.queued.get(uuid)
        if under_way is not None:
            return self._join(command, under_way.message, under_way.context.senders, caller)
        if waiting is not None:
            return self._join(command, waiting.command, waiting.senders, caller)
        in_flight = len(self._tries) + len(self._waiting.queued)
        if in_flight >= _MAX_IN_FLIGHT:
            raise Refusal(Reason.BUSY, f"{_MAX_IN_FLIGHT} commands are in flight", uuid)
        doubt = self._queue.is_unknown(uuid)
        if not doubt:
            self._queue.check_unknown_room(uuid, in_flight, self._uuids)
        self.counters["sent"] += 1
        self._trace(uuid, now, "given by a worker{}", _by(command))
        ends = now.mono + (command.number("accept_until") - now.wall) / 1000
        queued = Queued(command, Senders([caller]), ends, doubt)
        self._senders[caller] = queued.senders
        if ends <= now.mono:
            return self._tell(queued, _ending_unread(), now)
        if not queued.doubt:
            return self._begin(queued, now)
        # Before this copy can be stored anywhere it is on the disk that the FAIL waits for it too.
        self._waiting.hold(queued)
        return self._queue.remember_unknown(
            command, now, lambda later, refusal: self._remembered(queued, refusal, later)
        )

    def _remembered(self, queued: Queued, refusal: Refusal | None, now: Instant) -> Actions:
        uuid = queued.command.uuid
        if self._waiting.get(uuid) is not queued:
            return []  # it has its outcome: from an earlier copy, or its time is over
        if refusal is None:
            self._waiting.release(queued)
            return self._let_in(now)
        self._waiting.take(uuid)
        self._let_go(queued.senders)
        return _unknown(queued.senders, uuid, refusal)

    def _join(self, command: Message, first: Message, senders: Senders, caller: Caller) -> Actions:
        """One more sender of a command that is here already. Raises Refusal: CONFLICT."""
        if body_digest(first) != body_digest(command):
            raise Refusal(Reason.CONFLICT, "the uuid is in use for another command", command.uuid)
        senders.callers.append(caller)
        self._senders[caller] = senders
        return []

    def _let_go(self, senders: Senders) -> None:
        """They have, or are about to have, their answer."""
        for caller in senders.callers:
            self._senders.pop(caller, None)

    def _routes(self, spent: frozenset[Peer]) -> Sequence[Peer]:
        """The live instances without those spent; when all are, they may be asked again."""
        live = self._shoset.above()
        return ([peer for peer in live if peer not in spent] or live) if spent else live

    def _may_go(self, line: Line) -> bool:
        """Without any instance all go: each hears of it at once."""
        name, spent = line
        routes = self._routes(spent)
        for peer in routes:
            if self._places.free_for(peer, name):
                return True
        return not routes

    def _any_place(self) -> bool:
        """False: nobody may go, however many wait."""
        live = self._shoset.above()
        return not live or any(self._places.free_for_some(peer) for peer in live)

    def _begin(self, queued: Queued, now: Instant) -> Actions:
        """At once, where nobody waits and there is a place: as if it had come to wait, and been let in."""
        if self._waiting.queued or self._letting_in or not self._may_go(queued.line):
            self._waiting.add(queued)
            return self._let_in(now)
        self._waiting.count(queued)
        self._letting_in = True
        try:
            actions = self._start(queued, now)
        finally:
            self._letting_in = False
        return actions + self._let_in(now) if self._waiting.queued else actions

    def _let_in(self, now: Instant) -> Actions:
        """Begin what waits, as far as there are places.

        One that ends as it begins (nobody took it) leaves its place to the next one in this same loop, not
        in one within: thousands may wait when the last session goes.
        """
        if self._letting_in or not self._waiting.queued:
            return []
        self._letting_in = True
        actions: Actions = []
        try:
            while self._any_place() and (queued := self._waiting.take_first(self._may_go)) is not None:
                actions += self._start(queued, now)
        finally:
            self._letting_in = False
        if self._waiting.queued:
            for peer in self._shoset.above():
                if not peer.room:
                    self._shoset.await_room(peer)
        return actions

    def _start(self, queued: Queued, now: Instant) -> Actions:
        command = queued.command
        uuid = command.uuid
        routes, budget = self._routes(queued.spent), queued.ends - now.mono
        return [
            Note("debug", "command sent", {"uuid": uuid, "type": command.text("type")}),
            _BEFORE_SEND,
            *self._tries.start(uuid, command, routes, budget, queued, now, without_routes=_NO_AGGREGATOR),
            _AFTER_SEND,
        ]

    def cancel(self, caller: Caller) -> None:
        """The sender is gone: the command goes on without it."""
        senders = self._senders.pop(caller, None)
        if senders is not None:
            senders.callers.remove(caller)

    def receipt(self, event: Message, peer: Peer, now: Instant) -> Actions:
        """A receipt from the event queue, matched by the command's uuid."""
        uuid, name, digest = event.reference, event.text("event"), event.text("digest")
        under_way, waiting = self._tries.get(uuid), self._waiting.queued.get(uuid)
        ours = under_way.message if under_way else waiting.command if waiting else None
        if ours is not None and digest and digest != body_digest(ours):
            # A late one, of an earlier command with this uuid: it says nothing about the one that is here.
            self.counters["receipts_of_another_body"] += 1
            return []
        why = f" {event.text('reason')}" if "reason" in event.header else ""
        self._trace(uuid, now, "receipt {}{}, over instance {}", name, why, peer.instance)
        if name == Outcome.NO_ROUTE:
            reason = _known(event.text("reason"), Reason.TARGET_AWAY)
            return self._tries.decline(uuid, peer, reason, event.text("detail"), now) + self._let_in(now)
        verdict = Verdict.REJECTED if name == Outcome.REJECTED else _ACCEPTED
        if verdict is _ACCEPTED:
            self._queue.awaiting.accepted(uuid)
        if waiting is not None:  # of a copy sent before, whose outcome was unknown
            self._waiting.take(uuid)
            ending = Ending(verdict, event, Reason.TIMED_OUT, "")
            return self._tell(waiting, ending, now)
        if under_way is None:
            self.counters["late_receipts"] += 1
            return self._queue.forget_unknown(uuid, now) if verdict is Verdict.ACCEPTED else []
        return self._tries.settle(uuid, verdict, event, now)

    def under_way(self, uuid: str) -> Dispatch[Queued] | None:
        """The command of a uuid, where it is being tried."""
        return self._tries.get(uuid)

    def waiting(self, uuid: str) -> Queued | None:
        """The command of a uuid, where it waits for a place."""
        return self._waiting.get(uuid)

    def _send_over(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions:
        self._trace(messages[0].uuid, now, "sent over instance {}", peer.instance)
        return self._shoset.send(peer, messages, now, refused)

    def _trace(self, uuid: str, now: Instant, what: str, *about: object) -> None:
        self._traces.add(self._identity.tenant, uuid, now.wall, what, *about)

    def room_again(self, now: Instant) -> Actions:
        """A session came up, or has credit again."""
        return self._let_in(now)

    def session_down(self, peer: Peer, now: Instant) -> Actions:
        self._places.forget(peer)
        return self._tries.lost(peer, now) + self._let_in(now)

    def tick(self, now: Instant) -> Actions:
        actions: Actions = []
        for queued in self._waiting.overdue(now.mono):  # first: a try that ends now begins none of them
            ending = Ending(Verdict.NOT_SENT, None, Reason.BUSY, "too many commands were before it")
            actions += self._tell(queued, ending, now)
        self._places.tick(now)
        return actions + self._tries.tick(now) + self._let_in(now)

    @property
    def deadlines(self) -> Deadlines:
        return (self._tries.deadline, self._waiting.deadline, self._places.deadline)

    def _ended(self, dispatch: Dispatch[Queued], ending: Ending, now: Instant) -> Actions:
        queued, serial = dispatch.context, dispatch.serial
        queued.doubt = queued.doubt or bool(serial.doubtful)
        if ending.answer is None and serial.busy and now.mono < queued.ends:
            queued.spent = queued.spent.union(serial.tried).difference(serial.busy)
            self._waiting.add(queued)
            return self._let_in(now)
        return self._tell(queued, ending, now) + self._let_in(now)

    def _tell(self, queued: Queued, ending: Ending, now: Instant) -> Actions:
        uuid, senders, verdict = queued.command.uuid, queued.senders, ending.verdict
        self._let_go(senders)
        if queued.doubt and verdict is Verdict.NOT_SENT:
            verdict = Verdict.UNKNOWN
        self.counters[str(verdict)] += 1
        if verdict is not _ACCEPTED:  # then the receipt says so
            self._trace(uuid, now, "its sender was told {}", verdict)
        if verdict is _ACCEPTED:
            told = [Respond(c, {"uuid": uuid, "outcome": "ACCEPTED"}) for c in senders.callers]
            # An earlier try of the same uuid may have ended UNKNOWN; no FAIL is to follow this one.
            return [_AFTER_RECEIPT, *told, *self._queue.forget_unknown(uuid, now)]
        if verdict is Verdict.UNKNOWN:
            return self._queue.remember_unknown(
                queued.command, now, lambda _later, refusal: _unknown(senders, uuid, refusal)
            )
        reason, detail = ending.reason, ending.detail
        if ending.answer is not None:
            reason = _known(ending.answer.text("reason"), Reason.INVALID_PAYLOAD)
            detail = ending.answer.text("detail")
        refusal = Refusal(reason, detail, uuid)
        told = [Respond(c, error=refusal) for c in senders.callers]
        return [*told, *self._queue.refused(queued.command.text("command"), uuid, refusal)]


def _ending_unread() -> Ending:
    return Ending(Verdict.NOT_SENT, None, Reason.BUSY, "its time was over before the router came to it")


def _unknown(senders: Senders, uuid: str, refusal: Refusal | None) -> Actions:
    """UNKNOWN is answered even when it could not be remembered: an error would say "not taken"."""
    notes: Actions = []
    if refusal is not None:
        notes.append(Note("error", "unknown outcome not stored", {"uuid": uuid, "why": refusal.detail}))
    return notes + [Respond(c, {"uuid": uuid, "outcome": "UNKNOWN"}) for c in senders.callers]


def _by(command: Message) -> str:
    return f" ({command.text('worker')})" if "worker" in command.header else ""


def _known(reason: str, otherwise: Reason) -> Reason:
    return Reason(reason) if reason in Reason.__members__ else otherwise
