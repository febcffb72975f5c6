"""Faults of machines: their processes, disks and clocks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.disk import SLOW_DISK
from tests.simulation.nodes import InstanceNode, Node

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


# ---- processes


def any_node(world: World, rng: random.Random) -> Node:
    return rng.choice(list(world.nodes.values()))


def kill(world: World, rng: random.Random) -> Undo:
    node = any_node(world, rng)
    node.kill()
    return node.start


def kill_inside(world: World, rng: random.Random) -> Undo:
    """In the middle of a step, after so many actions."""
    process = any_node(world, rng).process
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
    node = any_node(world, rng)
    if not node.well:
        return None
    node.freeze()
    world.trouble(node, begins=True)

    def undo() -> None:
        world.trouble(node, begins=False)
        node.thaw()

    return undo


def drain(world: World, rng: random.Random) -> Undo:
    node = any_node(world, rng)
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
    node = any_node(world, rng)
    jump = rng.choice((-3_600_000, 3_600_000))
    node.clock.wall_offset += jump
    world.jumped(node)
    if rng.random() < 0.15:
        return None

    def undo() -> None:
        node.clock.wall_offset -= jump
        world.jumped(node)

    return undo
