"""Bugs planted on purpose: the simulation must find each of them.

Each puts a subclass in the place of one part as a process is built; nothing is patched, and worlds without
a mutant never see this module's classes. To plant another: a subclass with the bug, a Variant that puts it in
place, a line in MUTANTS, and the seed that `scripts/simulate.sh --hunt` finds in FOUND.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.simulation.mutants_leases import LEASE_MUTANTS
from tests.simulation.mutants_queue import QUEUE_MUTANTS
from tests.simulation.planting import QueueVariant, become
from tests.simulation.process import Process
from tests.simulation.variant import Variant
from zconnector.actions import Actions, Link
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.aggregator.router import AggregatorRouter
from zconnector.clock import Instant
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine
from zconnector.connector.outgoing import Outgoing
from zconnector.connector.workers import Gone, Workers
from zconnector.errors import StorageError
from zconnector.messages.codec import Frames
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.message import Message, is_completion
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.endings import Endings
from zconnector.queue.leases import Command
from zconnector.queue.local import LocalQueue, Offered, Published
from zconnector.queue.outbox import Outbox
from zconnector.queue.outcomes import Completed, OnCompleted, OnOffered, OnPublished
from zconnector.queue.returns import Returns
from zconnector.queue.states import ENDED, State
from zconnector.queue.store import COMMANDS, OUTBOX, Delete, Row
from zconnector.shoset.dispatch import Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches
from zconnector.shoset.peers import Peer

# ---- receipt before commit


class _ReceiptsEarly(LocalQueue):
    def offer(
        self, command: Message, now: Instant, done: OnOffered, retry: RetryPolicy | None = None
    ) -> Actions:
        if self.knows_command(command.uuid):
            return super().offer(command, now, done, retry)
        early = done(now, Offered("STORED"))
        return early + super().offer(command, now, lambda later, offered: [], retry)


class ReceiptBeforeCommit(QueueVariant):
    """ON_GOING is sent before the command is durable."""

    made = _ReceiptsEarly


# ---- shared receipt channel


class _SharedReceipts(Outgoing):
    def receipt(self, event: Message, peer: Peer, now: Instant) -> Actions:
        if event.text("event") != Outcome.ON_GOING:
            return super().receipt(event, peer, now)
        for dispatch in self._tries.all():
            if dispatch.message.text("command") == event.text("topic"):
                return self._tries.settle(dispatch.key, Verdict.ACCEPTED, event, now)
        return []


class SharedReceiptChannel(Variant):
    """Whoever waits on a command's name takes the next receipt of that name."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.outgoing, _SharedReceipts)


# ---- no uuid uniqueness


class _KnowsNoUuid(LocalQueue):
    def knows_command(self, uuid: str) -> bool:
        return False

    def offer(
        self, command: Message, now: Instant, done: OnOffered, retry: RetryPolicy | None = None
    ) -> Actions:
        known = self._register.find(command.uuid)
        if known is not None and known.state not in (State.STORING, State.COMPLETING):
            del self._register._by_uuid[command.uuid]
        return super().offer(command, now, done, retry)


class NoUuidUniqueness(QueueVariant):
    """A uuid that comes again is another command."""

    made = _KnowsNoUuid


# ---- no fencing


class _TakesEveryCompletion(Endings):
    def complete(self, reply: Message, now: Instant, done: OnCompleted) -> Actions:
        command = self._register.find(reply.reference)
        if command is None or command.state not in ENDED or not is_completion(reply.text("event")):
            return super().complete(reply, now, done)
        draft = self._finish.reply(command, reply, now)
        if draft is None:
            return done(now, Completed("LATE"))

        def then(later: Instant) -> Actions:
            self._outbox.accept(draft, later)
            return done(later, Completed("COMPLETED"))

        def failed(later: Instant, _: StorageError) -> Actions:
            self._outbox.abandon(draft)
            return done(later, Completed("LATE"))

        return [self._commits.commit([draft.write], then, failed)]


class NoFencing(Variant):
    """A completion after the end is accepted as well.

    With the Gandalf API a completion carries no token of its lease: what fences is that only the first
    one counts, so this is what there is to leave out.
    """

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.endings, _TakesEveryCompletion)


# ---- lease kept after disconnect


class _NeverMissed(Workers):
    def tick(self, now: Instant) -> list[Gone]:
        super().tick(now)
        return []


class LeaseKeptAfterDisconnect(Variant):
    """A worker that fell silent is forgotten, and its lease is not."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.workers, _NeverMissed)


# ---- silent ROUTER drop


class _DropsSilently(Process):
    def _transmit(self, link: Link, frames: Frames) -> bool:
        told = self.told
        if super()._transmit(link, frames):
            return True
        if type(link) is not bytes:
            return False
        self.told = told
        return True


class SilentRouterDrop(Variant):
    """Without ROUTER_MANDATORY: what has no route is dropped, and nobody is told."""

    process = _DropsSilently


# ---- event outbox cleared on send


class _SentIsDone(LocalQueue):
    def outbox_sent(self, key: int, now: Instant) -> None:
        entry = self._outbox._entries.get(key)
        if entry is None or entry.recipient:
            super().outbox_sent(key, now)
            return
        self._outbox._drop(entry)
        self._commits.ride(Delete(OUTBOX, key))


class OutboxClearedOnSend(QueueVariant):
    """An event leaves the outbox as it is handed to a socket, not at its CONFIRM."""

    made = _SentIsDone


# ---- tenant taken from the message


class _TrustsItsConnectors(AggregatorRouter):
    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        theirs = message.text("tenant")
        if peer.upward or not theirs or theirs == self.identity.tenant:
            return super().received(peer, message, now)
        stamped = message.with_fields(source=peer.name)
        if message.kind is Kind.COMMAND:
            return self._command_up(peer, stamped, now)
        return self.forwarding.to_a_member(peer, stamped, now)


class _TrustsItsAggregators(ClusterRouter):
    def received(self, peer: Peer, message: Message, now: Instant) -> Actions:
        theirs = message.text("tenant") or peer.tenant
        if theirs != peer.tenant and message.kind in (Kind.COMMAND, Kind.EVENT):
            others = [p for p in self._shoset.peers() if p.tenant == theirs]
            if others:
                return super().received(others[0], message, now)
        return super().received(peer, message, now)


class TenantFromMessage(Variant):
    """The tenant that a message names is believed."""

    def aggregator(self, machine: AggregatorMachine) -> None:
        become(machine.router, _TrustsItsConnectors)

    def member(self, router: ClusterRouter) -> None:
        become(router, _TrustsItsAggregators)


# ---- dedupe forgotten on restart


class _ForgetsTheEnded(LocalQueue):
    def restore(self, rows: Iterable[Row], now: Instant) -> None:
        ended = [str(state) for state in ENDED]
        kept = (row for row in rows if row.space != COMMANDS or row.meta["state"] not in ended)
        super().restore(kept, now)


class DedupeForgottenOnRestart(QueueVariant):
    """Ended commands are not read back."""

    made = _ForgetsTheEnded


# ---- lost wake-up


class _WakesNobody(Returns):
    def end_lease(self, command: Command, why: str, now: Instant, *, unseen: bool = False) -> Actions:
        line = self._register.line((command.name, command.admin))
        parked, line.waiting = line.waiting, {}
        actions = super().end_lease(command, why, now, unseen=unseen)
        line.waiting = parked
        return actions


class LostWakeUp(Variant):
    """A command whose lease has ended is ready, and who waits for one is not told."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.returns, _WakesNobody)


# ---- T instead of T/n


class _WholeBudget(Dispatches[Any]):
    def _advance(self, dispatch: Dispatch[Any], now: Instant) -> Actions:
        dispatch.serial.share = dispatch.serial.ends - now.mono
        return super()._advance(dispatch, now)


class WholeTimeoutForEachRoute(Variant):
    """The first instance is waited for until the whole timeout is over."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.outgoing._tries, _WholeBudget)


# ---- retry without bound


class _NeverBacksOff(Outbox):
    def sent(self, key: int, now: Instant) -> None:
        entry = self._entries.get(key)
        if entry is not None:
            entry.attempts += 1
            self._put_off(entry, now.mono + 0.001)


class RetryWithoutBound(Variant):
    """What is not confirmed is sent again every millisecond."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._outbox, _NeverBacksOff)


# ---- two more


class _ConfirmsEarly(LocalQueue):
    def publish(self, event: Message, now: Instant, *, outbox: bool, done: OnPublished) -> Actions:
        if not event.text("recipient") or outbox or self.knows_event(event.uuid):
            return super().publish(event, now, outbox=outbox, done=done)
        early = done(now, Published("STORED"))
        return early + super().publish(event, now, outbox=outbox, done=lambda later, published: [])


class ConfirmBeforeCommit(QueueVariant):
    """A reply is CONFIRMed to its sender before it is durable here."""

    made = _ConfirmsEarly


class _CountsEarly(LocalQueue):
    def publish(self, event: Message, now: Instant, *, outbox: bool, done: OnPublished) -> Actions:
        actions = super().publish(event, now, outbox=outbox, done=done)
        if event.number("seq"):
            self.sequenced(event.number("seq"), now)
        return actions


class CursorAheadOfEvents(QueueVariant):
    """The cursor moves before the event that it counts is durable."""

    made = _CountsEarly


MUTANTS: Mapping[str, type[Variant]] = {
    "receipt before commit": ReceiptBeforeCommit,
    "shared receipt channel": SharedReceiptChannel,
    "no uuid uniqueness": NoUuidUniqueness,
    "no fencing": NoFencing,
    "lease kept after disconnect": LeaseKeptAfterDisconnect,
    "silent ROUTER drop": SilentRouterDrop,
    "outbox cleared on send": OutboxClearedOnSend,
    "tenant from the message": TenantFromMessage,
    "dedupe forgotten on restart": DedupeForgottenOnRestart,
    "lost wake-up": LostWakeUp,
    "T instead of T/n": WholeTimeoutForEachRoute,
    "retry without bound": RetryWithoutBound,
    "confirm before commit": ConfirmBeforeCommit,
    "cursor ahead of events": CursorAheadOfEvents,
    **LEASE_MUTANTS,
    **QUEUE_MUTANTS,
}
