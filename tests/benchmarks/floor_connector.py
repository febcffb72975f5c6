"""A stand-in for the connectors of workload R that decides nothing, as floor_router.py is for that of L.

Connector A passes a frame of the client's on to B as one transmission. B stores the commands (fsync) and
sends their receipts, stores the leases and hands them out, stores outcomes and replies and sends the replies,
which A stores before its client has them. Every transmission passes an aggregator and the member and comes
back (floor_hub.py), over TCP and CURVE; the member stores nothing.
Run as: python floor_connector.py NAME PEER SOCKET STORE INSTANCE KEYS.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from tests.benchmarks.floor_hub import dealer, keys_in
from tests.benchmarks.floor_parts import DONE, STORED, Rows, Served
from zconnector.rpc._gen.zconnector.v1 import commands_pb2, worker_pb2
from zconnector.runtime import loop
from zconnector.shoset.drain import Drain
from zconnector.storage.writer import GroupCommit

COMMANDS, RECEIPTS, REPLIES = b"c", b"t", b"y"


class Connector(Served):
    """A with the client, or B with the worker."""

    def __init__(self, commits: GroupCommit, peer: str, socket: zmq.Socket[bytes]) -> None:
        super().__init__(commits)
        self._peer = peer.encode()
        self._socket = socket
        self._drain = Drain(socket, self._received, asyncio.get_running_loop())
        self._drain.start()

    def _send(self, kind: bytes, body: bytes) -> None:
        self._socket.send_multipart([self._peer, kind, body])
        self._drain.rearm()

    def submitted(self, raw: bytes) -> None:
        self._send(COMMANDS, raw)

    def _received(self, frames: list[Any]) -> None:
        kind, body = frames
        if kind == COMMANDS:
            self._take(body)
        elif kind == RECEIPTS:
            self.receipt(body.decode().split())
        else:
            outcomes = list(worker_pb2.WorkRequest.FromString(body).outcomes)
            writes = [(each.uuid, STORED, each.payload) for each in outcomes]
            self.store(writes, lambda: self.reply(outcomes))

    def _take(self, body: bytes) -> None:
        commands = list(commands_pb2.SubmitRequest.FromString(body).commands)

        def stored() -> None:
            self._send(RECEIPTS, " ".join(each.uuid for each in commands).encode())
            self.hand_out(commands)

        self.store([(each.uuid, STORED, each.SerializeToString()) for each in commands], stored)

    def ended(self, raw: bytes) -> None:
        outcomes = list(worker_pb2.WorkRequest.FromString(raw).outcomes)

        def stored() -> None:
            self._send(REPLIES, raw)
            self.settled(outcomes)

        self.store([(each.uuid, DONE, each.payload) for each in outcomes], stored)


async def main(name: str, peer: str, socket: str, store: str, instance: str, keys: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    up = dealer(context, name, instance, keys_in(Path(keys)))
    commits = GroupCommit(Rows(Path(store)), asyncio.get_running_loop())
    await Connector(commits, peer, up).serve(socket)


if __name__ == "__main__":
    loop.run(main(*sys.argv[1:7]))
