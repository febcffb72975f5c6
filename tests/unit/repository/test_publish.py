"""Making a repository: what lies where, what is signed, what is refused; the same again changes nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

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
from tests.support.zips import Part, build
from zconnector.configuration.pivot import Version
from zconnector.errors import ArchiveError, ConfigError, Refusal, RepositoryError, StaleError
from zconnector.repository.install import install
from zconnector.repository.manifest import Manifest, read_manifest
from zconnector.repository.publish import LIFETIME, NEVER, _held, create, sign_again
from zconnector.repository.workerfolder import WorkerFolder

ZIP10 = "workers/ci/jenkins/1/0/worker.zip"
FILES10 = [
    "configurations/ci/1_0_pivot.yaml",
    "configurations/ci/jenkins/1_0_connector_product.yaml",
    ZIP10,
    "workers/ci/jenkins/versions.yaml",
]


def manifest(folder: Path) -> Manifest:
    return read_manifest((folder / "manifest.json").read_bytes(), "m")


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_lies_where(tmp_path: Path) -> None:
    done = publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    assert sorted(tree(tmp_path / "r")) == sorted([*FILES10, "manifest.json"])
    assert list(done.changed) == FILES10
    found = manifest(tmp_path / "r")
    assert [file.path for file in found.files] == FILES10
    assert (found.repository, found.serial, found.timestamp) == ("acme", 2, WALL // 1000)
    found.verify([KEY.public], "m")


def test_versions_are_listed_as_gandalf_reads_them(tmp_path: Path) -> None:
    workers = [worker_folder(tmp_path / f"w{n}", 1, n) for n in (10, 2, 1)]
    publish(tmp_path / "r", *workers)
    listed = yaml.safe_load((tmp_path / "r" / "workers/ci/jenkins/versions.yaml").read_text())
    assert listed == ["1.1", "1.2", "1.10"]


def test_the_same_again_changes_no_byte(tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    before = tree(tmp_path / "r")
    done = publish(tmp_path / "r", worker_folder(tmp_path / "again"), wall=WALL + 9000)
    assert (done.changed, done.removed) == ((), ())
    assert tree(tmp_path / "r") == before


def test_the_same_input_gives_the_same_repository(tmp_path: Path) -> None:
    for name in "ab":
        publish(tmp_path / name, worker_folder(tmp_path / f"w{name}"))
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_a_version_is_not_changed_unless_it_is_wished(tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    before = tree(tmp_path / "r")
    worker_folder(tmp_path / "w", says="other")
    with pytest.raises(RepositoryError, match=f"{ZIP10} is there with another content"):
        publish(tmp_path / "r", tmp_path / "w")
    assert tree(tmp_path / "r") == before
    done = publish(tmp_path / "r", tmp_path / "w", again=True)
    assert done.changed == (ZIP10,)
    assert done.manifest.serial == 3


def test_an_add_that_was_killed_before_it_signed_is_ended_by_the_next(tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    before = (tmp_path / "r" / "manifest.json").read_bytes()
    publish(tmp_path / "r", worker_folder(tmp_path / "w11", 1, 1))
    (tmp_path / "r" / "manifest.json").write_bytes(before)  # all files are written, the manifest is not
    install(source(tmp_path / "r"), tmp_path / "root", JENKINS, Version(1, 0))
    done = publish(tmp_path / "r", tmp_path / "w11")
    assert done.manifest.file("workers/ci/jenkins/1/1/worker.zip") is not None


def test_sign_takes_what_lies_there(tmp_path: Path) -> None:
    """A repository of Gandalf's, or files changed by hand."""
    folder = tmp_path / "r"
    publish(folder, worker_folder(tmp_path / "w"))
    shutil.rmtree(folder / "configurations" / "ci" / "jenkins")
    (folder / "README.txt").write_text("hello")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    done = sign_again(folder, KEY, WALL)
    assert done.removed == ("configurations/ci/jenkins/1_0_connector_product.yaml",)
    assert done.ignored == ("README.txt",)
    assert done.manifest.serial == 3
    assert sign_again(folder, KEY, WALL).manifest == done.manifest


def test_time_does_not_go_back(tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    done = publish(tmp_path / "r", worker_folder(tmp_path / "w11", 1, 1), wall=0)
    assert done.manifest.timestamp == WALL // 1000


def test_what_a_clock_dated_that_was_ahead_is_dated_anew(tmp_path: Path) -> None:
    """Each later manifest had that date too: whatever was done, nobody accepted it before that time."""
    folder, day = tmp_path / "r", 86_400_000
    publish(folder, worker_folder(tmp_path / "w"), wall=WALL + 90 * day, lifetime=30 * day // 1000)
    done = publish(folder, worker_folder(tmp_path / "w11", 1, 1))
    assert done.manifest.timestamp == sign_again(folder, KEY, WALL).manifest.timestamp > WALL // 1000
    with pytest.raises(StaleError, match="is dated"):
        install(source(folder), tmp_path / "root", JENKINS, Version(1, 1), clock=FixedClock())
    again = sign_again(folder, KEY, WALL, redate=True).manifest
    assert (again.serial, again.timestamp) == (done.manifest.serial + 1, WALL // 1000)
    assert again.expires == (WALL + 30 * day) // 1000
    install(source(folder), tmp_path / "root", JENKINS, Version(1, 1), clock=FixedClock())
    assert sign_again(folder, KEY, WALL, redate=True).manifest == again


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        (ZIP10, build([Part(b"worker"), Part(b"../x")]), "'.' or '..'"),
        (ZIP10, b"no zip", "no zip archive"),
        (FILES10[0], b"name: Git\nmajor: 1\nminor: 0\n", "its name is git, must be ci"),
        (FILES10[0], b"name: Ci\nmajor: 1\nminor: 1\n", r"its version is 1\.1, must be 1\.0"),
        (FILES10[0], b"a: [", "no valid YAML"),
        (FILES10[0], b"\xff", "1_0_pivot"),
        (
            FILES10[1],
            b"name: Ci\nproduct: gitlab\nmajor: 1\nminor: 0\n",
            "its product is gitlab, must be jenkins",
        ),
        (FILES10[3], b"\xff", "must be UTF-8"),
        (FILES10[3], b"x" * (1 << 20) + b"x", "has more than 1048576 bytes"),
    ],
)
def test_sign_refuses_what_nobody_could_use(path: str, content: bytes, said: str, tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    before = (tmp_path / "r" / "manifest.json").read_bytes()
    (tmp_path / "r" / path).write_bytes(content)
    with pytest.raises(RepositoryError, match=said) as raised:
        sign_again(tmp_path / "r", KEY, WALL)
    assert str(tmp_path / "r" / path) in str(raised.value)
    assert (tmp_path / "r" / "manifest.json").read_bytes() == before


def test_another_key_only_when_it_is_wished(tmp_path: Path) -> None:
    publish(tmp_path / "r", worker_folder(tmp_path / "w"))
    with pytest.raises(ConfigError, match="--new-key"):
        sign_again(tmp_path / "r", OTHER_KEY, WALL)
    done = sign_again(tmp_path / "r", OTHER_KEY, WALL, new_key=True)
    done.manifest.verify([OTHER_KEY.public], "m")
    assert (done.manifest.serial, done.changed) == (3, ())


def test_no_two_at_once_and_none_twice(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    publish(folder, worker_folder(tmp_path / "w"))
    with pytest.raises(ConfigError, match="exists already"):
        create(folder, "acme", KEY, WALL)
    with _held(folder), pytest.raises(Refusal, match="BUSY: another process changes"):
        sign_again(folder, KEY, WALL)
    with pytest.raises(ConfigError, match="cannot open repository"):
        sign_again(tmp_path / "none", KEY, WALL)
    with pytest.raises(ConfigError, match="is no repository"):
        sign_again(tmp_path / "w", KEY, WALL)


def test_two_products_share_a_pivot_or_are_refused(tmp_path: Path) -> None:
    worker_folder(tmp_path / "a")
    worker_folder(tmp_path / "b", configured=False)
    (tmp_path / "b" / "worker.yaml").write_text("type: Ci\nproduct: gitlab\nmajor: 1\nminor: 0\n")
    (tmp_path / "b" / "pivot.yaml").write_bytes((tmp_path / "a" / "pivot.yaml").read_bytes())
    publish(tmp_path / "r", tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "pivot.yaml").write_text("name: Ci\nmajor: 1\nminor: 0\n")
    with pytest.raises(RepositoryError, match="another worker of this call has another"):
        publish(tmp_path / "s", tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "worker.yaml is missing"),
        ("", "must have type, product"),
        ("type: Ci\nproduct: p\nmajor: 1\n", "must have type, product"),
        ("type: Ci\nproduct: p\nmajor: 1\nminor: '0'\n", "must have type, product"),
        ("type: Ci\nproduct: p\nmajor: 1\nminor: 0\nmore: 1\n", "no other field"),
        ("type: ../Ci\nproduct: p\nmajor: 1\nminor: 0\n", "type of a worker must be"),
        ("type: Ci\nproduct: p\nmajor: 1\nminor: 128\n", "from 0 to 127"),
    ],
)
def test_a_description_that_is_refused(text: str | None, said: str, tmp_path: Path) -> None:
    path = worker_folder(tmp_path / "w") / "worker.yaml"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        WorkerFolder.read(tmp_path / "w")


def test_a_folder_whose_worker_cannot_be_started(tmp_path: Path) -> None:
    folder = WorkerFolder.read(worker_folder(tmp_path / "w"))
    (tmp_path / "w" / "worker").chmod(0o644)
    with pytest.raises(ConfigError, match="must be a file that can be executed"):
        folder.files()
    (tmp_path / "w" / "worker").unlink()
    with pytest.raises(ConfigError, match="must be a file that can be executed"):
        folder.files()


def test_a_folder_with_a_link(tmp_path: Path) -> None:
    folder = WorkerFolder.read(worker_folder(tmp_path / "w"))
    (tmp_path / "w" / "a").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="no link"):
        folder.files()


YEAR = 365 * 86_400


def test_a_repository_expires_as_long_after_each_signing_as_after_the_last(tmp_path: Path) -> None:
    folder, at = tmp_path / "r", WALL // 1000
    assert create(folder, "acme", KEY, WALL, lifetime=LIFETIME).expires == at + YEAR
    done = publish(folder, worker_folder(tmp_path / "w"), wall=WALL + 5_000)
    assert done.manifest.expires == at + 5 + YEAR
    done = publish(folder, worker_folder(tmp_path / "w11", 1, 1), wall=WALL + 5_000, lifetime=60)
    assert done.manifest.expires == at + 65
    assert publish(folder, worker_folder(tmp_path / "w12", 1, 2), wall=WALL).manifest.expires == at + 65
    assert manifest(folder) == publish(folder, tmp_path / "w12", wall=WALL + 9_000).manifest  # the same again


def test_sign_renews(tmp_path: Path) -> None:
    folder, at = tmp_path / "r", WALL // 1000
    create(folder, "acme", KEY, WALL, lifetime=LIFETIME)
    assert sign_again(folder, KEY, WALL).manifest.serial == 1
    done = sign_again(folder, KEY, WALL + 1_000)
    assert (done.changed, done.manifest.serial, done.manifest.expires) == ((), 2, at + 1 + YEAR)
    done = sign_again(folder, KEY, WALL + 2_000, lifetime=NEVER)
    assert (done.manifest.serial, done.manifest.expires) == (3, None)
    assert b"expires" not in (folder / "manifest.json").read_bytes()
    assert sign_again(folder, KEY, WALL + 3_000).manifest == done.manifest


def test_one_that_never_expired_stays_so_unless_it_is_wished(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    assert publish(folder, worker_folder(tmp_path / "w")).manifest.expires is None
    assert sign_again(folder, KEY, WALL, lifetime=LIFETIME).manifest.expires == WALL // 1000 + YEAR
