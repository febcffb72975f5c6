"""A state directory on a small disk of its own, which can be filled and emptied.

A tmpfs where mounting is allowed; else the processes are limited in how far they may write into a file
(RLIMIT_FSIZE), which a store sees as a disk that takes no more.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

SIZE = 256 << 20
FILLER = "filler"
MOUNT = "mount"


class SmallDisk:
    """One directory. `how` says what it is made of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._limited = 0
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        options = f"size={SIZE},mode=0700"
        mounted = subprocess.run(
            [MOUNT, "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False
        )
        self.how = "tmpfs" if mounted.returncode == 0 else "RLIMIT_FSIZE"

    def fill(self, pid: int) -> None:
        """From now on it takes nothing more of the process `pid`."""
        if self.how != "tmpfs":
            self._limited = pid
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            return
        with (self._directory / FILLER).open("wb", buffering=0) as filler:
            for step in (1 << 20, 4096):
                with suppress(OSError):
                    while True:
                        os.write(filler.fileno(), b"\0" * step)

    def empty(self) -> None:
        """There is room again."""
        if self._limited:
            with suppress(ProcessLookupError):
                unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                resource.prlimit(self._limited, resource.RLIMIT_FSIZE, unlimited)
            self._limited = 0
        (self._directory / FILLER).unlink(missing_ok=True)

    def close(self, *, keep: bool = False) -> None:
        """Nothing is left of it; `keep`: but what it held, in its place."""
        self.empty()
        if self.how != "tmpfs":
            return
        with tempfile.TemporaryDirectory() as kept:
            if keep:
                shutil.copytree(self._directory, kept, dirs_exist_ok=True)
            subprocess.run(["umount", "-l", str(self._directory)], capture_output=True, check=False)
            if keep:
                shutil.copytree(kept, self._directory, dirs_exist_ok=True)
