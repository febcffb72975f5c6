"""Where a connector's workers live, and what its admin worker touches the world with."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from zconnector.clock import Clock
from zconnector.connector.readying import DiskPackages, Packages
from zconnector.supervision.launch import Processes
from zconnector.supervision.process import GuardedProcesses, Prepare


class Server(Protocol):
    """A gRPC worker service on a socket of its own."""

    address: str

    async def start(self, address: str) -> str: ...

    async def stop(self, grace: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """Where a connector's workers live."""

    connector: str
    """Its logical name: the first argument of its workers."""
    type: str
    state_dir: Path
    strict: bool
    environ: Mapping[str, str]
    """The whole environment of its workers."""


def _fresh() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Ports:
    """What the hands touch the world with, besides the door."""

    packages: Callable[[Path, Clock], Packages] = DiskPackages
    """Under an install root."""
    processes: Callable[[Prepare, Clock, Any], Processes] = GuardedProcesses
    random: Callable[[], float] = random.random
    uuid: Callable[[], str] = _fresh
