"""Faults of workers and readers, and what operators do meanwhile."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.simulation.faults_machines import Undo
from tests.simulation.pollers import Poller
from tests.simulation.scheduler import SECOND
from tests.simulation.streams import StreamWorker
from tests.simulation.topology import pivot_of
from tests.simulation.version_host import Versioned
from tests.simulation.workers import Worker

if TYPE_CHECKING:
    from tests.simulation.world import World

# ---- workers and readers


def _worker(world: World, rng: random.Random) -> Worker | StreamWorker | Poller | Versioned:
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
    if world.holders:
        rng.choice(world.holders).cancel_waits()


def holder_dies(world: World, rng: random.Random) -> None:
    """Of a subscription: what it had goes to its fellows."""
    if world.holders:
        rng.choice(world.holders).die()


# ---- operators


def pivot_put(world: World, rng: random.Random) -> None:
    """Another version of a type, while everything runs: pushed to the connectors of that type."""
    plain = [node.spec for node in world.connectors if not node.spec.versioned]
    tenant, kind = rng.choice(sorted({(spec.tenant, spec.type) for spec in plain}))
    document = pivot_of(kind, rng.randint(1, 9), f"NEW_{rng.randint(1, 99)}")
    world.operate("pivot_put", {"tenant": tenant, "json": document})


def paused(world: World, rng: random.Random) -> Undo:
    """A name, or all, at one connector."""
    return rng.choice(world.operators).pause()


def purge(world: World, rng: random.Random) -> None:
    rng.choice(world.operators).purge()


def cancel(world: World, rng: random.Random) -> None:
    rng.choice(world.operators).cancel_some()


def replay(world: World, rng: random.Random) -> None:
    rng.choice(world.operators).replay()


def edit(world: World, rng: random.Random) -> None:
    rng.choice(world.operators).edit()


def purge_letters(world: World, rng: random.Random) -> None:
    rng.choice(world.operators).purge_letters()
