"""Worker repositories made as an author makes them, with fixed keys."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from zconnector.clock import Instant
from zconnector.repository.layout import WorkerName, read_address
from zconnector.repository.publish import Published, add, create
from zconnector.repository.signing import SecretKey
from zconnector.repository.source import Source
from zconnector.repository.workerfolder import WorkerFolder

KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
OTHER_KEY = SecretKey(Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
JENKINS = WorkerName("ci", "jenkins")
WALL = 1_764_300_000_000

PIVOT = "name: Ci\nmajor: {major}\nminor: {minor}\ncommandtypes:\n  - name: BUILD\n"
PRODUCT = "name: Ci\nproduct: Jenkins\nmajor: {major}\nminor: {minor}\ncommandtypes:\n  - name: CLEAN\n"


class FixedClock:
    """A clock that stands still."""

    def __init__(self, wall: int = WALL) -> None:
        self.wall = wall

    def now(self) -> Instant:
        return Instant(0.0, self.wall)


def worker_folder(
    path: Path, major: int = 1, minor: int = 0, *, says: str = "1.0", configured: bool = True
) -> Path:
    """The folder of a worker, as `repo add` takes it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "worker").write_text(f"#!/bin/sh\necho {says}\n")
    (path / "worker").chmod(0o755)
    (path / "lib").mkdir(exist_ok=True)
    (path / "lib" / "notes.txt").write_text("notes\n" * 100)
    (path / "worker.yaml").write_text(f"type: Ci\nproduct: Jenkins\nmajor: {major}\nminor: {minor}\n")
    if configured:
        (path / "pivot.yaml").write_text(PIVOT.format(major=major, minor=minor))
        (path / "connector_product.yaml").write_text(PRODUCT.format(major=major, minor=minor))
    return path


def publish(
    folder: Path,
    *workers: Path,
    again: bool = False,
    wall: int = WALL,
    name: str = "acme",
    key: SecretKey = KEY,
    lifetime: int | None = None,
) -> Published:
    """Workers put into a repository, which is made where it is not there."""
    if not (folder / "manifest.json").exists():
        create(folder, name, key, wall)
    read = [WorkerFolder.read(worker) for worker in workers]
    return add(folder, read, key, wall, again=again, lifetime=lifetime)


def source(folder: Path, *keys: SecretKey) -> Source:
    """A repository in a folder, pinned to keys."""
    return Source(read_address(f"file://{folder}"), tuple(key.public for key in keys or (KEY,)))
