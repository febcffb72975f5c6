"""A worker for a connector of type Git: clones repositories, and hears of finished builds.

Run it as: python git.py NAME TIMEOUT_MS unix:/path/to/grpc.sock
What it does it also prints, one JSON line each, for the demo's ledger.
"""

from __future__ import annotations

import json
from typing import Any

from zconnector.worker import Context, Worker

worker = Worker(major=1, minor=0, concurrency=8)


def write(what: str, uuid: str) -> None:
    print(json.dumps({"did": what, "uuid": uuid}), flush=True)


@worker.command("CLONE")
async def clone(ctx: Context, payload: str) -> dict[str, Any]:
    """Answer a CLONE with the commit that was checked out."""
    write("command", ctx.uuid)
    return {"repository": ctx.json()["repository"], "head": ctx.uuid[:8]}


@worker.event("builds")
async def build_finished(ctx: Context, payload: str) -> None:
    """A build has finished somewhere: put its result beside the commit."""
    write("event", ctx.uuid)


if __name__ == "__main__":
    worker.run()
