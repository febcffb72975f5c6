"""Bugs planted in what becomes of leases: tokens, attempts, pauses between them, order, who holds what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from tests.simulation.planting import QueueVariant, become
from tests.simulation.variant import Variant
from zconnector.actions import Actions
from zconnector.clock import Instant
from zconnector.connector.machine import ConnectorMachine
from zconnector.errors import Refusal
from zconnector.queue.leases import Command, Lease
from zconnector.queue.local import LocalQueue
from zconnector.queue.outcomes import Done
from zconnector.queue.returns import Returns
from zconnector.queue.settling import Settlement, Settling
from zconnector.queue.states import State
from zconnector.queue.store import COMMANDS, Row
from zconnector.queue.timing import Timing


class _Settles(Variant):
    """Another way to settle."""

    made: type[Settling] = Settling

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.settling, self.made)


class _AnyToken(Settling):
    @staticmethod
    def _lease(command: Command | None, token: str) -> Lease | None:
        return None if command is None else command.lease


class TokenNotChecked(_Settles):
    """Whoever names a command settles it."""

    made = _AnyToken


class _Uncounted(Settling):
    def _nak(
        self, command: Command, lease: Lease, settlement: Settlement, now: Instant, done: Done
    ) -> Actions:
        command.attempt = 0
        return super()._nak(command, lease, settlement, now, done)


class AttemptsNotCounted(_Settles):
    """A nak forgets that there was an attempt."""

    made = _Uncounted


class _AtOnce(Settling):
    def _nak(
        self, command: Command, lease: Lease, settlement: Settlement, now: Instant, done: Done
    ) -> Actions:
        return super()._nak(command, lease, replace(settlement, delay=0), now, done)


class BackoffSkipped(_Settles):
    """What was put off comes again at once."""

    made = _AtOnce


class _LeavesItsChain(Settling):
    def _nak(
        self, command: Command, lease: Lease, settlement: Settlement, now: Instant, done: Done
    ) -> Actions:
        def told(later: Instant, refusal: Refusal | None) -> Actions:
            actions = done(later, refusal)
            if command.state is not State.DELAYED:
                return actions
            first = self._register._chains.remove(command)
            command.order_key = ""
            if first is None or first.state is not State.READY:
                return actions
            return actions + self._register.on_ready(first, later)

        return super()._nak(command, lease, settlement, now, told)


class OrderKeyIgnoredAfterNak(_Settles):
    """While one of an order key is put off, the next one goes."""

    made = _LeavesItsChain


class _LeasedLives(Timing):
    def _expired(self, command: Command, now: Instant) -> Actions:
        return [] if command.state is State.LEASED else super()._expired(command, now)


class TtlNotAppliedToLeased(Variant):
    """A command that somebody has lives for ever."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.timing, _LeasedLives)


class _KeepsLeases(LocalQueue):
    def give_back_all(self, holder: str, why: str, now: Instant, *, unseen: bool) -> tuple[int, Actions]:
        return 0, []


class StreamGivesNothingBack(QueueVariant):
    """A stream that has ended keeps its leases."""

    made = _KeepsLeases


class _OnlySays(Settling):
    def give_back(
        self, leases: Iterable[tuple[str, str]], why: str, now: Instant, *, unseen: bool
    ) -> tuple[int, Actions]:
        return len(list(leases)), []


class GiveBackLost(_Settles):
    """What is given back stays where it is."""

    made = _OnlySays


class _CountsUnseen(Returns):
    def end_lease(self, command: Command, why: str, now: Instant, *, unseen: bool = False) -> Actions:
        return super().end_lease(command, why, now)


class UnseenCounts(Variant):
    """What nobody saw costs an attempt."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.returns, _CountsUnseen)


class _FreesAll(LocalQueue):
    def restore(self, rows: Iterable[Row], now: Instant) -> None:
        super().restore(map(_freed, rows), now)


def _freed(row: Row) -> Row:
    if row.space != COMMANDS or row.meta["state"] != State.LEASED:
        return row
    meta = {name: value for name, value in row.meta.items() if name != "lease"}
    return replace(row, meta={**meta, "state": str(State.READY)})


class LeaseForgottenOnRestart(QueueVariant):
    """What was leased before a restart is ready after it."""

    made = _FreesAll


LEASE_MUTANTS: Mapping[str, type[Variant]] = {
    "token not checked": TokenNotChecked,
    "attempts not counted": AttemptsNotCounted,
    "backoff skipped": BackoffSkipped,
    "order key ignored after nak": OrderKeyIgnoredAfterNak,
    "ttl not applied to leased": TtlNotAppliedToLeased,
    "stream gives nothing back": StreamGivesNothingBack,
    "give_back lost": GiveBackLost,
    "unseen counts": UnseenCounts,
    "lease forgotten on restart": LeaseForgottenOnRestart,
}
