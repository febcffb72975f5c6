"""What one lone command costs in counts that hardly depend on what else the machine does.

    python -m tests.benchmarks.lone [--drivers own,v1,gandalf] [--commands 400] [--strace]

For each component: how often its threads went to sleep and were woken (the kernel's voluntary switches),
CPU time, and with `--strace` its system calls, each divided by the commands sent one after the other. Two
versions are compared by running this in each of their trees in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import drivers
from tests.benchmarks.topology import Topology
from tests.benchmarks.workload import Driver, run, warm_up

_SWITCHES = re.compile(r"^voluntary_ctxt_switches:\s+(\d+)", re.MULTILINE)
_ATTACH = 1.5
"""Seconds that strace takes to attach to all threads."""


def threads(pid: int) -> dict[str, tuple[int, float]]:
    """Voluntary switches and CPU microseconds of each thread of a process."""
    found: dict[str, tuple[int, float]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status, times = (task / "status").read_text(), (task / "schedstat").read_text()
        except FileNotFoundError:  # it has ended meanwhile
            continue
        match = _SWITCHES.search(status)
        found[task.name] = int(match[1]) if match else 0, int(times.split()[0]) / 1000
    return found


Reading = Mapping[str, tuple[int, float]]


def spent(before: Reading, after: Reading) -> tuple[int, float]:
    """Switches and CPU microseconds between two readings of `threads`."""
    switches, cpu = 0, 0.0
    for thread, (count, time) in after.items():
        was = before.get(thread, (0, 0.0))
        switches += count - was[0]
        cpu += time - was[1]
    return switches, cpu


def system_calls(summary: str) -> Counter[str]:
    """Calls by name in what `strace -c` wrote."""
    calls: Counter[str] = Counter()
    for line in summary.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
            calls[words[-1]] += int(words[3])
    return calls


async def count(driver: Driver, pids: Mapping[str, Sequence[int]], commands: int) -> None:
    """Send commands one after the other, and print what each cost. Raises DriverError."""
    before = {pid: threads(pid) for some in pids.values() for pid in some}
    measured = await run(driver, in_flight=1, commands=commands)
    after = {pid: threads(pid) for pid in before}
    figures = measured.figures()
    print(f"  p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms", flush=True)
    of_all, cpu_of_all = 0, 0.0
    for component, some in pids.items():
        parts = [spent(before[pid], after[pid]) for pid in some]
        switches, cpu = sum(part[0] for part in parts), sum(part[1] for part in parts)
        of_all, cpu_of_all = of_all + switches, cpu_of_all + cpu
        print(f"  {component:15} {switches / commands:6.1f} switches {cpu / commands:6.0f} us of CPU")
    print(f"  {'all':15} {of_all / commands:6.1f} switches {cpu_of_all / commands:6.0f} us of CPU")


async def count_calls(
    driver: Driver, pids: Mapping[str, Sequence[int]], commands: int, directory: Path
) -> None:
    """The same under strace, for system calls. Not of this process, which sends. Raises DriverError."""
    tracers: list[tuple[str, Path, asyncio.subprocess.Process]] = []
    for component, some in pids.items():
        for pid in some if component != "client" else ():
            out = directory / f"strace-{pid}"
            argv = ["strace", "-f", "-c", "-o", str(out), "-p", str(pid)]
            tracer = await asyncio.create_subprocess_exec(*argv, stderr=subprocess.DEVNULL)
            tracers.append((component, out, tracer))
    await asyncio.sleep(_ATTACH)
    await run(driver, in_flight=1, commands=commands)
    of: dict[str, Counter[str]] = {}
    for _, _, tracer in tracers:
        tracer.send_signal(signal.SIGINT)
    for component, out, tracer in tracers:
        await tracer.wait()
        of.setdefault(component, Counter()).update(system_calls(out.read_text()))
    for component, calls in of.items():
        each = " ".join(f"{name} {n / commands:.1f}" for name, n in calls.most_common() if n >= commands / 20)
        print(f"  {component:15} {calls.total() / commands:6.0f} calls: {each}", flush=True)


async def main(names: Sequence[str], commands: int, strace: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="lone-") as directory:
        async with AsyncExitStack() as stack:
            topology = await stack.enter_async_context(Topology(Path(directory) / "system"))
            for name in names:
                async with drivers.load(name).opened(topology) as driver:
                    pids = drivers.pids(driver, topology)
                    await warm_up(driver, in_flight=16, seconds=1.0)
                    await warm_up(driver, in_flight=1, seconds=0.5)
                    print(name)
                    await count(driver, pids, commands)
                    if strace:
                        await count_calls(driver, pids, max(1, commands // 4), Path(directory))


if __name__ == "__main__":
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--drivers", default="own,v1,gandalf")
    parser.add_argument("--commands", type=int, default=400)
    parser.add_argument("--strace", action="store_true")
    given = parser.parse_args()
    asyncio.run(main(given.drivers.split(","), given.commands, given.strace))
