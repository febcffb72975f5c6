"""`profile`: where the time of a command goes, by component and by kind of work.

Workload R with 64 in flight; meanwhile py-spy samples the processes one after the other, and the kernel
counts the time of their threads. Sampling costs a little itself: the rates of this bench are none.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from tests.benchmarks import drivers, profiles
from tests.benchmarks.bench_r import THROUGHPUT
from tests.benchmarks.cpu import used_by_thread
from tests.benchmarks.results import Results
from tests.benchmarks.topology import Topology
from tests.benchmarks.workload import Driver, run, warm_up

SAMPLED = ("connector A", "connector B", "aggregators", "cluster member", "worker")


async def bench(results: Results, state: Path, *, seconds: float, names: Sequence[str]) -> None:
    """Measure. Raises DriverError, RuntimeError (no py-spy, or it may not look) or a component's error."""
    async with AsyncExitStack() as stack:
        topology = await stack.enter_async_context(Topology(state / "system"))
        for name in names:
            module = drivers.load(name)
            driver = await stack.enter_async_context(module.opened(topology))
            await warm_up(driver, in_flight=THROUGHPUT, seconds=min(2.0, seconds))
            for component in SAMPLED:
                pids = drivers.pids(driver, topology)[component]
                kinds = await profile(driver, pids[0], len(pids), seconds / 2, state)
                what = f"{module.LABEL}: {component}"
                results.add("profile", what, driver=name, kinds=kinds, all=round(sum(kinds.values()), 1))
                shutil.copy(
                    state / "stacks", results.directory / f"stacks-{name}-{component}.txt".replace(" ", "-")
                )


async def profile(driver: Driver, pid: int, processes: int, seconds: float, state: Path) -> dict[str, float]:
    """CPU microseconds a command by kind of work; of a component of several like processes: all of them."""
    before = used_by_thread(pid)
    load = asyncio.create_task(run(driver, in_flight=THROUGHPUT, seconds=max(1.0, seconds)))
    try:
        samples = await profiles.record(pid, seconds, state / "stacks")
    finally:
        measured = await load
    after = used_by_thread(pid)
    kinds = profiles.split(profiles.spent(before, after), samples)
    scale = 1e6 * processes / measured.count
    ordered = sorted(kinds.items(), key=lambda item: -item[1])
    return {kind: round(seconds * scale, 1) for kind, seconds in ordered if seconds > 0}
