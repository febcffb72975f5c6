"""scripts/bench.sh: a command's whole path, client to worker and back, through real processes.

client -> gRPC -> connector git -> CURVE -> aggregator -> cluster member (resolution committed) -> aggregator
-> connector ci (committed, receipted) -> gRPC -> worker -> reply (committed on both sides) -> client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import echo
from zconnector.cli.ledger import Ledger
from zconnector.cli.stage import Stage
from zconnector.cli.traffic import CI, GIT, Traffic, WorkerProcess
from zconnector.worker import Client

PAYLOAD = {"number": 1, "repository": "team/project"}


def line(name: str, **figures: Any) -> None:
    print(json.dumps({"bench": name, **figures}), flush=True)


def milliseconds(times: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"p50_ms": round(cuts[49] * 1000, 3), "p99_ms": round(cuts[98] * 1000, 3)}


async def round_trips(
    client: Client, seconds: float, in_flight: int
) -> tuple[float, list[float], list[float]]:
    """Commands answered a second; seconds to each receipt; seconds to each reply."""
    receipts: list[float] = []
    replies: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    async def one_after_the_other() -> None:
        while (sent := time.perf_counter()) < end:
            handle = await client.send_command(CI.type, CI.command, PAYLOAD)
            receipts.append(time.perf_counter() - sent)
            reply = await handle.reply(60)
            if not reply.ok:
                raise RuntimeError(f"the worker answered {reply.event}: {reply.payload}")
            replies.append(time.perf_counter() - sent)

    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(one_after_the_other())
    return len(replies) / (time.perf_counter() - begun), receipts, replies


async def bench(state_dir: Path, seconds: float, aggregators: int) -> float:
    """Measures; the commands answered a second with 64 in flight."""
    stage = Stage(state_dir, aggregators=aggregators, connectors=("git:Git", "ci:Ci"), arguments=())
    ledger = Ledger()
    seen: dict[str, asyncio.Event] = {}

    def event_of(uuid: str) -> asyncio.Event:
        return seen.setdefault(uuid, asyncio.Event())

    workers: list[WorkerProcess] = []
    try:
        begun = time.perf_counter()
        await stage.start()
        line("start", seconds=round(time.perf_counter() - begun, 2), processes=len(stage.plan.components))
        for side in (GIT, CI):
            log = stage.state_dir / "logs" / f"worker-{side.name}.log"
            worker = WorkerProcess(
                side, stage.grpc(side.name), ledger, log, lambda did, uuid: event_of(uuid).set()
            )
            workers.append(worker)
            await worker.start()
        async with Traffic(ledger, {s.name: stage.grpc(s.name) for s in (GIT, CI)}, lambda: None) as traffic:
            await traffic.warm_up(event_of)
        async with Client(stage.grpc(GIT.name), name="bench") as client:
            await round_trips(client, min(2.0, seconds), 8)  # warm
            _, receipts, replies = await round_trips(client, seconds, 1)
            line("command, 1 in flight: receipt", **milliseconds(receipts), count=len(receipts))
            line("command, 1 in flight: reply", **milliseconds(replies), count=len(replies))
            rate, receipts, replies = await round_trips(client, seconds, 64)
            line(
                "command, 64 in flight: reply",
                per_second=round(rate),
                **milliseconds(replies),
                count=len(replies),
            )
            return rate
    finally:
        for worker in workers:
            await worker.stop()
        await stage.stop()


def echoes(seconds: float) -> float:
    """Measures pyzmq alone; echoes a second with 64 in flight."""
    rate = 0.0
    for in_flight in (1, 64):
        rate, times = echo.measure(seconds, in_flight)
        line(f"pyzmq echo, {in_flight} in flight", per_second=round(rate), **milliseconds(times))
    return rate


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench.sh", description="Speed of the whole path.")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (10)")
    parser.add_argument("--aggregators", type=int, default=3, help="aggregator instances (3)")
    given = parser.parse_args()
    line("machine", cpus=os.cpu_count(), python=platform.python_version(), load=round(os.getloadavg()[0], 2))
    with tempfile.TemporaryDirectory(prefix="zconnector-bench-") as directory:
        rate = asyncio.run(bench(Path(directory), given.seconds, given.aggregators))
    line("echoes for one command, 64 in flight", ratio=round(echoes(min(given.seconds, 5.0)) / rate, 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
