"""From a repository to a folder that a worker can be started from: verified, whole, durable, or nothing.

Blocking: for a thread of its own. What it promises is in docs/repository.md.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from zconnector.clock import Clock, SystemClock
from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, DamagedError, RepositoryError, StorageError
from zconnector.repository.disk import make_folders, read_plain, sync_folder, write_new
from zconnector.repository.fetch import Fetcher
from zconnector.repository.latest import accept
from zconnector.repository.layout import (
    WorkerName,
    archive_path,
    check_version,
    pivot_path,
    product_path,
    read_version,
)
from zconnector.repository.manifest import File, Manifest
from zconnector.repository.reading import read_file
from zconnector.repository.root import Root
from zconnector.repository.source import MAX_CONFIGURATION, Source
from zconnector.repository.unpack import sync_tree, unpack

ORIGIN = "origin.json"
_WORKER, _PIVOT, _PRODUCT = "worker", "pivot.yaml", "product.yaml"
_MAX_ORIGIN = 1 << 16
_HASH = 16


class Step(StrEnum):
    """Where an install has come to; a process may be killed after each."""

    LOCKED = "locked"
    ACCEPTED = "accepted"
    FETCHED = "fetched"
    MADE = "made"
    UNPACKED = "unpacked"
    SYNCED = "synced"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class Installed:
    """A version of a worker on this machine."""

    worker: WorkerName
    version: Version
    directory: Path
    executable: Path
    """What is started."""
    pivot: Path | None
    """The pivot's YAML; None: the repository has none for this version."""
    product: Path | None
    """The product connector's YAML; None: the repository has none."""
    address: str
    repository: str
    serial: int
    """Of the manifest by which it was installed."""
    sha256: str
    """Of the archive."""


def install(
    source: Source,
    root: Path,
    worker: WorkerName,
    version: Version,
    *,
    clock: Clock | None = None,
    fetcher: Fetcher | None = None,
    reached: Callable[[Step], None] = lambda step: None,
) -> Installed:
    """Fetch, verify, unpack and put in place one version of a worker; again: the same folder.

    `reached` hears of each step; `fetcher` stands for what the source opens.

    Raises:
        ConfigError: the source or the version breaks its rule.
        FetchError: a file did not come.
        RepositoryError: the repository lacks it, or holds what breaks a rule (ArchiveError: the archive).
        UntrustedError: what came is not what a pinned key signed (StaleError: the manifest is older than
            what was accepted, expired, or dated ahead).
        Refusal: BUSY, another install has the root.
        StorageError: the disk refused, or what was remembered is damaged.
    """
    check_version(version)
    with Root(root) as held, fetcher or source.open() as opened:
        reached(Step.LOCKED)
        manifest = accept(source, held, opened, clock or SystemClock())
        reached(Step.ACCEPTED)
        files = _files(manifest, source, worker, version)
        place = held.installed(worker) / f"{version}-{_hash(files)}"
        if not place.exists():
            contents = {
                name: read_file(opened, file, source.limits.archive if name == _WORKER else MAX_CONFIGURATION)
                for name, file in files.items()
            }
            reached(Step.FETCHED)
            origin = _origin(source, manifest, files, worker, version)
            _put(held, place, contents, origin, source, opened.address.of(files[_WORKER].path), reached)
        return read_installed(place, worker)


def installed_versions(root: Path, worker: WorkerName) -> list[Installed]:
    """What is installed of a worker, newest version first, of one version the latest serial; asks nobody.

    A folder that cannot be read is passed over: what lies in the others can be started all the same, also
    while no repository answers. Whoever installs what is in that one is told.

    Raises:
        StorageError, DamagedError: no installed folder can be read, and this is what is wrong with one.
    """
    try:
        places = sorted(path for path in Root(root).installed(worker).iterdir() if path.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from None
    found: list[Installed] = []
    damage: StorageError | None = None
    for place in places:
        try:
            found.append(read_installed(place, worker))
        except StorageError as error:
            damage = error
    if damage is not None and not found:
        raise damage
    return sorted(found, key=lambda one: (one.version, one.serial, one.directory.name), reverse=True)


def _files(manifest: Manifest, source: Source, worker: WorkerName, version: Version) -> dict[str, File]:
    """What of the repository makes this version, by its name in the installed folder."""
    paths = {
        _WORKER: archive_path(worker, version),
        _PIVOT: pivot_path(worker.type, version),
        _PRODUCT: product_path(worker, version),
    }
    files = {name: file for name, path in paths.items() if (file := manifest.file(path)) is not None}
    if _WORKER not in files:
        raise RepositoryError(f"{source.address} (serial {manifest.serial}) has no {paths[_WORKER]}")
    return files


def _hash(files: dict[str, File]) -> str:
    lines = "".join(f"{file.path} {file.size} {file.sha256}\n" for file in files.values())
    return hashlib.sha256(lines.encode()).hexdigest()[:_HASH]


def _origin(
    source: Source, manifest: Manifest, files: dict[str, File], worker: WorkerName, version: Version
) -> bytes:
    document = {
        "worker": str(worker),
        "version": str(version),
        "address": str(source.address),
        "repository": manifest.repository,
        "serial": manifest.serial,
        "files": {
            name: {"path": file.path, "size": file.size, "sha256": file.sha256}
            for name, file in files.items()
        },
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _put(
    root: Root,
    place: Path,
    contents: dict[str, bytes],
    origin: bytes,
    source: Source,
    where: str,
    reached: Callable[[Step], None],
) -> None:
    """Everything into a fresh folder, durably, then one rename."""
    fresh: Path | None = None
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}-", dir=root.fresh))
        reached(Step.MADE)
        (fresh / _WORKER).mkdir()
        unpack(contents[_WORKER], fresh / _WORKER, where, source.limits)
        for name in contents.keys() - {_WORKER}:
            write_new(fresh / name, contents[name])
        write_new(fresh / ORIGIN, origin)
        reached(Step.UNPACKED)
        sync_tree(fresh)
        make_folders(place.parent, 0o700)
        reached(Step.SYNCED)
        os.rename(fresh, place)
        sync_folder(place.parent)
    except OSError as error:
        _remove(fresh)
        raise StorageError(f"cannot install into {place}: {error.strerror}") from None
    except (RepositoryError, StorageError):
        _remove(fresh)
        raise
    reached(Step.RENAMED)


def _remove(fresh: Path | None) -> None:
    """What was unpacked in vain; where that fails it goes when the next install begins."""
    if fresh is not None:
        shutil.rmtree(fresh, ignore_errors=True)


def read_installed(place: Path, worker: WorkerName) -> Installed:
    """What an installed folder says of itself. Raises StorageError, DamagedError."""
    try:
        document: Any = orjson.loads(read_plain(place / ORIGIN, _MAX_ORIGIN)[0])
        files = document["files"]
        return Installed(
            worker=worker,
            version=read_version(document["version"]),
            directory=place,
            executable=place / _WORKER / "worker",
            pivot=place / _PIVOT if _PIVOT in files else None,
            product=place / _PRODUCT if _PRODUCT in files else None,
            address=document["address"],
            repository=document["repository"],
            serial=document["serial"],
            sha256=files[_WORKER]["sha256"],
        )
    except OSError as error:
        raise StorageError(f"cannot read {place / ORIGIN}: {error.strerror}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ConfigError):
        raise DamagedError(f"{place / ORIGIN} is damaged: remove {place} and install again") from None
