"""A worker of the chaos: python worker.py SIDE NAME TIMEOUT_MS ADDRESS[,ADDRESS]

Of each side's two workers one speaks zconnector.v1 and one the Gandalf API: on one side the one that goes
through a front end, on the other side the other. Each thing that it is handed it prints, one JSON line with
the time of the machine's monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from zconnector.worker import Context, Worker

COMMANDS = {"git": "CLONE", "ci": "BUILD"}
LISTENS = {"git": "builds", "ci": "pushes"}


def write(did: str, uuid: str, **more: object) -> None:
    print(json.dumps({"did": did, "uuid": uuid, "at": time.monotonic(), **more}), flush=True)


GANDALF = ("git-2", "ci-1")


def make(side: str, name: str) -> Worker:
    worker = Worker(major=1, minor=0, concurrency=8, api="gandalf" if name in GANDALF else "v1")

    @worker.command(COMMANDS[side])
    async def work(ctx: Context, payload: str) -> dict[str, object]:
        asked = json.loads(payload)
        write("command", ctx.uuid, body=asked["body"])
        await asyncio.sleep(asked["takes"])
        return {"uuid": ctx.uuid}

    @worker.event(LISTENS[side])
    async def heard(ctx: Context, payload: str) -> None:
        write("event", ctx.uuid)

    return worker


if __name__ == "__main__":
    made = make(sys.argv.pop(1), sys.argv[1])
    made.run()
