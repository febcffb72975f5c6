"""The worker of the floor (floor_router.py): bare stubs, no handlers.

Run as: python floor_worker.py SOCKET.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc.aio

from tests.benchmarks.floor_parts import opened
from tests.benchmarks.workload import OK
from zconnector.rpc._gen.zconnector.v1 import types_pb2, worker_pb2
from zconnector.runtime import loop


async def main(socket: str) -> None:
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        call = opened(channel, "Work")
        await call.initial_metadata()
        print("ready", flush=True)
        while True:
            commands = worker_pb2.WorkReply.FromString(await call.read()).commands
            if not commands:
                continue
            ack = types_pb2.Outcome.ACK
            outcomes = [
                types_pb2.Outcome(uuid=each.uuid, token=each.token, kind=ack, payload=OK.encode())
                for each in commands
            ]
            await call.write(worker_pb2.WorkRequest(outcomes=outcomes).SerializeToString())


if __name__ == "__main__":
    loop.run(main(sys.argv[1]))
