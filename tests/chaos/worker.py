"""A worker of the chaos: python worker.py SIDE API NAME TIMEOUT_MS ADDRESS[,ADDRESS]

API is `gandalf` or `v1`. Each thing that it is handed it prints, one JSON line with the time of the machine's
monotonic clock; of what `senders.py` sends also how it ended, before anybody is told.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from zconnector.worker import CallFailed, Context, Fail, Retry, Worker

COMMANDS = {"git": "CLONE", "ci": "BUILD"}
WISHED = {"git": "FETCH", "ci": "DEPLOY"}
"""Commands of each side that come with wishes (`senders.py`). All workers run both."""
LISTENS = {"git": "builds", "ci": "pushes"}
EVENTS = {"git": "FINISHED", "ci": "PUSHED"}
AUDITED, AUDIT = "ci", "audit"
"""The side whose v1 worker is a member of a named subscription to what it listens to, and its name."""
NOT_NOW = 0.05
"""Share of that subscription's events that its handler wants to have again."""
PROGRESS = "HALF"
CONCURRENCY = 8
"""Of each name; but most of what has wishes goes to a v1 worker, which alone can ask for another attempt."""


def write(did: str, uuid: str, **more: object) -> None:
    print(json.dumps({"did": did, "uuid": uuid, "at": time.monotonic(), **more}), flush=True)


async def wished(ctx: Context, payload: str, api: str) -> dict[str, object]:
    """What it asks for: done, fail, retry (`times` times), never. The Gandalf API has no Retry.

    A command under another uuid than it was sent with is a replayed dead letter, and succeeds.
    """
    asked: dict[str, Any] = json.loads(payload)
    facts = {"name": ctx.name, "attempt": ctx.attempt}
    write("command", ctx.uuid, body=asked["body"], of=asked["of"], **facts)
    does = asked["does"] if ctx.uuid == asked["of"] else "done"
    if does == "progress":
        try:
            await ctx.progress(PROGRESS, "50")
        except CallFailed as failed:
            if not failed.away:  # else for longer than anybody tries: the command is done all the same
                raise
    await asyncio.sleep(asked["takes"])
    if api == "v1" and (does == "never" or (does == "retry" and ctx.attempt <= asked["times"])):
        write("ended", ctx.uuid, how="retry", pause=asked["pause"], **facts)
        raise Retry(asked["pause"], "not now")
    if does in ("fail", "never"):
        write("ended", ctx.uuid, how="fail", pause=0, **facts)
        raise Fail("it does not want to")
    write("ended", ctx.uuid, how="done", pause=0, **facts)
    return {"uuid": ctx.uuid}


def make(side: str, api: str) -> Worker:
    worker = Worker(major=1, minor=0, concurrency=CONCURRENCY, api=api)

    @worker.command(COMMANDS[side])
    async def work(ctx: Context, payload: str) -> dict[str, object]:
        asked = json.loads(payload)
        write("command", ctx.uuid, body=asked["body"], of=ctx.uuid, name=ctx.name, attempt=ctx.attempt)
        await asyncio.sleep(asked["takes"])
        return {"uuid": ctx.uuid}

    @worker.command(WISHED[side], concurrency=2 * CONCURRENCY if api == "v1" else 1)
    async def work_as_wished(ctx: Context, payload: str) -> dict[str, object]:
        return await wished(ctx, payload, api)

    @worker.event(LISTENS[side])
    async def heard(ctx: Context, payload: str) -> None:
        write("event", ctx.uuid)

    if api == "v1" and side == AUDITED:

        @worker.event(LISTENS[side], EVENTS[side], subscription=AUDIT)
        async def audited(ctx: Context, payload: str) -> None:
            ok = random.random() >= NOT_NOW
            write("delivery", ctx.uuid, subscription=AUDIT, attempt=ctx.attempt, ok=ok)
            if not ok:
                raise Retry(reason="not now")

    return worker


if __name__ == "__main__":
    made = make(sys.argv.pop(1), sys.argv.pop(1))
    made.run()
