"""Bugs planted in worker versions: each is found by worlds with versions (`simulate.sh --versions`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tests.simulation.planting import QueueVariant, become
from tests.simulation.repositories import SimulatedPackages
from tests.simulation.variant import Variant
from zconnector.actions import Actions as QueueActions
from zconnector.clock import Instant
from zconnector.connector.admin import AdminWorker
from zconnector.connector.machine import ConnectorMachine
from zconnector.connector.readying import Ready, Readying
from zconnector.connector.versions import NONE, Versions
from zconnector.connector.workers import Gone, Workers
from zconnector.messages.message import Message
from zconnector.queue.leases import Command
from zconnector.queue.local import LocalQueue
from zconnector.queue.offers import Offers
from zconnector.repository.layout import WorkerName
from zconnector.versions.actions import Actions, Advance, Answer, Start, Stop
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition
from zconnector.versions.manager import Manager
from zconnector.versions.rollout import Rollout
from zconnector.versions.rollouts import Rollouts
from zconnector.versions.states import Memory, Plan, Step, numbers
from zconnector.versions.stock import Kept, Stock

# ---- the rollout


class _ShiftsEarly(Rollouts):
    def _advance(self, advance: Advance, now: Instant) -> Actions:
        if advance.step is not Step.SHIFTING or self.going is None:
            return super()._advance(advance, now)
        kept = super()._advance(advance, now)
        thens = self._commits.thens
        thens[-1] = (thens[-1][0], lambda later: [])
        return [*self.digest(self.entered(Step.DRAINING, now), now), *kept]


class ShiftBeforeTheCommit(Variant):
    """Traffic goes to the new version, and the old one is stopped, before that is known to be durable."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager.rollouts, _ShiftsEarly)


class _StopsFirst(Rollout):
    def enter(self, step: Step, now: Instant) -> Actions:
        stops: Actions = [Stop(v) for v in self.plan.removed] if step is Step.STARTING else []
        return [*stops, *super().enter(step, now)]


class _WithRollout(Rollouts):
    made: type[Rollout]

    def _begin(self, plan: Plan) -> None:
        super()._begin(plan)
        if self.going is not None:
            become(self.going, self.made)


class _StopsFirstRollouts(_WithRollout):
    made = _StopsFirst


class OldStoppedFirst(Variant):
    """The old version is stopped before the new one has registered."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager.rollouts, _StopsFirstRollouts)


class _StopsBoth(Rollout):
    def enter(self, step: Step, now: Instant) -> Actions:
        actions = super().enter(step, now)
        if step is not Step.ROLLING_BACK:
            return actions
        stops: Actions = [Stop(version, drain=False) for version in self.plan.old]
        return [action for action in actions if not isinstance(action, Start)] + stops


class _StopsBothRollouts(_WithRollout):
    made = _StopsBoth


class RollbackStopsBoth(Variant):
    """A rollback ends the old version too."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager.rollouts, _StopsBothRollouts)


class _Forgets(Manager):
    def restore(self, document: Mapping[str, Any] | None, now: Instant) -> Actions:
        if document is not None:
            self.commits.memory = Memory.from_dict(document)
        return [Start(version) for version in self.memory.running]


class RolloutForgottenAtRestart(Variant):
    """What runs is started again, and the rollout that went on is not taken up."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager, _Forgets)


class _GatesNobody(Rollout):
    def enter(self, step: Step, now: Instant) -> Actions:
        actions = super().enter(step, now)
        if step is Step.GATING and not self.leaving:
            self.leaving = True
            return [Advance(Step.SHIFTING)]
        return actions


class _GatesNobodyRollouts(_WithRollout):
    made = _GatesNobody


class NoGate(Variant):
    """Whoever has registered gets traffic."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager.rollouts, _GatesNobodyRollouts)


class _AnswersEarly(Manager):
    def ask(self, ask: str, verb: Any, version: Any, uuid: str, now: Instant) -> Actions:
        actions = super().ask(ask, verb, version, uuid, now)
        if (
            verb in (Verb.UPDATE, Verb.START, Verb.STOP)
            and version
            and not any(isinstance(action, Answer) for action in actions)
        ):
            self.requests.forget(ask)
            actions.append(Answer(ask, numbers(version)))
        return actions


class AnsweredBeforeItIsDone(Variant):
    """An admin command has its SUCCES as its rollout begins."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager, _AnswersEarly)


class _TakesTheLatest(Readying):
    async def start(self, wanted: Any, version: Any, content: str) -> Ready:
        return await super().start(wanted, version, "")


class LatestContentStarted(Variant):
    """A start takes what lies on the disk last, whatever was gated."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._hands.readying, _TakesTheLatest)


class _OneForAll(Manager):
    def wanted_for(self, edition: Any) -> Any:
        return self.wanted


class LatestValuesStarted(Variant):
    """A start has the keys of the configuration, whether they passed the gate or not."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager, _OneForAll)


# ---- which version a command goes to


class _HoldsNobody(Versions):
    def steer(
        self, shares: Any, pins: Any, held: Iterable[str], drained: Iterable[str], now: Instant, *rest: Any
    ) -> QueueActions:
        return super().steer(shares, pins, (), drained, now, *rest)


class HeldVersionGetsTraffic(Variant):
    """What is held back is served as all others are."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.versions, _HoldsNobody)


class _DrainsNobody(Versions):
    def steer(
        self, shares: Any, pins: Any, held: Iterable[str], drained: Iterable[str], now: Instant, *rest: Any
    ) -> QueueActions:
        return super().steer(shares, pins, held, (), now, *rest)


class DrainedStillServed(Variant):
    """A drained version gets new commands all the same."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.versions, _DrainsNobody)


class _AimsAtNobody(Versions):
    def steer(
        self,
        shares: Any,
        pins: Any,
        held: Iterable[str],
        drained: Iterable[str],
        now: Instant,
        aims: Any = NONE,
        beside: Iterable[str] = (),
    ) -> QueueActions:
        return super().steer(shares, pins, held, drained, now, NONE, beside)


class CanaryOfAnEditionNotAimed(Variant):
    """The canary of new values goes by its version: to the edition that has the old ones."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.versions, _AimsAtNobody)


class _SilenceIsNoChange(Workers):
    def tick(self, now: Instant) -> list[Gone]:
        changes = self.changes
        gone = super().tick(now)
        self.changes = changes
        return gone


class SilentVersionStillRouted(Variant):
    """The table is not made anew when a version falls silent: its commands wait for it."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.workers, _SilenceIsNoChange)


class _KeepsTheEnded(Workers):
    def forget(self, worker: str) -> Gone:
        return Gone(worker, lambda lease: lease.worker == worker, worker)

    def _must_beat(self, key: tuple[str, int, int]) -> bool:
        return False


class EndedRegistrationKept(Variant):
    """What a process registered counts when it has ended."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.workers, _KeepsTheEnded)


class _BindsWhenStored(Offers):
    def _new(self, message: Message, *rest: Any) -> Command:
        command = super()._new(message, *rest)
        active = sorted(self._register.routing.active, reverse=True)
        if active and not command.major and not command.admin:
            command.major = active[0].major
        return command


class BoundWhenStored(Variant):
    """A command of major 0 is of the newest version's major as it is stored, not as it is leased."""

    def connector(self, machine: ConnectorMachine) -> None:
        become(machine.router.queue._commands.offers, _BindsWhenStored)


class _Unshared(LocalQueue):
    def route(self, routing: Any, now: Instant) -> QueueActions:
        return super().route(replace(routing, shares={}), now)


class SharesIgnored(QueueVariant):
    """All goes to the newest version, whatever the shares say."""

    made = _Unshared


class _KeepsForRollbackOnly(Manager):
    def stock(self) -> Stock:
        before = self.memory.previous or self.memory.running
        return Stock(frozenset(Kept("", one, self.content(one)) for one in before))


class WhatRunsLeavesTheDisk(Variant):
    """What a rollback needs stays, and of its versions nothing else."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager, _KeepsForRollbackOnly)
        admin._hands._ready = _Never()


class _Never(dict[Edition, Ready]):
    """What processes run from, forgotten by whoever asks for all of it."""

    def items(self) -> Any:
        return ()


class _OneProduct(SimulatedPackages):
    async def workers(self, type_: str) -> list[WorkerName]:
        return []


class FormerProductStays(Variant):
    """Only the folders of the product that is configured are looked at."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._hands.readying._packages, _OneProduct)


class _ForgetsProducts(Manager):
    def stock(self) -> Stock:
        stock = super().stock()
        mine = {kept for kept in stock.kept if kept.product == stock.configured}
        return replace(stock, kept=frozenset(mine or stock.kept))


class FormerProductLeavesTooSoon(Variant):
    """As soon as another one runs, whatever a rollback would go back to."""

    def admin(self, admin: AdminWorker) -> None:
        become(admin._manager, _ForgetsProducts)


VERSION_MUTANTS: Mapping[str, type[Variant]] = {
    "shift before the commit": ShiftBeforeTheCommit,
    "old stopped before new registered": OldStoppedFirst,
    "rollback that stops both": RollbackStopsBoth,
    "rollout forgotten at restart": RolloutForgottenAtRestart,
    "no gate": NoGate,
    "admin command answered before it is done": AnsweredBeforeItIsDone,
    "latest content started": LatestContentStarted,
    "latest values started": LatestValuesStarted,
    "canary of an edition not aimed": CanaryOfAnEditionNotAimed,
    "held version gets traffic": HeldVersionGetsTraffic,
    "drained version still served": DrainedStillServed,
    "routing not recomputed after silence": SilentVersionStillRouted,
    "registration of an ended process kept": EndedRegistrationKept,
    "major 0 bound when stored": BoundWhenStored,
    "shares ignored": SharesIgnored,
    "what runs leaves the disk": WhatRunsLeavesTheDisk,
    "former product stays": FormerProductStays,
    "former product leaves too soon": FormerProductLeavesTooSoon,
}
