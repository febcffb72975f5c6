"""A repository that is away, replayed, expired; contents that nobody goes back to. Over real processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.test_versions import PATIENCE, Site, flow, serving_site, zconnector
from tests.support.asking import until
from tests.support.versions import Releases
from zconnector.errors import Refusal, ZConnectorError

pytestmark = [pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]
HOUR = 3_600


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    async with serving_site(folder, Releases(folder, ago=HOUR)) as site:
        yield site


class Away:
    """The repository does not answer."""

    def __init__(self, site: Site) -> None:
        self._folder = site.releases.folder

    def __enter__(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    def __exit__(self, *_: object) -> None:
        self._folder.with_name("away").rename(self._folder)


async def contents(site: Site, version: str) -> list[Path]:
    """The folders in which a version lies on the disk, once what is being removed is gone."""
    await site.ask("latest")  # waits for whoever is at it
    folder = site.dev.state_dir / "connector" / "ci" / "workers" / "installed" / "ci" / "jenkins"
    return [path for path in folder.iterdir() if path.name.startswith(f"{version}-")]


def the_pid(view: dict[str, Any]) -> int:
    (row,) = (row for row in view["versions"] if row["state"] == "RUNNING")
    return int(row["pid"])


async def test_an_update_to_what_runs_succeeds_and_says_what_was_not_checked(site: Site) -> None:
    pid = the_pid(await site.serving("1.0"))
    with Away(site):
        status, out, err = await zconnector(site, "worker", "update", "1.0", "--connector", "ci")
        assert (status, out) == (0, "ci: update 1.0 done\n"), err
        assert "1.0 serves as it is; could not be checked: whether the repository has another content" in err
        assert "manifest.json" in err
        with pytest.raises(Refusal, match=r"manifest\.json"):
            await site.ask("update", version="1.1")
    assert the_pid(await site.serving("1.0")) == pid


async def test_what_waits_for_the_repository_is_tried_again_by_the_next_router(site: Site) -> None:
    site.releases.add(1)
    with Away(site):
        await site.configure(**site.releases.values("1.1", gate={"seconds": 0.5}))
        view = await site.until(lambda view: view["waits"])
        assert view["waits"]["new"] == ["1.1"]
        await site.hands.kill("ci")
        await site.hands.start("ci")
        view = await site.serving("1.0")
        assert (view["waits"]["new"], view["rejected"]) == (["1.1"], {})
        status, out, err = await zconnector(site, "worker", "ls", "--connector", "ci")
        assert status == 0, err
        assert "the configuration's 1.1 is tried again at " in out
        assert "manifest.json" in out
        assert set((await flow(site, 10)).values()) == {"1.0"}
    view = await site.serving("1.1")
    assert view["waits"] is None


async def test_contents_that_nobody_goes_back_to_leave_the_disk(site: Site) -> None:
    await site.serving("1.1")
    for content in ("second", "third", "fourth"):
        site.releases.add(1, content=content)
        await site.ask("update", version="1.1")
    now = await contents(site, "1.1")
    assert len(now) == 2
    with Away(site):
        await site.ask("rollback")
    await site.serving("1.1")
    assert sorted(await contents(site, "1.1")) == sorted(now)
    worker = "worker/worker"
    assert {"third", "fourth"} == {(path / worker).read_text().split("# ")[-1].strip() for path in now}
    status, out, _ = await zconnector(site, "worker", "ls", "--connector", "ci")
    assert status == 0
    assert "edition" in out
    assert set((await flow(site, 10)).values()) == {"1.1"}


async def test_an_expired_manifest_installs_nothing_and_what_runs_runs_on(site: Site) -> None:
    await site.serving("1.1")
    site.releases.add(2)
    site.releases.sign(60)  # an hour ago
    for version in ("1.1", "1.2"):
        with pytest.raises(Refusal, match=r"manifest of file://.* expired at 20.*, now it is 20"):
            await site.ask("update", version=version)
    assert (await site.view())["rejected"] == {}
    await until(site.view, lambda view: bool(view["manifest"]["expired"]), PATIENCE, "ci")
    await warned(site)
    await site.hands.kill("ci")
    await site.hands.start("ci")
    await site.serving("1.1")  # from the disk
    assert set((await flow(site, 10)).values()) == {"1.1"}
    site.releases.ago = 0
    site.releases.sign(HOUR)
    await site.ask("update", version="1.2")
    await site.serving("1.2")


async def test_a_manifest_that_expires_soon_is_shown_and_was_logged_once(site: Site) -> None:
    await site.serving("1.2")
    view = await until(site.view, lambda view: not view["manifest"]["expired"], PATIENCE, "ci")
    manifest = view["manifest"]
    assert manifest["expiring"]
    assert 0 < manifest["left_ms"] <= HOUR * 1000
    status, out, _ = await zconnector(site, "worker", "ls", "--connector", "ci")
    assert status == 0
    line = f"ci: the manifest of file://{site.releases.folder} (serial {manifest['serial']}) expires in "
    assert line in out
    status, out, _ = await zconnector(site, "worker", "ls", "--connector", "ci", "--json")
    assert json.loads(out)["manifest"]["expires"] == manifest["expires"]
    (line_of_log,) = await warned(site)
    assert (line_of_log["level"], line_of_log["serial"]) == ("warning", manifest["serial"] - 1)


async def warned(site: Site) -> list[dict[str, Any]]:
    """What ci has logged of manifests that expire, once it has."""

    async def logged() -> dict[str, Any]:
        text = (site.dev.state_dir / "logs" / "connector-ci.log").read_text()
        lines = [json.loads(line) for line in text.splitlines() if '"repository manifest ' in line]
        return {"lines": lines}

    return (await until(logged, lambda found: bool(found["lines"]), PATIENCE, "the log"))["lines"]  # type: ignore[no-any-return]


async def test_an_older_manifest_is_refused_by_both_serials(site: Site) -> None:
    await site.serving("1.2")
    manifest = site.releases.folder / "manifest.json"
    old = manifest.read_bytes()
    site.releases.add(3)
    await site.ask("get", version="1.3")
    newest = manifest.read_bytes()
    manifest.write_bytes(old)
    with pytest.raises(Refusal, match=r"has serial \d+, must have at least \d+, which was accepted before"):
        await site.ask("update", version="1.2")
    await site.hands.kill("ci")
    await site.hands.start("ci")
    await site.serving("1.2")
    with pytest.raises(Refusal, match=r"has serial \d+, must have at least \d+"):
        await site.ask("update", version="1.3")
    manifest.write_bytes(newest)
    await site.ask("update", version="1.3")
    await site.serving("1.3")


async def products(site: Site) -> list[str]:
    """Those that have a folder on the disk, once what is being removed is gone."""
    await site.ask("latest")  # waits for whoever is at it
    folder = site.dev.state_dir / "connector" / "ci" / "workers" / "installed" / "ci"
    return sorted(path.name for path in folder.iterdir())


async def test_a_former_product_leaves_the_disk_with_its_last_use_whenever_the_router_is_killed(
    site: Site,
) -> None:
    """As long as a rollback goes back to it, it stays; it stayed for ever."""
    await site.serving("1.3")
    for minor in (0, 1):
        site.releases.add(minor, product="GitLab")
    values = site.releases.values("1.0", product="GitLab", gate={"seconds": 0.5})
    await site.configure(**values)
    await site.serving("1.0")
    assert await products(site) == ["gitlab", "jenkins"]
    armed = await site.hands.restart("ci", crash_at="rollout.over_after_commit")
    await site.serving("1.0")
    update = asyncio.create_task(site.ask("update", version="1.1"))
    await armed.died()
    with pytest.raises(ZConnectorError):
        await update
    installed = site.dev.state_dir / "connector" / "ci" / "workers" / "installed" / "ci"
    assert (installed / "jenkins").exists()  # killed before it could be removed
    await site.hands.start("ci")
    await site.serving("1.1")
    assert await products(site) == ["gitlab"]
    assert set((await flow(site, 10)).values()) == {"1.1"}
