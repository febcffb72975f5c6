"""Faults around worker versions: the router killed at each step, versions that die, no repository."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.faults_machines import Undo
from zconnector.connector.steering import CRASH_POINTS

if TYPE_CHECKING:
    from tests.simulation.version_host import AdminHost
    from tests.simulation.world import World

STEPS = tuple(CRASH_POINTS)


def _host(world: World, rng: random.Random) -> AdminHost:
    return rng.choice(world.hosts)


def kill_in_a_rollout(world: World, rng: random.Random) -> Undo:
    """Before a step's commit, within it, or at some moment of what follows from it."""
    host, step = _host(world, rng), rng.choice(STEPS)
    process = host.node.process
    if rng.random() < 0.3 and process is not None:
        process.crash_at = rng.choice(CRASH_POINTS[step]).point
    else:
        host.fuse = f"{rng.choice(('before', 'after', 'after'))} {step}"

    def undo() -> None:
        host.fuse = ""
        if process is not None:
            process.crash_at = ""

    return undo


def kill_with_versions(world: World, rng: random.Random) -> Undo:
    node = _host(world, rng).node
    node.kill()
    return node.start


def _versioned(world: World, rng: random.Random):  # type: ignore[no-untyped-def]
    host = _host(world, rng)
    return next(worker for worker in world.workers if worker.node is host.node)


def version_dies(world: World, rng: random.Random) -> None:
    _versioned(world, rng).die()


def version_hangs(world: World, rng: random.Random) -> None:
    _versioned(world, rng).hang(int(rng.uniform(1.0, 9.0) * 1e6))


def repository_away(world: World, rng: random.Random) -> Undo:
    repository = _host(world, rng).repository
    repository.away = True

    def undo() -> None:
        repository.away = False

    return undo
