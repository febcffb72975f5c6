"""What is done to whom, and when: decided by the seed alone, before anything starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

KILL, FREEZE = "kill", "freeze"
GAP = (0.8, 3.5)
"""Seconds between the beginnings of two faults."""
LASTS = (0.1, 4.0)
"""Seconds that a killed process stays dead, or a frozen one frozen."""
WEIGHTS = {"aggregator": 6, "connector": 3, "cluster": 2, "worker": 2}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to one process, and undone later."""

    at: float
    """Seconds since the traffic began."""
    kind: str
    target: str
    lasts: float


def schedule(seed: int, seconds: float, targets: Sequence[tuple[str, str]]) -> list[Fault]:
    """The faults of one run; `targets` are (role, label). The last one is undone before the end."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    at = rng.uniform(*GAP)
    while at + LASTS[0] < seconds:
        role = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        label = rng.choice([label for found, label in targets if found == role])
        kind = KILL if role == "worker" else rng.choices((KILL, FREEZE), (3, 1))[0]
        lasts = min(rng.uniform(*LASTS), seconds - at)
        faults.append(Fault(round(at, 3), kind, label, round(lasts, 3)))
        at += rng.uniform(*GAP)
    return faults
