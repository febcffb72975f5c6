"""The floor of workload R: bare libraries in place of all processes (floor_connector.py, floor_hub.py).

One instance carries what three of ours share, which costs less than three.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import zmq

from tests.benchmarks.drivers.floor import HERE, sending
from tests.benchmarks.topology import Process, Topology
from tests.benchmarks.workload import Driver

LABEL = "bare libraries, R"


@asynccontextmanager
async def opened(topology: Topology) -> AsyncIterator[Driver]:
    folder = topology.stage.state_dir
    keys, log = folder / "floor.keys", folder / "floor.log"
    keys.touch(0o600)
    keys.write_bytes(b" ".join(zmq.curve_keypair()))

    async with AsyncExitStack() as stack:

        async def started(program: str, *argv: str) -> tuple[Process, str]:
            process = Process(HERE / program, *argv, log=log)
            stack.push_async_callback(process.stop)
            await process.start()
            return process, await process.line()

        async def connector(name: str, peer: str) -> tuple[Process, str]:
            socket = str(folder / f"floor-{name}.sock")
            store = str(folder / f"floor-{name}.db")
            process, _ = await started("floor_connector.py", name, peer, socket, store, endpoint, str(keys))
            return process, socket

        member, above = await started("floor_hub.py", "m", str(keys))
        instance, endpoint = await started("floor_hub.py", "i", str(keys), above)
        a, submit = await connector("a", "b")
        b, work = await connector("b", "a")
        worker, _ = await started("floor_worker.py", work)
        pids = {
            "connector A": [a.pid],
            "connector B": [b.pid],
            "aggregators": [instance.pid],
            "cluster member": [member.pid],
            "worker": [worker.pid],
            "client": [os.getpid()],
        }
        yield await stack.enter_async_context(sending(submit, pids))
