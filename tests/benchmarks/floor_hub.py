"""Stand-ins for an aggregator instance and for the cluster's member of workload R that decide nothing.

The member turns each transmission back; the instance passes what comes from a connector on to the member, and
what comes back to the connector that it names. Each reads on an event loop as ours do, over TCP and CURVE.
Run as: python floor_hub.py NAME KEYS [MEMBER]; without MEMBER it is that. It prints its endpoint.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from zconnector.runtime import loop
from zconnector.shoset.drain import Drain

Context = zmq.Context[zmq.Socket[bytes]]


def keys_in(path: Path) -> list[bytes]:
    """Public and secret key that all of them use."""
    return path.read_bytes().split()


def dealer(context: Context, name: str, endpoint: str, keys: list[bytes]) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IDENTITY, name.encode())
    socket.curve_publickey, socket.curve_secretkey = keys
    socket.curve_serverkey = keys[0]
    socket.connect(endpoint)
    return socket


def router(context: Context, keys: list[bytes]) -> tuple[zmq.Socket[bytes], str]:
    socket = context.socket(zmq.ROUTER)
    socket.curve_publickey, socket.curve_secretkey = keys
    socket.curve_server = True
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    return socket, f"tcp://127.0.0.1:{port}"


async def main(name: str, keys_file: str, member: str = "") -> None:
    context: Context = zmq.Context()
    running = asyncio.get_running_loop()
    keys = keys_in(Path(keys_file))
    below, endpoint = router(context, keys)
    drains: list[Drain] = []

    def pass_on(to: zmq.Socket[bytes], frames: list[Any]) -> None:
        to.send_multipart(frames)
        for drain in drains:
            drain.rearm()

    if member:
        above = dealer(context, name, member, keys)
        # A connector's identity is left out: whoever it is for is named by the frame behind it.
        drains.append(Drain(below, lambda frames: pass_on(above, frames[1:]), running))
        drains.append(Drain(above, lambda frames: pass_on(below, frames), running))
    else:
        drains.append(Drain(below, lambda frames: pass_on(below, frames), running))
    for drain in drains:
        drain.start()
    print(endpoint, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    loop.run(main(*sys.argv[1:]))
