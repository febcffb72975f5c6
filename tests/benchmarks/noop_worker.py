"""The worker of the benches: it does nothing, and says so. A process of its own.

Run as: python noop_worker.py NAME TIMEOUT_MS SOCKET. In the environment: ZCONNECTOR_BENCH_CONCURRENCY
(commands at once), ZCONNECTOR_BENCH_API (gandalf, v1), ZCONNECTOR_BENCH_MAJOR.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.workload import answer
from zconnector.worker import Context, Worker

COMMAND = "BENCH"
MAJOR = 1
"""Of the system's own worker, which speaks the Gandalf API."""
API = os.environ.get("ZCONNECTOR_BENCH_API", "gandalf")

worker = Worker(
    major=int(os.environ.get("ZCONNECTOR_BENCH_MAJOR", MAJOR)),
    minor=0,
    concurrency=int(os.environ.get("ZCONNECTOR_BENCH_CONCURRENCY", "64")),
    api=API,
)


@worker.command(COMMAND)
async def bench(ctx: Context, payload: str) -> str:
    """Do nothing, and say who has done it."""
    return answer(API)


if __name__ == "__main__":
    worker.run()
