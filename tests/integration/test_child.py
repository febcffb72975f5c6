"""A component as a child process: how it says that it is ready."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from zconnector.cli.child import READY_SOCKET, Child
from zconnector.runtime.statedir import find_socket

DEADLINE = 30.0
DEEP = "d" * 100
"""In a directory of this name no unix socket has its place."""
ENV = shutil.which("env")


@pytest.mark.parametrize("leaf", ["near", DEEP])
async def test_ready_over_a_socket_that_is_a_file(tmp_path: Path, leaf: str) -> None:
    directory = tmp_path / leaf
    directory.mkdir(mode=0o700)
    if leaf != DEEP:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
            left.bind(str(directory / READY_SOCKET))  # by a parent that was killed
    argv = ["frontend", "--state-dir", str(directory), "--connector", str(tmp_path / "none")]
    assert ENV is not None
    child = Child(*("front", argv, tmp_path / "log", dict(os.environ)), launcher=[ENV], ready_in=directory)
    await child.start()
    try:
        await child.wait_ready(DEADLINE)
        there = find_socket(directory, READY_SOCKET)
        assert there.is_socket()
        assert (there.parent == directory) == (leaf != DEEP)
    finally:
        await child.end(DEADLINE)
    assert not there.exists()
    assert find_socket(directory, READY_SOCKET).parent == directory  # no record of a short path is left
