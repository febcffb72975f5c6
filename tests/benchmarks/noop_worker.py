"""The worker of the benches: it does nothing, and says so. A process of its own.

Run as: python noop_worker.py NAME TIMEOUT_MS SOCKET; ZCONNECTOR_BENCH_CONCURRENCY: commands at once.
The command BENCH_CLOCK is answered with the monotonic clock (the machine's: all processes share it), read when
the worker's call has returned with the command.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.workload import OK
from zconnector.worker import Context, Worker

COMMAND = "BENCH"
CLOCK_COMMAND = "BENCH_CLOCK"

worker = Worker(major=1, minor=0, concurrency=int(os.environ.get("ZCONNECTOR_BENCH_CONCURRENCY", "64")))


@worker.command(COMMAND)
async def bench(ctx: Context, payload: str) -> str:
    """Do nothing."""
    return OK


@worker.command(CLOCK_COMMAND, concurrency=1)
async def clock(ctx: Context, payload: str) -> str:
    """Say when the command came."""
    return repr(time.monotonic())


if __name__ == "__main__":
    worker.run()
