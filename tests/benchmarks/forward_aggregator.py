"""An aggregator for the forwarding bench: the real core and shells, on sockets without CURVE.

The product has no such mode, and gets none: what sets the sockets up is replaced here, in this process
only. Who connects below still has a User-Id (its PLAIN user name), so that all that is done for a message is.
Run as: python forward_aggregator.py END STATE_DIR; it prints its endpoint.
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import zmq

from tests.benchmarks.forward_end import CREDIT
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.runtime import dealer, logs, loop, options, sockets
from zconnector.runtime.driver import Driver
from zconnector.runtime.garbage import Collector
from zconnector.runtime.zap import ZapHandler
from zconnector.settings import AggregatorSettings, SessionSettings
from zconnector.shoset.identity import Identity, boot_id
from zconnector.shoset.keys import KeyPair
from zconnector.shoset.uplinks import Target

TENANT = "bench"


def plain_router(socket: zmq.Socket[bytes], keys: KeyPair) -> None:
    """As `options.set_router`, with PLAIN for CURVE."""
    options.set_common(socket)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    socket.setsockopt(zmq.PLAIN_SERVER, 1)
    socket.setsockopt(zmq.ZAP_DOMAIN, options.DOMAIN)


def plain_dealer(socket: zmq.Socket[bytes], keys: KeyPair, server_key: str) -> None:
    """As `options.set_dealer`, without CURVE."""
    options.set_common(socket)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)


class PlainZap(ZapHandler):
    """Admits every user name, and takes it for the key."""

    def _asked(self, frames: list[bytes]) -> None:
        address, empty, version, request = frames[:4]
        self._socket.send_multipart([address, empty, version, request, b"200", b"OK", frames[8], b""])
        self._drain.rearm()


async def run(end: str, state_dir: Path) -> Any:
    # Who is measured keeps to no pace, and says nothing for longer than a session would bear.
    session = SessionSettings(credit=CREDIT, rate=1e9, burst=10**9, dead_after=10_000.0)
    settings = AggregatorSettings(state_dir=state_dir, session=session)
    driver = Driver(settings, KeyPair.fresh())
    rng = random.Random()
    bound = driver.bind("tcp://127.0.0.1:0")
    identity = Identity("aggregator", TENANT, "agg1", "a", boot_id(driver.now(), rng), endpoint=bound)

    async def serve() -> None:
        print(bound, flush=True)

    driver.serve = serve
    driver.attach(AggregatorMachine(identity, [Target("1", end, "")], settings, rng))
    Collector(asyncio.get_running_loop()).start()
    return await driver.run()


def main() -> None:
    vars(sockets).update(set_router=plain_router, ZapHandler=PlainZap)
    vars(dealer).update(set_dealer=plain_dealer)
    logs.configure("warning", "json")
    error = loop.run(run(sys.argv[1], Path(sys.argv[2])))
    if error is not None:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
