"""Removing installed versions that nobody wants any more. Blocking."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, StorageError
from zconnector.repository.layout import WorkerName, read_version
from zconnector.repository.root import Root


def clean(root: Path, worker: WorkerName, unwanted: Callable[[Version], bool]) -> list[Version]:
    """Remove the installed versions of a worker that are unwanted; which ones it were, ascending.

    A folder leaves its place by one rename, then it is taken apart: killed in between, the rest goes when the
    next install begins. Whoever calls says what runs: nothing here looks for it.

    Raises:
        Refusal: BUSY, an install has the root.
        StorageError: the disk refused; what was removed before that is gone.
    """
    removed: set[Version] = set()
    with Root(root) as held:
        folder = held.installed(worker)
        try:
            places = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
            for place in places:
                version = _version(place.name)
                if version is None or not unwanted(version):
                    continue
                away = held.fresh / f"gone-{place.name}"
                os.rename(place, away)
                removed.add(version)
                shutil.rmtree(away)
        except OSError as error:
            raise StorageError(f"cannot remove {error.filename}: {error.strerror}") from None
    return sorted(removed)


def _version(name: str) -> Version | None:
    """Of an installed folder `1.0-<hash>`; None: it is none."""
    text, separator, _ = name.partition("-")
    try:
        return read_version(text) if separator else None
    except ConfigError:
        return None
