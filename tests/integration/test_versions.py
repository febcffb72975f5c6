"""Worker versions over real processes: started, updated under load, rolled back (docs/versions.md)."""

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
from zconnector.errors import Refusal
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


async def flow(site: Site, count: int, at_once: int = 24) -> dict[str, str]:
    """Send commands for as long as it takes to have so many answered; uuid -> the version that answered."""
    answered: dict[str, str] = {}
    left = iter(range(count))

    async def sender(client: Client) -> None:
        for _ in left:
            handle = await client.send("Ci", "BUILD", "{}", timeout=30)
            reply = await asyncio.wait_for(handle.reply(), PATIENCE)
            answered[handle.uuid] = str(reply.payload)

    async with Client(site.dev.grpc("git")) as client, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(sender(client))
    return answered


def once_each(site: Site, answered: dict[str, str]) -> None:
    """Each command was executed once, by the version that answered it."""
    executed = site.releases.executed()
    for uuid, version in answered.items():
        times = {v: counts[uuid] for v, counts in executed.items() if counts[uuid]}
        assert times == {version: 1}, (uuid, times)


async def test_two_thousand_commands_flow_through_an_update(site: Site) -> None:
    await site.serving("1.0")
    site.releases.add(1)
    flowing = asyncio.create_task(flow(site, 2_000))
    result = await site.ask("update", version="1.1")
    assert result == {"Major": 1, "Minor": 1}
    await site.serving("1.1")
    answered = await flowing
    assert len(answered) == 2_000
    assert set(answered.values()) == {"1.0", "1.1"}
    once_each(site, answered)


@pytest.mark.parametrize(
    ("minor", "how", "reason"),
    [
        (2, "crash", "ended with status 3"),
        (3, "crash_later", "ended with status 4"),
        (4, "hang", "hung: no beat for 3 s"),
        (5, "lacks", "version 1.5 lacks CLEAN"),
        (6, "tampered", "has SHA-256"),
    ],
)
async def test_a_bad_version_is_rolled_back_while_the_old_one_serves(
    site: Site, minor: int, how: str, reason: str
) -> None:
    await site.serving("1.1")
    site.releases.add(minor, how)
    flowing = asyncio.create_task(flow(site, 200))
    with pytest.raises(Refusal, match="rolled back") as caught:
        await site.ask("update", version=f"1.{minor}")
    assert reason in caught.value.detail
    answered = await flowing
    assert set(answered.values()) == {"1.1"}
    once_each(site, answered)
    view = await site.serving("1.1")
    assert view["last"]["outcome"] == "ROLLED_BACK"
    assert reason in view["rejected"][f"1.{minor}"]
