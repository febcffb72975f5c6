"""`backlog`: what a command costs with a million others stored; how soon a full connector serves again.

The real `LocalQueue` over the real SQLite store. Two queues, one short and one long, take turns: a turn
stores some commands, then leases as many, in commits of 64 as group commit makes them under load. Each
commit is an fsync, on one disk for both.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.cpu import resident, used
from tests.benchmarks.figures import ratio
from tests.benchmarks.noop_worker import COMMAND
from tests.benchmarks.results import Results
from tests.benchmarks.topology import TYPE_B, A, B, Topology
from tests.benchmarks.workload import PAYLOAD_BYTES
from zconnector.actions import Actions, Caller, Commit, Note, Respond
from zconnector.clock import SystemClock
from zconnector.messages import Kind, Message
from zconnector.queue.local import LocalQueue, Offered
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import scan_all
from zconnector.runtime.control import request
from zconnector.runtime.garbage import MIDDLE, YOUNG
from zconnector.settings import QueueSettings

IN_A_COMMIT = 64
FILL_IN_A_COMMIT = 1_000
A_TURN = 640
"""Commands stored, and leased, in one turn of one queue."""
LIFE_MS = 600_000
NO_OLD = 1_000_000_000
GOAL_COST, GOAL_RESTART = 1.3, 3.0
_FAR = Caller(b"bench", 0)


def settings_for(commands: int) -> QueueSettings:
    """Room for so many commands."""
    return QueueSettings(max_commands=2 * commands + 100_000, max_command_bytes=16 << 30)


class Shell:
    """Performs a queue's actions at once; commits of one batch are one transaction, as in the product."""

    def __init__(self, path: Path, settings: QueueSettings) -> None:
        """Opens the store and restores the queue. Raises StorageError."""
        self._clock = SystemClock()
        self.store = SqliteQueueStore(path)
        self.queue = LocalQueue(settings, self.store, random.Random(1))
        self.queue.restore(scan_all(self.store), self._clock.now())
        self._waiting: list[Commit] = []
        self._answered = 0
        self._calls = 0
        self._refused: list[str] = []
        self._iterator = ""

    def _do(self, actions: Actions) -> None:
        for action in actions:
            match action:
                case Commit():
                    self._waiting.append(action)
                case Respond(error=None):
                    self._answered += 1
                case Respond(error=error):
                    self._refused.append(str(error))
                case Note(level="error"):
                    self._refused.append(f"{action.event} {dict(action.fields)}")

    def commit(self) -> None:
        """Make everything durable that waits, and all that follows from it. Raises StorageError."""
        while self._waiting:
            commits, self._waiting = self._waiting, []
            self.store.commit([write for commit in commits for write in commit.writes])
            now = self._clock.now()
            for commit in commits:
                self._do(commit.then(now, [None] * len(commit.writes)))
        self._check()

    def _check(self) -> None:
        if self._refused:
            raise RuntimeError(f"the queue refused: {self._refused[0]}")

    def offer(self, command: Message) -> None:
        """Store a command with the next commit."""
        self._do(self.queue.offer(command, self._clock.now(), self._offered))

    def _offered(self, now: object, outcome: Offered) -> Actions:
        if outcome.outcome != "STORED":
            self._refused.append(f"{outcome}")
        return []

    def lease(self, count: int) -> None:
        """Have so many commands leased to workers. Raises RuntimeError: there were fewer."""
        if not self._iterator:
            self._do(self.queue.create_iterator("command", self._clock.now(), self._created))
            self.commit()
        before = self._answered
        for number in range(count):
            self._calls += 1
            caller = Caller(b"bench", self._calls)
            now = self._clock.now()
            self._do(self.queue.wait_command(caller, self._iterator, COMMAND, 0, "w", None, now))
            if number % IN_A_COMMIT == IN_A_COMMIT - 1:
                self._do(self.queue.tick(now))
                self.commit()
        self._do(self.queue.tick(self._clock.now()))
        self.commit()
        if self._answered - before != count:
            raise RuntimeError(f"{count} leases were asked for, {self._answered - before} came")

    def _created(self, now: object, iterator: object) -> Actions:
        self._iterator = str(iterator)
        return []

    def close(self) -> None:
        self.store.close()


def commands(prefix: str) -> Iterator[Message]:
    """Commands without end, as they reach a connector."""
    clock, payload, number = SystemClock(), b"x" * PAYLOAD_BYTES, 0
    while True:
        number += 1
        header = {
            "uuid": f"{prefix}-{number:032d}",
            "type": TYPE_B,
            "command": COMMAND,
            "major": 1,
            "timeout": LIFE_MS,
            "accept_until": clock.now().wall + LIFE_MS,
            "source": A,
            "tenant": "dev",
        }
        yield Message(Kind.COMMAND, header, payload)


def fill(shell: Shell, count: int, prefix: str) -> None:
    """Store so many commands, in large commits."""
    source = commands(prefix)
    for number in range(count):
        shell.offer(next(source))
        if number % FILL_IN_A_COMMIT == FILL_IN_A_COMMIT - 1:
            shell.commit()
    shell.commit()


@dataclass
class Queue:
    """One of the two, with the microseconds a command that its turns took."""

    shell: Shell
    source: Iterator[Message]
    enqueue: list[float] = field(default_factory=list)
    lease: list[float] = field(default_factory=list)
    enqueue_cpu: list[float] = field(default_factory=list)
    lease_cpu: list[float] = field(default_factory=list)

    def turn(self, *, counts: bool) -> None:
        """Store, then lease."""
        some = [next(self.source) for _ in range(A_TURN)]
        begun, cpu = time.perf_counter(), time.process_time()
        for number, command in enumerate(some, start=1):
            self.shell.offer(command)
            if number % IN_A_COMMIT == 0:
                self.shell.commit()
        middle, middle_cpu = time.perf_counter(), time.process_time()
        self.shell.lease(A_TURN)
        end, end_cpu = time.perf_counter(), time.process_time()
        if counts:
            self.enqueue.append((middle - begun) / A_TURN * 1e6)
            self.lease.append((end - middle) / A_TURN * 1e6)
            self.enqueue_cpu.append((middle_cpu - cpu) / A_TURN * 1e6)
            self.lease_cpu.append((end_cpu - middle_cpu) / A_TURN * 1e6)


async def bench(results: Results, state: Path, *, turns: int, small: int, large: int, stored: int) -> None:
    """Measure. Raises RuntimeError, StorageError or a component's error."""
    await asyncio.to_thread(_cost, results, state, turns, small, large)
    await _restart(results, state / "system", stored)


def _cost(results: Results, state: Path, turns: int, small: int, large: int) -> None:
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG, MIDDLE, NO_OLD)  # as the product does
    try:
        _compare(results, state, turns, small, large)
    finally:
        gc.set_threshold(*thresholds)


def _compare(results: Results, state: Path, turns: int, small: int, large: int) -> None:
    queues: dict[int, Queue] = {}
    for size in (large, small):
        begun, before = time.perf_counter(), resident_here()
        shell = Shell(state / f"queue-{size}.db", settings_for(large))
        fill(shell, size, f"fill{size}")
        took = time.perf_counter() - begun
        queues[size] = Queue(shell, commands(f"turn{size}"))
        results.add(
            "backlog",
            "filled",
            stored=size,
            seconds=round(took, 1),
            rss_bytes_each=round((resident_here() - before) / size),
        )
    for number in range(turns + 1):
        for queue in queues.values():
            queue.turn(counts=number > 0)
    for queue in queues.values():
        queue.shell.close()
    for what in ("enqueue", "lease"):
        long, short = getattr(queues[large], what), getattr(queues[small], what)
        long_cpu, short_cpu = (getattr(queues[size], f"{what}_cpu") for size in (large, small))
        cost, cpu = ratio(long, short), ratio(long_cpu, short_cpu)
        results.add(
            "backlog",
            what,
            small=small,
            large=large,
            us_small=round(median(short), 1),
            us_large=round(median(long), 1),
            cpu_us_small=round(median(short_cpu), 1),
            cpu_us_large=round(median(long_cpu), 1),
            ratio=round(cost, 3),
            cpu_ratio=round(cpu, 3),
        )
        results.judge(
            f"{what}: cost with {large:,} stored by that with {small:,}",
            cost,
            f"<= {GOAL_COST}",
            cost <= GOAL_COST,
        )
        results.judge(f"{what}: the same, CPU time", cpu)


def resident_here() -> int:
    """Bytes that this process has in RAM."""
    return resident(os.getpid())


async def _restart(results: Results, state: Path, stored: int) -> None:
    """Stop connector B, fill its queue, start it again: seconds from the start to READY."""
    async with Topology(state) as topology:
        stage = topology.stage
        component = stage.component(B)
        await topology.worker.stop()  # nobody takes what is stored
        await stage.end(component)
        begun = time.perf_counter()
        await stage.bring_back(component)
        empty, empty_cpu = time.perf_counter() - begun, used(stage.pid(component))
        await stage.end(component)
        await asyncio.to_thread(_fill_file, stage.state_dir / component.directory / "queue.db", stored)
        begun = time.perf_counter()
        await stage.bring_back(component)
        took, took_cpu = time.perf_counter() - begun, used(stage.pid(component))
        status = await asyncio.to_thread(request, stage.state_dir / component.directory, "status", {}, 10.0)
    there = sum(status["queue"]["commands"]["names"][COMMAND].values())
    if there < stored:
        raise RuntimeError(f"{stored} commands were stored, {there} are there after the restart")
    results.add(
        "backlog",
        "restart",
        stored=stored,
        seconds=round(took, 2),
        seconds_empty=round(empty, 2),
        cpu_seconds=round(took_cpu, 2),
        cpu_seconds_empty=round(empty_cpu, 2),
    )
    results.judge(
        f"restart with {stored:,} stored: seconds until serving",
        took,
        f"<= {GOAL_RESTART:g}",
        took <= GOAL_RESTART,
    )
    results.judge("the same, CPU seconds of the connector", took_cpu)


def _fill_file(path: Path, stored: int) -> None:
    shell = Shell(path, settings_for(stored))
    fill(shell, stored, "stored")
    shell.close()
