"""`r`: workload R through every driver, and through the NATS peer, in turns.

A sender at connector A, a worker that does nothing at connector B, three instances, one member; the
reply is awaited. Driver and peer take turns several times, because the machine's speed changes under a
measurement of minutes: what counts is the ratio of the medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from tests.benchmarks import drivers, nats_peer
from tests.benchmarks.cpu import Meter
from tests.benchmarks.figures import ratio
from tests.benchmarks.results import Results
from tests.benchmarks.topology import Topology
from tests.benchmarks.workload import Driver, Measured, run, warm_up

PEER = "nats"
FLOORS = {"floor": "own", "floor_r": "v1"}
"""What carries the workload of another driver by bare libraries."""
THROUGHPUT = 64


class Contender:
    """One driver in the run, with what it has measured so far."""

    def __init__(self, label: str, driver: Driver, pids: Mapping[str, list[int]]) -> None:
        self.label = label
        self.driver = driver
        self._pids = pids
        self.one: list[Measured] = []
        self.many: list[Measured] = []
        self.cpu: list[dict[str, float]] = []

    async def turn(self, seconds: float) -> None:
        """One measurement with 1 in flight, and one with 64. Raises DriverError."""
        self.one.append(await run(self.driver, in_flight=1, seconds=seconds))
        meter = Meter(self._pids)
        many = await run(self.driver, in_flight=THROUGHPUT, seconds=seconds)
        self.cpu.append(meter.read().per_command(many.count))
        self.many.append(many)

    def medians(self) -> dict[str, Any]:
        """Medians over the turns."""
        return {
            "turns": len(self.many),
            "per_second": round(statistics.median(m.per_second for m in self.many), 1),
            "per_second_each": [round(m.per_second) for m in self.many],
            "p50_ms": round(statistics.median(m.figures()["p50_ms"] for m in self.one), 3),
            "p99_ms": round(statistics.median(m.figures()["p99_ms"] for m in self.one), 3),
            "p50_64_ms": round(statistics.median(m.figures()["p50_ms"] for m in self.many), 3),
            "p99_64_ms": round(statistics.median(m.figures()["p99_ms"] for m in self.many), 3),
        }

    def cpu_medians(self) -> dict[str, float]:
        """CPU microseconds per command of each component, with 64 in flight."""
        return {name: round(statistics.median(turn[name] for turn in self.cpu), 1) for name in self.cpu[0]}


async def bench(results: Results, state: Path, *, turns: int, seconds: float, names: Sequence[str]) -> None:
    """Measure. Raises DriverError, RuntimeError or a component's error: there are no figures then."""
    async with AsyncExitStack() as stack:
        topology = await stack.enter_async_context(Topology(state / "system"))
        peer = await stack.enter_async_context(nats_peer.running(state))
        contenders: dict[str, Contender] = {}
        for name in names:
            module = drivers.load(name)
            driver = await stack.enter_async_context(module.opened(topology))
            contenders[name] = Contender(module.LABEL, driver, drivers.pids(driver, topology))
        contenders[PEER] = Contender(nats_peer.LABEL, peer.driver, peer.pids())
        for contender in contenders.values():
            await warm_up(contender.driver, in_flight=THROUGHPUT, seconds=min(2.0, seconds))
        for _ in range(turns):
            for contender in contenders.values():
                await contender.turn(seconds)
    for name, contender in contenders.items():
        results.add("r", contender.label, driver=name, **contender.medians())
        cpu = contender.cpu_medians()
        results.add("r", f"CPU us per command, {contender.label}", driver=name, **cpu, all=sum_of(cpu))
    theirs = contenders[PEER]
    for name in names:
        compare(results, name, contenders[name], theirs)
    for floor, ours in FLOORS.items():
        if {floor, ours} <= contenders.keys():
            spent = {name: [sum_of(turn) for turn in contenders[name].cpu] for name in (floor, ours)}
            workload = "L" if ours == "own" else "R"
            what = f"{workload}: CPU of a command by that of bare libraries"
            results.judge(what, ratio(spent[ours], spent[floor]))


def sum_of(cpu: Mapping[str, float]) -> float:
    return round(sum(cpu.values()), 1)


def compare(results: Results, name: str, ours: Contender, theirs: Contender) -> None:
    """The ratios of medians of one driver to the peer, and whether they are what is wanted."""
    rate = ratio([m.per_second for m in ours.many], [m.per_second for m in theirs.many])
    middle = ratio([m.figures()["p50_ms"] for m in ours.one], [m.figures()["p50_ms"] for m in theirs.one])
    tail = ratio([m.figures()["p99_ms"] for m in ours.one], [m.figures()["p99_ms"] for m in theirs.one])
    cpu = ratio([sum_of(turn) for turn in ours.cpu], [sum_of(turn) for turn in theirs.cpu])
    results.add(
        "r",
        f"{ours.label} by {theirs.label}",
        driver=name,
        throughput=round(rate, 3),
        p50=round(middle, 2),
        p99=round(tail, 2),
        cpu=round(cpu, 2),
    )
    if name in FLOORS:
        return  # nothing of ours: what it does is no goal
    per_second = ours.medians()["per_second"]
    if name == "gandalf":
        results.judge("R, Gandalf API: commands/s", per_second, ">= 500", per_second >= 500)
        results.judge("R, Gandalf API: throughput by NATS's", rate)
        return
    if name.startswith("own"):
        results.judge(f"L, {ours.label}: throughput by NATS's", rate, ">= 2", rate >= 2)
        return
    results.judge(f"R, {ours.label}: throughput by NATS's", rate, ">= 1", rate >= 1)
    results.judge(f"R, {ours.label}: p50 by NATS's", middle, "<= 2.5", middle <= 2.5)
    results.judge(f"R, {ours.label}: p99 by NATS's", tail, "<= 4", tail <= 4)
