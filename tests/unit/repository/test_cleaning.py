"""Installed versions that nobody wants any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.repositories import JENKINS, FixedClock, publish, source, worker_folder
from zconnector.configuration.pivot import Version
from zconnector.errors import Refusal
from zconnector.repository.cleaning import CleanStep, Gone, clean, installed_workers
from zconnector.repository.install import install, installed_versions
from zconnector.repository.layout import WorkerName
from zconnector.repository.root import Root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three versions, one of them twice, with another content."""
    repository, root = tmp_path / "repository", tmp_path / "root"
    for minor in range(3):
        publish(repository, worker_folder(tmp_path / f"w{minor}", 1, minor, says=str(minor)))
        install(source(repository), root, JENKINS, Version(1, minor), clock=FixedClock())
    publish(repository, worker_folder(tmp_path / "again", 1, 0, says="again"), again=True)
    install(source(repository), root, JENKINS, Version(1, 0), clock=FixedClock())
    return root


def left(root: Path) -> list[Version]:
    return [installed.version for installed in installed_versions(root, JENKINS)]


def test_what_is_unwanted_goes_whole(root: Path) -> None:
    assert left(root) == [Version(1, 2), Version(1, 1), Version(1, 0), Version(1, 0)]
    gone = clean(root, JENKINS, lambda version, _: version.minor != 1)
    assert [one.version for one in gone] == [Version(1, 0), Version(1, 0), Version(1, 2)]
    assert left(root) == [Version(1, 1)]
    assert list((root / "fresh").iterdir()) == []


def test_the_rest_stays_in_all_its_contents(root: Path) -> None:
    gone = clean(root, JENKINS, lambda version, _: version.minor > 0)
    assert [one.version for one in gone] == [Version(1, 1), Version(1, 2)]
    assert left(root) == [Version(1, 0), Version(1, 0)]


def test_what_is_no_installed_version_is_left_alone(root: Path) -> None:
    strange = root / "installed" / "ci" / "jenkins" / "notes"
    strange.mkdir()
    clean(root, JENKINS, lambda *_: True)
    assert left_over(root) == ["notes"]


def left_over(root: Path) -> list[str]:
    return [path.name for path in (root / "installed" / "ci" / "jenkins").iterdir()]


def test_nothing_is_removed_while_an_install_has_the_root(root: Path) -> None:
    with Root(root), pytest.raises(Refusal, match="another install"):
        clean(root, JENKINS, lambda *_: True)
    assert len(left(root)) == 4


def test_of_a_worker_that_was_never_installed_there_is_nothing(tmp_path: Path) -> None:
    assert clean(tmp_path / "root", JENKINS, lambda *_: True) == []


def test_one_content_of_a_version_goes_and_the_other_stays(root: Path) -> None:
    new, old = (one for one in installed_versions(root, JENKINS) if one.version == Version(1, 0))
    gone = clean(root, JENKINS, lambda version, sha256: version == Version(1, 0) and sha256 != new.sha256)
    assert gone == [Gone(Version(1, 0), old.sha256)]
    assert str(gone[0]) == f"1.0 ({old.sha256[:12]})"
    assert new in installed_versions(root, JENKINS)
    assert len(left(root)) == 3


def test_a_folder_that_cannot_be_read_is_told_by_no_content(root: Path) -> None:
    new = installed_versions(root, JENKINS)[0]
    (new.directory / "origin.json").write_text("{")
    asked: list[tuple[Version, str]] = []

    def unwanted(version: Version, sha256: str) -> bool:
        asked.append((version, sha256))
        return not sha256

    assert clean(root, JENKINS, unwanted) == [Gone(new.version, "")]
    assert len(asked) == 4
    assert len(left(root)) == 3


def test_the_steps(root: Path) -> None:
    steps: list[CleanStep] = []
    clean(root, JENKINS, lambda version, _: version.minor == 2, steps.append)
    assert steps == list(CleanStep)


def test_with_the_last_version_goes_the_folder_of_the_product(root: Path) -> None:
    assert installed_workers(root, "ci") == [JENKINS]
    clean(root, JENKINS, lambda *_: True)
    assert installed_workers(root, "ci") == []
    assert not (root / "installed" / "ci" / "jenkins").exists()
    assert clean(root, JENKINS, lambda *_: True) == []


def test_a_folder_that_was_emptied_before_a_kill_goes_with_the_next_removal(root: Path) -> None:
    (root / "installed" / "ci" / "gitlab").mkdir()
    assert clean(root, WorkerName("ci", "gitlab"), lambda *_: True) == []
    assert installed_workers(root, "ci") == [JENKINS]


def test_workers_are_what_has_a_worker_s_name_and_is_a_folder(root: Path, tmp_path: Path) -> None:
    place = root / "installed" / "ci"
    (place / "GitLab").mkdir()
    (place / ".gitlab").mkdir()
    (place / "gitlab").touch()
    (place / "elsewhere").symlink_to(tmp_path)
    (place / "bamboo").mkdir()
    assert installed_workers(root, "ci") == [WorkerName("ci", "bamboo"), JENKINS]
    assert installed_workers(root, "git") == []
