"""What a version is started from: the content that passed its gate, and no other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.repositories import KEY, FixedClock, publish, worker_folder
from zconnector.configuration.pivot import Version
from zconnector.connector.readying import DiskPackages, Readying
from zconnector.errors import ConfigError
from zconnector.repository.cleaning import Gone, Unwanted
from zconnector.repository.layout import WorkerName
from zconnector.versions.wanted import Wanted

V10 = Version(1, 0)


class Door:
    """A cluster that has no configuration, and takes what it is brought."""

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        return {}, b'{"pivot":null,"product":null}'


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    repository = tmp_path / "repository"
    publish(repository, worker_folder(tmp_path / "first", 1, 0, says="first"))
    return Wanted.from_values(
        {
            "product": "jenkins",
            "repository": f"file://{repository}",
            "repository_keys": [str(KEY.public)],
        }
    )


def again(tmp_path: Path) -> None:
    """The version is published again, with another content."""
    publish(tmp_path / "repository", worker_folder(tmp_path / "second", 1, 0, says="second"), again=True)


def make(tmp_path: Path, root: str = "root") -> Readying:
    return Readying(Door(), DiskPackages(tmp_path / root, FixedClock()), "Ci", False)


def test_a_start_takes_the_content_that_it_is_told_whatever_was_installed_since(
    tmp_path: Path, wanted: Wanted
) -> None:
    """It took the latest: what nobody had tried ran after a restart of the router."""

    async def scene() -> None:
        readying = make(tmp_path)
        first = await readying.install(wanted, V10)
        again(tmp_path)
        second = await readying.install(wanted, V10)
        assert first.sha256 != second.sha256
        assert (await readying.start(wanted, V10, first.sha256)).executable == first.executable
        assert (await readying.get(wanted, V10, first.sha256)).executable == first.executable
        assert (await readying.start(wanted, V10, "")).executable == second.executable
        assert (await readying.get(wanted, V10, "")).sha256 == second.sha256

    asyncio.run(scene())


def test_content_that_is_nowhere_any_more_is_not_started_by_another(tmp_path: Path, wanted: Wanted) -> None:
    async def scene() -> None:
        first = await make(tmp_path).install(wanted, V10)
        elsewhere = make(tmp_path, "another root")
        assert (await elsewhere.start(wanted, V10, first.sha256)).sha256 == first.sha256  # fetched again
        again(tmp_path)
        with pytest.raises(ConfigError, match=r"was installed with SHA-256 .* zconnector worker update 1\.0"):
            await make(tmp_path, "a third root").start(wanted, V10, first.sha256)

    asyncio.run(scene())


def test_what_is_looked_for_while_something_is_removed_is_found_only_if_it_stays(
    tmp_path: Path, wanted: Wanted
) -> None:
    """A start could be given a folder that was on its way out."""

    class Slow(DiskPackages):
        began, may_end = asyncio.Event(), asyncio.Event()

        async def clean(self, worker: WorkerName, unwanted: Unwanted) -> Sequence[Gone]:
            self.began.set()
            await self.may_end.wait()
            return await super().clean(worker, unwanted)

    async def scene() -> None:
        packages = Slow(tmp_path / "root", FixedClock())
        readying = Readying(Door(), packages, "Ci", False)
        first = await readying.install(wanted, V10)
        removal = asyncio.create_task(readying.clean(wanted, lambda _: lambda *_: True))
        await packages.began.wait()
        lookup = asyncio.create_task(readying.installed(wanted, V10))
        await asyncio.sleep(0)
        assert first.executable.exists()
        packages.may_end.set()
        assert [str(gone) for gone in await removal] == [f"1.0 ({first.sha256[:12]})"]
        with pytest.raises(ConfigError, match="is not installed"):
            await lookup

    asyncio.run(scene())


def gitlab(tmp_path: Path) -> Path:
    """The same version, of another product."""
    folder = worker_folder(tmp_path / "gitlab", 1, 0, says="gitlab", configured=False)
    (folder / "worker.yaml").write_text("type: Ci\nproduct: GitLab\nmajor: 1\nminor: 0\n")
    return folder


def test_what_is_removed_is_of_every_product_of_the_type_and_of_no_other_type(
    tmp_path: Path, wanted: Wanted
) -> None:
    """Folders of a former product were never looked at."""

    async def scene() -> None:
        publish(tmp_path / "repository", gitlab(tmp_path))
        readying = make(tmp_path)
        old = await readying.install(wanted, V10)
        now = replace(wanted, product="GitLab")
        new = await readying.install(now, V10)
        other = tmp_path / "root" / "installed" / "git" / "jenkins" / "1.0-0123456789abcdef"
        other.mkdir(parents=True)
        asked: list[WorkerName] = []

        def unwanted(worker: WorkerName) -> Unwanted:
            asked.append(worker)
            return lambda _, sha256: sha256 == old.sha256

        assert await readying.clean(now, unwanted) == [f"jenkins 1.0 ({old.sha256[:12]})"]
        assert asked == [WorkerName("ci", "gitlab"), WorkerName("ci", "jenkins")]
        assert not old.executable.parent.parent.parent.exists()
        assert new.executable.exists()
        assert other.exists()

    asyncio.run(scene())
