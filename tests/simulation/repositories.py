"""A simulated repository of worker versions, good ones and bad ones, and what is installed from it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.errors import AwayError, FetchError, UntrustedError
from zconnector.repository.cleaning import Gone, Unwanted
from zconnector.repository.install import Installed
from zconnector.repository.layout import WorkerName
from zconnector.repository.manifest import Manifest
from zconnector.repository.source import Source

TYPE, PRODUCT = "Vcs", "sim"
PRODUCTS = (PRODUCT, "Other")
"""Every version is there of both, with the same quality."""
ADDRESS = "https://repository.invalid/workers"
KEY = "ed25519:" + "A" * 43 + "="
ALWAYS = ("PULL", "PUSH")
BAD = "bad"
"""How a token begins that no worker likes."""
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


def worker_of(version: Version | str) -> str:
    """The name of a version's worker, or of an edition's by its text."""
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
    republished: dict[Version, int] = field(default_factory=dict)
    """How often a version was published again, with another content."""
    canary: bool = True
    """Whether new versions are tried with one: else there is none that only a canary tells from good ones."""

    def has(self) -> list[Version]:
        return [v for v in VERSIONS if self.canary or VERSIONS[v] is not Quality.WRONG]

    def versions(self) -> list[Version]:
        return [version for version in self.has() if version <= self.newest]


Lying = tuple[str, Version, int]
"""What lies on a disk: of which product, which version, in which content."""


class SimulatedPackages:
    """The port `Packages`: a repository that is slow, away, or gives what is not signed; and a disk."""

    def __init__(
        self,
        repository: Repository,
        disk: dict[Lying, int],
        rng: random.Random,
        removed: Callable[[list[str]], None],
        now: Callable[[], int] = lambda: 0,
    ) -> None:
        """`disk`: what is installed, and since when; outlives the process. `removed` hears what left."""
        self._now = now
        self._repository = repository
        self._disk = disk
        self._rng = rng
        self._removed = removed

    async def _reach(self) -> None:
        await asyncio.sleep(0.02 + self._rng.random() ** 3 * 3)
        if self._repository.away or self._rng.random() < 0.03:
            raise AwayError(f"{ADDRESS} does not answer, says the simulation")

    async def install(self, source: Source, worker: WorkerName, version: Version) -> Installed:
        await self._reach()
        if version not in self._repository.has():
            raise FetchError(f"{ADDRESS} has no {version}")
        if VERSIONS[version] is Quality.TAMPERED:
            raise UntrustedError(f"{version} is not what was signed")
        content = self._repository.republished.get(version, 0)
        self._disk[worker.product, version, content] = self._now()
        return _installed(worker, version, content)

    async def installed(self, worker: WorkerName) -> Sequence[Installed]:
        await asyncio.sleep(0.005)
        return [_installed(worker, *each[1:]) for each in reversed(self._disk) if each[0] == worker.product]

    async def available(self, source: Source, worker: WorkerName) -> Sequence[Version]:
        await self._reach()
        return self._repository.versions()

    async def accepted(self, address: str) -> Manifest | None:
        return None  # none that expires

    async def files(self, installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
        await asyncio.sleep(0.005)
        return pivot(installed.version), None

    async def clean(self, worker: WorkerName, unwanted: Unwanted) -> list[Gone]:
        await asyncio.sleep(0.005 + self._rng.random() ** 3)
        mine = [each for each in self._disk if each[0] == worker.product]
        found = [(each, _installed(worker, *each[1:])) for each in mine]
        gone = [(each, one) for each, one in found if unwanted(one.version, one.sha256)]
        for each, _ in gone:
            del self._disk[each]
        self._removed([str(one.executable) for _, one in gone])
        return sorted(Gone(one.version, one.sha256) for _, one in gone)

    async def workers(self, type_: str) -> list[WorkerName]:
        await asyncio.sleep(0.005)
        return sorted({WorkerName(type_, product) for product, _, _ in self._disk})


def quality_of(version: Version, executable: str, stdin: bytes) -> Quality:
    """How a process behaves, by its version, its content and its values: some are bad."""
    content = int(executable.split("/")[-2].partition("-")[2])
    token = str(orjson.loads(stdin).get("token", ""))
    if VERSIONS[version] not in SOUND or not (content % 3 == 2 or token.startswith(BAD)):
        return VERSIONS[version]
    return (Quality.DEAD, Quality.FRAIL, Quality.SILENT, Quality.LACKING)[(content + len(token)) % 4]


def executable_of(product: str, version: Version, content: int) -> str:
    return f"/nowhere/{product}/{version}-{content}/worker"


def _installed(worker: WorkerName, version: Version, content: int) -> Installed:
    folder = Path(executable_of(worker.product, version, content)).parent
    sha256 = f"{version}-{content}"
    more: dict[str, Any] = {"address": ADDRESS, "repository": "sim", "serial": content, "sha256": sha256}
    return Installed(worker, version, folder, folder / "worker", None, None, **more)
