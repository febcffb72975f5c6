"""Every rule for archives, by an archive that breaks it; and those that honest tools make."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from dataclasses import replace

import pytest

from tests.support.zips import DEFLATED, DESCRIPTOR, EXECUTABLE, FILE, FOLDER, UTF8, WORKER, Part, build
from zconnector.errors import ArchiveError
from zconnector.repository.archive import Limits, Member, inspect

A = Part(b"lib/a.py", b"a = 1\n" * 100, method=DEFLATED)


def test_what_an_archive_holds() -> None:
    archive = build([WORKER, Part(b"lib/", mode=FOLDER), A])
    assert inspect(archive, "w.zip") == (
        Member("worker", False, True, 10),
        Member("lib", True, False, 0),
        Member("lib/a.py", False, False, 600),
    )


def test_members_with_data_descriptors_and_utf8_names_are_taken() -> None:
    """As Go's archive/zip writes them."""
    archive = build(
        [replace(WORKER, flags=DESCRIPTOR), replace(A, name="é".encode(), flags=DESCRIPTOR | UTF8)]
    )
    assert [member.name for member in inspect(archive, "w.zip")] == ["worker", "é"]


def test_what_pythons_zipfile_writes_is_taken() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("worker", "x")
        archive.mkdir("empty")
    assert [m.name for m in inspect(file.getvalue(), "w.zip")] == ["worker", "empty"]


def test_what_is_started_is_executable_also_where_the_archive_knows_no_modes() -> None:
    assert inspect(build([replace(WORKER, mode=0, made_by=0)]), "w.zip")[0].executable


def test_setuid_is_not_known() -> None:
    archive = build([WORKER, Part(b"a", mode=EXECUTABLE | stat.S_ISUID)])
    assert inspect(archive, "w.zip")[1] == Member("a", False, True, 0)


NAMES: dict[bytes, str] = {
    b"../evil": "'.' or '..'",
    b"a/../../evil": "'.' or '..'",
    b"./a": "'.' or '..'",
    b"a//b": "no empty part",
    b"/etc/passwd": "must not be absolute",
    b"//host/share": "must not be absolute",
    b"..\\evil": "no '\\'",
    b"C:/evil": "no ':'",
    b"a:stream": "no ':'",
    b"a\0.py": "printable",
    b"a\n": "printable",
    b"\x1b[2J": "printable",
    b"": "1 to 1024 bytes",
    b"/": "1 to 1024 bytes",
    b"a" * 256: "at most 32 parts of at most 255",
    b"/".join([b"a"] * 33): "at most 32 parts",
    b"abc/" * 300: "1 to 1024 bytes",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_refused(name: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"^w\.zip: name of member ") as raised:
        inspect(build([WORKER, Part(name, mode=0)]), "w.zip")
    assert NAMES[name] in str(raised.value)


@pytest.mark.parametrize(
    ("name", "flags", "rule"),
    [
        ("é".encode("latin-1"), UTF8, "must be UTF-8"),
        ("é".encode(), 0, "must be ASCII, or flagged"),
        (b"\xed\xa0\x80", UTF8, "must be UTF-8"),  # a surrogate
        ("a\u202egpj.exe".encode(), UTF8, "printable"),  # right to left
    ],
)
def test_a_name_in_another_encoding(name: bytes, flags: int, rule: str) -> None:
    with pytest.raises(ArchiveError, match=rule):
        inspect(build([WORKER, Part(name, flags=flags)]), "w.zip")


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["a", "a"], "there twice"),
        (["a", "A"], "is a twin of 'a'"),
        (["stra\u00dfe", "STRASSE"], "is a twin of"),
        (["\u00e9", "e\u0301"], "is a twin of"),
        (["a", "a/b"], "'a' is a file and a folder"),
        (["a/b", "a"], "'a' is a file and a folder"),
        (["a/", "a"], "there twice"),
        (["a/b", "A/c"], "'A' is a twin of 'a'"),
        (["a/", "A/c"], "'A' is a twin of 'a'"),
        (["a/b", "A/"], "'A' is a twin of 'a'"),
        (["worker/a"], "'worker' is a file and a folder"),
        (["Worker"], "is a twin of 'worker'"),
    ],
)
def test_two_names_that_are_one(names: list[str], rule: str) -> None:
    parts = [Part(n.encode(), mode=FOLDER if n.endswith("/") else FILE, flags=UTF8) for n in names]
    with pytest.raises(ArchiveError, match=r"w\.zip") as raised:
        inspect(build([WORKER, *parts]), "w.zip")
    assert rule in str(raised.value)


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFDIR]
)
@pytest.mark.parametrize("made_by", [0, 3 << 8])
def test_only_plain_files_and_folders(kind: int, made_by: int) -> None:
    """Also where the archive says that it was made where there are no links: unpackers look at the mode."""
    with pytest.raises(ArchiveError, match="must be a plain file or a folder"):
        inspect(build([WORKER, Part(b"a", b"/etc/passwd", mode=kind | 0o777, made_by=made_by)]), "w.zip")


def test_a_folder_that_is_a_link() -> None:
    with pytest.raises(ArchiveError, match="must be a plain file or a folder"):
        inspect(build([WORKER, Part(b"a/", b"", mode=stat.S_IFLNK | 0o777)]), "w.zip")


GOOD = build([WORKER, A])
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no zip archive"),
    "html": (b"<html>" * 100, "no zip archive"),
    "cut off": (GOOD[:-1], "no zip archive"),
    "data after the end": (GOOD + b"x", "no zip archive"),
    "a comment": (build([WORKER], comment=b"x"), "no zip archive"),
    "two archives": (GOOD + GOOD, "its directory must lie right before"),
    "data before": (build([replace(WORKER, before=b"MZ")]), "hidden data"),
    "data between": (build([WORKER, replace(A, before=b"x")]), "hidden data"),
    "data before the directory": (
        build([WORKER], before_directory=b"x" * 16),
        "hidden data before its directory",
    ),
    "no members": (build([]), "must hold a file 'worker'"),
    "no worker": (build([A]), "must hold a file 'worker'"),
    "worker is a folder": (build([Part(b"worker/", mode=FOLDER)]), "must hold a file 'worker'"),
    "more counted": (build([WORKER], count=2), "directory must lie"),
    "fewer counted": (build([WORKER, A], count=1), "another size than its entries"),
    "absurd count": (build([WORKER], count=60_000), "60000 members, must be at most 10000"),
    "zip64 count": (build([WORKER], count=0xFFFF), "zip64"),
    "zip64 offset": (build([WORKER], directory_offset=0xFFFFFFFF), "zip64"),
    "zip64 member": (build([replace(WORKER, packed_size=0xFFFFFFFF, size=0xFFFFFFFF)]), "zip64 sizes"),
    "directory elsewhere": (build([WORKER], directory_offset=0), "directory must lie"),
    "directory of another size": (build([WORKER], directory_size=1), "directory must lie"),
    "encrypted": (build([replace(WORKER, flags=1)]), "is encrypted"),
    "strongly encrypted": (build([replace(WORKER, flags=1 << 6)]), "is encrypted"),
    "bzip2": (build([replace(WORKER, method=12)]), "has method 12"),
    "patch": (build([replace(WORKER, flags=1 << 5)]), "must be stored or deflated"),
    "overlap": (build([WORKER, replace(A, offset=0)]), "overlaps"),
    "offset behind": (build([WORKER, replace(A, offset=1 << 20)]), "overlaps"),
    "local name differs": (build([replace(WORKER, local_name=b"w/rker")]), "differs from the directory"),
    "packed size too large": (build([replace(WORKER, packed_size=1 << 20)]), "two sizes|reaches into|hidden"),
    "stored with two sizes": (build([replace(WORKER, size=5)]), "stored with two sizes"),
    "folder with content": (build([WORKER, Part(b"a/", b"x", mode=FOLDER)]), "folder with content"),
    "bomb by its word": (
        build([WORKER, Part(b"a", bytes(4 << 20), method=DEFLATED)]),
        "unpacks to more than 200 times",
    ),
    "large by its word": (
        build([WORKER, Part(b"a", b"x", method=DEFLATED, size=600 << 20)]),
        "has 629145600 bytes, must have at most",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_an_archive_that_is_refused(case: str) -> None:
    archive, rule = BAD[case]
    with pytest.raises(ArchiveError, match=rule) as raised:
        inspect(archive, "w.zip")
    assert str(raised.value).startswith("w.zip: ")


@pytest.mark.parametrize(
    ("extra", "rule"),
    [
        (struct.pack("<2HQ", 1, 8, 1), "extra field for zip64"),
        (struct.pack("<2HBI4s", 0x7075, 9, 1, 0, b"evil"), "extra field for another name"),
        (struct.pack("<2H7s", 0x9901, 7, b"AE2xxxx"), "extra field for AES"),
        (struct.pack("<2H", 0x5455, 5), "cut off"),
        (b"UT", "cut off"),
    ],
)
def test_an_extra_field_that_says_more_than_a_remark(extra: bytes, rule: str) -> None:
    for parts in (
        [replace(WORKER, extra=extra)],
        [WORKER, replace(A, extra=struct.pack("<2H", 0xCAFE, 0) + extra)],
    ):
        with pytest.raises(ArchiveError, match=rule):
            inspect(build(parts), "w.zip")


def test_a_time_as_an_extra_field_is_taken() -> None:
    """As Info-ZIP and Go write it."""
    archive = build([replace(WORKER, extra=struct.pack("<2HBI", 0x5455, 5, 1, 0))])
    assert [member.name for member in inspect(archive, "w.zip")] == ["worker"]


def test_another_disk() -> None:
    archive = bytearray(build([WORKER]))
    struct.pack_into("<H", archive, len(archive) - 22 + 4, 1)
    with pytest.raises(ArchiveError, match="one disk"):
        inspect(bytes(archive), "w.zip")


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        (Limits(archive=50), "must be at most 50"),
        (Limits(members=1), "2 members, must be at most 1"),
        (Limits(member=599), "'lib/a.py' has 600 bytes, must have at most 599"),
        (Limits(total=609), "unpacks to 610 bytes, must be at most 609"),
    ],
)
def test_each_limit(limits: Limits, rule: str) -> None:
    with pytest.raises(ArchiveError, match=rule):
        inspect(GOOD, "w.zip", limits)
    inspect(GOOD, "w.zip", Limits(archive=len(GOOD), members=2, member=600, total=610))


def test_many_small_bombs_are_one() -> None:
    """Each below what is looked at alone."""
    parts = [Part(b"%d" % n, bytes(1 << 20), method=DEFLATED) for n in range(8)]
    with pytest.raises(ArchiveError, match="unpacks to more than 200 times its bytes"):
        inspect(build([WORKER, *parts]), "w.zip")
