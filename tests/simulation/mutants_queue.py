"""Bugs planted in delays, priorities, dead letters, pauses, subscriptions, and who awaits replies."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.simulation.planting import QueueVariant, become
from tests.simulation.variant import Variant
from zconnector.actions import Actions, Caller, Commit
from zconnector.clock import Instant
from zconnector.connector.journalling import Journalling
from zconnector.connector.machine import ConnectorMachine
from zconnector.errors import Reason, Refusal
from zconnector.messages import Message
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.awaiting import Awaiting
from zconnector.queue.burials import Burials
from zconnector.queue.leases import Command
from zconnector.queue.letters import Letter
from zconnector.queue.local import LocalQueue
from zconnector.queue.offers import Offers
from zconnector.queue.pauses import PREFIX
from zconnector.queue.replays import Check, Replays
from zconnector.queue.retained import Event
from zconnector.queue.states import State
from zconnector.queue.store import COMMANDS, DOCUMENTS, OUTBOX, Bodies, Row
from zconnector.queue.subscriptions import Acknowledgement, Subscriptions
from zconnector.settings import QueueSettings
from zconnector.shoset.peers import Peer


class _NeverDelayed(LocalQueue):
    def restore(self, rows: Iterable[Row], now: Instant) -> None:
        super().restore(map(_at_once, rows), now)


def _at_once(row: Row) -> Row:
    if row.space != COMMANDS or row.meta["state"] != State.DELAYED:
        return row
    meta = {name: value for name, value in row.meta.items() if name not in ("due", "delay")}
    return replace(row, meta={**meta, "state": str(State.READY)})


class DelayForgottenOnRestart(QueueVariant):
    """What was delayed before a restart is ready after it."""

    made = _NeverDelayed


class _AllAlike(Offers):
    def _new(self, message: Message, size: int, retry: RetryPolicy | None, now: Instant) -> Command:
        command = super()._new(message, size, retry, now)
        command.priority = 0
        return command


class PriorityIgnored(Variant):
    """First come, first served."""

    def connector(self, machine: ConnectorMachine) -> None:
        offers = machine.router.queue._commands.offers
        become(offers, _AllAlike)


class _TellsNobody(Burials):
    def bury(self, command: Command, reason: Reason, detail: str, now: Instant, **more: Any) -> Actions:
        return [_without_reply(action) for action in super().bury(command, reason, detail, now, **more)]


def _without_reply(action: Any) -> Any:
    if not isinstance(action, Commit):
        return action
    return replace(action, writes=tuple(write for write in action.writes if write.space != OUTBOX))


class LetterWithoutFail(Variant):
    """A dead letter is stored, and its FAIL is not."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.burials, _TellsNobody)


class _SameUuid(Replays):
    def _command(self, letter: Letter, check: Check, now: Instant) -> Message | Refusal:
        command = super()._command(letter, check, now)
        if isinstance(command, Refusal):
            return command
        offers = self._offer.__self__  # type: ignore[attr-defined]
        offers._register._by_uuid.pop(letter.uuid, None)
        return command.with_fields(uuid=letter.uuid)


class ReplayUnderTheOldUuid(Variant):
    """A replayed letter is the command that has ended."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue.operators._replays, _SameUuid)


class _ForgetsPauses(LocalQueue):
    def restore(self, rows: Iterable[Row], now: Instant) -> None:
        super().restore(
            (row for row in rows if row.space != DOCUMENTS or not str(row.key).startswith(PREFIX)), now
        )


class PauseForgottenOnRestart(QueueVariant):
    """Pauses are not read back."""

    made = _ForgetsPauses


class _Subscribes(Variant):
    made: type[Subscriptions] = Subscriptions

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue.subscriptions, self.made)


class _UpTo(Subscriptions):
    def acknowledge(
        self, caller: Caller, name: str, holder: str, events: Sequence[Acknowledgement], now: Instant
    ) -> Actions:
        subscription = self._index.get(name)
        most = max(said.id for said in events)
        if subscription is not None and all(said.ok for said in events):
            for key in [key for key in subscription.open if key < most]:
                out = subscription.settle(key)
                if out is not None:
                    self._deliveries.done_with(subscription, key, out)
        return super().acknowledge(caller, name, holder, events, now)


class FloorPastUnacknowledged(_Subscribes):
    """An acknowledgement counts for all events before it."""

    made = _UpTo


class _AckInMemory(Subscriptions):
    def acknowledge(
        self, caller: Caller, name: str, holder: str, events: Sequence[Acknowledgement], now: Instant
    ) -> Actions:
        actions: Actions = []
        for action in super().acknowledge(caller, name, holder, events, now):
            actions += action.then(now, []) if isinstance(action, Commit) else [action]
        return actions


class AckNotDurable(_Subscribes):
    """An acknowledgement is answered, and stored when something else is."""

    made = _AckInMemory


class _AnyHandOut(Subscriptions):
    def acknowledge(
        self, caller: Caller, name: str, holder: str, events: Sequence[Acknowledgement], now: Instant
    ) -> Actions:
        return super().acknowledge(caller, name, holder, [said._replace(attempt=0) for said in events], now)


class LateNak(_Subscribes):
    """An event is handed out again at a late `ok=false` of an earlier hand-out."""

    made = _AnyHandOut


class _ForgetsOutstanding(Subscriptions):
    def restore(self, name: str, meta: dict[str, Any], now: Instant) -> int:
        return super().restore(name, {**meta, "open": []}, now)


class OutstandingForgottenOnRestart(Variant):
    """A restart takes what a subscription has handed out for acknowledged."""

    def queue(self, settings: QueueSettings, bodies: Bodies, rng: random.Random) -> LocalQueue:
        queue = super().queue(settings, bodies, rng)
        become(queue.subscriptions, _ForgetsOutstanding)
        return queue


class _AsGoodAsTold(Journalling):
    def _send(self, peer: Peer, now: Instant) -> Actions:
        actions = super()._send(peer, now)
        return actions + self._queue.journal.told(self._keys, now)


class JournalClearedOnSend(Variant):
    """A record leaves the connector when it was handed to a socket, before a member has it."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.journalling, _AsGoodAsTold)


class _Deaf(Awaiting):
    def arrived(self, event: Event) -> Actions:
        return []


class AwaiterNotWoken(Variant):
    """A reply that arrives wakes nobody who awaits it."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue.awaiting, _Deaf)


QUEUE_MUTANTS: Mapping[str, type[Variant]] = {
    "delay forgotten on restart": DelayForgottenOnRestart,
    "priority ignored": PriorityIgnored,
    "letter without FAIL": LetterWithoutFail,
    "replay under the old uuid": ReplayUnderTheOldUuid,
    "pause forgotten on restart": PauseForgottenOnRestart,
    "subscription floor past an unacked event": FloorPastUnacknowledged,
    "ack not durable": AckNotDurable,
    "late nak": LateNak,
    "awaiter not woken": AwaiterNotWoken,
    "outstanding forgotten on restart": OutstandingForgottenOnRestart,
    "journal cleared on send": JournalClearedOnSend,
}
