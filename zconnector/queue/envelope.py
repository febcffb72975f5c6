"""A message as the body of a row: kind, flags, header and payload in one piece."""

from __future__ import annotations

import struct

import orjson

from zconnector.errors import StorageError
from zconnector.messages import Flag, Kind, Message

_HEAD = struct.Struct(">BHI")


def pack(message: Message) -> bytes:
    """The stored form of a message. Its header came from JSON, or was made here, and can be JSON again."""
    header = orjson.dumps(message.header)
    return _HEAD.pack(message.kind, message.flags, len(header)) + header + message.payload


def unpack(body: bytes) -> Message:
    """The message of a stored body.

    Raises:
        StorageError: the bytes are not what `pack` made.
    """
    try:
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
