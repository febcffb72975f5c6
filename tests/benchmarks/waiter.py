"""One worker that waits, as a process: it prints when each command came (monotonic clock, the machine's).

Run as: python waiter.py SOCKET COMMAND; a line is `UUID SECONDS`, read when the call has returned.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc.aio

from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc


async def main(address: str, command: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = gandalf_pb2_grpc.ConnectorCommandStub(channel)
        made = await stub.CreateIteratorCommand(pb.Empty())
        request = pb.CommandMessageWait(WorkerSource="waiter", Value=command, IteratorId=made.Id, Major=1)
        while True:
            message = await stub.WaitCommandMessage(request)
            print(message.UUID, repr(time.monotonic()), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
