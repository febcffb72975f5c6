"""The folder that workers are installed into: its lock, what was accepted, what is there.

Invariant: a folder below `installed/` appeared by one rename, whole and durable; whatever else a killed
process left goes when the next one takes the lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType

from zconnector.errors import DamagedError, Reason, Refusal, StorageError
from zconnector.repository.accepting import (
    SERIAL,
    Accepted,
    Highest,
    read_accepted,
    read_highest,
    record_name,
)
from zconnector.repository.disk import make_folders, read_plain, replace
from zconnector.repository.layout import WorkerName
from zconnector.repository.manifest import MAX_MANIFEST

MAX_RECORD = 2 * MAX_MANIFEST
_MAX_SERIAL = 1 << 12


class Root:
    """An install root, held by this process from `__enter__` to `__exit__`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fresh = path / "fresh"
        self.accepted = path / "accepted"
        self._lock = -1

    def installed(self, worker: WorkerName) -> Path:
        """The folder of all installed versions of a worker."""
        return self.path / "installed" / worker.type / worker.product

    def __enter__(self) -> Root:
        """Take the lock and remove what a killed install left.

        Raises:
            Refusal: BUSY, another install has it.
            StorageError: the disk refuses.
        """
        make_folders(self.path, 0o700)
        try:
            self._lock = os.open(
                self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
            )
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.fresh.is_symlink() or self.fresh.exists():
                shutil.rmtree(self.fresh)
        except BlockingIOError:
            self._release()
            raise Refusal(Reason.BUSY, f"another install has {self.path}") from None
        except OSError as error:
            self._release()
            raise StorageError(f"cannot use {self.path}: {error.strerror}") from None
        try:
            for folder in (self.fresh, self.accepted):
                make_folders(folder, 0o700)
            for half in self.accepted.glob(
                ".*"
            ):  # cut off while it was written; the one before is still there
                half.unlink()
        except (OSError, StorageError) as error:
            self._release()
            raise StorageError(f"cannot use {self.path}: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def accepted_before(self) -> list[Accepted]:
        """All that was accepted into this root.

        Raises:
            DamagedError: naming the file, which is not replaced: a rollback is told by it.
        """
        found = []
        for path in sorted(self.accepted.glob("*.json")):
            try:
                accepted = read_accepted(read_plain(path, MAX_RECORD)[0])
            except OSError as error:
                raise StorageError(f"cannot read {path}: {error.strerror}") from None
            if accepted is None or record_name(accepted.address) != path.name:
                raise DamagedError(
                    f"{path} is damaged: restore it, or remove it and accept whatever manifest comes next"
                )
            found.append(accepted)
        return found

    def serials(self) -> list[Highest]:
        """The highest serial accepted of each repository and key.

        Raises:
            DamagedError: naming the file, which is not replaced: a rollback is told by it.
        """
        found = []
        for path in sorted(self.accepted.glob(f"*{SERIAL}")):
            try:
                one = read_highest(read_plain(path, _MAX_SERIAL)[0])
            except OSError as error:
                raise StorageError(f"cannot read {path}: {error.strerror}") from None
            if one is None or one.name != path.name:
                raise DamagedError(
                    f"{path} is damaged: restore it, or remove it and accept whatever serial comes next"
                )
            found.append(one)
        return found

    def remember_serial(self, one: Highest) -> None:
        """Keep it, durably. Raises StorageError."""
        replace(self.accepted / one.name, one.render(), 0o600)

    def remember(self, accepted: Accepted) -> None:
        """Keep what was accepted, durably. Raises StorageError."""
        replace(self.accepted / record_name(accepted.address), accepted.render(), 0o600)
