"""Chaos on real processes: traffic both ways, faults by schedule, and a ledger that is checked at the end."""

from __future__ import annotations

import asyncio
import bisect
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.schedule import FREEZE, Fault, schedule
from zconnector.cli.ledger import Ledger, Verdict
from zconnector.cli.stage import Stage
from zconnector.cli.topology import Component
from zconnector.cli.traffic import CI, GIT, Side, Traffic, WorkerProcess

COMMAND_PAUSE, EVENT_PAUSE = 0.05, 0.2
"""Seconds between two commands, and two events, of one side."""
SETTLE = 90.0
"""Seconds after the last fault in which everything must come to its end."""
BACK = 60.0
"""Seconds that a restarted process may take until it serves (others may be dead meanwhile)."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended."""

    seed: int
    seconds: float
    verdict: Verdict
    injected: Counter[str]
    recovery: list[float]
    """Seconds from each fault to the first receipt of a command that was sent after it."""
    settled: float | None
    """Seconds from the end of traffic until nothing was open; None: something stayed open."""
    deaths: list[str]
    """Processes that ended although nobody killed them."""

    @property
    def good(self) -> bool:
        return self.verdict.good and self.settled is not None and not self.deaths

    def summary(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        verdict = self.verdict
        return {
            "good": self.good,
            "seed": self.seed,
            "seconds": self.seconds,
            "faults": dict(sorted(self.injected.items())),
            "commands": verdict.commands,
            "receipts": verdict.receipts,
            "replies": verdict.replies,
            "events": verdict.events,
            "lost_commands": list(verdict.lost_commands),
            "lost_events": list(verdict.lost_events),
            "completed_twice": list(verdict.extra_replies),
            "run_though_refused": list(verdict.executed_unsent),
            "executed_again": verdict.executed_again,
            "events_again": verdict.events_again,
            "recovery_p50": _percentile(self.recovery, 50),
            "recovery_p99": _percentile(self.recovery, 99),
            "settled_after": self.settled,
            "deaths": self.deaths,
        }


def _percentile(values: list[float], percent: int) -> float | None:
    if len(values) < 2:
        return round(values[0], 3) if values else None
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 3)


class Chaos:
    """One run."""

    def __init__(self, state_dir: Path, seconds: float, seed: int, say: Callable[[str], None]) -> None:
        self._seconds = seconds
        self._seed = seed
        self._say = say
        self._ledger = Ledger()
        self._stage = Stage(state_dir, aggregators=3, connectors=("git:Git", "ci:Ci"), told=self._told)
        self._workers: dict[str, WorkerProcess] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._killed: set[str] = set()
        self._deaths: list[str] = []
        self._seen: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self._faulted_at: list[float] = []

    async def run(self) -> Report:
        """Start, torment, settle, judge; all processes are gone when this returns or raises."""
        try:
            await self._stage.start()
            for side in (GIT, CI):
                await self._start_worker(side)
            return await self._torment()
        finally:
            for worker in self._workers.values():
                await worker.stop()
            await self._stage.stop()

    async def _torment(self) -> Report:
        targets = [(c.role, c.label) for c in self._stage.plan.components]
        targets += [("worker", f"worker {side.name}") for side in (GIT, CI)]
        faults = schedule(self._seed, self._seconds, targets)
        self._locks = {label: asyncio.Lock() for _, label in targets}
        grpc = {side.name: self._stage.grpc(side.name) for side in (GIT, CI)}
        async with Traffic(self._ledger, grpc, self._changed.set) as traffic:
            await traffic.warm_up(self._event_of)
            begun = asyncio.get_running_loop().time()
            self._say(f"seed {self._seed}: {len(faults)} faults in {self._seconds:g} s")
            async with asyncio.TaskGroup() as group:
                for side in (GIT, CI):
                    group.create_task(self._commands(traffic, side, begun))
                    group.create_task(self._events(traffic, side, begun))
                for fault in faults:
                    group.create_task(self._inject(fault, begun))
                group.create_task(self._progress(begun))
            settled = await self._settle()
        kinds = Counter(f"{fault.kind} {fault.target.partition('/')[0]}" for fault in faults)
        recovery = self._recovery(traffic)
        return Report(
            self._seed, self._seconds, self._ledger.verdict(), kinds, recovery, settled, self._deaths
        )

    async def _commands(self, traffic: Traffic, side: Side, begun: float) -> None:
        loop = asyncio.get_running_loop()
        give_up = self._seconds + SETTLE
        async with asyncio.TaskGroup() as group:
            number = 0
            while loop.time() < begun + self._seconds:
                group.create_task(traffic.command(side, number, give_up=give_up))
                number += 1
                await asyncio.sleep(COMMAND_PAUSE)

    async def _events(self, traffic: Traffic, side: Side, begun: float) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            number = 0
            while loop.time() < begun + self._seconds:
                group.create_task(traffic.event(side, number, give_up=self._seconds + SETTLE))
                number += 1
                await asyncio.sleep(EVENT_PAUSE)

    async def _inject(self, fault: Fault, begun: float) -> None:
        """Do it at its time, undo it later. A process under another fault is left until that is over."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, begun + fault.at - loop.time()))
        async with self._locks[fault.target]:
            self._say(f"{loop.time() - begun:7.2f}  {fault.kind} {fault.target} for {fault.lasts:g} s")
            self._faulted_at.append(loop.time())
            if fault.target.startswith("worker "):
                await self._kill_worker(fault)
                return
            component = self._stage.component(fault.target)
            if fault.kind == FREEZE:
                self._stage.freeze(component)
                await asyncio.sleep(fault.lasts)
                self._stage.thaw(component)
                return
            self._killed.add(fault.target)
            await self._stage.kill(component)
            await asyncio.sleep(fault.lasts)
            await self._stage.bring_back(component, BACK)
            self._killed.discard(fault.target)

    async def _kill_worker(self, fault: Fault) -> None:
        side = GIT if fault.target == f"worker {GIT.name}" else CI
        await self._workers[side.name].kill()
        await asyncio.sleep(fault.lasts)
        await self._start_worker(side)

    async def _start_worker(self, side: Side) -> None:
        log = self._stage.state_dir / "logs" / f"worker-{side.name}.log"
        worker = WorkerProcess(side, self._stage.grpc(side.name), self._ledger, log, self._heard)
        self._workers[side.name] = worker
        await worker.start()

    async def _progress(self, begun: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := begun + self._seconds - loop.time()) > 0:
            await asyncio.sleep(min(10.0, left))
            verdict = self._ledger.verdict()
            self._say(
                f"{loop.time() - begun:7.2f}  {verdict.commands} commands, {verdict.receipts} receipts,"
                f" {verdict.replies} replies; {verdict.events} events, {verdict.arrivals} arrived"
            )

    async def _settle(self) -> float | None:
        """Seconds until nothing is open; None at the deadline."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(SETTLE):
                while self._ledger.open_commands or self._ledger.open_events:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return round(loop.time() - begun, 3)

    def _recovery(self, traffic: Traffic) -> list[float]:
        receipts = sorted((traffic.sent_at[u], at) for u, at in traffic.receipted_at.items())
        recovered: list[float] = []
        for fault in self._faulted_at:
            after = receipts[bisect.bisect_left(receipts, (fault, 0.0)) :]
            if after:
                recovered.append(min(at for _, at in after) - fault)
        return recovered

    def _told(self, component: Component, what: str) -> None:
        if not self._stage.alive(component) and component.label not in self._killed:
            self._deaths.append(f"{component.label} {what}")
            self._say(f"         {component.label} {what}, and nobody killed it")

    def _heard(self, did: str, uuid: str) -> None:
        if did == "event":
            self._event_of(uuid).set()
        self._changed.set()

    def _event_of(self, uuid: str) -> asyncio.Event:
        return self._seen.setdefault(uuid, asyncio.Event())
