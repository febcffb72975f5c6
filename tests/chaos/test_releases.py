"""The repository of the chaos: what its readers find, whatever is done to it; and the kernel's processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.chaos.processes import commands, descendants, parent, process
from tests.chaos.releases import BASE, PRODUCT, Releases
from tests.support.repositories import KEY
from zconnector.configuration.pivot import Version
from zconnector.errors import FetchError, UntrustedError, ZConnectorError
from zconnector.repository.install import install
from zconnector.repository.layout import WorkerName, read_address
from zconnector.repository.source import Source

WORKER = WorkerName("vcs", PRODUCT.lower())


@pytest.fixture
async def releases(tmp_path: Path) -> Releases:
    made = Releases(tmp_path / "releases")
    await made.add(BASE, "good")
    return made


def installed(releases: Releases, root: Path, version: str) -> Path:
    address = str(releases.values(BASE)["repository"])
    source = Source(read_address(address), (KEY.public,))
    major, _, minor = version.partition(".")
    return install(source, root, WORKER, Version(int(major), int(minor))).executable


async def test_a_version_can_be_installed(releases: Releases, tmp_path: Path) -> None:
    assert "'good', 'gandalf', 1, 0" in installed(releases, tmp_path / "root", BASE).read_text()


async def test_a_tampered_one_is_refused_also_after_the_next_was_published(
    releases: Releases, tmp_path: Path
) -> None:
    await releases.add("1.1", "tampered")
    await releases.add("1.2", "good")
    with pytest.raises(UntrustedError, match="SHA-256"):
        installed(releases, tmp_path / "root", "1.1")
    assert installed(releases, tmp_path / "root", "1.2").exists()


async def test_it_is_away_and_there_again_with_what_was_published_meanwhile(
    releases: Releases, tmp_path: Path
) -> None:
    await releases.hide()
    await releases.add("1.1", "good")
    with pytest.raises(FetchError):
        installed(releases, tmp_path / "root", "1.1")
    await releases.show()
    assert installed(releases, tmp_path / "root", "1.1").exists()


async def test_archives_are_half_there_until_the_copy_is_done(releases: Releases, tmp_path: Path) -> None:
    assert await releases.begin_copy() == BASE
    await releases.add("1.1", "good")
    for version in (BASE, "1.1"):
        with pytest.raises(ZConnectorError, match="bytes"):
            installed(releases, tmp_path / "root", version)
    await releases.end_copy()
    for version in (BASE, "1.1"):
        assert installed(releases, tmp_path / "root", version).exists()


async def test_processes_are_found_and_their_end_is_seen() -> None:
    inner = "print('up', flush=True); input()"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}, 'chaos-grandchild'])"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        assert await asyncio.wait_for(child.stdout.readline(), 20) == b"up\n"
        below = descendants(child.pid)
        (grandchild,) = below
        assert grandchild.alive
        assert grandchild.pid in dict(commands("chaos-grandchild"))
        assert parent(grandchild.pid) == child.pid
        assert process(grandchild.pid) == grandchild
        assert grandchild in descendants(os.getpid())
        os.kill(grandchild.pid, signal.SIGKILL)
        await child.wait()
        assert not grandchild.alive
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
