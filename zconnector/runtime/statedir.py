"""The state directory: 0700, one process at a time, and where its unix sockets are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType

from zconnector.errors import ConfigError
from zconnector.shoset.keys import write_private

_LOCK = "lock"
_PID = "pid"
_MAX_SOCKET_PATH = 107
"""Bytes of a unix socket's path that the kernel takes, without the final zero."""
_SHORT = Path("/tmp")


class StateDir:
    """A state directory held by this process, from `__enter__` to `__exit__`.

    The lock, not the pid file, says who holds it: the kernel releases it with the process, however that ends.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def __enter__(self) -> StateDir:
        """Make the directory, lock it, write the pid file.

        Raises:
            ConfigError: another process holds it, it is open to others, or the disk refuses.
        """
        try:
            self._make()
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            raise ConfigError(f"{self.path}: already running as pid {self._holder()}") from None
        except OSError as error:
            self._release()
            raise ConfigError(f"state directory {self.path}: {error.strerror}") from None
        try:
            write_private(self.path / _PID, f"{os.getpid()}\n".encode())
        except ConfigError:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the pid file and let go. The lock's file stays: to remove it would be a race."""
        (self.path / _PID).unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        if found.st_uid != os.geteuid():
            raise ConfigError(f"state directory {self.path} belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            # Ours, or not yet anybody's: close it. Anything else (a home, /tmp) is a mistake.
            if not (self.path / _LOCK).exists() and any(self.path.iterdir()):
                raise ConfigError(f"state directory {self.path} is open to others: chmod 700 it")
            self.path.chmod(0o700)

    def _holder(self) -> str:
        try:
            return (self.path / _PID).read_text().strip() or "unknown"
        except OSError:
            return "unknown"


def socket_path(directory: Path, name: str) -> Path:
    """Where a unix socket of this name goes: into the directory, or where that is too long, a short path.

    The short one is the same at every start, in a 0700 directory of its own, and recorded in the file
    `<stem of name>.path`, where clients find it (`find_socket`).

    Raises:
        ConfigError: the short directory cannot be used (somebody else has it).
    """
    wanted = directory / name
    record = directory / f"{Path(name).stem}.path"
    if len(os.fsencode(wanted)) <= _MAX_SOCKET_PATH:
        record.unlink(missing_ok=True)
        return wanted
    digest = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:16]
    short = _SHORT / f"zconnector-{os.geteuid()}-{digest}"
    try:
        short.mkdir(mode=0o700, exist_ok=True)
        found = short.lstat()
    except OSError as error:
        raise ConfigError(f"cannot use {short} for sockets: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"cannot use {short} for sockets: it must be a 0700 directory of this user")
    write_private(record, os.fsencode(short / name))
    return short / name


def find_socket(directory: Path, name: str) -> Path:
    """Where a client finds the socket that `socket_path` chose."""
    record = directory / f"{Path(name).stem}.path"
    try:
        return Path(os.fsdecode(record.read_bytes()))
    except OSError:
        return directory / name


def remove_socket(directory: Path, name: str) -> None:
    """Leave no socket file behind, nor the short directory made for it."""
    path = find_socket(directory, name)
    path.unlink(missing_ok=True)
    if path.parent != directory:
        (directory / f"{Path(name).stem}.path").unlink(missing_ok=True)
        try:
            path.parent.rmdir()
        except OSError:
            return  # another socket of this process is still there; it goes with that one
