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

from tests.simulation import faults_machines as machines
from tests.simulation import faults_network as network
from tests.simulation import faults_people as people
from tests.simulation import faults_versions as versions
from tests.simulation.faults_machines import CRASH_POINTS, Undo
from tests.simulation.scheduler import SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["ALL", "CRASH_POINTS", "FAULTS", "VERSION_FAULTS", "Fault", "Injector"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault."""

    weight: int
    longest: float
    """Seconds that it lasts at most."""
    inject: Callable[[World, random.Random], Undo | None]
    alone: bool = False
    """Nothing else goes wrong before and meanwhile: what is promised then can be checked exactly."""


FAULTS: dict[str, Fault] = {
    "kill": Fault(10, 8.0, machines.kill),
    "kill inside a step": Fault(6, 10.0, machines.kill_inside),
    "kill at a crash point": Fault(10, 20.0, machines.kill_at_point),
    "freeze": Fault(8, 10.0, machines.freeze),
    "drain": Fault(5, 6.0, machines.drain),
    "replace": Fault(3, 10.0, machines.replace),
    "silent instance": Fault(3, 20.0, machines.silent_instance, alone=True),
    "partition": Fault(6, 12.0, network.partition),
    "one-way partition": Fault(6, 12.0, network.one_way),
    "isolate": Fault(4, 10.0, network.isolate),
    "swizzle": Fault(3, 6.0, network.swizzle),
    "reset": Fault(5, 0.0, network.reset),
    "swallow": Fault(5, 0.0, network.swallow),
    "duplicate": Fault(3, 10.0, network.duplicate),
    "slow joiner": Fault(2, 15.0, network.slow_joiner),
    "jitter": Fault(3, 8.0, network.jitter),
    "disk full": Fault(5, 10.0, machines.disk_full),
    "unreadable": Fault(3, 8.0, machines.unreadable),
    "slow disk": Fault(3, 10.0, machines.slow_disk),
    "wall jump": Fault(4, 40.0, machines.wall_jump),
    "worker dies": Fault(8, 0.0, people.worker_dies),
    "worker hangs": Fault(6, 0.0, people.worker_hangs),
    "waits cancelled": Fault(6, 0.0, people.waits_cancelled),
    "holder dies": Fault(4, 0.0, people.holder_dies),
    "paused": Fault(4, 25.0, people.paused),
    "purge": Fault(2, 0.0, people.purge),
    "cancel": Fault(4, 0.0, people.cancel),
    "replay": Fault(4, 0.0, people.replay),
    "edit": Fault(2, 0.0, people.edit),
    "purge letters": Fault(1, 0.0, people.purge_letters),
    "pivot put": Fault(4, 0.0, people.pivot_put),
}


VERSION_FAULTS: dict[str, Fault] = {
    "kill in a rollout": Fault(12, 30.0, versions.kill_in_a_rollout),
    "kill with versions": Fault(8, 4.0, versions.kill_with_versions),
    "version dies": Fault(8, 0.0, versions.version_dies),
    "version hangs": Fault(5, 0.0, versions.version_hangs),
    "repository away": Fault(4, 20.0, versions.repository_away),
}
"""Of worlds with worker versions; none of those above draws anything else for them."""
ALL = {**FAULTS, **VERSION_FAULTS}

CALM = 15.0
"""Seconds without a fault before one that is to be alone."""


class Injector:
    """Injects faults until it is told to stop, then undoes all of them."""

    def __init__(self, world: World, kinds: Sequence[str], pause: float) -> None:
        """`kinds`: which faults this world knows; `pause`: mean seconds between two."""
        self.injected: Counter[str] = Counter()
        self._world = world
        self._kinds = list(kinds)
        self._weights = [ALL[kind].weight for kind in kinds]
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
        if ALL[kind].alone:
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
        fault, world = ALL[kind], self._world
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
