"""A worker version of the chaos, run by its router: `worker` of each archive calls `run`.

What it does it writes into a ledger outside the system (a key of its configuration says where), one JSON line
with the time of the machine's monotonic clock, before anybody is told.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from zconnector.worker import Context, Fail, Worker

COMMANDS = ("PULL", "MIRROR")
"""What each version declares; PULL is the canary, too."""
CONCURRENCY = 8
SOON, LATE = 0.7, 2.8
"""Seconds after which one ends within its gate (of 1.5 s), and one that may have passed it."""


class _Ledger:
    def __init__(self, path: str, version: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._facts = {"version": version, "pid": os.getpid()}

    def write(self, did: str, **more: object) -> None:
        """A line in one write: whole or not there."""
        line = json.dumps({"did": did, "at": time.monotonic(), **self._facts, **more})
        os.write(self._file, f"{line}\n".encode())


def run(how: str, api: str, major: int, minor: int) -> None:
    """`how`: a quality of `releases.py`. The socket, its last argument, is its edition's own."""
    if how == "crash":
        print("cannot start", flush=True)
        sys.exit(3)
    worker = Worker(major, minor, concurrency=CONCURRENCY, api=api)
    ledger = _Ledger(str(worker.configuration()["ledger"]), f"{major}.{minor}")
    ledger.write("process", place=sys.argv[-1])

    async def work(ctx: Context, payload: str) -> dict[str, object]:
        asked: dict[str, Any] = json.loads(payload)
        canary = bool(asked.get("canary"))
        ledger.write("ran", uuid=ctx.uuid, name=ctx.name, body=asked["body"], canary=canary)
        await asyncio.sleep(asked["takes"])
        if canary and how == "refuses":
            raise Fail("it does not sing")
        ledger.write("done", uuid=ctx.uuid)
        return {"uuid": ctx.uuid, "version": f"{major}.{minor}"}

    for name in COMMANDS:
        if name == "PULL" or how != "lacks":
            worker.command(name)(work)

    def later() -> None:
        ledger.write("crashed")
        if how == "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os._exit(4)

    if how in ("early", "hang", "tired"):
        threading.Timer(LATE if how == "tired" else SOON, later).start()
    worker.run()
