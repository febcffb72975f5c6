"""Ways of sending a command, each in one file: to add one, add a file.

A file `NAME.py` here defines

- `LABEL`: what tables and charts call it;
- `opened(topology)`: an async context manager that gives a `Driver` (`workload.py`), ready to be used, over
  the running system. A driver with a worker of its own starts it in there (`sdk.py` outside of this
  directory does), and names its processes in `pids`.

It is then known as NAME to `bench.sh --drivers`.
"""

from __future__ import annotations

import importlib
import pkgutil
from contextlib import AbstractAsyncContextManager
from typing import Protocol, cast

from tests.benchmarks.topology import Topology
from tests.benchmarks.workload import Driver


class DriverModule(Protocol):
    """What a file of this directory defines."""

    LABEL: str

    def opened(self, topology: Topology) -> AbstractAsyncContextManager[Driver]: ...


def names() -> list[str]:
    """All drivers there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def pids(driver: Driver, topology: Topology) -> dict[str, list[int]]:
    """Processes by component that work for a driver."""
    return {**topology.pids(), **getattr(driver, "pids", {})}


def load(name: str) -> DriverModule:
    """A driver's module. Raises ValueError naming those there are."""
    if name not in names():
        raise ValueError(f"no driver {name!r}; there are: {', '.join(names())}")
    return cast(DriverModule, importlib.import_module(f"{__name__}.{name}"))
