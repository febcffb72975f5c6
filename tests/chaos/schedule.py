"""What is done to whom, and when: decided by the seed alone, before anything starts. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

GAP = (0.4, 2.4)
"""Seconds between the beginnings of two faults."""
CALM_BEFORE, CALM_AFTER = 1.0, 6.0
"""Seconds without any other fault before and after one that is measured."""
LAST_CALM = 5.0
"""Seconds at the end of a run in which nothing new is done."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault; `faults.py` has a method of its name that does it."""

    name: str
    what: str
    roles: Mapping[str, int]
    """Whom it may hit, with weights."""
    lasts: tuple[float, float]
    weight: int = 1
    alone: bool = False
    """Nothing else happens meanwhile: it is measured against the goals."""


_PROCESSES = {"aggregator": 5, "connector": 3, "cluster": 2, "worker": 2, "frontend": 2}
_LINKS = {"link": 1}
_PORTS = {"aggregator": 3, "cluster": 1}

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("kill", "SIGKILL, and a fresh start later", _PROCESSES, (0.1, 4.0), weight=6),
        Kind("restart", "SIGTERM, its drain, and a fresh start later", _PROCESSES, (0.1, 2.0), weight=2),
        Kind("freeze", "SIGSTOP, and SIGCONT later", _PROCESSES, (0.1, 6.0), weight=4),
        Kind(
            "dead", "SIGKILL of one instance while all else is well", {"aggregator": 1}, (2.0, 4.0), 1, True
        ),
        Kind(
            "silent", "SIGSTOP of one instance while all else is well", {"aggregator": 1}, (3.5, 5.0), 1, True
        ),
        Kind("cut", "a link carries nothing in either direction", _LINKS, (0.5, 6.0), weight=2),
        Kind("one-way", "a link carries nothing in one direction", _LINKS, (0.5, 6.0), weight=2),
        Kind("slow", "a link delays all it carries", _LINKS, (1.0, 6.0)),
        Kind("reset", "the connections of a link are reset", _LINKS, (0.1, 0.1)),
        Kind("island", "a connector is cut off from every instance", {"connector": 1}, (0.5, 6.0)),
        Kind("disk", "a state directory is full", {"connector": 2, "cluster": 1}, (2.5, 4.0), 1, True),
        Kind("full-crash", "SIGKILL while its disk is full", {"connector": 2, "cluster": 1}, (0.2, 1.5)),
        Kind("garbage", "junk on a port", _PORTS, (0.5, 1.0)),
        Kind("half-open", "connections that say nothing, or half a greeting", _PORTS, (2.0, 5.0)),
        Kind("oversized", "frames over the limit", {"aggregator": 1}, (0.5, 1.0)),
        Kind("flood", "a validated peer sends as fast as it can", {"aggregator": 1}, (2.0, 3.0)),
        Kind("storm", "up to 1,000 peers connect, greet and go", {"aggregator": 1}, (2.0, 4.0)),
    )
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is done to one target, and undone later."""

    at: float
    """Seconds since the traffic began."""
    kind: str
    target: str
    lasts: float
    chance: float
    """Decides what the kind leaves open: 0 to 1."""


def schedule(
    seed: int | str,
    seconds: float,
    targets: Sequence[tuple[str, str]],
    kinds: Sequence[str] = (),
    table: Mapping[str, Kind] = KINDS,
    gap: tuple[float, float] = GAP,
) -> list[Fault]:
    """The faults of one run; `targets` are (role, label), `kinds` names of the table (none: all of them).

    Each kind comes once, in random order, before any comes again. The last one is undone before the end.
    """
    rng = random.Random(seed)
    faults: list[Fault] = []
    end = max(seconds - LAST_CALM, seconds / 2)
    at, over = rng.uniform(*gap), 0.0
    for kind in _kinds(rng, [table[name] for name in kinds or table]):
        roles = {role: weight for role, weight in kind.roles.items() if any(r == role for r, _ in targets)}
        role = rng.choices(list(roles), list(roles.values()))[0]
        label = rng.choice([label for found, label in targets if found == role])
        lasts, chance = rng.uniform(*kind.lasts), rng.random()
        if kind.alone:
            at = max(at, over + CALM_BEFORE)
        if at + lasts > end:
            if at >= end or kind.alone:
                break
            lasts = end - at
        faults.append(Fault(round(at, 3), kind.name, label, round(lasts, 3), round(chance, 6)))
        over = max(over, at + lasts)
        at = over + CALM_AFTER if kind.alone else at + rng.uniform(*gap)
    return faults


def _kinds(rng: random.Random, kinds: list[Kind]) -> Iterator[Kind]:
    first = list(kinds)
    rng.shuffle(first)
    yield from first
    while True:
        yield rng.choices(kinds, [kind.weight for kind in kinds])[0]
