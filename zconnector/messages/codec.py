"""The frame codec: messages to frames and back (`protos/WIRE.md` section 1).

Encoding trusts its caller but for size; decoding trusts nobody.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from zconnector.errors import Reason, WireError
from zconnector.messages.depth import MAX_HEADER_DEPTH, is_deeper
from zconnector.messages.fields import check_header, check_required, is_plain
from zconnector.messages.kinds import (
    MAGIC,
    MAX_BATCH,
    MAX_HEADER,
    MAX_MESSAGE,
    MAX_TRANSMISSION,
    PACK,
    SENT_AT_ONCE,
    VERSION,
    Flag,
    Kind,
)
from zconnector.messages.message import Message
from zconnector.messages.pack import PREFIX as PACK_PREFIX
from zconnector.messages.pack import all_may_be_packed, may_be_packed, pack, unpack

_PREFIX = struct.Struct(">2sBBHH")
_PREFIX_SIZE = _PREFIX.size
_NONE = Flag.NONE
_KINDS = {int(kind): kind for kind in Kind}
_FLAGS = {int(flag): flag for flag in (Flag.NONE, *Flag)}
"""What mostly comes: to look it up costs a tenth of making it."""
ACCEPTED_VERSIONS = tuple(v for v in (VERSION, VERSION - 1) if v >= 1)
_PREFIXES = {
    (kind, flags): _PREFIX.pack(MAGIC, VERSION, kind, flags, 0) for kind in Kind for flags in _FLAGS.values()
}
_KNOWN = {prefix: key for key, prefix in _PREFIXES.items()}
"""Prefixes as this version writes them, which is what mostly comes; all others are taken apart."""
_PLAIN = {kind: _PREFIXES[kind, Flag.NONE] for kind in Kind}
_REPEATED = {_PREFIXES[kind, Flag.NONE] for kind in (Kind.HEARTBEAT, Kind.EVENT, Kind.CONFIRM)}
"""Of what comes more than once in the same words."""
_PACK = PACK.to_bytes(1)
_SHALLOW = 2 * MAX_HEADER_DEPTH
"""Bytes of a header that cannot be too deep: every bracket that is opened is closed."""
_REMEMBERED_BYTES = 512
"""Longer headers are not worth their room."""

Frames = list[bytes]


def encode_one(message: Message) -> Frames:
    """The three frames of one message.

    Raises:
        WireError: TOO_LARGE, or BAD_HEADER for a header that is no JSON.
    """
    try:
        header = orjson.dumps(message.header)
    except (TypeError, orjson.JSONEncodeError) as error:
        raise WireError(Reason.BAD_HEADER, f"header cannot be encoded: {error}") from None
    head = len(header)
    if head > MAX_HEADER:
        raise WireError(Reason.TOO_LARGE, f"header of {head} bytes, limit {MAX_HEADER}", message.uuid)
    payload = message.payload
    size = _PREFIX_SIZE + head + len(payload)
    if size > MAX_MESSAGE:
        raise WireError(Reason.TOO_LARGE, f"message of {size} bytes, limit {MAX_MESSAGE}", message.uuid)
    prefix = _PLAIN.get(message.kind) if message.flags is _NONE else None
    if prefix is None:
        prefix = _PREFIXES.get((message.kind, message.flags))
    if prefix is None:
        prefix = _PREFIX.pack(MAGIC, VERSION, message.kind, message.flags, 0)
    return [prefix, header, payload]


def encode(messages: Iterable[Message]) -> list[Frames]:
    """Transmissions that carry the messages in order: as few as the limits allow, with SENT_AT_ONCE in each.

    Raises:
        WireError: as `encode_one`.
    """
    transmissions: list[Frames] = []
    frames: Frames = []
    size = 0
    for message in messages:
        three = encode_one(message)
        length = len(three[0]) + len(three[1]) + len(three[2])
        if frames and (len(frames) >= 3 * SENT_AT_ONCE or size + length > MAX_TRANSMISSION):
            transmissions.append(frames)
            frames, size = [], 0
        frames.extend(three)
        size += length
    if frames:
        transmissions.append(frames)
    return transmissions


class Transmission(NamedTuple):
    """What one ZeroMQ multipart message carries."""

    frames: Frames
    messages: int


def encode_packed(messages: Sequence[Message]) -> list[Transmission]:
    """As `encode`, for a peer that reads PACKs: those that may stand next to one another are packed.

    Raises:
        WireError: as `encode_one`.
    """
    if 1 < len(messages) <= SENT_AT_ONCE and all_may_be_packed(messages):  # as mostly they all may
        packed = pack(messages)
        if packed is not None:
            return [Transmission(packed, len(messages))]
    return _encode_packed(messages)


def _encode_packed(messages: Iterable[Message]) -> list[Transmission]:
    transmissions: list[Transmission] = []
    frames: Frames = []
    count = size = 0

    def add(more: Frames, of: int) -> None:
        nonlocal frames, count, size
        length = sum(map(len, more))
        if frames and (count + of > SENT_AT_ONCE or size + length > MAX_TRANSMISSION):
            transmissions.append(Transmission(frames, count))
            frames, count, size = [], 0, 0
        frames += more
        count += of
        size += length

    def add_all(run: list[Message]) -> None:
        packed = pack(run) if len(run) > 1 else None
        if packed is not None:
            add(packed, len(run))
        else:
            for message in run:
                add(encode_one(message), 1)

    run: list[Message] = []
    for message in messages:
        if not may_be_packed(message):
            add_all(run)
            run = []
            add(encode_one(message), 1)
            continue
        run.append(message)
        if len(run) == SENT_AT_ONCE:
            add_all(run)
            run = []
    add_all(run)
    if frames:
        transmissions.append(Transmission(frames, count))
    return transmissions


def decode(frames: Sequence[bytes]) -> list[Message]:
    """The messages of one transmission (without the routing id).

    Raises:
        WireError: what WIRE.md section 11 says, for the whole transmission.
    """
    count = len(frames)
    if count == 0 or count % 3 != 0:
        raise WireError(Reason.BAD_FRAME, f"{count} frames: a transmission has three for each message")
    if count == 3:  # as most are; what holds for one message is stricter
        prefix, header, payload = frames
        if not payload and prefix in _REPEATED and len(header) <= _REMEMBERED_BYTES:
            return [_remembered(prefix, header)]
        return unpack(header, payload) if _is_pack(prefix) else [_decode_one(prefix, header, payload)]
    if count > 3 * MAX_BATCH:
        raise WireError(Reason.BAD_FRAME, f"{count // 3} messages, limit {MAX_BATCH}")
    size = sum(map(len, frames))
    if size > MAX_TRANSMISSION:
        raise WireError(Reason.TOO_LARGE, f"transmission of {size} bytes, limit {MAX_TRANSMISSION}")
    found: list[Message] = []
    for index in range(0, count, 3):
        prefix, header, payload = frames[index : index + 3]
        if _is_pack(prefix):
            found += unpack(header, payload)
        else:
            found.append(_decode_one(prefix, header, payload))
    if len(found) > MAX_BATCH:
        raise WireError(Reason.BAD_FRAME, f"{len(found)} messages, limit {MAX_BATCH}")
    return found


def _is_pack(prefix: bytes) -> bool:
    """Of a version that this one reads; any other is refused as all of it is."""
    return prefix == PACK_PREFIX or (
        prefix[3:4] == _PACK
        and len(prefix) == _PREFIX.size
        and prefix[:2] == MAGIC
        and prefix[2] in ACCEPTED_VERSIONS
    )


def _decode_one(prefix: bytes, header: bytes, payload: bytes) -> Message:
    head = len(header)
    if head > MAX_HEADER:
        raise WireError(Reason.TOO_LARGE, f"header of {head} bytes, limit {MAX_HEADER}")
    size = len(prefix) + head + len(payload)
    if size > MAX_MESSAGE:
        raise WireError(Reason.TOO_LARGE, f"message of {size} bytes, limit {MAX_MESSAGE}")
    if head <= _REMEMBERED_BYTES and prefix in _REPEATED:
        known = _remembered(prefix, header)
        return Message(known.kind, known.header, payload, known.flags) if payload else known
    kind, flags, fields = _header(prefix, header)
    return Message(kind, fields, payload, flags)


def _header(prefix: bytes, header: bytes) -> tuple[Kind, Flag, dict[str, Any]]:
    known = _KNOWN.get(prefix)
    kind, flags = _take_apart(prefix) if known is None else known
    try:
        fields = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise WireError(Reason.BAD_HEADER, f"header is no JSON in UTF-8: {error}") from None
    if type(fields) is not dict:
        raise WireError(Reason.BAD_HEADER, f"header is a JSON {type(fields).__name__}, must be an object")
    if is_plain(fields):
        check_required(kind, flags, fields)
        return kind, flags, fields
    if len(header) > _SHALLOW and _may_be_deep(header) and is_deeper(fields, MAX_HEADER_DEPTH):
        raise WireError(Reason.BAD_HEADER, f"header is nested deeper than {MAX_HEADER_DEPTH} levels")
    check_header(kind, flags, fields)
    return kind, flags, fields


@lru_cache(512)
def _remembered(prefix: bytes, header: bytes) -> Message:
    """A connector hears of each event once from every instance, and an idle peer's beats are all alike. They
    are one message, or share its fields: no message is ever changed."""
    kind, flags, fields = _header(prefix, header)
    return Message(kind, fields, b"", flags)


def _may_be_deep(header: bytes) -> bool:
    """Most headers have no list at all; only one with that many brackets needs a look."""
    return header.count(b"[") + header.count(b"{") > MAX_HEADER_DEPTH


def _take_apart(prefix: bytes) -> tuple[Kind, Flag]:
    if len(prefix) != _PREFIX.size:
        raise WireError(Reason.BAD_FRAME, f"prefix of {len(prefix)} bytes, must be 8")
    magic, version, number, flags, _ = _PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise WireError(Reason.BAD_FRAME, f"magic {magic.hex()}, must be {MAGIC.hex()}")
    if version not in ACCEPTED_VERSIONS:
        raise WireError(
            Reason.UNSUPPORTED_VERSION,
            f"peer speaks protocol version {version}, this end speaks {VERSION}",
        )
    kind = _KINDS.get(number)
    if kind is None:
        raise WireError(Reason.BAD_FRAME, f"unknown kind {number}")
    known = _FLAGS.get(flags)
    return kind, Flag(flags) if known is None else known
