"""Several messages in three frames (`protos/WIRE.md` section 1, PACK).

Every frame costs its sender, CURVE and its receiver some microseconds, whatever is in it; most messages are
small, and come in bunches.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from zconnector.errors import Reason, WireError
from zconnector.messages.depth import MAX_HEADER_DEPTH, is_deeper
from zconnector.messages.fields import REQUIRED, check_header, is_plain
from zconnector.messages.kinds import (
    MAGIC,
    MAX_BATCH,
    MAX_HEADER,
    MAX_MESSAGE,
    MAX_PACKED_PAYLOAD,
    PACK,
    VERSION,
    Flag,
    Kind,
)
from zconnector.messages.message import Message

PREFIX = struct.pack(">2sBBHH", MAGIC, VERSION, PACK, 0, 0)
_KINDS = {int(kind): kind for kind in (Kind.COMMAND, Kind.EVENT, Kind.CONFIRM)}
_REQUIRED = {kind: frozenset(REQUIRED[kind]) for kind in _KINDS.values()}
_PACKED = frozenset(_KINDS.values())
_FLAGS = {int(flag): flag for flag in (Flag.NONE, *Flag)}
_OF_EACH = 2
"""Brackets that the list has for each of its messages, beside those within."""


def may_be_packed(message: Message) -> bool:
    """Whether it may travel in a PACK."""
    return message.kind in _PACKED and len(message.payload) <= MAX_PACKED_PAYLOAD


def all_may_be_packed(messages: Iterable[Message]) -> bool:
    """Whether each of them may."""
    for message in messages:
        if message.kind not in _PACKED or len(message.payload) > MAX_PACKED_PAYLOAD:
            return False
    return True


def pack(messages: Sequence[Message]) -> list[bytes] | None:
    """The three frames of messages that may be packed; None: they do not fit, or one cannot be encoded."""
    try:
        header = orjson.dumps([[m.kind, m.flags, len(m.payload), m.header] for m in messages])
    except (TypeError, orjson.JSONEncodeError):
        return None
    if len(header) > MAX_HEADER:
        return None
    return [PREFIX, header, b"".join([message.payload for message in messages])]


def unpack(header: bytes, payload: bytes) -> list[Message]:
    """The messages again.

    Raises:
        WireError: what WIRE.md section 11 says, for all of them.
    """
    head = len(header)
    if head > MAX_HEADER:
        raise WireError(Reason.TOO_LARGE, f"header of {head} bytes, limit {MAX_HEADER}")
    if (whole := len(PREFIX) + head + len(payload)) > MAX_MESSAGE:
        raise WireError(Reason.TOO_LARGE, f"message of {whole} bytes, limit {MAX_MESSAGE}")
    try:
        entries = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise WireError(Reason.BAD_HEADER, f"header is no JSON in UTF-8: {error}") from None
    if type(entries) is not list or not 0 < len(entries) <= MAX_BATCH:
        raise WireError(Reason.BAD_FRAME, f"a PACK is a list of 1 to {MAX_BATCH} messages")
    kinds, known_flags = _KINDS, _FLAGS
    found: list[Message] = []
    begin, brackets = 0, -1
    for entry in entries:  # in one function, since most of what is sent comes by here
        if type(entry) is not list or len(entry) != 4:
            raise WireError(Reason.BAD_FRAME, "a message of a PACK is a list of kind, flags, size, fields")
        number, bits, size, fields = entry
        if type(number) is not int or number not in kinds:
            raise WireError(Reason.BAD_FRAME, f"kind {number!r:.20} does not travel in a PACK")
        kind = kinds[number]
        flags = known_flags[bits] if type(bits) is int and bits in known_flags else _unusual(bits)
        if type(size) is not int or not 0 <= size <= MAX_MESSAGE:
            raise WireError(Reason.BAD_FRAME, f"size {size!r:.20} of a message of a PACK is none")
        if type(fields) is not dict:
            raise WireError(Reason.BAD_HEADER, f"header is a JSON {type(fields).__name__}, must be an object")
        if not (is_plain(fields) and _REQUIRED[kind] <= fields.keys()):
            if brackets < 0:
                brackets = header.count(b"[") + header.count(b"{") - 1 - _OF_EACH * len(entries)
            if brackets > MAX_HEADER_DEPTH and is_deeper(fields, MAX_HEADER_DEPTH):
                raise WireError(Reason.BAD_HEADER, f"header is nested deeper than {MAX_HEADER_DEPTH} levels")
            check_header(kind, flags, fields)  # which says what is wrong
        end = begin + size
        found.append(Message(kind, fields, payload[begin:end], flags))
        begin = end
    if begin != len(payload):
        raise WireError(Reason.BAD_FRAME, f"the sizes of a PACK add up to {begin}, not {len(payload)}")
    return found


def _unusual(bits: Any) -> Flag:
    """Several flags at once, or such as this version does not know."""
    if type(bits) is not int or not 0 <= bits <= 0xFFFF:
        raise WireError(Reason.BAD_FRAME, f"flags {bits!r:.20} of a message of a PACK are none")
    return Flag(bits)
