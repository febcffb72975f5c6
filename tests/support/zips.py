"""Zip archives part by part: honest ones, and those that no honest tool makes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

STORED, DEFLATED = 0, 8
FILE, EXECUTABLE, FOLDER = 0o100644, 0o100755, 0o040755
DESCRIPTOR, UTF8 = 8, 1 << 11


@dataclass(frozen=True)
class Part:
    """One member; what is None is as it should be."""

    name: bytes
    content: bytes = b""
    mode: int = FILE
    method: int = STORED
    flags: int = 0
    made_by: int = 3 << 8
    size: int | None = None
    packed: bytes | None = None
    packed_size: int | None = None
    crc: int | None = None
    offset: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""
    """Extra fields, in both headers."""
    before: bytes = b""
    """Bytes in front of its local header."""


def deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(content) + packer.flush()


def build(
    parts: Sequence[Part],
    *,
    before_directory: bytes = b"",
    comment: bytes = b"",
    count: int | None = None,
    directory_size: int | None = None,
    directory_offset: int | None = None,
    after: bytes = b"",
) -> bytes:
    """An archive of these members, with the lies that are asked for."""
    out, directory = bytearray(), bytearray()
    for part in parts:
        out += part.before
        packed = part.packed
        if packed is None:
            packed = deflate(part.content) if part.method == DEFLATED else part.content
        size = len(part.content) if part.size is None else part.size
        packed_size = len(packed) if part.packed_size is None else part.packed_size
        crc = zlib.crc32(part.content) if part.crc is None else part.crc
        offset = len(out) if part.offset is None else part.offset
        local = part.name if part.local_name is None else part.local_name
        told = (0, 0, 0) if part.flags & DESCRIPTOR else (crc, packed_size, size)
        out += struct.pack(
            "<4s5H3I2H", b"PK\3\4", 20, part.flags, part.method, 0, 33, *told, len(local), len(part.extra)
        )
        out += local + part.extra + packed
        if part.flags & DESCRIPTOR:
            out += struct.pack("<4s3I", b"PK\7\x08", crc, packed_size, size)
        directory += struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\1\2", part.made_by | 20, 20, part.flags, part.method, 0, 33, crc, packed_size, size),
            *(len(part.name), len(part.extra), 0, 0, 0, part.mode << 16, offset),
        )
        directory += part.name + part.extra
    out += before_directory
    offset = len(out) if directory_offset is None else directory_offset
    size = len(directory) if directory_size is None else directory_size
    number = len(parts) if count is None else count
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, number, number, size, offset, len(comment))
    return bytes(out + directory + end + comment + after)


WORKER = Part(b"worker", b"#!/bin/sh\n", EXECUTABLE)
