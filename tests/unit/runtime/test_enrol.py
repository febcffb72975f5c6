from __future__ import annotations

import stat
from pathlib import Path

import pytest

from zconnector.errors import ConfigError
from zconnector.runtime.enrol import keep, load
from zconnector.settings import ProcessSettings
from zconnector.shoset.enrolment import Enrolment

ONE = Enrolment("connector", "acme", "git", "0", "Git", "secret-one")
TWO = Enrolment("connector", "acme", "git", "0", "Git", "secret-two")


def test_without_any_it_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret create"):
        load(ProcessSettings(tmp_path))
    assert not (tmp_path / "enrolment").exists()


def test_the_given_one_is_used_and_not_yet_kept(tmp_path: Path) -> None:
    assert load(ProcessSettings(tmp_path, enrolment=ONE.encode())) == ONE
    assert not (tmp_path / "enrolment").exists()


def test_the_kept_one_serves_later_starts(tmp_path: Path) -> None:
    keep(tmp_path, ONE)
    assert load(ProcessSettings(tmp_path)) == ONE
    assert (tmp_path / "enrolment").exists()
    assert stat.S_IMODE((tmp_path / "enrolment").stat().st_mode) == 0o600


def test_a_given_one_goes_before_the_kept_one(tmp_path: Path) -> None:
    keep(tmp_path, ONE)
    assert load(ProcessSettings(tmp_path, enrolment=TWO.encode())) == TWO
    keep(tmp_path, TWO)
    assert load(ProcessSettings(tmp_path)) == TWO


def test_keeping_the_same_again_writes_nothing(tmp_path: Path) -> None:
    keep(tmp_path, ONE)
    before = (tmp_path / "enrolment").stat().st_ino
    keep(tmp_path, ONE)
    assert (tmp_path / "enrolment").stat().st_ino == before


@pytest.mark.parametrize("content", [b"zc1.damaged", b"", b"\xff\xfe"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "enrolment").write_bytes(content)
    with pytest.raises(ConfigError, match=str(tmp_path / "enrolment")):
        load(ProcessSettings(tmp_path))
