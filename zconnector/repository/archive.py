"""What a worker's archive holds, found from its bytes before anything is unpacked. Pure.

`zipfile` reads what it can: it cuts names at a NUL, takes the last of two directories, skips what lies before
the first member. Here an archive has one meaning or none: its parts lie one behind the other, without gap,
overlap or rest, and both headers of a member say the same. `docs/repository.md` has every rule and its
reason.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from zconnector.errors import ArchiveError

WORKER = "worker"
"""The member that is started."""
MIB = 1 << 20
_END = struct.Struct("<4s4H2IH")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _PATCH, _STRONG, _UTF8, _MASKED = 1, 8, 1 << 5, 1 << 6, 1 << 11, 1 << 13
_EXTRAS = {
    0x0001: "zip64",
    0x7075: "another name",
    0x9901: "AES",
    0x0017: "encryption",
    0x2605: "another name",
}
"""Extra fields that some reader would take for more than a remark."""
_DESCRIPTORS = (12, 16)
"""Bytes of a data descriptor, without and with its signature."""
_SMALL = MIB
"""Members up to this size may have any ratio: a file of zeros is no bomb yet."""
_MAX_NAME, _MAX_PART, _MAX_PARTS = 1024, 255, 32


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold; `ratio` is unpacked to packed bytes."""

    archive: int = 128 * MIB
    members: int = 10_000
    member: int = 512 * MIB
    total: int = 1024 * MIB
    ratio: int = 200


@dataclass(frozen=True, slots=True)
class Member:
    """A file or folder of an archive that keeps all rules."""

    name: str
    """Relative, plain, without a slash at the end."""
    folder: bool
    executable: bool
    size: int
    """Bytes unpacked, as the archive says."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the central directory."""

    raw: bytes
    made_by: int
    flags: int
    method: int
    packed: int
    size: int
    mode: int
    offset: int


def inspect(archive: bytes, where: str, limits: Limits | None = None) -> tuple[Member, ...]:
    """All members of an archive, in its order.

    Raises:
        ArchiveError: naming the archive, the member, the value and the rule.
    """
    limits = limits or Limits()
    reader = _Reader(archive, where)
    if len(archive) > limits.archive:
        reader.refuse(f"{len(archive)} bytes, must be at most {limits.archive}")
    entries = list(reader.entries(limits.members))
    reader.check_contents(entries)
    members, seen = [], _Names(reader)
    total = 0
    for entry in entries:
        member = reader.member(entry)
        seen.add(member)
        total += member.size
        if member.size > limits.member:
            reader.refuse(f"{member.name!r:.200} has {member.size} bytes, must have at most {limits.member}")
        if member.size > _SMALL and member.size > limits.ratio * max(entry.packed, 1):
            reader.refuse(f"{member.name!r:.200} unpacks to more than {limits.ratio} times its bytes")
        members.append(member)
    if total > limits.total:
        reader.refuse(f"unpacks to {total} bytes, must be at most {limits.total}")
    if total > _SMALL and total > limits.ratio * len(archive):
        reader.refuse(f"unpacks to more than {limits.ratio} times its bytes")
    if not any(member.name == WORKER and not member.folder for member in members):
        reader.refuse(f"must hold a file {WORKER!r} at its top")
    return tuple(members)


def check_member_name(name: str) -> str:
    """Which rule a member's name breaks; empty: none."""
    parts = name.split("/")
    if not name or len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME:
        return f"must have 1 to {_MAX_NAME} bytes"
    if not name.isprintable():
        return "must be printable"
    if "\\" in name or ":" in name:
        return "must have no '\\' and no ':'"
    if name.startswith("/"):
        return "must not be absolute"
    if any(part in ("", ".", "..") for part in parts):
        return "must have no empty part, '.' or '..'"
    if len(parts) > _MAX_PARTS or any(len(part.encode()) > _MAX_PART for part in parts):
        return f"must have at most {_MAX_PARTS} parts of at most {_MAX_PART} bytes"
    return ""


def folded(name: str) -> str:
    """What two names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class _Names:
    """Names seen so far: none twice, none a twin, no file that is a folder too."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader
        self._names: dict[str, str] = {}
        """Folded name -> the name that a member has."""
        self._folders: dict[str, str] = {}
        """Folded name -> the name, of every folder that a member lies in."""
        self._files: set[str] = set()

    def add(self, member: Member) -> None:
        key = folded(member.name)
        if key in self._names:
            self._reader.refuse(
                f"{member.name!r:.200} is there twice, or is a twin of {self._names[key]!r:.200}"
            )
        self._names[key] = member.name
        if not member.folder:
            self._files.add(key)
            if key in self._folders:
                self._reader.refuse(f"{member.name!r:.200} is a file and a folder")
        parts = member.name.split("/")
        for count in range(1, len(parts) + member.folder):
            folder = "/".join(parts[:count])
            key = folded(folder)
            if key in self._files:
                self._reader.refuse(f"{folder!r:.200} is a file and a folder")
            if self._folders.setdefault(key, folder) != folder:
                self._reader.refuse(f"{folder!r:.200} is a twin of {self._folders[key]!r:.200}")


class _Reader:
    """The headers of one archive."""

    def __init__(self, archive: bytes, where: str) -> None:
        self._bytes = archive
        self._where = where
        self._directory = 0
        """Where the central directory begins."""

    def refuse(self, rule: str) -> NoReturn:
        raise ArchiveError(f"{self._where}: {rule}")

    def entries(self, most: int) -> Iterator[_Entry]:
        """The central directory, which must end where the end record begins."""
        end = len(self._bytes) - _END.size
        if end < 0 or self._bytes[end : end + 4] != b"PK\5\6":
            self.refuse("no zip archive, cut off, or with a comment or other data after its end")
        _, disk, first, here, count, size, offset, comment = _END.unpack_from(self._bytes, end)
        if disk or first or here != count or comment:
            self.refuse("its end record must tell of one disk and no comment")
        if 0xFFFF in (here, count) or 0xFFFFFFFF in (size, offset):
            self.refuse("zip64 is not taken")
        if count > most:
            self.refuse(f"{count} members, must be at most {most}")
        if offset + size != end or size < count * _ENTRY.size:
            self.refuse("its directory must lie right before its end record, of the size told there")
        self._directory = at = offset
        for _ in range(count):
            entry, at = self._entry(at, end)
            yield entry
        if at != end:
            self.refuse("its directory has another size than its entries")

    def _entry(self, at: int, end: int) -> tuple[_Entry, int]:
        if at + _ENTRY.size > end:
            self.refuse("its directory is cut off")
        fields = _ENTRY.unpack_from(self._bytes, at)
        (
            magic,
            made_by,
            _,
            flags,
            method,
            _,
            _,
            _,
            packed,
            size,
            name,
            extra,
            comment,
            disk,
            _,
            mode,
            offset,
        ) = fields
        if magic != b"PK\1\2":
            self.refuse("its directory has an entry that is none")
        behind = at + _ENTRY.size + name + extra + comment
        if behind > end:
            self.refuse("its directory is cut off")
        raw = self._bytes[at + _ENTRY.size : at + _ENTRY.size + name]
        self._check_extra(raw, at + _ENTRY.size + name, extra)
        if disk:
            self.refuse(f"{raw!r:.200} lies on another disk")
        if 0xFFFFFFFF in (packed, size, offset):
            self.refuse(f"{raw!r:.200} has zip64 sizes, which are not taken")
        return _Entry(raw, made_by, flags, method, packed, size, mode >> 16, offset), behind

    def check_contents(self, entries: list[_Entry]) -> None:
        """That local headers agree with the directory, and members lie one behind the other."""
        at = 0
        slack: tuple[int, ...] = (0,)
        for entry in sorted(entries, key=lambda entry: entry.offset):
            if entry.offset - at not in slack:
                self.refuse(f"{entry.raw!r:.200} overlaps what is before it, or hidden data is between them")
            at = self._end_of(entry)
            slack = _DESCRIPTORS if entry.flags & _DESCRIPTOR else (0,)
        if self._directory - at not in slack:
            self.refuse("hidden data before its directory, or a member that reaches into it")

    def _end_of(self, entry: _Entry) -> int:
        """Where the packed bytes of a member end."""
        begin = entry.offset + _LOCAL.size
        if begin > self._directory:
            self.refuse(f"{entry.raw!r:.200} lies behind the directory")
        magic, _, flags, method, _, _, _, packed, size, name, extra = _LOCAL.unpack_from(
            self._bytes, entry.offset
        )
        told = (packed, size)
        same = told == (entry.packed, entry.size) or (entry.flags & _DESCRIPTOR and told == (0, 0))
        raw = self._bytes[begin : begin + name]
        if magic != b"PK\3\4" or (raw, flags, method) != (entry.raw, entry.flags, entry.method) or not same:
            self.refuse(f"{entry.raw!r:.200} has a header that differs from the directory")
        self._check_extra(raw, begin + name, extra)
        return int(begin + name + extra + entry.packed)

    def _check_extra(self, raw: bytes, at: int, length: int) -> None:
        """That the extra fields of a header give no member another name, size or key."""
        end = at + length
        while at < end:
            if at + 4 > end:
                self.refuse(f"{raw!r:.200} has an extra field that is cut off")
            number, size = struct.unpack_from("<2H", self._bytes, at)
            at += 4 + size
            if at > end:
                self.refuse(f"{raw!r:.200} has an extra field that is cut off")
            if number in _EXTRAS:
                self.refuse(f"{raw!r:.200} has an extra field for {_EXTRAS[number]}, which is not taken")

    def member(self, entry: _Entry) -> Member:
        """An entry of the directory as a member that keeps the rules."""
        name = self._name(entry)
        if entry.flags & (_ENCRYPTED | _STRONG | _MASKED):
            self.refuse(f"{name!r:.200} is encrypted")
        if entry.flags & _PATCH or entry.method not in (_STORED, _DEFLATED):
            self.refuse(f"{name!r:.200} has method {entry.method}, must be stored or deflated")
        if entry.method == _STORED and entry.packed != entry.size:
            self.refuse(f"{name!r:.200} is stored with two sizes")
        kind, folder = stat.S_IFMT(entry.mode), name.endswith("/")
        if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
            self.refuse(f"{name!r:.200} has mode {entry.mode:o}, must be a plain file or a folder/")
        plain = name.removesuffix("/")
        if broken := check_member_name(plain):
            self.refuse(f"name of member {name!r:.200} {broken}")
        if folder and entry.size:
            self.refuse(f"{name!r:.200} is a folder with content")
        executable = not folder and (bool(entry.mode & 0o111) or plain == WORKER)
        return Member(plain, folder, executable, entry.size)

    def _name(self, entry: _Entry) -> str:
        if not entry.flags & _UTF8 and not entry.raw.isascii():
            self.refuse(f"name of member {entry.raw!r:.200} must be ASCII, or flagged as UTF-8")
        try:
            return entry.raw.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse(f"name of member {entry.raw!r:.200} must be UTF-8")
