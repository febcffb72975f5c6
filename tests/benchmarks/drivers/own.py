"""Workload L: through zconnector.v1 to the sender's own connector (`target` self), whose worker it is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from tests.benchmarks import sdk
from tests.benchmarks.topology import TYPE_A, A, Topology
from tests.benchmarks.workload import Driver

LABEL = "zconnector.v1, own connector"


def opened(topology: Topology) -> AbstractAsyncContextManager[Driver]:
    return sdk.opened(topology, A, TYPE_A, target="self")
