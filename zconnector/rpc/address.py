"""Where the worker service listens: unix socket paths that one process owns, or TCP.

A socket lies in a directory that only its user can enter. `<path>.lock` is flocked before anything is
bound, so that a socket file without a locked lock is a dead process's, and may be removed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from zconnector.errors import ConfigError

MAX_PATH = 107
"""Bytes of a unix socket's path (sun_path has 108, with the final zero)."""


def private_directory(directory: Path) -> None:
    """Make sure that a directory exists and that nobody else can enter it.

    Raises:
        ConfigError: it is somebody else's, no directory, or open to others.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = directory.lstat() if directory.is_symlink() else directory.stat()
    except OSError as error:
        raise ConfigError(f"socket directory {directory}: {error.strerror}") from None
    if not stat.S_ISDIR(facts.st_mode):
        raise ConfigError(f"socket directory {directory} is no directory of its own")
    if facts.st_uid != os.getuid():
        raise ConfigError(f"socket directory {directory} belongs to another user (uid {facts.st_uid})")
    if facts.st_mode & 0o077:
        mode = stat.S_IMODE(facts.st_mode)
        raise ConfigError(f"socket directory {directory} is open to others (mode {mode:04o}, must be 0700)")


def usable_path(path: Path, runtime_dir: Path | None = None) -> Path:
    """The path itself where a socket can have it, else a short one that stands for it.

    gRPC reads a `unix:` address as a URI: a path with letters that mean something there gets a
    short one too. `runtime_dir`: where short ones go (XDG_RUNTIME_DIR); None: the temporary directory.

    Raises:
        ConfigError: even the short one is too long.
    """
    text = str(path)
    if len(os.fsencode(text)) <= MAX_PATH and quote(text, safe="/-._~+,@=:") == text:
        return path
    base = runtime_dir if runtime_dir is not None else Path(tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(text)).hexdigest()[:16]
    short = base / f"zconnector-{os.getuid()}" / f"{digest}.sock"
    if len(os.fsencode(str(short))) > MAX_PATH:
        raise ConfigError(
            f"no socket path of at most {MAX_PATH} bytes for {path}: {short} is too long as well"
        )
    return short


class OwnedSocket:
    """A unix socket's path, owned by this process from `claim` to `release`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def claim(self) -> None:
        """Lock the path and remove what a dead process left there.

        Raises:
            ConfigError: another process serves there, or the directory is not private.
        """
        private_directory(self.path.parent)
        lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remove_stale()
        except BlockingIOError:
            os.close(lock)
            raise ConfigError(f"another process serves on {self.path}") from None
        except BaseException:  # whatever it was, nobody else would get the path
            os.close(lock)
            raise
        self._lock = lock

    def release(self) -> None:
        """Remove the socket file and let others have the path.

        The lock's file stays: were it removed, two processes could each lock one of that name.
        """
        if self._lock < 0:
            return
        self.path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = -1

    def _remove_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise ConfigError(f"{self.path} exists and is no socket")
        self.path.unlink()


def bind_unix(bind: Callable[[str], int], wanted: Path, runtime_dir: Path | None = None) -> OwnedSocket:
    """Bind a server to a unix socket that only its user can reach; the path may be a short one.

    Raises:
        ConfigError: it cannot be bound, or its directory is not private.
    """
    socket = OwnedSocket(usable_path(wanted.absolute(), runtime_dir))
    socket.claim()
    try:
        bind(f"unix:{socket.path}")
        socket.path.chmod(0o600)
    except (RuntimeError, OSError) as error:
        socket.release()
        raise ConfigError(f"cannot serve on {socket.path}: {error}") from None
    return socket
