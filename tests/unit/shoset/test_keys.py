from __future__ import annotations

import stat
from pathlib import Path

import pytest

from zconnector.errors import ConfigError
from zconnector.shoset.keys import KeyPair, load_or_create, write_private


def test_a_pair_is_made_once_and_kept(tmp_path: Path) -> None:
    first = load_or_create(tmp_path)
    assert load_or_create(tmp_path) == first
    assert len(first.public) == len(first.secret) == 40
    assert stat.S_IMODE((tmp_path / "curve.key").stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["curve.key"]


def test_the_secret_half_is_in_no_repr() -> None:
    pair = KeyPair.fresh()
    assert pair.secret not in repr(pair)


@pytest.mark.parametrize(
    "damage",
    [
        lambda good: b"",
        lambda good: good[:-1],
        lambda good: good[:50],
        lambda good: good + b"more\n",
        lambda good: b"\xff" + good[1:],
        lambda good: b"~" * 40 + good[40:],
        lambda good: good[:41] + b"~" * 40 + b"\n",
        lambda good: good[41:81] + b"\n" + good[:40] + b"\n",
    ],
)
def test_a_damaged_file_is_named_and_never_replaced(tmp_path: Path, damage: object) -> None:
    pair = load_or_create(tmp_path)
    path = tmp_path / "curve.key"
    assert callable(damage)
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(ConfigError) as caught:
        load_or_create(tmp_path)
    assert str(path) in str(caught.value)
    assert pair.secret not in str(caught.value)
    assert path.read_bytes() == damaged


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        load_or_create(tmp_path / "missing")


def test_write_private_replaces_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "is-a-directory"
    target.mkdir()
    with pytest.raises(ConfigError, match=str(target)):
        write_private(target, b"x")
    assert list(tmp_path.iterdir()) == [target]
