"""A small disk takes nothing while it is full, and everything afterwards, however it is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import disk as disks
from tests.chaos.disk import SmallDisk

WRITER = """
import os, sys
for line in sys.stdin:
    try:
        with open(sys.argv[1], "ab", buffering=0) as file:
            os.write(file.fileno(), b"x" * 4096)
        print("taken", flush=True)
    except OSError as error:
        print(error.errno, flush=True)
"""


@pytest.mark.parametrize("mounted", [True, False])
def test_full_and_empty_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounted: bool) -> None:
    if not mounted:
        monkeypatch.setattr(disks, "MOUNT", "false")
    place = tmp_path / "small"
    disk = SmallDisk(place)
    if mounted and disk.how != "tmpfs":
        pytest.skip("mounting is not allowed here")
    assert mounted == (disk.how == "tmpfs")
    argv = [sys.executable, "-c", WRITER, str(place / "file")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        said = []
        changes: list[Callable[[], None]] = [lambda: None, lambda: disk.fill(writer.pid), disk.empty]
        for change in changes:
            change()
            writer.stdin.write("\n")
            writer.stdin.flush()
            said.append(writer.stdout.readline().strip())
        writer.stdin.close()
    assert (said[0], said[2]) == ("taken", "taken")
    assert said[1].isdigit(), said
    disk.close(keep=True)
    assert (place / "file").stat().st_size == 2 * 4096
    assert not place.is_mount()
