"""Making of a repository: a folder that is served as it is. Files first, the manifest last.

A crash in between leaves the manifest of before: what it names and was not replaced still verifies, and what
was is refused by its SHA-256 until `sign` is run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from zconnector.configuration.pivot import Version
from zconnector.errors import ConfigError, Reason, Refusal, RepositoryError
from zconnector.repository.archive import Limits, inspect
from zconnector.repository.checking import check_configuration
from zconnector.repository.disk import make_folders, read_plain
from zconnector.repository.disk import replace as replace_file
from zconnector.repository.layout import (
    MANIFEST,
    Kind,
    WorkerName,
    check_name,
    place_of,
    versions_path,
)
from zconnector.repository.manifest import MAX_FILES, MAX_MANIFEST, File, Manifest, read_manifest, sign
from zconnector.repository.signing import SecretKey
from zconnector.repository.source import MAX_CONFIGURATION
from zconnector.repository.workerfolder import WorkerFolder

DAY = 86_400
LIFETIME = 365 * DAY
"""Seconds that a manifest is good for, unless its owner says otherwise."""
NEVER = 0
"""As a lifetime: it does not expire."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a call made of the repository."""

    manifest: Manifest
    changed: tuple[str, ...]
    """Paths that are new or have another content than by the manifest before."""
    removed: tuple[str, ...] = ()
    """Paths that the manifest had and the folder has no more."""
    ignored: tuple[str, ...] = ()
    """Files of the folder that are not of the layout, hence not signed."""


def create(folder: Path, name: str, key: SecretKey, wall: int, *, lifetime: int = NEVER) -> Manifest:
    """A new repository without files. `lifetime`: seconds until its manifest expires, or NEVER.

    Raises:
        ConfigError: the name breaks its rule, or a repository is there.
        StorageError: the disk refuses.
    """
    check_name(name, "name of a repository")
    make_folders(folder)
    with _held(folder):
        if (folder / MANIFEST).exists():
            raise ConfigError(f"{folder / MANIFEST} exists already")
        manifest = sign(
            Manifest(name, 1, wall // 1000, key.public, expires=_expiry(wall // 1000, lifetime)), key
        )
        replace_file(folder / MANIFEST, manifest.render())
    return manifest


def add(
    folder: Path,
    workers: list[WorkerFolder],
    key: SecretKey,
    wall: int,
    *,
    again: bool = False,
    lifetime: int | None = None,
) -> Published:
    """Put workers into the repository and sign it; the same ones again change nothing.

    `again`: a version that is there with another content is replaced. `lifetime`: seconds until the manifest
    expires, or NEVER; None: as long as that of the manifest before.

    Raises:
        ConfigError: the repository is none, or of another key.
        RepositoryError: a version is there with another content.
        StorageError: the disk refuses.
    """
    with _held(folder):
        manifest = _read(folder, key)
        files: dict[str, bytes] = {}
        for worker in workers:
            for path, content in worker.files().items():
                if files.setdefault(path, content) != content:
                    raise RepositoryError(f"{worker.folder}: another worker of this call has another {path}")
        known = {file.path: file for file in manifest.files}
        changed = [
            path
            for path, content in files.items()
            if known.get(path) != _signed(path, content, manifest, key)
        ]
        if not again:
            for path in changed:
                if path in known:
                    raise RepositoryError(
                        f"{folder / path} is there with another content: a version is never changed, "
                        "make a new one (or --replace it)"
                    )
        for path, content in files.items():
            _write(folder / path, content)
        for worker in workers:
            _write(folder / versions_path(worker.name), _versions(folder, worker.name))
        return _sign(folder, manifest, key, wall, lifetime, renew=lifetime is not None)


def sign_again(
    folder: Path,
    key: SecretKey,
    wall: int,
    *,
    new_key: bool = False,
    redate: bool = False,
    lifetime: int | None = None,
) -> Published:
    """Sign whatever the folder holds, after looking at each file; a manifest that expires is renewed.

    `new_key`: the key replaces another. `redate`: the clock that dated it before was ahead, and this one
    is right; else the date never goes back. `lifetime`: as for `add`.

    Raises:
        ConfigError: the repository is none, or of another key.
        RepositoryError: a file breaks its rule.
        StorageError: the disk refuses.
    """
    with _held(folder):
        before = _read(folder, None if new_key else key)
        return _sign(folder, before, key, wall, lifetime, renew=True, redate=redate)


def _expiry(timestamp: int, lifetime: int) -> int | None:
    return None if lifetime == NEVER else timestamp + lifetime


def _sign(
    folder: Path,
    before: Manifest,
    key: SecretKey,
    wall: int,
    lifetime: int | None,
    *,
    renew: bool,
    redate: bool = False,
) -> Published:
    """`renew`: also where no file has changed, if the manifest is to expire at another time, or its date has
    to go back (`redate`)."""
    files, ignored = [], []
    for path in _walk(folder):
        place = place_of(path)
        if place is None:
            if path != MANIFEST:
                ignored.append(path)
            continue
        archive = place.kind is Kind.ARCHIVE
        content = _content(folder / path, Limits().archive if archive else MAX_CONFIGURATION)
        if archive:
            inspect(content, str(folder / path))
        else:
            check_configuration(place, content, str(folder / path))
        files.append(File.of(path, content))
    if len(files) > MAX_FILES:
        raise RepositoryError(f"{folder} has {len(files)} files, must have at most {MAX_FILES}")
    known = {file.path: replace(file, signature=b"") for file in before.files}
    changed = tuple(file.path for file in files if known.get(file.path) != file)
    removed = tuple(known.keys() - {file.path for file in files})
    timestamp = wall // 1000 if redate else max(wall // 1000, before.timestamp)
    if lifetime is None:
        lifetime = NEVER if before.expires is None else before.expires - before.timestamp
    expires = _expiry(timestamp, lifetime)
    renewed = renew and (expires != before.expires or timestamp < before.timestamp)
    if not changed and not removed and not renewed and before.key == key.public:
        return Published(before, (), (), tuple(ignored))
    manifest = sign(
        Manifest(before.repository, before.serial + 1, timestamp, key.public, tuple(files), expires=expires),
        key,
    )
    replace_file(folder / MANIFEST, manifest.render())
    return Published(manifest, changed, tuple(sorted(removed)), tuple(ignored))


def _signed(path: str, content: bytes, manifest: Manifest, key: SecretKey) -> File:
    file = File.of(path, content)
    return replace(file, signature=key.sign(file.signed_bytes(manifest.repository)))


def _read(folder: Path, key: SecretKey | None) -> Manifest:
    """The manifest that is there, of this key where one is given."""
    path = folder / MANIFEST
    try:
        content, _ = read_plain(path, MAX_MANIFEST)
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} is no repository, it has no {MANIFEST}: `zconnector repo init` makes one"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    manifest = read_manifest(content, str(path))
    if key is not None and manifest.key != key.public:
        raise ConfigError(
            f"{path} is signed by {manifest.key}, the secret key given is of {key.public}: "
            "`zconnector repo sign --new-key` replaces a key"
        )
    # A serial that somebody else wrote is not to be continued.
    manifest.verify([manifest.key], str(path))
    return manifest


def _versions(folder: Path, worker: WorkerName) -> bytes:
    """The versions whose archives are there, oldest first: Gandalf's readers take the last."""
    top = folder / "workers" / worker.type / worker.product
    found: set[Version] = set()
    for path in top.glob("*/*/worker.zip"):
        place = place_of(path.relative_to(folder).as_posix())
        if place is not None and place.version is not None:
            found.add(place.version)
    return yaml.safe_dump([str(version) for version in sorted(found)]).encode()


def _write(path: Path, content: bytes) -> None:
    try:
        if read_plain(path, len(content))[0] == content:
            return
    except OSError:
        pass  # not there yet, or no plain file: replacing it tells what is wrong
    make_folders(path.parent)
    replace_file(path, content)


def _content(path: Path, limit: int) -> bytes:
    try:
        content, _ = read_plain(path, limit)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > limit:
        raise RepositoryError(f"{path} has more than {limit} bytes, which is the limit")
    return content


def _walk(folder: Path) -> Iterator[str]:
    """Relative paths of all files, by name; none that begins with a dot."""
    found: list[str] = []
    for top, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(top).relative_to(folder)
        found += [(below / name).as_posix() for name in files if not name.startswith(".")]
    yield from sorted(found)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One process at a time changes a repository.

    Raises:
        ConfigError: there is no such folder.
        Refusal: BUSY, another one does.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"cannot open repository {folder}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Refusal(Reason.BUSY, f"another process changes {folder}") from None
    finally:
        os.close(descriptor)
