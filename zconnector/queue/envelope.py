"""A message as the body of a row: kind, flags, header and payload in one piece."""

from __future__ import annotations

import struct
from zlib import crc32

import orjson

from zconnector.errors import StorageError
from zconnector.messages import Flag, Kind, Message

_HEAD = struct.Struct(">BHI")
_SEAL = struct.Struct(">BI")
_SEALED = 0xC3
"""First byte of a sealed body, before the checksum of all the rest; a kind has no such number."""


def pack(message: Message) -> bytes:
    """The stored form of a message. Its header came from JSON, or was made here, and can be JSON again."""
    header = orjson.dumps(message.header)
    head = _HEAD.pack(message.kind, message.flags, len(header))
    check = crc32(message.payload, crc32(header, crc32(head)))
    return b"".join((_SEAL.pack(_SEALED, check), head, header, message.payload))


def unpack(body: bytes) -> Message:
    """The message of a stored body.

    Raises:
        StorageError: the bytes are not what `pack` made.
    """
    try:
        if body[:1] == _SEALED.to_bytes(1):  # else of before bodies were sealed
            _, check = _SEAL.unpack_from(body)
            body = body[_SEAL.size :]
            if crc32(body) != check:
                raise StorageError("a stored message is damaged: its checksum does not fit")
        kind, flags, length = _HEAD.unpack_from(body)
        end = _HEAD.size + length
        if end > len(body):
            raise StorageError(f"a stored message of {len(body)} bytes is cut short")
        return Message(Kind(kind), orjson.loads(body[_HEAD.size : end]), body[end:], Flag(flags))
    except (struct.error, ValueError) as error:  # orjson.JSONDecodeError is a ValueError
        raise StorageError(f"a stored message is damaged: {error}") from error


def is_text(message: Message) -> bool:
    """Whether a Gandalf waiter may have it: that API's fields are all strings, so UTF-8."""
    try:
        message.payload.decode()
        orjson.dumps(message.header)
    except (UnicodeDecodeError, TypeError):  # orjson refuses lone surrogates with a TypeError
        return False
    return True
