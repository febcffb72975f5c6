"""Files as a repository needs them: written durably, all or nothing; read up to a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from zconnector.errors import StorageError


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in a folder durable. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes, mode: int = 0o644) -> None:
    """A file that is not there yet, durable but for its name. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put content into a file, durably, all of it or nothing.

    Raises:
        StorageError: the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.unlink(missing_ok=True)
        try:
            write_new(temporary, content, mode)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from None


def make_folders(folder: Path, mode: int = 0o755) -> None:
    """A folder and those above it, durable. Raises StorageError."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    try:
        for each in reversed(missing):
            each.mkdir(mode=mode, exist_ok=True)
            sync_folder(each.parent)
    except OSError as error:
        raise StorageError(f"cannot make {missing[0]}: {error.strerror}") from None


def read_plain(path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """At most `limit` + 1 bytes of a plain file that is no link; and what it was when it was opened.

    Raises:
        OSError: it is not there, no plain file, or cannot be read.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not hold us up
    descriptor = os.open(path, flags)
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is no plain file", str(path))
        return file.read(limit + 1), found
