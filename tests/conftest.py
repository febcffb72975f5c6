"""Fixtures for every test: real topologies that are gone when the test is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.dev import Dev

# How long an input takes to make is the machine's matter; how long a test may take pytest's timeout says.
settings.register_profile("zconnector", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zconnector")

MakeDev = Callable[..., Dev]


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
