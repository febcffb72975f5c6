"""The archive of a worker's folder: same files, same bytes. Reads the folder, writes nothing."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from zconnector.errors import ArchiveError, ConfigError
from zconnector.repository.archive import Limits, check_member_name, inspect

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can tell."""
_UNIX = 3


def pack(folder: Path, leave_out: Iterable[str] = (), limits: Limits | None = None) -> bytes:
    """The archive of a folder, without the files at its top that are named.

    Raises:
        ArchiveError: what is in the folder cannot be in an archive (links, devices, odd names, too much).
        ConfigError: it cannot be read.
    """
    limits = limits or Limits()
    without = frozenset(leave_out)
    buffer = io.BytesIO()
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for count, (name, path) in enumerate(_files(folder, without), 1):
            content, executable = _read(path, limits.member)
            total += len(content)
            if total > limits.total or count > limits.members:
                raise ArchiveError(
                    f"{folder}: more than {limits.members} files or {limits.total} bytes, which is the limit"
                )
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    packed = buffer.getvalue()
    inspect(packed, str(folder), limits)
    return packed


def _files(folder: Path, without: frozenset[str]) -> list[tuple[str, Path]]:
    """Name and path of every file, by name. Raises ArchiveError for what is none."""
    found = []

    def refuse(error: OSError) -> None:
        raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from None

    for top, folders, files in os.walk(folder, onerror=refuse):
        for name in (*folders, *files):
            path = Path(top, name)
            relative = path.relative_to(folder).as_posix()
            if relative in without:
                continue
            kind = path.lstat().st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise ArchiveError(f"{path}: must be a plain file or a folder, no link or device")
            if broken := check_member_name(relative):
                raise ArchiveError(f"{str(path)!r}: its name {broken}")
            if stat.S_ISREG(kind):
                found.append((relative, path))
    return sorted(found)


def _read(path: Path, most: int) -> tuple[bytes, bool]:
    """Content of a file, and whether it is executable."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            content = file.read(most + 1)
            executable = bool(os.fstat(descriptor).st_mode & 0o111)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(content) > most:
        raise ArchiveError(f"{path}: more than {most} bytes, which is the limit for one file")
    return content, executable
