"""Installing: what is there afterwards, and that nothing is there or touched when anything was wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import pytest

from tests.support.repositories import (
    JENKINS,
    KEY,
    OTHER_KEY,
    WALL,
    FixedClock,
    publish,
    source,
    worker_folder,
)
from tests.support.zips import WORKER, Part, build
from zconnector.configuration.pivot import Pivot, Version
from zconnector.errors import (
    ArchiveError,
    AwayError,
    ConfigError,
    DamagedError,
    FetchError,
    Refusal,
    RepositoryError,
    StaleError,
    StorageError,
    UntrustedError,
    ZConnectorError,
)
from zconnector.repository.fetch import FileFetcher
from zconnector.repository.install import Installed, Step, install, installed_versions
from zconnector.repository.manifest import File, Manifest, read_manifest, sign
from zconnector.repository.publish import sign_again
from zconnector.repository.root import Root
from zconnector.repository.source import Source

V10, V11 = Version(1, 0), Version(1, 1)
ZIP10 = "workers/ci/jenkins/1/0/worker.zip"
CLOCK = FixedClock()


class Scene:
    """A repository with 1.0 in a folder, and a root to install into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.repository, self.root = path / "repository", path / "root"
        publish(self.repository, worker_folder(path / "w10"))

    def install(
        self, version: Version = V10, source_: Source | None = None, clock: FixedClock = CLOCK
    ) -> Installed:
        return install(source_ or source(self.repository), self.root, JENKINS, version, clock=clock)

    def manifest(self) -> Manifest:
        return read_manifest((self.repository / "manifest.json").read_bytes(), "m")

    def resign(self, change: Callable[[Manifest], Manifest]) -> None:
        """Another manifest by the holder of the key."""
        (self.repository / "manifest.json").write_bytes(sign(change(self.manifest()), KEY).render())

    def tree(self) -> dict[str, tuple[int, bytes]]:
        """Every file below `installed/`, by inode and content."""
        top = self.root / "installed"
        return {str(p): (p.stat().st_ino, p.read_bytes()) for p in sorted(top.rglob("*")) if p.is_file()}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_version_is_installed_whole_with_its_configuration(scene: Scene) -> None:
    found = scene.install()
    assert found.directory.parent == scene.root / "installed" / "ci" / "jenkins"
    assert found.directory.name.startswith("1.0-")
    assert subprocess.run([found.executable], capture_output=True, check=True).stdout == b"1.0\n"
    assert (found.directory / "worker" / "lib" / "notes.txt").read_text() == "notes\n" * 100
    assert sorted(path.name for path in (found.directory / "worker").iterdir()) == ["lib", "worker"]
    assert found.pivot is not None
    assert Pivot.from_yaml(found.pivot.read_bytes()).version == V10
    assert found.product is not None
    assert (found.version, found.serial, found.repository) == (V10, 2, "acme")
    assert os.listdir(scene.root / "fresh") == []


def test_again_it_is_the_same_folder_and_nothing_is_fetched_but_the_manifest(scene: Scene) -> None:
    first, before = scene.install(), scene.tree()
    asked: list[tuple[str, bool]] = []

    class Watched(FileFetcher):
        def fetch(self, path: str, limit: int, etag: str = "") -> object:  # type: ignore[override]
            found = super().fetch(path, limit, etag)
            asked.append((path, found is not None))
            return found

    at = source(scene.repository)
    again = install(at, scene.root, JENKINS, V10, clock=CLOCK, fetcher=Watched(at.address))  # type: ignore[arg-type]
    assert again == first
    assert scene.tree() == before
    assert asked == [("manifest.json", False)]


def test_two_versions_lie_side_by_side(scene: Scene) -> None:
    first = scene.install()
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1, says="1.1"))
    second = scene.install(V11)
    assert installed_versions(scene.root, JENKINS) == [second, first]


def test_the_same_version_with_another_content_gets_another_folder(scene: Scene) -> None:
    first, before = scene.install(), scene.tree()
    publish(scene.repository, worker_folder(scene.path / "w10", says="other"), again=True)
    second = scene.install()
    assert second.directory != first.directory
    assert {path: found for path, found in scene.tree().items() if path in before} == before
    assert installed_versions(scene.root, JENKINS) == [second, first]


def test_a_version_without_configuration(scene: Scene) -> None:
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1, configured=False))
    found = scene.install(V11)
    assert (found.pivot, found.product) == (None, None)


def test_nothing_is_installed_yet(scene: Scene) -> None:
    assert installed_versions(scene.root, JENKINS) == []


def tampered(scene: Scene) -> None:
    file = scene.repository / ZIP10
    file.write_bytes(file.read_bytes()[:-1] + b"x")


def truncated(scene: Scene) -> None:
    file = scene.repository / ZIP10
    file.write_bytes(file.read_bytes()[:-1])


def archive(*parts: Part) -> Callable[[Scene], None]:
    """An archive that breaks a rule, by the holder of the key: `repo sign` would refuse it."""

    def change(scene: Scene) -> None:
        content = build([WORKER, *parts])
        (scene.repository / ZIP10).write_bytes(content)

        def other(manifest: Manifest) -> Manifest:
            files = tuple(File.of(ZIP10, content) if f.path == ZIP10 else f for f in manifest.files)
            return Manifest(manifest.repository, 3, manifest.timestamp, KEY.public, files)

        scene.resign(other)

    return change


def mixed(scene: Scene) -> None:
    """The archive of one version in the place of another."""
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1, says="1.1"))
    shutil.copy(scene.repository / "workers/ci/jenkins/1/1/worker.zip", scene.repository / ZIP10)


def old_pivot(scene: Scene) -> None:
    (scene.repository / "configurations/ci/1_0_pivot.yaml").write_text("name: Ci\nmajor: 1\nminor: 0\n")


def other_key(scene: Scene) -> None:
    sign_again(scene.repository, OTHER_KEY, WALL, new_key=True)


def gone(scene: Scene) -> None:
    (scene.repository / ZIP10).unlink()


def page(scene: Scene) -> None:
    (scene.repository / "manifest.json").write_bytes(b"<!DOCTYPE html><html>")


def without(scene: Scene) -> None:
    scene.resign(lambda m: Manifest(m.repository, 3, m.timestamp, KEY.public, ()))


def ahead(scene: Scene) -> None:
    scene.resign(lambda m: Manifest(m.repository, 3, WALL // 1000 + 7200, KEY.public, m.files))


WRONG: dict[str, tuple[Callable[[Scene], None], type[ZConnectorError], str]] = {
    "tampered archive": (tampered, UntrustedError, "worker.zip has SHA-256"),
    "truncated archive": (truncated, UntrustedError, "bytes, must have"),
    "archive of another version": (mixed, UntrustedError, "must have"),
    "other configuration": (old_pivot, UntrustedError, "1_0_pivot.yaml has"),
    "another key": (other_key, UntrustedError, "must be by a pinned key"),
    "slip path": (archive(Part(b"../../evil", b"x")), ArchiveError, "'.' or '..'"),
    "link": (archive(Part(b"a", b"/etc", mode=0o120777)), ArchiveError, "plain file"),
    "wrong checksum": (archive(Part(b"a", b"x", crc=5)), ArchiveError, "CRC"),
    "file gone": (gone, FetchError, "cannot read file://"),
    "page for a manifest": (page, FetchError, "is an HTML page"),
    "version gone": (without, RepositoryError, f"has no {ZIP10}"),
    "dated ahead": (ahead, StaleError, "ahead of this clock"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_nothing_is_installed(wrong: str, scene: Scene) -> None:
    change, error, said = WRONG[wrong]
    change(scene)
    with pytest.raises(error) as raised:
        scene.install()
    assert said in str(raised.value)
    assert str(scene.repository) in str(raised.value)
    assert scene.tree() == {}
    assert not (scene.path / "evil").exists()
    assert os.listdir(scene.root / "fresh") == []


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_what_is_installed_stays_as_it_is(wrong: str, scene: Scene) -> None:
    first, before = scene.install(), scene.tree()
    change, _, _ = WRONG[wrong]
    change(scene)
    shutil.rmtree(scene.root / "accepted")  # nothing is known of the repository, not even its ETag
    try:
        scene.install()
    except ZConnectorError:
        pass
    else:
        assert wrong in (
            "tampered archive",
            "truncated archive",
            "archive of another version",
            "file gone",
            "other configuration",
        )  # not asked for again: it is there already
    assert {path: found for path, found in scene.tree().items() if path in before} == before
    assert first in installed_versions(scene.root, JENKINS)


def test_a_rollback_is_refused_also_at_another_address(scene: Scene) -> None:
    old = scene.path / "old"
    shutil.copytree(scene.repository, old)
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1))
    scene.install(V11)
    shutil.copy(old / "manifest.json", scene.repository / "manifest.json")
    for folder in (old, scene.repository):
        with pytest.raises(UntrustedError, match="has serial 2, must have at least 3"):
            scene.install(V10, source(folder))


def test_a_key_is_replaced_by_pinning_both(scene: Scene) -> None:
    scene.install()
    sign_again(scene.repository, OTHER_KEY, WALL, new_key=True)
    with pytest.raises(UntrustedError, match="pinned key"):
        scene.install()
    assert scene.install(source_=source(scene.repository, KEY, OTHER_KEY)).version == V10
    assert scene.install(source_=source(scene.repository, OTHER_KEY)).version == V10


def test_a_rollback_is_refused_after_another_key_had_its_turn(scene: Scene) -> None:
    """One manifest was remembered of an address: the one by the other key took the place of the highest."""
    old = scene.path / "old"
    shutil.copytree(scene.repository, old)
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1))
    scene.install(V11)
    newest = (scene.repository / "manifest.json").read_bytes()
    sign_again(scene.repository, OTHER_KEY, WALL, new_key=True)
    scene.install(source_=source(scene.repository, OTHER_KEY))
    shutil.copy(old / "manifest.json", scene.repository / "manifest.json")
    with pytest.raises(StaleError, match="has serial 2, must have at least 3"):
        scene.install(source_=source(scene.repository, KEY))
    (scene.repository / "manifest.json").write_bytes(newest)
    assert scene.install(source_=source(scene.repository, KEY)).version == V10


def test_two_owners_may_call_theirs_alike(scene: Scene) -> None:
    """Each has serials of its own."""
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1))
    scene.install(V11)
    theirs = scene.path / "theirs"
    publish(theirs, worker_folder(scene.path / "w10"), key=OTHER_KEY)
    assert scene.install(source_=source(theirs, OTHER_KEY)).version == V10


def test_the_serial_of_a_record_from_before_is_kept_when_another_takes_its_place(scene: Scene) -> None:
    """Roots of before have records, and no serials beside them."""
    old = (scene.repository / "manifest.json").read_bytes()
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1))
    scene.install(V11)
    for path in (scene.root / "accepted").glob("*.serial"):
        path.unlink()
    sign_again(scene.repository, OTHER_KEY, WALL, new_key=True)
    scene.install(source_=source(scene.repository, OTHER_KEY))
    (scene.repository / "manifest.json").write_bytes(old)
    with pytest.raises(StaleError, match="has serial 2, must have at least 3"):
        scene.install()


DAY = 86_400_000


def test_nothing_new_is_installed_by_an_expired_manifest(scene: Scene) -> None:
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1), lifetime=30 * 86_400)
    first = scene.install(V10)
    for version in (V10, V11):
        with pytest.raises(
            StaleError, match=r"\(serial 3\) expired at 2025-12-28T03:20:00\+00:00, now it is"
        ):
            scene.install(version, clock=FixedClock(WALL + 30 * DAY))
    assert installed_versions(scene.root, JENKINS) == [first]  # what it is started from again
    sign_again(scene.repository, KEY, WALL + 30 * DAY)
    assert scene.install(V11, clock=FixedClock(WALL + 31 * DAY)).serial == 4


def test_an_expired_manifest_is_remembered_all_the_same(scene: Scene) -> None:
    """The clock of a machine may be wrong: an older one is refused even so."""
    old = (scene.repository / "manifest.json").read_bytes()
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1), lifetime=86_400)
    with pytest.raises(StaleError, match="expired"):
        scene.install(clock=FixedClock(WALL + DAY))
    (scene.repository / "manifest.json").write_bytes(old)
    with pytest.raises(StaleError, match="has serial 2, must have at least 3"):
        scene.install()


def test_what_was_accepted_under_a_pin_that_is_gone_is_not_used(scene: Scene) -> None:
    """The manifest did not change, the pins did."""
    scene.install()
    with pytest.raises(UntrustedError, match="pinned key"):
        scene.install(source_=source(scene.repository, OTHER_KEY))


@pytest.mark.parametrize("kind", [".json", ".serial"])
def test_what_was_remembered_is_not_replaced_when_it_is_damaged(scene: Scene, kind: str) -> None:
    scene.install()
    (record,) = (scene.root / "accepted").glob(f"*{kind}")
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(DamagedError, match="restore it, or remove it") as raised:
        scene.install()
    assert str(record) in str(raised.value)


def test_a_second_install_at_the_same_time_is_refused(scene: Scene) -> None:
    with Root(scene.root), pytest.raises(Refusal, match="BUSY: another install has"):
        scene.install()
    scene.install()


def test_what_a_killed_process_left_is_removed(scene: Scene) -> None:
    left = scene.root / "fresh" / "1.0-x"
    left.mkdir(parents=True)
    (left / "worker").write_text("half")
    scene.install()
    assert os.listdir(scene.root / "fresh") == []


def test_what_was_cut_off_while_it_was_remembered_is_removed(scene: Scene) -> None:
    scene.install()
    half = scene.root / "accepted" / ".x.json.1"
    half.write_bytes(b"{")
    scene.install()
    assert not half.exists()


SHM = Path("/dev/shm")


@pytest.mark.skipif(not os.access(SHM, os.W_OK), reason="no second file system")
def test_a_folder_on_another_file_system_is_refused_not_copied_into(scene: Scene) -> None:
    with TemporaryDirectory(dir=SHM) as other:
        scene.root.mkdir()
        if SHM.stat().st_dev == scene.root.stat().st_dev:
            pytest.skip("one file system")
        (scene.root / "installed").symlink_to(other)
        with pytest.raises(StorageError, match=r"cannot install into .*: Invalid cross-device link"):
            scene.install()
        assert not [path for path in Path(other).rglob("*") if path.is_file()]
    assert os.listdir(scene.root / "fresh") == []


def test_a_disk_that_refuses(scene: Scene) -> None:
    (scene.root / "installed").parent.mkdir(exist_ok=True)
    (scene.root / "installed").write_text("a file where a folder must be")
    with pytest.raises(StorageError, match="cannot "):
        scene.install()
    assert os.listdir(scene.root / "fresh") == []


def test_a_version_that_cannot_be(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="from 0 to 127"):
        scene.install(Version(1, 128))


def test_a_damaged_origin_is_told(scene: Scene) -> None:
    found = scene.install()
    (found.directory / "origin.json").write_bytes(orjson.dumps({"version": "x"}))
    with pytest.raises(DamagedError, match=r"origin\.json is damaged"):
        installed_versions(scene.root, JENKINS)


@pytest.mark.parametrize("kind", ["damaged", "gone", "a folder"])
def test_a_damaged_folder_hides_no_other_one(scene: Scene, kind: str) -> None:
    """With the repository away a version that lies there whole could not be started for it."""
    publish(scene.repository, worker_folder(scene.path / "w11", 1, 1))
    whole, other = scene.install(V10), scene.install(V11)
    origin = other.directory / "origin.json"
    origin.unlink()
    if kind == "damaged":
        origin.write_bytes(b"{")
    elif kind == "a folder":
        origin.mkdir()
    assert installed_versions(scene.root, JENKINS) == [whole]
    with pytest.raises(StorageError, match=r"origin\.json"):
        scene.install(V11)


def test_the_steps(scene: Scene) -> None:
    steps: list[Step] = []
    install(source(scene.repository), scene.root, JENKINS, V10, clock=CLOCK, reached=steps.append)
    assert steps == list(Step)


def test_a_repository_that_does_not_answer_is_told_from_a_file_that_is_not_there(scene: Scene) -> None:
    """With the manifest it is known what the repository has."""
    away = scene.path / "away"
    scene.repository.rename(away)
    with pytest.raises(AwayError, match=r"manifest\.json"):
        scene.install()
    away.rename(scene.repository)
    (scene.repository / ZIP10).unlink()
    with pytest.raises(FetchError, match=r"worker\.zip") as raised:
        scene.install()
    assert not isinstance(raised.value, AwayError)
