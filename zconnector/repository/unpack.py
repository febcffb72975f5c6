"""Unpacking of an archive that was examined, into a folder that nobody else has."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

from zconnector.errors import ArchiveError, StorageError
from zconnector.repository.archive import Limits, Member, inspect
from zconnector.repository.disk import sync_folder

_PIECE = 1 << 20


def unpack(archive: bytes, folder: Path, where: str, limits: Limits | None = None) -> None:
    """Unpack all members below `folder`, which must be fresh; files are durable, folders not yet.

    Raises:
        ArchiveError: a rule is broken, or what comes out is not what the archive says. Some of it may have
            been written then: the folder is to be removed.
        StorageError: the disk refuses.
    """
    members = inspect(archive, where, limits)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            infos = opened.infolist()
            if [info.filename.removesuffix("/") for info in infos] != [member.name for member in members]:
                raise ArchiveError(f"{where}: its members read in two ways")
            for member, info in zip(members, infos, strict=True):
                path = folder / member.name
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                if member.folder:
                    path.mkdir(mode=0o755, exist_ok=True)
                    continue
                with opened.open(info) as content:
                    _write(content, path, member, where)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArchiveError(f"{where}: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot unpack into {folder}: {error.strerror}") from None


def sync_tree(folder: Path) -> None:
    """Make the names in a folder and in all below it durable. Raises StorageError."""
    try:
        for top, _, _ in os.walk(folder, topdown=False):
            Path(top).chmod(0o755)  # whatever the umask
            sync_folder(Path(top))
    except OSError as error:
        raise StorageError(f"cannot write {folder}: {error.strerror}") from None


def _write(content: IO[bytes], path: Path, member: Member, where: str) -> None:
    mode = 0o755 if member.executable else 0o644
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, mode)
    written = 0
    with open(descriptor, "wb") as file:
        while piece := content.read(_PIECE):
            written += len(piece)
            if written > member.size:
                break
            file.write(piece)
        if written != member.size:
            raise ArchiveError(f"{where}: {member.name!r:.200} unpacks to another size than {member.size}")
        file.flush()
        os.fchmod(descriptor, mode)  # whatever the umask
        os.fsync(descriptor)
