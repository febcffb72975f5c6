"""A connector for the wake-up bench whose commands come through the door, and not from an aggregator.

Core, queue, store, group commit, door and gRPC service are the product's, wired as it wires them. What it
has more is one operation at its door, `bench_offer`: a command arrives, as it would from a session. Nobody
is above it.
Run as: python queue_host.py STATE_DIR; it prints the gRPC address.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from zconnector.actions import Actions, Caller, Respond, Serve
from zconnector.clock import Instant
from zconnector.connector import process
from zconnector.connector.machine import ConnectorMachine
from zconnector.connector.ports import Place
from zconnector.messages import Kind, Message
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.queue.local import LocalQueue, Offered
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.runtime import logs, loop
from zconnector.runtime.driver import Driver
from zconnector.runtime.garbage import Collector
from zconnector.settings import ConnectorSettings, QueueSettings
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.identity import Identity, boot_id
from zconnector.shoset.keys import KeyPair

OFFER, WAITING = "bench_offer", "bench_waiting"
ITERATORS = 20_000
LIFE_MS = 60_000


class Host(ConnectorMachine):
    """A connector that serves at once."""

    def start(self, now: Instant) -> Actions:
        return [Serve()]

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        if op == WAITING:
            return [Respond(caller, {"count": self.router.queue.depths()["commands"]["waiting"]})]
        if op == "wait_command" and args.get("worker") == ADMIN_WORKER:
            return []  # the waits that are counted are the bench's
        if op != OFFER:
            return super().call(caller, op, args, payload, now)
        header = {
            "uuid": str(args["uuid"]),
            "type": "B",
            "command": str(args["command"]),
            "major": 1,
            "timeout": LIFE_MS,
            "accept_until": now.wall + LIFE_MS,
            "source": "a",
            "tenant": "bench",
        }

        def done(now: Instant, outcome: Offered) -> Actions:
            return [Respond(caller, {"outcome": outcome.outcome})]

        return self.router.queue.offer(Message(Kind.COMMAND, header, payload), now, done)


async def run(state_dir: Path) -> None:
    queue_settings = QueueSettings(max_iterators=ITERATORS)
    grpc = f"unix:{state_dir / 'grpc.sock'}"
    settings = ConnectorSettings(state_dir=state_dir, strict=False, queue=queue_settings, grpc=grpc)
    driver = Driver(settings, KeyPair.fresh())
    rng = random.Random()
    now = driver.now()
    store = SqliteQueueStore(state_dir / "queue.db")
    driver.use_store(store)
    queue = LocalQueue(settings.queue, store, rng)
    queue.restore([], now)
    enrolment = Enrolment("connector", "bench", "b", "0", "B", "secret")
    identity = Identity("connector", "bench", "b", "0", boot_id(now, rng), type="B")
    machine = Host(identity, [], queue, settings, rng, now)
    place = Place("b", "B", state_dir, settings.strict, {})
    process._Workers(driver, machine, settings, enrolment, identity.boot, place).wire()
    served = driver.serve
    assert served is not None

    async def serve() -> None:
        await served()
        print(grpc, flush=True)

    driver.serve = serve
    driver.attach(machine)
    Collector(asyncio.get_running_loop()).start()
    error = await driver.run()
    if error is not None:
        sys.exit(str(error))


if __name__ == "__main__":
    logs.configure("warning", "json")
    loop.run(run(Path(sys.argv[1])))
