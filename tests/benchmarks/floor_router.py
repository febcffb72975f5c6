"""A stand-in for the router of workload L that decides nothing: the same libraries, streams and commits.

There is no more code than carries a command through them, so what it costs is what nobody saves who builds
on these. A command is stored (fsync) and receipted; its lease is stored, then it is handed out; its outcome
and reply are stored, then the reply goes back. Left out is everything else: checks, deduplication, order,
fencing, deadlines, limits, encryption, the journal. Run as: python floor_router.py SOCKET STORE.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.floor_parts import DONE, STORED, Rows, Served
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, worker_pb2
from zconnector.runtime import loop
from zconnector.storage.writer import GroupCommit


class Router(Served):
    """Between the two streams and the store."""

    def submitted(self, raw: bytes) -> None:
        commands = list(commands_pb2.SubmitRequest.FromString(raw).commands)

        def stored() -> None:
            self.receipt([each.uuid for each in commands])
            self.hand_out(commands)

        self.store([(each.uuid, STORED, each.SerializeToString()) for each in commands], stored)

    def ended(self, raw: bytes) -> None:
        outcomes = list(worker_pb2.WorkRequest.FromString(raw).outcomes)

        def stored() -> None:
            self.reply(outcomes)
            self.settled(outcomes)

        self.store([(each.uuid, DONE, each.payload) for each in outcomes], stored)


async def main(socket: str, store: str) -> None:
    await Router(GroupCommit(Rows(Path(store)), asyncio.get_running_loop())).serve(socket)


if __name__ == "__main__":
    loop.run(main(*sys.argv[1:3]))
