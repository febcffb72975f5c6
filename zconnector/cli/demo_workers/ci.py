"""A worker for a connector of type Ci: builds, and hears of pushes.

Run it as: python ci.py NAME TIMEOUT_MS unix:/path/to/grpc.sock
What it does it also prints, one JSON line each, for the demo's ledger.
"""

from __future__ import annotations

import json
from typing import Any

from zconnector.worker import Context, Worker

worker = Worker(major=1, minor=0, concurrency=8)


def write(what: str, uuid: str) -> None:
    print(json.dumps({"did": what, "uuid": uuid}), flush=True)


@worker.command("BUILD")
async def build(ctx: Context, payload: str) -> dict[str, Any]:
    """Answer a BUILD with its number and result."""
    write("command", ctx.uuid)
    return {"build": ctx.json()["number"], "result": "green"}


@worker.event("pushes")
async def pushed(ctx: Context, payload: str) -> None:
    """Somebody has pushed: the next build will have it."""
    write("event", ctx.uuid)


if __name__ == "__main__":
    worker.run()
