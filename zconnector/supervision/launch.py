"""What a worker is started with, and the port to processes.

Secrets travel in `Launch.stdin` only: never in argv, the environment or a log.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from zconnector.errors import ConfigError
from zconnector.supervision.masking import Mask
from zconnector.supervision.states import Level

RESOURCES: Mapping[str, int] = {
    "address_space": resource.RLIMIT_AS,
    "core": resource.RLIMIT_CORE,
    "cpu": resource.RLIMIT_CPU,
    "data": resource.RLIMIT_DATA,
    "file_size": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
    "stack": resource.RLIMIT_STACK,
}
"""Names of limits (setrlimit(2)): bytes, but for cpu (seconds), open_files and processes (of this user)."""
MAX_ARGV = 16 * 1024
"""Bytes of all arguments together."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How one run of a worker is started. Raises ConfigError where a value breaks its rule."""

    argv: Sequence[str]
    """The program with its path, then what existing workers expect: name, timeout in ms, socket."""
    stdin: bytes = field(default=b"", repr=False)
    """The configuration: one JSON object. Written as it is read, then closed."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The whole environment."""
    cwd: Path | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    """By the names of RESOURCES; soft and hard limit alike."""
    version: str = ""
    """For the log."""
    hide: Mask = field(default=Mask(), repr=False)
    """What is masked in the output."""

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0].startswith("/"):
            raise ConfigError(f"a worker's program must be an absolute path (got {list(self.argv[:1])})")
        if any("\0" in part for part in self.argv):
            raise ConfigError("a worker's argument must not contain a NUL")
        size = sum(len(part.encode("utf-8", "surrogateescape")) for part in self.argv)
        if size > MAX_ARGV:
            raise ConfigError(f"a worker's arguments must fit in {MAX_ARGV} bytes (got {size})")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name or "\0" in value:
                raise ConfigError(f"no process can have an environment variable {name!r:.80} of that value")
        check_limits(self.limits)


def check_limits(limits: Mapping[str, object]) -> None:
    """Whether these are limits that a process can have. Raises ConfigError."""
    for name, limit in limits.items():
        if name not in RESOURCES:
            raise ConfigError(f"limit {name!r:.80} must be one of {', '.join(RESOURCES)}")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < 2**63:
            raise ConfigError(f"limit {name} must be a whole number from 0 (got {limit!r:.80})")


class Events(Protocol):
    """Whom the owner of the processes tells what happens to a run; in this order, each at most once."""

    def started(self, name: str, run: int, pid: int) -> None: ...

    def spawn_failed(self, name: str, run: int, reason: str, permanent: bool) -> None:
        """Instead of all else: there is no process."""

    def exited(self, name: str, run: int, status: int | None) -> None:
        """It and all that descended from it are gone."""


class Processes(Protocol):
    """The port: real processes (process.py), or a simulation's."""

    def spawn(self, name: str, run: int, events: Events) -> None:
        """Begin to start one; `events` is told how it went, before this returns or later."""

    def signal(self, name: str, run: int, level: Level) -> None:
        """Tell a run to end. Nothing happens where it has."""
