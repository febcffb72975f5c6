"""What goes wrong: a table of faults, and the seeded schedule that injects them.

A fault is a function that does it and returns how it is undone (or None), with the seconds it lasts. To
add one, write the function and give it a line in FAULTS.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.disk import SLOW_DISK
from tests.simulation.network import JITTER, Connection
from tests.simulation.nodes import ConnectorNode, InstanceNode, Node
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.streams import StreamWorker
from tests.simulation.topology import pivot_of
from tests.simulation.workers import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

Undo = Callable[[], None]

CRASH_POINTS: dict[str, tuple[str, ...]] = {
    "connector": (
        "source.before_send",
        "source.after_send",
        "source.after_receipt",
        "source.reply_before_commit",
        "source.reply_after_commit",
        "source.reply_after_confirm",
        "target.before_commit",
        "target.after_commit",
        "target.after_receipt",
        "target.after_lease",
        "target.completion_before_commit",
        "target.completion_after_commit",
        "target.after_reply",
    ),
    "member": (
        "member.before_resolution",
        "member.after_resolution",
        "member.after_forward",
        "member.reply_before_commit",
        "member.reply_after_commit",
        "member.event_before_commit",
        "member.event_after_commit",
    ),
}
"""WIRE.md section 13."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    weight: int
    longest: float
    """Seconds that it lasts at most."""
    inject: Callable[[World, random.Random], Undo | None]
    alone: bool = False
    """Nothing else goes wrong before and meanwhile: what is promised then can be checked exactly."""


# ---- processes


def _any_node(world: World, rng: random.Random) -> Node:
    return rng.choice(list(world.nodes.values()))


def kill(world: World, rng: random.Random) -> Undo:
    node = _any_node(world, rng)
    node.kill()
    return node.start


def kill_inside(world: World, rng: random.Random) -> Undo:
    """In the middle of a step, after so many actions."""
    process = _any_node(world, rng).process
    if process is not None and process.alive:
        process.fuse = rng.randrange(60)

    def undo() -> None:
        if process is not None:
            process.fuse = -1

    return undo


def kill_at_point(world: World, rng: random.Random) -> Undo:
    """At a named crash point."""
    nodes = [node for node in world.nodes.values() if node.role in CRASH_POINTS]
    node = rng.choice(nodes)
    process = node.process
    if process is not None:
        process.crash_at = rng.choice(CRASH_POINTS[node.role])

    def undo() -> None:
        if process is not None:
            process.crash_at = ""

    return undo


def freeze(world: World, rng: random.Random) -> Undo | None:
    node = _any_node(world, rng)
    if not node.well:
        return None
    node.freeze()
    world.trouble(node, begins=True)

    def undo() -> None:
        world.trouble(node, begins=False)
        node.thaw()

    return undo


def drain(world: World, rng: random.Random) -> Undo:
    node = _any_node(world, rng)
    node.drain()
    return node.start


def replace(world: World, rng: random.Random) -> Undo:
    """A second process of an aggregator instance's identity."""
    node = rng.choice([node for node in world.nodes.values() if isinstance(node, InstanceNode)])
    node.replace()
    return node.retire


def silent_instance(world: World, rng: random.Random) -> Undo:
    """One of the instances stops answering, without a word."""
    node = rng.choice([n for n in world.nodes.values() if isinstance(n, InstanceNode) and n.tenant == "t1"])
    ended = world.failover_begins(node)
    node.freeze()

    def undo() -> None:
        ended()
        node.thaw()

    return undo


# ---- network


def _two_nodes(world: World, rng: random.Random) -> tuple[str, str]:
    """Machines that have to do with each other: an instance, and a connector or the member."""
    instance = rng.choice([node for node in world.nodes.values() if isinstance(node, InstanceNode)])
    others = [
        node.name
        for node in world.nodes.values()
        if node.role == "member" or (isinstance(node, ConnectorNode) and node.spec.tenant == instance.tenant)
    ]
    return instance.name, rng.choice(others)


def _block(world: World, ways: Sequence[tuple[str, str]]) -> Undo:
    for way in ways:
        world.network.block(way)

    def undo() -> None:
        for way in ways:
            world.network.unblock(way)

    return undo


def partition(world: World, rng: random.Random) -> Undo:
    one, other = _two_nodes(world, rng)
    return _block(world, [(one, other), (other, one)])


def one_way(world: World, rng: random.Random) -> Undo:
    one, other = _two_nodes(world, rng)
    return _block(world, [(one, other) if rng.random() < 0.5 else (other, one)])


def isolate(world: World, rng: random.Random) -> Undo:
    """A machine is cut off from all others."""
    node = _any_node(world, rng).name
    return _block(
        world, [way for other in world.nodes for way in ((node, other), (other, node)) if other != node]
    )


def swizzle(world: World, rng: random.Random) -> Undo:
    """Clog a random subset of the ways one after the other; they are released in another order."""
    ways = [
        (one, other) for one in world.nodes for other in world.nodes if one != other and rng.random() < 0.25
    ]
    rng.shuffle(ways)
    clogged: list[tuple[str, str]] = []

    def clog(way: tuple[str, str]) -> None:
        if clogged is not None:
            world.network.block(way)
            clogged.append(way)

    for way in ways:
        world.scheduler.after(int(rng.random() * SECOND), clog, way)

    def undo() -> None:
        pauses = random.Random(f"{world.plan.seed}/release {world.scheduler.now}")
        for way in ways:
            world.scheduler.after(SECOND + int(pauses.random() * SECOND), _release, world, clogged, way)

    return undo


def _release(world: World, clogged: list[tuple[str, str]], way: tuple[str, str]) -> None:
    if way in clogged:
        clogged.remove(way)
        world.network.unblock(way)


def _connections(world: World, rng: random.Random) -> list[Connection]:
    return [each for each in world.network.connections if rng.random() < 0.3]


def reset(world: World, rng: random.Random) -> None:
    """Connections break, and both ends are told."""
    for connection in _connections(world, rng):
        world.network.cut(connection, noticed=True)


def swallow(world: World, rng: random.Random) -> None:
    """Connections break, and nobody is told."""
    for connection in _connections(world, rng):
        world.network.cut(connection, noticed=False)


def duplicate(world: World, rng: random.Random) -> Undo:
    world.network.duplicates = rng.choice((0.02, 0.2))

    def undo() -> None:
        world.network.duplicates = 0.0

    return undo


def slow_joiner(world: World, rng: random.Random) -> Undo:
    node = _any_node(world, rng).name
    world.network.slow[node] = 4 * SECOND

    def undo() -> None:
        world.network.slow.pop(node, None)

    return undo


def jitter(world: World, rng: random.Random) -> Undo:
    world.network.jitter = rng.choice((20 * MS, 200 * MS, 900 * MS))

    def undo() -> None:
        world.network.jitter = JITTER

    return undo


# ---- disks


def _disk(world: World, rng: random.Random) -> Node:
    return rng.choice([node for node in world.nodes.values() if node.disk is not None])


def disk_full(world: World, rng: random.Random) -> Undo:
    node = _disk(world, rng)
    assert node.disk is not None
    node.disk.failing = rng.choice((0.3, 1.0))
    world.trouble(node, begins=True)

    def undo() -> None:
        assert node.disk is not None
        node.disk.failing = 0.0
        world.trouble(node, begins=False)

    return undo


def unreadable(world: World, rng: random.Random) -> Undo:
    node = _disk(world, rng)
    assert node.disk is not None
    node.disk.unreadable = rng.choice((0.3, 1.0))

    def undo() -> None:
        assert node.disk is not None
        node.disk.unreadable = 0.0

    return undo


def slow_disk(world: World, rng: random.Random) -> Undo:
    node = _disk(world, rng)
    assert node.disk is not None
    node.disk.slow = rng.choice((SLOW_DISK // 20, SLOW_DISK))
    world.trouble(node, begins=True)

    def undo() -> None:
        assert node.disk is not None
        node.disk.slow = 0
        world.trouble(node, begins=False)

    return undo


# ---- clocks


def wall_jump(world: World, rng: random.Random) -> Undo | None:
    """An hour, there or back; most jumps are put right later."""
    node = _any_node(world, rng)
    jump = rng.choice((-3_600_000, 3_600_000))
    node.clock.wall_offset += jump
    if rng.random() < 0.15:
        return None

    def undo() -> None:
        node.clock.wall_offset -= jump

    return undo


# ---- workers and readers


def _worker(world: World, rng: random.Random) -> Worker | StreamWorker:
    """One that has something to lose, if there is any."""
    busy = [worker for worker in world.workers if worker.ongoing]
    return rng.choice(busy or world.workers)


def worker_dies(world: World, rng: random.Random) -> None:
    _worker(world, rng).die()


def worker_hangs(world: World, rng: random.Random) -> None:
    _worker(world, rng).hang(int(rng.uniform(1.0, 9.0) * SECOND))


def waits_cancelled(world: World, rng: random.Random) -> None:
    _worker(world, rng).cancel_waits()
    rng.choice(world.subscribers).cancel_wait()


# ---- operators


def pivot_put(world: World, rng: random.Random) -> None:
    """Another version of a type, while everything runs: pushed to the connectors of that type."""
    tenant, kind = rng.choice(sorted({(node.spec.tenant, node.spec.type) for node in world.connectors}))
    document = pivot_of(kind, rng.randint(1, 9), f"NEW_{rng.randint(1, 99)}")
    world.operate("pivot_put", {"tenant": tenant, "json": document})


FAULTS: dict[str, Fault] = {
    "kill": Fault(10, 8.0, kill),
    "kill inside a step": Fault(6, 10.0, kill_inside),
    "kill at a crash point": Fault(10, 20.0, kill_at_point),
    "freeze": Fault(8, 10.0, freeze),
    "drain": Fault(5, 6.0, drain),
    "replace": Fault(3, 10.0, replace),
    "silent instance": Fault(3, 20.0, silent_instance, alone=True),
    "partition": Fault(6, 12.0, partition),
    "one-way partition": Fault(6, 12.0, one_way),
    "isolate": Fault(4, 10.0, isolate),
    "swizzle": Fault(3, 6.0, swizzle),
    "reset": Fault(5, 0.0, reset),
    "swallow": Fault(5, 0.0, swallow),
    "duplicate": Fault(3, 10.0, duplicate),
    "slow joiner": Fault(2, 15.0, slow_joiner),
    "jitter": Fault(3, 8.0, jitter),
    "disk full": Fault(5, 10.0, disk_full),
    "unreadable": Fault(3, 8.0, unreadable),
    "slow disk": Fault(3, 10.0, slow_disk),
    "wall jump": Fault(4, 40.0, wall_jump),
    "worker dies": Fault(8, 0.0, worker_dies),
    "worker hangs": Fault(6, 0.0, worker_hangs),
    "waits cancelled": Fault(6, 0.0, waits_cancelled),
    "pivot put": Fault(4, 0.0, pivot_put),
}


CALM = 15.0
"""Seconds without a fault before one that is to be alone."""


class Injector:
    """Injects faults until it is told to stop, then undoes all of them."""

    def __init__(self, world: World, kinds: Sequence[str], pause: float) -> None:
        """`kinds`: which faults this world knows; `pause`: mean seconds between two."""
        self.injected: Counter[str] = Counter()
        self._world = world
        self._kinds = list(kinds)
        self._weights = [FAULTS[kind].weight for kind in kinds]
        self._pause = pause
        self._rng = random.Random(f"{world.plan.seed}/faults")
        self._undo: dict[int, Undo] = {}
        self._number = 0
        self._stopped = False

    def start(self) -> None:
        if self._kinds:
            self._wait()

    def _wait(self) -> None:
        self._world.scheduler.after(int(self._rng.random() * 2 * self._pause * SECOND), self._next)

    def _next(self) -> None:
        if self._stopped:
            return
        kind = self._rng.choices(self._kinds, self._weights)[0]
        if FAULTS[kind].alone:
            for number in list(self._undo):
                self._over(number, "fault")
            self._world.heal()
            self._world.scheduler.after(int(CALM * SECOND), self._alone, kind)
        else:
            self._inject(kind)
            self._wait()

    def _alone(self, kind: str) -> None:
        if self._stopped:
            return
        lasts = self._inject(kind)
        self._world.scheduler.after(lasts + SECOND, self._wait)

    def _inject(self, kind: str) -> int:
        """Returns how long it will last."""
        fault, world = FAULTS[kind], self._world
        world.trace.step(world.scheduler.now, "world", kind)
        undo = fault.inject(world, self._rng)
        self.injected[kind] += 1
        if undo is not None:
            self._number += 1
            self._undo[self._number] = undo
            # Mostly short: what lasts long hides what comes after it.
            lasts = int(fault.longest * self._rng.random() ** 2 * SECOND)
            world.scheduler.after(lasts, self._over, self._number, kind)
            return lasts
        return 0

    def _over(self, number: int, kind: str) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            world = self._world
            world.trace.step(world.scheduler.now, "world", f"end of {kind}")
            undo()

    def stop(self) -> None:
        """No more faults; those that last end now."""
        self._stopped = True
        for number in list(self._undo):
            self._over(number, "fault")

    @property
    def lasting(self) -> int:
        return len(self._undo)
