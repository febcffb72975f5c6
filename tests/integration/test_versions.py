"""Worker versions over real processes: fetched, started, updated under load, rolled back (docs/versions.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.dev import Dev
from tests.support.hands import Hands
from tests.support.versions import Releases
from zconnector.runtime.control import request
from zconnector.worker import Client

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
PATIENCE = 60.0


@dataclass
class Site:
    """git sends, ci runs the versions of a repository."""

    dev: Dev
    hands: Hands
    releases: Releases

    async def configure(self, **values: Any) -> None:
        directory = self.dev.state_dir / "cluster" / "1"
        args = {"tenant": "dev", "name": "ci", "values": values}
        await asyncio.to_thread(request, directory, "config_set", args, PATIENCE)

    async def ask(self, verb: str, **args: Any) -> dict[str, Any]:
        directory = self.dev.state_dir / "connector" / "ci"
        return await asyncio.to_thread(
            request, directory, "operate", {"verb": f"worker.{verb}", **args}, PATIENCE
        )

    async def view(self) -> dict[str, Any]:
        return await self.ask("ls")

    async def until(self, true: Any) -> dict[str, Any]:
        """Wait until the versions look so; each change is waited for."""
        view = await self.view()
        try:
            async with asyncio.timeout(PATIENCE):
                while not true(view):
                    view = await self.ask("changes", after=view["revision"])
        except TimeoutError:
            raise AssertionError(f"not so: {json.dumps(view, indent=1)}\n{self.dev.story()}") from None
        return view

    async def serving(self, *versions: str) -> dict[str, Any]:
        """Wait until these, and no others, run and no rollout goes on."""
        return await self.until(
            lambda view: (
                view["rollout"] is None
                and [row["version"] for row in view["versions"] if row["state"] == "RUNNING"]
                == list(versions)
            )
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    releases = Releases(folder)
    dev = Dev(folder / "dev", "--aggregators", "2", "--connector", "git:Git", "--connector", "ci:Ci")
    try:
        await dev.start()
        async with Hands(dev) as hands:
            yield Site(dev, hands, releases)
    finally:
        await dev.stop()


async def test_a_version_is_fetched_started_and_gets_its_commands(site: Site) -> None:
    site.releases.add(0)
    await site.configure(**site.releases.values("1.0"))
    await site.serving("1.0")
    async with Client(site.dev.grpc("git")) as client:
        handle = await client.send("Ci", "BUILD", "{}")
        reply = await asyncio.wait_for(handle.reply(), PATIENCE)
    assert reply.payload == "1.0"
