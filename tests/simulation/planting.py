"""What planting a bug takes: a subclass in the place of a part's class."""

from __future__ import annotations

import random

from tests.simulation.variant import Variant
from zconnector.queue.local import LocalQueue
from zconnector.queue.store import Bodies
from zconnector.settings import QueueSettings


def become(part: object, mutant: type) -> None:
    """Put a subclass in the place of a part's class."""
    assert issubclass(mutant, type(part))
    part.__class__ = mutant


class QueueVariant(Variant):
    """Another local queue."""

    made: type[LocalQueue] = LocalQueue

    def queue(self, settings: QueueSettings, bodies: Bodies, rng: random.Random) -> LocalQueue:
        return self.made(settings, bodies, rng)
