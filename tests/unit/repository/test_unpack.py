"""What comes out of an archive, and that nothing else does; packing is reproducible."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from tests.support.zips import DEFLATED, EXECUTABLE, FOLDER, WORKER, Part, build, deflate
from zconnector.errors import ArchiveError, ConfigError, StorageError
from zconnector.repository.archive import Limits
from zconnector.repository.pack import pack
from zconnector.repository.unpack import sync_tree, unpack


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    return {
        path.relative_to(folder).as_posix(): (
            stat.S_IMODE(path.lstat().st_mode),
            None if path.is_dir() else path.read_bytes(),
        )
        for path in folder.rglob("*")
    }


def test_files_folders_and_modes(tmp_path: Path) -> None:
    parts = [
        WORKER,
        Part(b"empty/", mode=FOLDER),
        Part(b"lib/deep/a.py", b"a" * 3_000_000, method=DEFLATED, mode=0o100666),
        Part(b"bin/tool", b"t", mode=EXECUTABLE | stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX | 0o777),
    ]
    old = os.umask(0o077)
    try:
        unpack(build(parts), tmp_path, "w.zip", Limits(ratio=2000))
        sync_tree(tmp_path)
    finally:
        os.umask(old)
    assert tree(tmp_path) == {
        "worker": (0o755, b"#!/bin/sh\n"),
        "empty": (0o755, None),
        "lib": (0o755, None),
        "lib/deep": (0o755, None),
        "lib/deep/a.py": (0o644, b"a" * 3_000_000),
        "bin": (0o755, None),
        "bin/tool": (0o755, b"t"),
    }


LIES = {
    "wrong checksum": replace(WORKER, crc=1),
    "less comes out": Part(b"a", method=DEFLATED, packed=deflate(b"abc"), size=5, crc=0),
    "less, and its checksum": Part(b"a", method=DEFLATED, packed=deflate(b"abc"), size=5, crc=crc32(b"abc")),
    "more comes out": Part(b"a", method=DEFLATED, packed=deflate(b"x" * 100_000_000), size=5, crc=0),
    "no deflate": Part(b"a", method=DEFLATED, packed=b"\xff" * 50, size=5),
    "deflate cut off": Part(b"a", b"a" * 1000, method=DEFLATED, packed=deflate(b"a" * 1000)[:-3]),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_comes_out_is_what_was_said_or_an_error(lie: str, tmp_path: Path) -> None:
    part = LIES[lie]
    parts = [part] if part.name == b"worker" else [WORKER, part]
    with pytest.raises(ArchiveError, match=r"^w\.zip: "):
        unpack(build(parts), tmp_path, "w.zip")
    assert all(len(content or b"") <= 1000 for _, content in tree(tmp_path).values())


def test_nothing_is_written_of_an_archive_that_breaks_a_rule_at_its_end(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"\.\."):
        unpack(build([WORKER, Part(b"a", b"a"), Part(b"../evil", b"e")]), tmp_path / "in", "w.zip")
    assert tree(tmp_path) == {}


def test_what_lies_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "worker").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="cannot unpack into"):
        unpack(build([WORKER]), tmp_path, "w.zip")
    assert not (tmp_path / "elsewhere").exists()


def folder_of(path: Path, *, back: bool = False) -> Path:
    files = {"worker": b"#!/bin/sh\n", "b.py": b"b", "lib/a.py": b"a", "lib/z/é": b"z", "skip.yaml": b"s"}
    for name, content in sorted(files.items(), reverse=back):
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    (path / "worker").chmod(0o700)
    return path


def test_the_same_files_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = folder_of(tmp_path / "1"), folder_of(tmp_path / "2", back=True)
    os.utime(second / "b.py", (5, 5))
    (second / "b.py").chmod(0o600)
    assert pack(first, ["skip.yaml"]) == pack(second, ["skip.yaml"])


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    unpack(pack(folder_of(tmp_path / "1"), ["skip.yaml"]), tmp_path / "2", "w.zip")
    assert {name: content for name, (_, content) in tree(tmp_path / "2").items() if content is not None} == {
        "worker": b"#!/bin/sh\n",
        "b.py": b"b",
        "lib/a.py": b"a",
        "lib/z/é": b"z",
    }


@pytest.mark.parametrize("kind", ["link", "folder link", "pipe", "socket"])
def test_what_is_no_file_is_not_packed(kind: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "w")
    odd = folder / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(odd))
    else:
        odd.symlink_to(folder / ("worker" if kind == "link" else "lib"))
    with pytest.raises(ArchiveError, match=r"odd: must be a plain file or a folder"):
        pack(folder)


@pytest.mark.parametrize("name", [b"a\\b", b"a:b", b"\xff", b"a\n", b"WORKER"])
def test_a_name_that_no_archive_may_have_is_not_packed(name: bytes, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "w")
    Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"its name|twin"):
        pack(folder)


def test_limits_hold_for_packing(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "w")
    for limits in (Limits(member=5), Limits(total=12), Limits(members=3)):
        with pytest.raises(ArchiveError, match="limit"):
            pack(folder, limits=limits)
    with pytest.raises(ConfigError, match="cannot read"):
        pack(tmp_path / "none")
