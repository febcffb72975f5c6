"""A checksum around stored bytes: what a disk or a hand has changed is told apart from what was written.

SQLite finds a damaged page only where the damage breaks its own structure; a flipped bit in a uuid would
make another message of it. Unsealed JSON of before seals were written is still read.
"""

from __future__ import annotations

import struct
import zlib

from zconnector.errors import DamagedError

_HEAD = struct.Struct(">BI")
_MARK = 0xC3
"""No JSON begins with it."""
_SEALED, _JSON = bytes((_MARK,)), (b"{", b"[")


def seal(content: bytes, about: bytes = b"") -> bytes:
    """Content with its checksum; `about` is covered too, and stored elsewhere."""
    check = zlib.crc32(content)
    return _HEAD.pack(_MARK, zlib.crc32(about, check) if about else check) + content


def is_sealed(stored: bytes) -> bool:
    """Whether it begins as what `seal` makes does."""
    return stored.startswith(_SEALED)


def unseal(stored: object, what: str, about: bytes = b"") -> bytes:
    """The content again.

    Raises:
        DamagedError: it is not what was sealed; names `what`.
    """
    if not isinstance(stored, bytes):
        raise DamagedError(f"{what} is damaged: {type(stored).__name__} instead of bytes")
    if stored.startswith(_JSON):
        return stored
    try:
        mark, check = _HEAD.unpack_from(stored)
    except struct.error:
        raise DamagedError(f"{what} is damaged: {len(stored)} bytes are no row") from None
    content = stored[_HEAD.size :]
    found = zlib.crc32(content)
    if mark != _MARK or check != (zlib.crc32(about, found) if about else found):
        raise DamagedError(f"{what} is damaged: its checksum does not fit")
    return content
