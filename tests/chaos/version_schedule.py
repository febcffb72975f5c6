"""What an operator of worker versions does, and which faults hit them: decided by the seed alone. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.releases import BASE, QUALITIES
from tests.chaos.schedule import Fault, Kind, schedule

ROUTER, VERSIONS, REPOSITORY = "vcs", "versions", "repository"
"""Whom the faults hit: the connector that runs versions, their processes, the repository."""
TARGETS = (("router", ROUTER), ("versions", VERSIONS), ("repository", REPOSITORY))

VERSION_KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "router-kill", "SIGKILL of a router at a moment of a rollout", {"router": 1}, (3.0, 6.0), weight=4
        ),
        Kind("router-restart", "SIGTERM of it, and a fresh start later", {"router": 1}, (0.1, 2.0)),
        Kind("router-freeze", "SIGSTOP of it, and SIGCONT later", {"router": 1}, (0.5, 5.0)),
        Kind("version-kill", "SIGKILL of a version, or of its guard", {"versions": 1}, (0.1, 0.1), weight=3),
        Kind("version-freeze", "SIGSTOP of a version, and SIGCONT later", {"versions": 1}, (0.5, 6.0), 2),
        Kind("no-repository", "the repository's directory is renamed", {"repository": 1}, (1.0, 5.0), 2),
        Kind("half-archive", "archives of the repository are half there", {"repository": 1}, (2.0, 6.0), 2),
    )
}
FAULT_GAP = (3.0, 9.0)
ACT_GAP = (2.0, 5.5)
"""Seconds between the beginnings of two."""
FIRST_ACT = 0.5
LAST_ACTS = 8.0
"""Seconds at the end of a run in which the operator begins nothing."""
STEPS = ("FETCHING", "STARTING", "GATING", "SHIFTING", "DRAINING", "ROLLING_BACK")
"""Of a rollout, in one of which a router is killed."""

CONTROL, CLI, ADMIN = WAYS = ("control", "cli", "admin")
"""How the operator asks: the control socket, the command line, an admin command by the ordinary way."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that the operator does."""

    at: float
    """Seconds since the first version serves."""
    kind: str
    way: str
    version: str
    """Whose it is; "" where what runs then decides."""
    quality: str
    """Of a version that is published for it."""
    chance: float
    """Decides what is left open: 0 to 1."""


PUBLISHED = 0.5
"""Share of acts before which another version is published."""
_ASKED = {"publish": 2, "back": 2, "newest": 1, "beside": 2, "stop": 2, "latest": 1, "get": 1}
"""Acts that have an admin command: publish a version and update to it, update to one that was good (which may
be the one that runs), to the newest, start one beside, stop one, ask for the newest, install one."""
_OPERATED = {"rollback": 2, "shares": 2, "keys": 1, "want": 1}
"""Those that have none: roll back, set shares, keys, versions."""
ACTS: Mapping[str, int] = {**_ASKED, **_OPERATED}
"""Each with its weight."""
NEEDS_VERSION = frozenset({"publish", "back", "beside", "get", "want"})


def acts(seed: int, seconds: float) -> list[Act]:
    """The operator's acts of one run. An update to a good version first; then each kind comes once, in random
    order, before any comes again, with versions published in between, and so do the qualities of these."""
    rng = random.Random(f"versions {seed}")
    qualities = _each_first(rng, dict.fromkeys(QUALITIES, 1))
    good, published = [BASE], 0
    found: list[Act] = []
    at = FIRST_ACT
    for kind in _kinds(rng):
        if at > seconds - LAST_ACTS:
            return found
        way = ADMIN if kind == "get" else rng.choice(WAYS if kind in _ASKED else WAYS[:2])
        version = quality = ""
        if kind == "publish" and published < 127:
            published += 1
            version, quality = f"1.{published}", next(qualities) if found else "good"
        elif kind in NEEDS_VERSION:
            version = rng.choice(good[-3:])
        chance = round(rng.random(), 6)
        found.append(Act(round(at, 3), kind, way, version, quality, chance))
        if quality == "good":
            good.append(version)
        at += rng.uniform(*ACT_GAP)
    return found


def faults(seed: int, seconds: float, kinds: Sequence[str] = ()) -> list[Fault]:
    """Those of versions; `kinds` of VERSION_KINDS (none: all)."""
    return schedule(f"versions {seed}", seconds, TARGETS, kinds, VERSION_KINDS, FAULT_GAP)


def _kinds(rng: random.Random) -> Iterator[str]:
    yield "publish"
    for kind in _each_first(rng, ACTS):
        if rng.random() < PUBLISHED:
            yield "publish"
        yield kind


def _each_first(rng: random.Random, weights: Mapping[str, int]) -> Iterator[str]:
    first = list(weights)
    rng.shuffle(first)
    yield from first
    while True:
        yield rng.choices(list(weights), list(weights.values()))[0]
