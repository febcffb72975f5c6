"""SIGKILL of the router at each step of an update: it ends in one of the two versions; nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.test_versions import PATIENCE, Site, flow, serving_site
from tests.support.dev import ended
from tests.support.versions import ROLLOUT, Releases
from zconnector.errors import ZConnectorError

pytestmark = [pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    async with serving_site(folder, Releases(folder)) as site:
        yield site


@pytest.mark.parametrize("point", ROLLOUT)
async def test_the_router_is_killed_at_a_step_of_an_update(site: Site, point: str) -> None:
    before = await site.until(lambda view: view["rollout"] is None)
    (old,) = (row for row in before["versions"] if row["state"] == "RUNNING")
    minor = ROLLOUT.index(point) + 1
    new = f"1.{minor}"
    site.releases.add(minor, "lacks" if "back" in point else "good")
    armed = await site.hands.restart("ci", crash_at=point)
    await site.serving(old["version"])
    flowing = asyncio.create_task(flow(site, 60))
    update = asyncio.create_task(site.ask("update", version=new))
    await armed.died()
    with pytest.raises(ZConnectorError):
        await update
    await site.hands.start("ci")
    view = await site.until(
        lambda view: view["rollout"] is None and any(row["state"] == "RUNNING" for row in view["versions"])
    )
    (now,) = (row["version"] for row in view["versions"] if row["state"] == "RUNNING")
    if point == "rollout.fetching_before_commit":
        assert now == old["version"]  # nothing was promised
    else:
        assert now == (old["version"] if "back" in point else new)
    answered = await flowing
    assert len(answered) == 60
    assert set(answered.values()) <= {old["version"], now}


async def test_no_worker_outlives_its_router(site: Site) -> None:
    view = await site.view()
    (row,) = (row for row in view["versions"] if row["state"] == "RUNNING")
    await site.hands.kill("ci")
    await asyncio.wait_for(ended(row["pid"]), PATIENCE)
    await site.hands.start("ci")
    await site.serving(row["version"])
