"""Socket paths: private, owned by one process, short enough."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from zconnector.errors import ConfigError
from zconnector.rpc.address import MAX_PATH, OwnedSocket, private_directory, usable_path


def test_a_path_that_fits_is_used_as_it_is(tmp_path: Path) -> None:
    fits = tmp_path / "s.sock"
    assert usable_path(fits, tmp_path) == fits
    longest = Path("/" + "d" * (MAX_PATH - 1))
    assert usable_path(longest, tmp_path) == longest


@pytest.mark.parametrize("name", ["d" * 150, "é" * 60, "what?.sock", "50%.sock", "a#b"])
def test_any_other_gets_a_short_one_that_stays_the_same(name: str) -> None:
    base = Path("/run/user/1")
    wanted = Path("/state") / name
    short = usable_path(wanted, base)
    assert len(os.fsencode(short)) <= MAX_PATH
    assert short.parent == base / f"zconnector-{os.getuid()}"
    assert usable_path(wanted, base) == short
    assert usable_path(Path("/state/other") / name, base) != short


def test_no_short_path_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="at most 107 bytes"):
        usable_path(Path("/" + "d" * 200), Path("/" + "r" * 200))


def test_the_directory_is_made_private(tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    private_directory(made)
    assert made.stat().st_mode & 0o777 == 0o700


def test_a_directory_open_to_others_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(ConfigError, match="mode 0755, must be 0700"):
        private_directory(tmp_path)


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(real)
    with pytest.raises(ConfigError, match="no directory of its own"):
        private_directory(tmp_path / "link")


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "d" / "s.sock"
    first, second = OwnedSocket(path), OwnedSocket(path)
    first.claim()
    with pytest.raises(ConfigError, match="another process serves on"):
        second.claim()
    first.release()
    second.claim()
    second.release()


def test_the_socket_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "d" / "s.sock"
    path.parent.mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    owned = OwnedSocket(path)
    owned.claim()
    assert not path.exists()
    owned.release()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d" / "s.sock"
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        OwnedSocket(path).claim()
    assert path.read_text() == "precious"
    path.unlink()
    OwnedSocket(path).claim()  # the refusal left no lock behind
