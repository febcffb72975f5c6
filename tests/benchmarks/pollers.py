"""Idle workers by the thousand, in one process: each has an iterator and a WaitCommandMessage pending.

Run as: python pollers.py SOCKET COUNT COMMAND; it prints `ready` when every wait has been sent, and holds
them until it is ended. A wait that ends by itself ends the process: a poller that is gone must not count.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc.aio

from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.rpc._gen.gandalf import gandalf_pb2_grpc

PER_CHANNEL = 500
"""Waits on one connection."""
AT_ONCE = 50
"""Iterators that are being made at a time."""


async def main(address: str, count: int, command: str) -> None:
    options = (("grpc.use_local_subchannel_pool", 1),)
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(-(-count // PER_CHANNEL))]
    stubs: list[Any] = [gandalf_pb2_grpc.ConnectorCommandStub(channel) for channel in channels]
    turn = asyncio.Semaphore(AT_ONCE)
    calls: list[Any] = []

    async def begin(number: int) -> None:
        stub = stubs[number % len(stubs)]
        async with turn:
            made = await stub.CreateIteratorCommand(pb.Empty())
        request = pb.CommandMessageWait(
            WorkerSource=f"idle-{number}", Value=command, IteratorId=made.Id, Major=1
        )
        calls.append(stub.WaitCommandMessage(request))

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(begin(number))
    print("ready", flush=True)
    await asyncio.wait(
        [asyncio.ensure_future(_ended(call)) for call in calls], return_when=asyncio.FIRST_COMPLETED
    )
    sys.exit("a wait has ended")


async def _ended(call: Any) -> None:
    await call.wait_for_connection()
    await call


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
