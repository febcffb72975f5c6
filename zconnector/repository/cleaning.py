"""Removing installed versions that nobody wants any more. Blocking."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, DamagedError, StorageError
from zconnector.repository.disk import sync_folder
from zconnector.repository.install import read_installed
from zconnector.repository.layout import WorkerName, read_version
from zconnector.repository.root import Root

Unwanted = Callable[[Version, str], bool]
"""Whether an installed version may go, by the SHA-256 of its archive; "": that cannot be read any more."""


class Gone(NamedTuple):
    """What was removed."""

    version: Version
    sha256: str

    def __str__(self) -> str:
        return f"{self.version} ({self.sha256[:12] or 'damaged'})"


class CleanStep(StrEnum):
    """Where the removal of one folder has come to; a process may be killed after each."""

    CHOSEN = "chosen"
    AWAY = "away"
    """Out of its place, durably, and still whole."""
    REMOVED = "removed"


def clean(
    root: Path,
    worker: WorkerName,
    unwanted: Unwanted,
    reached: Callable[[CleanStep], None] = lambda step: None,
) -> list[Gone]:
    """Remove the installed versions of a worker that are unwanted; which ones it were, ascending.

    A folder leaves its place by one rename, then it is taken apart: killed in between, the rest goes when the
    next install or removal begins. With the last of them goes the worker's own folder. Whoever calls says
    what runs: nothing here looks for it.

    Raises:
        Refusal: BUSY, an install has the root.
        StorageError: the disk refused; what was removed before that is gone.
    """
    removed: list[Gone] = []
    with Root(root) as held:
        folder = held.installed(worker)
        try:
            places = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
            for place in places:
                found = _found(place, worker)
                if found is None or not unwanted(found.version, found.sha256):
                    continue
                reached(CleanStep.CHOSEN)
                away = held.fresh / f"gone-{place.name}"
                os.rename(place, away)
                # In this order: after a power failure there is no half of it in the old place.
                sync_folder(held.fresh)
                sync_folder(folder)
                reached(CleanStep.AWAY)
                removed.append(found)
                shutil.rmtree(away)
                reached(CleanStep.REMOVED)
            _remove_empty(folder)
        except OSError as error:
            raise StorageError(f"cannot remove {error.filename}: {error.strerror}") from None
    return sorted(removed)


def installed_workers(root: Path, type_: str) -> list[WorkerName]:
    """The workers of a connector type that have a folder in an install root, by name; asks nobody.

    What has no name that a worker can have is none, nor is a link. Raises StorageError.
    """
    found = []
    try:
        with os.scandir(root / "installed" / type_) as entries:
            for entry in entries:
                with suppress(ConfigError):
                    if entry.is_dir(follow_symlinks=False):
                        found.append(WorkerName(type_, entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {error.filename}: {error.strerror}") from None
    return sorted(found)


def _remove_empty(folder: Path) -> None:
    """The folder of a worker of which nothing is left; something else in it stays, and so does it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return
    sync_folder(folder.parent)


def _found(place: Path, worker: WorkerName) -> Gone | None:
    """What an installed folder `1.0-<hash>` holds; None: it is no such folder."""
    text, separator, _ = place.name.partition("-")
    try:
        version = read_version(text) if separator else None
    except ConfigError:
        return None
    if version is None:
        return None
    try:
        return Gone(version, read_installed(place, worker).sha256)
    except (StorageError, DamagedError):
        return Gone(version, "")
