"""`wakeup`: how soon a waiting worker has its command, among many idle ones; what an idle one costs.

1. A connector's queue, door and gRPC service in a process of their own (`queue_host.py`). A command comes
   through its door; from there to the return of a worker's WaitCommandMessage in another process, with 0,
   1,000 and 10,000 idle pollers beside it. The way includes the commit (fsync) of the command.
2. The whole system: memory of connector B with and without the idle pollers, and the latency of other
   commands (workload R, 1 in flight) before, with and after them.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import zmq

from tests.benchmarks import drivers
from tests.benchmarks.cpu import resident
from tests.benchmarks.figures import latency
from tests.benchmarks.queue_host import ITERATORS, OFFER, WAITING
from tests.benchmarks.results import Results
from tests.benchmarks.topology import B, Process, Topology
from tests.benchmarks.workload import PAYLOAD_BYTES, Driver, run
from zconnector.connector.process import DOOR_SOCKET
from zconnector.queue.door import DoorClient
from zconnector.runtime.control import request
from zconnector.runtime.statedir import find_socket

HERE = Path(__file__).parent
IDLE, WAKE = "BENCH_IDLE", "BENCH_WAKE"
PAUSE = 0.02
"""Seconds between two looks at, or sends to, a system that must come to rest in between."""
MANY_SECONDS = 120.0
"""For thousands of pollers to come or to go."""
GOAL_MS, GOAL_BYTES, GOAL_AT = 10.0, 30 * 1024, 1_000


async def bench(
    results: Results, state: Path, *, pollers: Sequence[int], wakes: int, idle: int, seconds: float
) -> None:
    """Measure. Raises RuntimeError, TimeoutError or a component's error."""
    goal_at = GOAL_AT if GOAL_AT in pollers else max(pollers)
    p99s: dict[int, float] = {}
    for count in pollers:
        directory = state / f"host-{count}"
        directory.mkdir(mode=0o700)
        stored, times = await wake_ups(directory, count, wakes)
        figures = latency(times)
        results.add("wakeup", "door to receipt", pollers=count, count=len(times), **latency(stored))
        results.add("wakeup", "door to worker", pollers=count, count=len(times), **figures)
        p99s[count] = figures["p99_ms"]
    p99 = p99s[goal_at]
    results.judge(f"wake-up among {goal_at:,} idle pollers: p99 ms", p99, f"< {GOAL_MS:g}", p99 < GOAL_MS)
    if p99s.get(0):
        results.judge(f"the same by the p99 without idle pollers, {goal_at:,}", p99 / p99s[0])
    await memory(results, state / "system", idle, seconds)


async def wake_ups(directory: Path, pollers: int, wakes: int) -> tuple[list[float], list[float]]:
    """Seconds from the send through the door to the answer that it is stored, and to the worker's return."""
    async with AsyncExitStack() as stack:
        host = await _started(
            stack, Process(HERE / "queue_host.py", str(directory), log=directory / "host.log")
        )
        address = await host.line()
        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.destroy, linger=0)
        door = DoorClient(context, f"ipc://{find_socket(directory, DOOR_SOCKET)}")
        door.start()
        stack.callback(door.close)
        if pollers:
            await poll(stack, address, pollers, directory / "pollers.log")
        waiter = Process(HERE / "waiter.py", address, WAKE, log=directory / "waiter.log")
        await _started(stack, waiter)
        times: list[float] = []
        stored: list[float] = []
        payload = b"x" * PAYLOAD_BYTES
        for _ in range(wakes):
            await _until_waiting(door, pollers + 1)
            number = str(uuid.uuid4())
            sent = time.monotonic()
            answer, _ = await door.call(OFFER, {"uuid": number, "command": WAKE}, payload)
            stored.append(time.monotonic() - sent)
            told, came = (await waiter.line()).split()
            if told != number or answer["outcome"] != "STORED":
                raise RuntimeError(f"command {number} was {answer}; the worker was given {told}")
            times.append(float(came) - sent)
        return stored, times


async def _until_waiting(door: DoorClient, count: int) -> None:
    answer: dict[str, Any] = {}
    try:
        async with asyncio.timeout(MANY_SECONDS):
            while answer.get("count") != count:
                await asyncio.sleep(PAUSE)
                answer, _ = await door.call(WAITING, {})
    except TimeoutError:
        raise RuntimeError(f"{answer.get('count')} waits are pending at the host, not {count}") from None


async def _started(stack: AsyncExitStack, process: Process) -> Process:
    await process.start()
    stack.push_async_callback(process.stop)
    return process


async def poll(stack: AsyncExitStack, address: str, count: int, log: Path) -> Process:
    """Start so many idle pollers; back when each has sent its wait."""
    process = Process(HERE / "pollers.py", address, str(count), IDLE, log=log)
    await _started(stack, process)
    await process.line(MANY_SECONDS)
    return process


async def memory(results: Results, state: Path, idle: int, seconds: float) -> None:
    """What idle pollers cost connector B, and everybody else."""
    async with AsyncExitStack() as stack:
        topology = Topology(state, connector_arguments=["--queue-max-iterators", str(ITERATORS)])
        await stack.enter_async_context(topology)
        driver = await stack.enter_async_context(drivers.load("gandalf").opened(topology))
        pid = topology.pid(B)
        rest = await _at_rest(topology)
        await _others(results, driver, 0, seconds, "before")
        before = resident(pid)
        pollers = await poll(stack, topology.grpc(B), idle, state / "pollers.log")
        await _until(topology, rest + idle)
        with_them = resident(pid)
        await _others(results, driver, idle, seconds, "with")
        begun = time.perf_counter()
        await pollers.stop(MANY_SECONDS)
        await _until(topology, rest)
        gone = time.perf_counter() - begun
        await _others(results, driver, 0, seconds, "after")
        left = resident(pid)
        await poll(stack, topology.grpc(B), idle, state / "pollers.log")
        await _until(topology, rest + idle)
        again = resident(pid)  # what was freed is used again: nothing leaks
        each = (with_them - before) / idle
        results.add(
            "wakeup",
            "memory of connector B",
            pollers=idle,
            rss_before=before,
            rss_with=with_them,
            rss_after=left,
            rss_again=again,
            bytes_each=round(each),
            seconds_to_leave=round(gone, 1),
        )
        results.judge(
            f"memory of each of {idle:,} idle pollers, bytes", each, f"<= {GOAL_BYTES}", each <= GOAL_BYTES
        )


async def _others(results: Results, driver: Driver, pollers: int, seconds: float, when: str) -> None:
    measured = await run(driver, in_flight=1, seconds=seconds)
    results.add("wakeup", f"other commands {when}", pollers=pollers, **latency(measured.times))


async def _waiting(topology: Topology) -> int:
    """Waits pending at connector B."""
    directory = topology.state_dir / topology.stage.component(B).directory
    status = await asyncio.to_thread(request, directory, "status", {}, 10.0)
    return int(status["queue"]["commands"]["waiting"])


async def _at_rest(topology: Topology) -> int:
    """Waits pending at connector B once nothing is under way: a slot that has just answered waits again."""
    same, before = 0, -1
    async with asyncio.timeout(MANY_SECONDS):
        while same < 3:
            await asyncio.sleep(PAUSE * 5)
            pending = await _waiting(topology)
            same, before = same + 1 if pending == before else 0, pending
    return before


async def _until(topology: Topology, count: int) -> None:
    """Wait until so many waits are pending at connector B: all have come, or all have gone."""
    try:
        async with asyncio.timeout(MANY_SECONDS):
            # Nobody tells of it: it is asked for.
            while (pending := await _waiting(topology)) != count:  # noqa: ASYNC110
                await asyncio.sleep(PAUSE * 5)
    except TimeoutError:
        raise RuntimeError(f"{pending} waits are pending at connector B, not {count}") from None
