from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from zconnector.errors import ConfigError
from zconnector.runtime.statedir import StateDir, find_socket, remove_socket, socket_path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_a_private_directory_and_a_pid_file_while_held(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with StateDir(path):
        assert mode(path) == 0o700
        assert (path / "pid").read_text() == f"{os.getpid()}\n"
    assert not (path / "pid").exists()


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with StateDir(tmp_path):
        with pytest.raises(ConfigError, match=f"already running as pid {os.getpid()}"), StateDir(tmp_path):
            pass
        assert (tmp_path / "pid").exists()
    with StateDir(tmp_path):
        pass


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "pid").write_text("1\n")
    with StateDir(tmp_path):
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"


def test_an_empty_or_own_directory_is_closed_to_others(tmp_path: Path) -> None:
    for _ in range(2):
        tmp_path.chmod(0o755)
        with StateDir(tmp_path):
            assert mode(tmp_path) == 0o700


def test_an_open_directory_with_other_things_is_refused_untouched(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="open to others"), StateDir(tmp_path):
        pass
    assert mode(tmp_path) == 0o755


def test_a_path_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file"), StateDir(tmp_path / "file"):
        pass


def test_a_short_path_stays_in_the_directory(tmp_path: Path) -> None:
    assert socket_path(tmp_path, "control.sock") == tmp_path / "control.sock"
    assert find_socket(tmp_path, "control.sock") == tmp_path / "control.sock"


def test_a_long_path_falls_back_to_a_short_private_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    short = socket_path(deep, "control.sock")
    try:
        assert len(os.fsencode(short)) <= 107
        assert mode(short.parent) == 0o700
        assert (deep / "control.path").read_bytes() == os.fsencode(short)
        assert find_socket(deep, "control.sock") == short
        assert socket_path(deep, "control.sock") == short
        assert socket_path(deep, "grpc.sock").parent == short.parent
        short.touch()
    finally:
        remove_socket(deep, "control.sock")
        assert not short.exists()
        remove_socket(deep, "grpc.sock")
    assert not short.parent.exists()
    assert list(deep.iterdir()) == []


def test_a_short_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    directory = socket_path(deep, "control.sock").parent
    try:
        directory.chmod(0o755)
        with pytest.raises(ConfigError, match="0700"):
            socket_path(deep, "control.sock")
    finally:
        remove_socket(deep, "control.sock")
