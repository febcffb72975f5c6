"""Machines: each has a clock, perhaps a disk, and one process after another (see the roles' `process.py`)."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tests.simulation.clock import NodeClock
from tests.simulation.disk import ClusterReads, Disk, QueueReads
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.scheduler import MS, SECOND, Scheduler
from tests.simulation.topology import AGGREGATOR, MEMBER_KEY, ConnectorSpec, key_of, secret_of
from tests.simulation.trace import Trace
from tests.simulation.variant import Variant
from zconnector.actions import Machine
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine
from zconnector.errors import Reason, Refusal, ZConnectorError
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.store import scan_all
from zconnector.settings import (
    AggregatorSettings,
    ClusterSettings,
    ConnectorSettings,
    QueueSettings,
    SessionSettings,
)
from zconnector.shoset.identity import Identity, boot_id
from zconnector.shoset.uplinks import Target

SESSION = SessionSettings(heartbeat=1.0)
MEMBER_SESSION = replace(ClusterSettings(state_dir=Path()).session, heartbeat=1.0)
QUEUE = QueueSettings(dedupe_window=110.0, lease_limit=45.0, max_commands=60, max_unknown=60, max_outbox=60)
"""Times are shorter than the defaults in the proportion of MAX_TIMEOUT_MS, so that ten minutes see them end;
and bounds are so low that faults fill what they bound."""
MAX_TIMEOUT_MS = 20_000
IN_FLIGHT = 100
"""Commands that an instance or a member has under way."""
_NOWHERE = Path("no-state-directory")


@dataclass(slots=True)
class Surroundings:
    """What all nodes of a world share."""

    seed: str
    scheduler: Scheduler
    network: Network
    trace: Trace
    variant: Variant
    defect: Callable[[str, str], None]
    """Told (node, what) of what must never happen."""
    queue: QueueSettings = QUEUE

    def rng(self, name: str) -> random.Random:
        """A source of randomness of its own for each user, so that one more draw changes only its own."""
        return random.Random(f"{self.seed}/{name}")


class Node:
    """A machine with one role. Its supervisor starts the process again when it has ended."""

    role = ""

    def __init__(self, name: str, around: Surroundings, drift: float) -> None:
        self.name = name
        self.around = around
        rng = around.rng(f"clock {name}")
        self.clock = NodeClock(around.scheduler, 1_000.0 + rng.random() * 1e5, drift)
        self.disk: Disk | None = None
        self.key = key_of(name)
        self.process: Process | None = None
        self.starts = 0
        self.stopped = False
        """An operator or a fault keeps it down."""
        self.troubled_at = 0
        """When its process was last killed, frozen, thawed or started, or its disk changed."""
        self.told = 0
        """Refused transmissions of which its former processes were told."""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def well(self) -> bool:
        process = self.process
        return process is not None and process.alive and not process.frozen

    def trouble(self) -> None:
        self.troubled_at = self.around.scheduler.now

    def start(self) -> None:
        """Start a process, unless one runs; one that is just draining is followed by another."""
        self.stopped = False
        if not self.running:
            self._launch()

    def _launch(self) -> Process:
        around = self.around
        self.starts += 1
        self.trouble()
        process = around.variant.process(
            f"{self.name}#{self.starts}",
            self.name,
            self.key,
            self.clock,
            around.scheduler,
            around.network,
            around.trace,
            self.disk,
            self._ended,
        )
        self.process = process
        process.start(self.build(process, around.rng(process.name)))
        return process

    def build(self, process: Process, rng: random.Random) -> Machine:
        """The core of a fresh process, and where it listens."""
        raise NotImplementedError

    def kill(self) -> None:
        self.stopped = True
        self.trouble()
        if self.process is not None:
            self.process.kill()

    def freeze(self) -> None:
        self.trouble()
        if self.process is not None:
            self.process.freeze()

    def thaw(self) -> None:
        self.trouble()
        if self.process is not None and self.process.frozen:
            self.process.thaw()

    def drain(self) -> None:
        """SIGTERM; the supervisor leaves it down until `start`."""
        self.stopped = True
        self.trouble()
        if self.process is not None and self.process.alive:
            self.process.drain()

    def _ended(self, process: Process, how: str, error: ZConnectorError | None) -> None:
        around = self.around
        around.trace.step(around.scheduler.now, process.name, "ended", how)
        self.told += process.told
        self.trouble()
        if how == "defect":
            around.defect(self.name, f"{process.name} raised:\n{process.defect}")
        if process is not self.process:
            return
        replaced = isinstance(error, Refusal) and error.reason is Reason.REPLACED
        if error is not None and not replaced:
            around.defect(self.name, f"{process.name} ended by itself: {error}")
        if not self.stopped:
            around.scheduler.after(self._pause(), self._again)

    def _pause(self) -> int:
        """Microseconds until the supervisor starts it again; an own draw, so that it is the seed's."""
        return 50 * MS + int(self.around.rng(f"pause {self.name} {self.starts}").random() * 2 * SECOND)

    def _again(self) -> None:
        if not self.stopped:
            self.start()


class MemberNode(Node):
    """The cluster member."""

    role = "member"
    endpoint = "sim://member"

    def __init__(self, name: str, around: Surroundings, drift: float, store: MemoryStore) -> None:
        super().__init__(name, around, drift)
        self.key = MEMBER_KEY
        self.store = store
        self.disk = Disk(store, around.rng(f"disk {name}"))
        self._secrets = 0

    def build(self, process: Process, rng: random.Random) -> Machine:
        assert self.disk is not None
        identity = Identity(
            "member",
            "",
            "cluster",
            "1",
            boot_id(self.clock.now(), rng),
            endpoint=self.endpoint,
            server_key=self.key,
        )
        settings = ClusterSettings(state_dir=_NOWHERE, session=MEMBER_SESSION, max_in_flight=IN_FLIGHT)
        router = ClusterRouter(identity, settings, ClusterReads(self.disk, self.store), rng, self._secret)
        self.around.variant.member(router)
        self.around.network.listen(self.endpoint, process)
        return router

    def _secret(self) -> str:
        self._secrets += 1
        return f"fresh secret {self._secrets}"


class InstanceNode(Node):
    """An aggregator instance."""

    role = "aggregator"

    def __init__(self, tenant: str, instance: str, name: str, around: Surroundings, drift: float) -> None:
        super().__init__(name, around, drift)
        self.tenant = tenant
        self.instance = instance
        self.endpoints = 1
        """Grows as a second process of this identity comes up at another place."""
        self.older: list[Process] = []

    @property
    def endpoint(self) -> str:
        return f"sim://{self.name}/{self.endpoints}"

    def build(self, process: Process, rng: random.Random) -> Machine:
        identity = Identity(
            "aggregator",
            self.tenant,
            AGGREGATOR,
            self.instance,
            boot_id(self.clock.now(), rng),
            secret=secret_of(self.name).encode(),
            endpoint=self.endpoint,
            server_key=self.key,
        )
        settings = AggregatorSettings(state_dir=_NOWHERE, session=SESSION, max_in_flight=IN_FLIGHT)
        machine = AggregatorMachine(identity, [Target("1", MemberNode.endpoint, MEMBER_KEY)], settings, rng)
        self.around.variant.aggregator(machine)
        network = self.around.network
        network.listen(self.endpoint, process)
        for older in range(1, self.endpoints):
            # A moved instance is found at its former addresses too, once nobody else answers there: a
            # connector that was away for the whole of the move must come back without an operator.
            network.listen(f"sim://{self.name}/{older}", process, unless_taken=True)
        return machine

    def replace(self) -> None:
        """A second process of the same identity comes up elsewhere, while the first one still runs."""
        if self.process is not None and self.process.alive:
            self.older.append(self.process)
        self.endpoints += 1
        self.trouble()
        self._launch()

    def retire(self) -> None:
        """End the processes that were replaced, should they still run."""
        older, self.older = self.older, []
        for process in older:
            process.kill()
        if self.process is not None and self.process.alive:
            for endpoint in range(1, self.endpoints):
                address = f"sim://{self.name}/{endpoint}"
                self.around.network.listen(address, self.process, unless_taken=True)


class ConnectorNode(Node):
    """A connector, its disk, and the workers' and clients' way to its door."""

    role = "connector"

    def __init__(
        self, spec: ConnectorSpec, around: Surroundings, drift: float, aggregators: list[InstanceNode]
    ) -> None:
        super().__init__(spec.node, around, drift)
        self.spec = spec
        self.rows = MemoryQueueStore().rows
        self.disk = Disk(MemoryQueueStore(self.rows), around.rng(f"disk {self.name}"))
        self.machine: ConnectorMachine | None = None
        self.on_end: Callable[[ConnectorNode], None] = lambda _: None
        """Told when its process has ended."""
        self.on_begin: Callable[[ConnectorNode], None] = lambda _: None
        """Told when a process of it begins."""
        self.on_serve: Callable[[], None] = lambda: None
        """Told when a process of it serves."""
        self._aggregators = aggregators

    def build(self, process: Process, rng: random.Random) -> Machine:
        assert self.disk is not None
        now = self.clock.now()
        store = MemoryQueueStore(self.rows)
        self.disk.store = store
        self.on_begin(self)
        bounds = self.around.queue
        settings = ConnectorSettings(
            state_dir=_NOWHERE, session=SESSION, queue=bounds, max_timeout_ms=MAX_TIMEOUT_MS
        )
        queue = self.around.variant.queue(bounds, QueueReads(self.disk, store), rng)
        queue.restore(scan_all(store), now)
        spec = self.spec
        identity = Identity(
            "connector",
            spec.tenant,
            spec.name,
            "0",
            boot_id(now, rng),
            type=spec.type,
            secret=secret_of(self.name).encode(),
        )
        kept = queue.recall("instances") or {}
        latest = {
            str(i["instance"]): Target(i["instance"], i["endpoint"], i["key"])
            for i in kept.get("instances", [])
        }
        enrolled = {n.instance: Target(n.instance, f"sim://{n.name}/1", n.key) for n in self._aggregators}
        targets = sorted({**enrolled, **latest}.values(), key=lambda t: (t.instance, t.endpoint))
        machine = ConnectorMachine(identity, targets, queue, settings, rng, now)
        self.machine = machine
        self.around.variant.connector(machine)
        process.on_serve = lambda: self._served(process, machine)
        return machine

    def _ended(self, process: Process, how: str, error: ZConnectorError | None) -> None:
        self.on_end(self)
        super()._ended(process, how, error)

    def _served(self, process: Process, machine: ConnectorMachine) -> None:
        now = self.clock.now()
        process.feed(machine.serving("sim", "", now))
        process.feed(machine.admin_running(now))
        self.on_serve()

    @property
    def door(self) -> Process | None:
        """Where workers and clients call, while anybody answers there."""
        process = self.process
        return process if process is not None and process.alive and process.serving else None
