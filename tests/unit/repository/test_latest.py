"""Which versions a repository has, by a manifest that is accepted as an install accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.repositories import (
    JENKINS,
    OTHER_KEY,
    WALL,
    FixedClock,
    publish,
    source,
    worker_folder,
)
from zconnector.configuration.pivot import Version
from zconnector.errors import DamagedError, FetchError, Reason, Refusal, UntrustedError
from zconnector.repository.install import install
from zconnector.repository.latest import accepted, available
from zconnector.repository.layout import WorkerName
from zconnector.repository.root import Root
from zconnector.repository.source import Source

CLOCK = FixedClock()


def versions(at: Source, root: Path, worker: WorkerName = JENKINS) -> list[str]:
    return [str(version) for version in available(at, root, worker, clock=CLOCK)]


def test_the_versions_ascend_and_are_those_of_that_worker(tmp_path: Path) -> None:
    folders = [worker_folder(tmp_path / f"w{minor}", 1, minor) for minor in (9, 10, 2)]
    other = worker_folder(tmp_path / "other", 3, 0)
    (other / "worker.yaml").write_text("type: Ci\nproduct: GitLab\nmajor: 3\nminor: 0\n")
    (other / "connector_product.yaml").unlink()
    publish(tmp_path / "repository", *folders, other)
    at = source(tmp_path / "repository")
    assert versions(at, tmp_path / "root") == ["1.2", "1.9", "1.10"]
    assert versions(at, tmp_path / "root", WorkerName("ci", "gitlab")) == ["3.0"]
    assert versions(at, tmp_path / "root", WorkerName("ci", "nobody")) == []
    assert not (tmp_path / "root" / "installed").exists()


def test_a_new_version_is_seen(tmp_path: Path) -> None:
    publish(tmp_path / "repository", worker_folder(tmp_path / "w10"))
    at = source(tmp_path / "repository")
    assert versions(at, tmp_path / "root") == ["1.0"]
    publish(tmp_path / "repository", worker_folder(tmp_path / "w11", 1, 1))
    assert versions(at, tmp_path / "root") == ["1.0", "1.1"]


def test_what_was_seen_is_remembered_and_an_older_manifest_refused_by_both(tmp_path: Path) -> None:
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"))
    old = (repository / "manifest.json").read_bytes()
    publish(repository, worker_folder(tmp_path / "w11", 1, 1))
    assert versions(source(repository), root) == ["1.0", "1.1"]
    (repository / "manifest.json").write_bytes(old)
    with pytest.raises(UntrustedError, match="serial 2, must have at least 3"):
        versions(source(repository), root)
    with pytest.raises(UntrustedError, match="serial 2, must have at least 3"):
        install(source(repository), root, JENKINS, Version(1, 0), clock=CLOCK)


def test_another_key_is_refused(tmp_path: Path) -> None:
    publish(tmp_path / "repository", worker_folder(tmp_path / "w10"), wall=WALL)
    with pytest.raises(UntrustedError, match="must be by a pinned key"):
        versions(source(tmp_path / "repository", OTHER_KEY), tmp_path / "root")


def test_a_repository_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"manifest\.json"):
        versions(source(tmp_path / "nowhere"), tmp_path / "root")


def test_one_at_a_time(tmp_path: Path) -> None:
    publish(tmp_path / "repository", worker_folder(tmp_path / "w10"))
    with Root(tmp_path / "root"), pytest.raises(Refusal) as refused:
        versions(source(tmp_path / "repository"), tmp_path / "root")
    assert refused.value.reason is Reason.BUSY
    assert versions(source(tmp_path / "repository"), tmp_path / "root") == ["1.0"]


def test_what_was_accepted_last_is_told_without_asking_anybody(tmp_path: Path) -> None:
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"), lifetime=86_400)
    at = source(repository)
    assert accepted(root, str(at.address)) is None
    versions(at, root)
    (repository / "manifest.json").unlink()
    known = accepted(root, str(at.address))
    assert known is not None
    assert (known.serial, known.expires) == (2, WALL // 1000 + 86_400)
    assert accepted(root, f"{at.address}/elsewhere") is None


def test_that_an_expired_one_was_accepted_is_told_too(tmp_path: Path) -> None:
    """It is refused for what is new; when it expired is worth knowing."""
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"), wall=WALL - 2 * 86_400_000, lifetime=86_400)
    with pytest.raises(UntrustedError, match="expired at"):
        versions(source(repository), root)
    known = accepted(root, str(source(repository).address))
    assert known is not None
    assert known.expires == WALL // 1000 - 86_400


def test_a_damaged_record_is_told_by_its_name(tmp_path: Path) -> None:
    repository, root = tmp_path / "repository", tmp_path / "root"
    publish(repository, worker_folder(tmp_path / "w10"))
    versions(source(repository), root)
    (path,) = (root / "accepted").glob("*.json")
    path.write_text("{")
    with pytest.raises(DamagedError, match=path.name):
        accepted(root, str(source(repository).address))
