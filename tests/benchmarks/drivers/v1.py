"""Workload R through zconnector.v1: our SDK's client at connector A, the worker at B.

The SDK, not bare stubs: it is what a user with speed in mind takes, as it shares one stream among all tasks.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tests.benchmarks import sdk
from tests.benchmarks.topology import TYPE_B, B, Topology
from tests.benchmarks.workload import Driver

LABEL = "zconnector.v1"


def opened(topology: Topology) -> AbstractAsyncContextManager[Driver]:
    return sdk.opened(topology, B, TYPE_B)
