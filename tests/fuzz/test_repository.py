"""Manifests and archives that no honest tool makes: an error soon, within bounds, or what was said."""

from __future__ import annotations

import io
import random
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.profile import examples, seeds
from tests.support.repositories import KEY
from tests.support.zips import (
    DEFLATED,
    DESCRIPTOR,
    EXECUTABLE,
    FILE,
    FOLDER,
    UTF8,
    WORKER,
    Part,
    build,
    deflate,
)
from zconnector.errors import ArchiveError, ConfigError, RepositoryError, UntrustedError
from zconnector.repository.accepting import read_accepted, read_highest
from zconnector.repository.archive import Limits, check_member_name, inspect
from zconnector.repository.layout import place_of, read_address
from zconnector.repository.manifest import MAX_MANIFEST, File, Manifest, read_manifest, sign
from zconnector.repository.unpack import unpack

SOON = 5.0
LIMITS = Limits(archive=1 << 20, members=100, member=1 << 20, total=2 << 20)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**53, 2**64 - 1, 1.0, 1e308]),
    st.sampled_from(["", "a", "acme", "../x", "\ud83d", "ed25519:AAAA", "A" * 88, "0" * 64]),
    st.text(max_size=20),
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_FIELDS = ["files", "format", "key", "repository", "serial", "signature", "timestamp"]
_GOOD = sign(Manifest("acme", 3, 1000, KEY.public, (File.of("workers/ci/p/1/0/worker.zip", b"zip"),)), KEY)


def told(content: bytes) -> Manifest | None:
    """The manifest, or None where it was refused as it must be."""
    try:
        return read_manifest(content, "m")
    except RepositoryError as error:
        assert str(error).startswith("m")  # noqa: PT017
        assert len(str(error)) < 1000  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return None


@examples(150)
@given(st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=3), st.booleans())
def test_any_document_is_a_manifest_that_can_be_told_or_an_error(change: dict[str, Any], inner: bool) -> None:
    document = orjson.loads(_GOOD.render())
    if inner:
        document["files"][0].update(change)
    else:
        document.update(change)
    try:
        content = orjson.dumps(document)
    except orjson.JSONEncodeError:  # a lone surrogate
        return
    found = told(content)
    if found is not None:
        assert read_manifest(found.render(), "m") == found
        for file in found.files:
            assert place_of(file.path) is not None


@examples(150)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_manifest_a_record_or_an_error(content: bytes) -> None:
    assert told(content) is None
    assert read_accepted(content) is None
    assert read_highest(content) is None


@pytest.mark.parametrize("seed", seeds(20))
def test_no_flipped_bit_is_believed(seed: int) -> None:
    rng = random.Random(seed)
    text = bytearray(_GOOD.render())
    for _ in range(200):
        at, bit = rng.randrange(len(text)), 1 << rng.randrange(8)
        text[at] ^= bit
        found = told(bytes(text))
        if found is not None and found != _GOOD:
            with pytest.raises(UntrustedError):
                found.verify([KEY.public], "m")
        text[at] ^= bit


LARGE = {
    "deep": b"[" * 100_000,
    "many fields": b"{" + b",".join(b'"%d":1' % n for n in range(200_000)) + b"}",
    "many files": b'{"files":[' + b"{}," * 1_000_000 + b"{}]}",
    "huge number": b'{"serial":' + b"9" * 3_000_000 + b"}",
    "too long": b" " * (MAX_MANIFEST + 1),
    "long name": b'{"' + b"a" * 4_000_000 + b'":1}',
}


@pytest.mark.parametrize("case", LARGE)
def test_no_text_takes_long(case: str) -> None:
    began = time.process_time()
    assert told(LARGE[case]) is None
    assert time.process_time() - began < SOON


def test_the_largest_manifest_is_verified_soon() -> None:
    files = tuple(File.of(f"workers/t{n}/p/1/0/worker.zip", b"") for n in range(10_000))
    signed = sign(Manifest("acme", 3, 1000, KEY.public, files), KEY)
    content = signed.render()
    assert len(content) <= MAX_MANIFEST
    began = time.process_time()
    read_manifest(content, "m").verify([KEY.public], "m")
    assert time.process_time() - began < SOON


@examples(150)
@given(
    st.text(max_size=40)
    | st.sampled_from(["http", "https", "file"]).flatmap(
        lambda scheme: st.text(st.sampled_from("/.:@?#[]%2eaf0\\ \n1"), max_size=20).map(
            lambda rest: f"{scheme}://{rest}"
        )
    )
)
def test_any_text_is_an_address_or_an_error(text: str) -> None:
    try:
        address = read_address(text)
    except ConfigError as error:
        assert len(str(error)) < 500  # noqa: PT017
        return
    assert address.of("manifest.json").endswith("/manifest.json")
    assert "@" not in address.text.partition("://")[2].partition("/")[0]
    assert read_address(address.text) == address


_NAMES = st.one_of(
    st.sampled_from(
        [
            b"worker",
            b"a",
            b"A",
            b"a/b",
            b"../a",
            b"/a",
            b"a/",
            b"a//b",
            b".",
            b"a\\b",
            b"C:a",
            b"a\0b",
            b"",
            b"\xff",
        ]
    ),
    st.binary(max_size=12),
    st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace")),
)
_PARTS = st.builds(
    Part,
    name=_NAMES,
    content=st.sampled_from([b"", b"x", b"abc" * 100, bytes(5000)]),
    mode=st.sampled_from([0, FILE, EXECUTABLE, FOLDER, 0o104755, 0o120777, 0o060600, 0o010644]),
    method=st.sampled_from([0, DEFLATED, DEFLATED, 12, 99]),
    flags=st.sampled_from([0, 0, UTF8, UTF8, DESCRIPTOR, UTF8 | DESCRIPTOR, 1, 1 << 6]),
    size=st.none() | st.sampled_from([0, 1, 1 << 20, 0xFFFFFFFF]),
    packed=st.none() | st.sampled_from([b"", b"\xff" * 9, deflate(bytes(3_000_000))]),
    packed_size=st.none() | st.sampled_from([0, 1, 1 << 20]),
    crc=st.none() | st.just(0),
    offset=st.none() | st.sampled_from([0, 1, 30, 1 << 30]),
    local_name=st.none() | st.none() | _NAMES,
    extra=st.sampled_from(
        [b"", b"", b"UT\5\0\1\0\0\0\0", b"\1\0\0\0", b"up\6\0\1\0\0\0\0a", b"x", b"\0\0\xff\xff"]
    ),
    before=st.sampled_from([b"", b"", b"x"]),
)
# Most members honest: else the first lie hides all others.
_MEMBERS = st.lists(
    _PARTS | st.builds(Part, name=_NAMES, flags=st.just(UTF8), content=st.binary(max_size=9)), max_size=4
)


def unpacked(archive: bytes) -> None:
    """Whatever it is, it is refused by an ArchiveError, or exactly what `inspect` said lies in the folder."""
    with TemporaryDirectory() as top:
        folder = Path(top, "in")
        folder.mkdir()
        try:
            members = inspect(archive, "a.zip", LIMITS)
        except ArchiveError as error:
            assert str(error).startswith("a.zip: ")  # noqa: PT017
            assert len(str(error)) < 1000  # noqa: PT017
            with pytest.raises(ArchiveError):
                unpack(archive, folder, "a.zip", LIMITS)
            assert not any(folder.iterdir())
            return
        assert sum(member.size for member in members) <= LIMITS.total
        whole = True
        try:
            unpack(archive, folder, "a.zip", LIMITS)
        except ArchiveError as error:
            assert str(error).startswith("a.zip: ")  # noqa: PT017
            whole = False
        assert [path.name for path in Path(top).iterdir()] == ["in"]
        found = list(folder.rglob("*"))
        assert not any(path.is_symlink() or path.stat().st_mode & 0o7022 for path in found)
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found if path.is_file()}
        named = {member.name: member.size for member in members if not member.folder}
        assert files == named if whole else files.keys() <= named.keys()
        assert sum(files.values()) <= LIMITS.total


@examples(300)
@given(
    _MEMBERS, st.booleans(), st.sampled_from([{}, {}, {}, {"count": 1}, {"comment": b"x"}, {"after": b"PK"}])
)
def test_any_members_are_unpacked_as_said_or_refused(
    parts: list[Part], worker: bool, lies: dict[str, Any]
) -> None:
    unpacked(build([WORKER, *parts] if worker else parts, **lies))


@examples(100)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    unpacked(content)
    unpacked(b"PK\3\4" + content + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(content), 4, 0))


@pytest.mark.parametrize("seed", seeds(15))
def test_damaged_archives(seed: int) -> None:
    """Of an honest archive by another hand: flipped bits, pieces cut out, doubled, exchanged."""
    rng = random.Random(seed)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("worker", b"#!/bin/sh\n" * 20)
        archive.mkdir("lib")
        archive.writestr("lib/é.py", rng.randbytes(300))
    honest = file.getvalue()
    inspect(honest, "a.zip")
    for _ in range(60):
        damaged = bytearray(honest)
        for _ in range(rng.randint(1, 3)):
            at, length = rng.randrange(len(damaged)), rng.randint(1, 40)
            match rng.randrange(5):
                case 0 | 1:
                    damaged[at] ^= 1 << rng.randrange(8)
                case 2:
                    del damaged[at : at + length]
                case 3:
                    damaged[at:at] = damaged[at : at + length]
                case 4:
                    damaged[at : at + 4] = rng.choice(
                        [b"\0\0\0\0", b"\xff\xff\xff\xff", b"PK\1\2", b"PK\5\6"]
                    )
            if len(damaged) < 2:
                break
        unpacked(bytes(damaged))


@examples(300)
@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "", "a", "b\\", "c:", "\0"]), max_size=5).map("/".join)
)
def test_a_name_that_passes_stays_inside(name: str) -> None:
    if check_member_name(name):
        return
    inside = Path("/top/in", name)
    assert inside.parts[:3] == ("/", "top", "in")
    assert ".." not in inside.parts
    assert inside.relative_to("/top/in").as_posix() == name


BOMBS = {
    "one member": build([WORKER, Part(b"a", bytes(300 << 20), method=DEFLATED)]),
    "says less": build([WORKER, Part(b"a", method=DEFLATED, packed=deflate(bytes(300 << 20)), size=9)]),
    "sixty thousand": build([WORKER, *(Part(b"%d" % n) for n in range(60_000))]),
    "one content, many names": build(
        [WORKER, Part(b"0", bytes(1 << 20), method=DEFLATED),
         *(Part(b"%d" % n, bytes(1 << 20), method=DEFLATED, packed=b"", offset=40) for n in range(1, 2000))]
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_takes_no_memory_no_disk_and_no_time(bomb: str, tmp_path: Path) -> None:
    archive = BOMBS[bomb]
    tracemalloc.start()
    began = time.process_time()
    try:
        with pytest.raises(ArchiveError):
            unpack(archive, tmp_path, "bomb.zip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < SOON
    assert peak < 50 << 20
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1 << 20
