"""A message as the body of a row: kind, flags, header and payload in one piece."""

from __future__ import annotations

import struct

import orjson

from zconnector.errors import DamagedError, Reason
from zconnector.messages import Flag, Kind, Message
from zconnector.messages.depth import MAX_HEADER_DEPTH, is_deeper
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE
from zconnector.storage.seal import is_sealed, seal, unseal

_HEAD = struct.Struct(">BHI")
_KINDS = {int(kind): kind for kind in Kind}
_FLAGS = {int(flag): flag for flag in Flag}
"""To look them up costs a tenth of making them."""
_RESULT = 128
"""Bytes that a RESULT has beside a message: its prefix, the call, the names of its fields."""
LISTED = 512
"""The same of what lists messages, as the answer of a `take`: what is said of each comes with its header."""

_SMALL = MAX_HEADER - max(_RESULT, LISTED)
"""Bytes of a stored message whose header is within its bound, whatever part of them it is."""
_NESTED = frozenset((dict, list, tuple))


def pack(message: Message) -> bytes:
    """The stored form of a message. Its header came from JSON, or was made here, and can be JSON again."""
    header = orjson.dumps(message.header)
    head = _HEAD.pack(message.kind, message.flags, len(header))
    return seal(b"".join((head, header, message.payload)))


def unpack(body: bytes) -> Message:
    """The message of a stored body.

    Raises:
        DamagedError: the bytes are not what `pack` made.
    """
    try:
        if is_sealed(body):  # else of before bodies were sealed: no kind has that number
            body = unseal(body, "a stored message")
        kind, flags, length = _HEAD.unpack_from(body)
        end = _HEAD.size + length
        if end > len(body):
            raise DamagedError(f"a stored message of {len(body)} bytes is cut short")
        header = orjson.loads(body[_HEAD.size : end])
        return Message(_KINDS.get(kind) or Kind(kind), header, body[end:], _FLAGS.get(flags) or Flag(flags))
    except (struct.error, ValueError) as error:  # orjson.JSONDecodeError is a ValueError
        raise DamagedError(f"a stored message is damaged: {error}") from error


def unfit(message: Message, *, text: bool = True, size: int = 0) -> tuple[Reason, str] | None:
    """Why no waiter can be handed it, or None. `size`: bytes of its stored form, where they are known.

    The RESULT that carries the message to the waiter is a message itself, with this header one level deep in
    its own (`protos/WIRE.md` section 14); of one that lists messages, three levels. The fields of the Gandalf
    API are all strings, so UTF-8 (`text`).
    """
    if size and not text and is_small_and_flat(message, size):
        return None
    beside, levels = (_RESULT, 1) if text else (LISTED, 3)
    try:
        if text:
            message.payload.decode()
        header = orjson.dumps(message.header)
    except (UnicodeDecodeError, TypeError):  # orjson refuses lone surrogates with a TypeError
        return Reason.INVALID_PAYLOAD, "it is not UTF-8, which the workers' API cannot carry"
    if len(header) > MAX_HEADER - beside:
        return Reason.TOO_LARGE, f"a header of {len(header)} bytes fits into no RESULT"
    size = len(header) + len(message.payload)
    if size > MAX_MESSAGE - beside:
        return Reason.TOO_LARGE, f"a message of {size} bytes fits into no RESULT"
    deepest = MAX_HEADER_DEPTH - levels
    if header.count(b"{") + header.count(b"[") > deepest and is_deeper(dict(message.header), deepest):
        return Reason.TOO_LARGE, f"a header nested {deepest + 1} levels deep fits into no RESULT"
    return None


def is_small_and_flat(message: Message, size: int) -> bool:
    """Whether what has so small a stored form fits into any take: then it need not be encoded to be measured.

    What has a stored form is JSON.
    """
    return size <= _SMALL and _NESTED.isdisjoint(map(type, message.header.values()))
