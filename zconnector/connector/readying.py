"""What a worker version needs before it can be started: its files, its configuration, its keys. A shell.

Files come verified from the repository, or from the disk when they were installed before; pivot and product
connector from the cluster, else from the repository, and then the cluster gets them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson

from zconnector.clock import Clock
from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.connector.door import Door
from zconnector.errors import ConfigError, Reason, Refusal, StorageError
from zconnector.repository.cleaning import Gone, Unwanted, clean, installed_workers
from zconnector.repository.install import Installed, install, installed_versions
from zconnector.repository.latest import accepted, available
from zconnector.repository.layout import WorkerName, read_address
from zconnector.repository.manifest import Manifest
from zconnector.repository.signing import PublicKey
from zconnector.repository.source import Source
from zconnector.supervision.masking import Mask
from zconnector.versions import keys
from zconnector.versions.wanted import Wanted

BRING = 60.0
"""Seconds that the cluster has to take a configuration."""


@dataclass(frozen=True, slots=True)
class Ready:
    """All that a start needs."""

    executable: Path
    directory: Path
    stdin: bytes = field(repr=False)
    hide: Mask = field(repr=False)
    sha256: str = ""
    product: str = ""
    """As its folder is called."""


class Packages(Protocol):
    """The repository and what was installed from it: on this machine's disk, or a simulation's."""

    async def install(self, source: Source, worker: WorkerName, version: Version) -> Installed:
        """Fetched and verified. Raises ZConnectorError."""
        ...

    async def installed(self, worker: WorkerName) -> Sequence[Installed]:
        """What lies on the disk. Raises ZConnectorError."""
        ...

    async def available(self, source: Source, worker: WorkerName) -> Sequence[Version]:
        """What the repository has. Raises ZConnectorError."""
        ...

    async def accepted(self, address: str) -> Manifest | None:
        """The manifest that was last accepted of a repository; None: none was. Raises ZConnectorError."""
        ...

    async def files(self, installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
        """The configuration that came with it. Raises ConfigError."""
        ...

    async def clean(self, worker: WorkerName, unwanted: Unwanted) -> Sequence[Gone]:
        """Remove what is unwanted from the disk; what it was. Raises ZConnectorError."""
        ...

    async def workers(self, type_: str) -> Sequence[WorkerName]:
        """Those of a connector type that have a folder on the disk. Raises ZConnectorError."""
        ...


class DiskPackages:
    """`Packages` under an install root, each call in a thread of its own."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock

    async def install(self, source: Source, worker: WorkerName, version: Version) -> Installed:
        return await asyncio.to_thread(install, source, self._root, worker, version, clock=self._clock)

    async def installed(self, worker: WorkerName) -> Sequence[Installed]:
        return await asyncio.to_thread(installed_versions, self._root, worker)

    async def available(self, source: Source, worker: WorkerName) -> Sequence[Version]:
        return await asyncio.to_thread(available, source, self._root, worker, clock=self._clock)

    async def accepted(self, address: str) -> Manifest | None:
        return await asyncio.to_thread(accepted, self._root, address)

    async def files(self, installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
        return await asyncio.to_thread(_files, installed)

    async def clean(self, worker: WorkerName, unwanted: Unwanted) -> Sequence[Gone]:
        return await asyncio.to_thread(clean, self._root, worker, unwanted)

    async def workers(self, type_: str) -> Sequence[WorkerName]:
        return await asyncio.to_thread(installed_workers, self._root, type_)


class Readying:
    """Makes versions ready, one at a time: an install root takes no more."""

    def __init__(self, door: Door, packages: Packages, type_: str, strict: bool) -> None:
        self._door = door
        self._packages = packages
        self._type = type_
        self._strict = strict
        self._one = asyncio.Lock()
        self._lying = asyncio.Lock()
        """Held while somebody looks for, or removes, what lies on the disk: no fetch is waited for."""

    async def get(self, wanted: Wanted | None, version: Version, content: str) -> Ready:
        """With a `content` (an archive's SHA-256) that and no other, from the disk where it still lies there;
        else what the repository has. Raises ZConnectorError."""
        if content:
            with suppress(ConfigError, StorageError):
                return await self.installed(wanted, version, content)
        return await self.install(wanted, version, content)

    async def start(self, wanted: Wanted | None, version: Version, content: str) -> Ready:
        """What is to be started; without a `content` the latest that lies on the disk is taken."""
        if not content:
            with suppress(ConfigError, StorageError):
                return await self.installed(wanted, version)
        return await self.get(wanted, version, content)

    async def install(self, wanted: Wanted | None, version: Version, content: str = "") -> Ready:
        """From the repository; with a `content` only that. Raises ZConnectorError."""
        settings = _known(wanted)
        source, worker = self._source(settings), self._worker(settings)
        async with self._one:
            installed = await self._packages.install(source, worker, version)
        if content and installed.sha256 != content:
            raise ConfigError(
                f"version {version} was installed with SHA-256 {content}, which is not on the disk any more, "
                f"and the repository has {installed.sha256} now: zconnector worker update {version}"
            )
        pivot, product = await self._packages.files(installed)
        told = await self._describe(settings, version)
        lacking = {
            "pivot": pivot.to_dict() if pivot and not told["pivot"] else None,
            "product": product.to_dict() if product and not told["product"] else None,
        }
        if any(lacking.values()):
            await self._bring(lacking, version)
        return await self._ready(settings, installed)

    async def _bring(self, lacking: Mapping[str, Any], version: Version) -> None:
        """Save to the cluster what it lacks; it is asked until it answers, but not for ever."""
        try:
            async with asyncio.timeout(BRING):
                await self._door.call("admin_bring", {}, orjson.dumps(lacking))
        except TimeoutError:
            detail = f"the configuration of {version} could not be saved to the cluster within {BRING:g} s"
            raise Refusal(Reason.NO_CLUSTER, detail) from None

    async def installed(self, wanted: Wanted | None, version: Version, content: str = "") -> Ready:
        """From the disk, without the repository; with a `content` only that. Raises ZConnectorError."""
        settings = _known(wanted)
        async with self._lying:
            found = await self._packages.installed(self._worker(settings))
        for installed in found:
            if installed.version == version and content in ("", installed.sha256):
                return await self._ready(settings, installed)
        raise ConfigError(f"version {version} is not installed: zconnector worker update, or start it anew")

    async def latest(self, wanted: Wanted | None) -> tuple[Version, ...]:
        """What the repository has. Raises ZConnectorError."""
        settings = _known(wanted)
        source, worker = self._source(settings), self._worker(settings)
        async with self._one:
            return tuple(await self._packages.available(source, worker))

    async def accepted(self, wanted: Wanted | None) -> Manifest | None:
        """The repository's manifest as it was last accepted. Raises ZConnectorError."""
        if wanted is None or not wanted.repository:
            return None
        return await self._packages.accepted(wanted.repository)

    async def clean(self, wanted: Wanted | None, unwanted: Callable[[WorkerName], Unwanted]) -> list[str]:
        """Remove what is unwanted, by then, from the disk; what it was, for people. Raises ZConnectorError.

        Of all products of this type: a former one leaves when nobody goes back to it any more.
        Nobody is given a folder meanwhile: what is found on the disk before is in use, as `unwanted` knows;
        what is looked for after it is found only if it stays.
        """
        worker = self._worker(_known(wanted))
        texts = []
        async with self._one, self._lying:
            for each in sorted({worker, *await self._packages.workers(worker.type)}):
                gone = await self._packages.clean(each, unwanted(each))
                texts += [f"{one}" if each == worker else f"{each.product} {one}" for one in gone]
        return texts

    async def check(self, wanted: Wanted, version: Version) -> None:
        """Whether the keys of a version would do. Raises ConfigError."""
        await self._stdin(wanted, version)

    async def _ready(self, wanted: Wanted, installed: Installed) -> Ready:
        stdin, hide = await self._stdin(wanted, installed.version)
        folder, product = installed.executable.parent, installed.worker.product
        return Ready(installed.executable, folder, stdin, hide, installed.sha256, product)

    async def _stdin(self, wanted: Wanted, version: Version) -> tuple[bytes, Mask]:
        told = await self._describe(wanted, version)
        pivot = Pivot.from_dict(told["pivot"]) if told["pivot"] else None
        product = ProductConnector.from_dict(told["product"]) if told["product"] else None
        if pivot is None and product is None and self._strict:
            raise ConfigError(
                f"version {version} has no configuration: neither the cluster nor the repository has "
                f"a pivot of {self._type} {version} or a product connector of {wanted.product}"
            )
        return keys.resolve(pivot, product, wanted.keys), keys.masked(wanted.keys)

    async def _describe(self, wanted: Wanted, version: Version) -> Mapping[str, Any]:
        args = {"major": version.major, "minor": version.minor, "product": wanted.product}
        _, payload = await self._door.call("admin_describe", args)
        told: Mapping[str, Any] = orjson.loads(payload)
        return told

    def _worker(self, wanted: Wanted) -> WorkerName:
        if not wanted.product:
            raise ConfigError("no product is configured: zconnector config set CONNECTOR product=NAME")
        return WorkerName(self._type.lower(), wanted.product.lower())

    def _source(self, wanted: Wanted) -> Source:
        if not wanted.repository:
            raise ConfigError("no repository: zconnector config set CONNECTOR repository=ADDRESS")
        pins = tuple(PublicKey.from_text(key) for key in wanted.repository_keys)
        return Source(read_address(wanted.repository), pins)


def _known(wanted: Wanted | None) -> Wanted:
    if wanted is None:
        raise ConfigError("the logical configuration is not known yet")
    return wanted


def _files(installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
    """The configuration that the repository has for it. Raises ConfigError."""
    pivot = product = None
    if installed.pivot is not None:
        pivot = Pivot.from_yaml(installed.pivot.read_bytes(), str(installed.pivot))
    if installed.product is not None:
        product = ProductConnector.from_yaml(installed.product.read_bytes(), str(installed.product))
    return pivot, product
