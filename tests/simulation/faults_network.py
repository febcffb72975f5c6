"""Faults of the network."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.simulation.faults_machines import Undo, any_node
from tests.simulation.network import JITTER, Connection
from tests.simulation.nodes import ConnectorNode, InstanceNode
from tests.simulation.scheduler import MS, SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

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
    node = any_node(world, rng).name
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
    node = any_node(world, rng).name
    world.network.slow[node] = 4 * SECOND

    def undo() -> None:
        world.network.slow.pop(node, None)

    return undo


def jitter(world: World, rng: random.Random) -> Undo:
    world.network.jitter = rng.choice((20 * MS, 200 * MS, 900 * MS))

    def undo() -> None:
        world.network.jitter = JITTER

    return undo
