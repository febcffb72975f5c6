"""Fixtures for every test: real topologies that are gone when the test is."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.dev import Dev

# How long an input takes to make is the machine's matter; how long a test may take pytest's timeout says.
settings.register_profile("zconnector", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zconnector")

MakeDev = Callable[..., Dev]

PROCESSES = ("tests/integration/", "tests/chaos/")
"""Where scripts/test.sh looks for tests with real processes, and for quiet ones."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Elsewhere a quiet test would not be run by itself."""
    astray = [
        item.nodeid
        for item in items
        if item.get_closest_marker("quiet") and not item.nodeid.startswith(PROCESSES)
    ]
    if astray:
        raise pytest.UsageError(f"quiet tests are in {' or '.join(PROCESSES)}: {', '.join(astray)}")


def pytest_collection_finish() -> None:
    """What is imported and collected stays: no collection of garbage need look through it."""
    gc.collect()
    gc.freeze()


@pytest.fixture
async def make_dev(tmp_path: Path) -> AsyncIterator[MakeDev]:
    """Makes `zconnector dev` processes (not yet started) on one state directory of this test."""
    made: list[Dev] = []

    def make(*argv: str, state_dir: Path | None = None) -> Dev:
        dev = Dev(state_dir or tmp_path / "dev", *argv)
        made.append(dev)
        return dev

    yield make
    for dev in made:
        await dev.stop()


@pytest.fixture
async def dev(make_dev: MakeDev) -> Dev:
    """The standard topology, serving: one member, three instances of agg1, connectors git and ci."""
    started = make_dev()
    await started.start()
    return started
