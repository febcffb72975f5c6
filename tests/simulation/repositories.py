"""A simulated repository of worker versions, good ones and bad ones, and what is installed from it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.errors import FetchError, UntrustedError
from zconnector.repository.install import Installed
from zconnector.repository.layout import WorkerName
from zconnector.repository.source import Source

TYPE, PRODUCT = "Vcs", "sim"
ADDRESS = "https://repository.invalid/workers"
KEY = "ed25519:" + "A" * 43 + "="
ALWAYS = ("PULL", "PUSH")
NEWER = "FETCH"
"""Declared by some versions only."""


class Quality(StrEnum):
    """How a version behaves."""

    GOOD = "good"
    TIRED = "tired"
    """Good, but for a crash now and then."""
    DEAD = "dead"
    """Crashes at its start."""
    MUTE = "mute"
    """Never registers."""
    LACKING = "lacking"
    """Registers without one of its commands."""
    FRAIL = "frail"
    """Crashes within its gate."""
    SILENT = "silent"
    """Stops beating within its gate."""
    WRONG = "wrong"
    """Fails its canary."""
    TAMPERED = "tampered"
    """Is not what its manifest says."""


SOUND = frozenset({Quality.GOOD, Quality.TIRED})
VERSIONS: dict[Version, Quality] = {
    Version(1, 0): Quality.GOOD,
    Version(1, 1): Quality.GOOD,
    Version(1, 2): Quality.DEAD,
    Version(1, 3): Quality.GOOD,
    Version(1, 4): Quality.LACKING,
    Version(1, 5): Quality.FRAIL,
    Version(1, 6): Quality.TIRED,
    Version(1, 7): Quality.SILENT,
    Version(1, 8): Quality.WRONG,
    Version(1, 9): Quality.MUTE,
    Version(2, 0): Quality.GOOD,
    Version(2, 1): Quality.TAMPERED,
}
GOOD = tuple(version for version, quality in VERSIONS.items() if quality in SOUND)


def commands_of(version: Version) -> tuple[str, ...]:
    """What its pivot declares."""
    return (*ALWAYS, NEWER) if version >= (1, 3) else ALWAYS


def worker_of(version: Version) -> str:
    """The name of a version's worker."""
    return f"{TYPE}-{version}"


def streams(version: Version) -> bool:
    """Whether its worker speaks zconnector.v1."""
    return version.minor % 2 == 1


def pivot(version: Version) -> Pivot:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    return Pivot.from_dict(
        {
            "name": TYPE,
            "major": version.major,
            "minor": version.minor,
            "commandtypes": [{"name": name, "schema": schema} for name in commands_of(version)],
            "keys": [{"name": "token", "type": "string", "mandatory": True, "default": "none"}],
        }
    )


@dataclass(slots=True)
class Repository:
    """What is published, and whether anybody can reach it."""

    newest: Version
    away: bool = False
    canary: bool = True
    """Whether new versions are tried with one: else there is none that only a canary tells from good ones."""

    def has(self) -> list[Version]:
        return [v for v in VERSIONS if self.canary or VERSIONS[v] is not Quality.WRONG]

    def versions(self) -> list[Version]:
        return [version for version in self.has() if version <= self.newest]


class SimulatedPackages:
    """The port `Packages`: a repository that is slow, away, or gives what is not signed; and a disk."""

    def __init__(self, repository: Repository, disk: dict[Version, None], rng: random.Random) -> None:
        """`disk`: what is installed; outlives the process."""
        self._repository = repository
        self._disk = disk
        self._rng = rng

    async def _reach(self) -> None:
        await asyncio.sleep(0.02 + self._rng.random() ** 3 * 3)
        if self._repository.away or self._rng.random() < 0.03:
            raise FetchError(f"{ADDRESS} does not answer, says the simulation")

    async def install(self, source: Source, worker: WorkerName, version: Version) -> Installed:
        await self._reach()
        if version not in self._repository.has():
            raise FetchError(f"{ADDRESS} has no {version}")
        if VERSIONS[version] is Quality.TAMPERED:
            raise UntrustedError(f"{version} is not what was signed")
        self._disk[version] = None
        return _installed(worker, version)

    async def installed(self, worker: WorkerName) -> Sequence[Installed]:
        await asyncio.sleep(0.005)
        return [_installed(worker, version) for version in self._disk]

    async def available(self, source: Source, worker: WorkerName) -> Sequence[Version]:
        await self._reach()
        return self._repository.versions()

    async def files(self, installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
        await asyncio.sleep(0.005)
        return pivot(installed.version), None

    async def clean(self, worker: WorkerName, unwanted: Callable[[Version], bool]) -> list[Version]:
        await asyncio.sleep(0.005)
        gone = [version for version in self._disk if unwanted(version)]
        for version in gone:
            del self._disk[version]
        return gone


def _installed(worker: WorkerName, version: Version) -> Installed:
    folder = Path(f"/nowhere/{version}")
    more: dict[str, Any] = {"address": ADDRESS, "repository": "sim", "serial": 1, "sha256": f"{version}"}
    return Installed(worker, version, folder, folder / "worker", None, None, **more)
