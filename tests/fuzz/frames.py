"""Transmissions as a hostile peer makes them: arbitrary frames, and good ones that were damaged."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import strategies as st

from tests.support.samples import messages
from zconnector.messages.codec import encode_one, encode_packed
from zconnector.messages.fields import FIELDS
from zconnector.messages.kinds import MAX_BATCH, MAX_HEADER, Kind

_NUMBERS = st.sampled_from((0, 1, -1, 2**31, 2**53, 2**53 + 1, -(2**53), 2**63, 2**64 - 1, 10**300, 1.5))
_NAMES = st.sampled_from(["git", "ci", "m1", "t1", "agg1", "ghost", "", "x" * 128, "x" * 129, "../..", "é"])
_TEXTS = st.one_of(_NAMES, st.text(st.characters(codec="utf-8"), max_size=40), st.just("y" * 5000))


def _nested(depth: int, *, of: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if of == "list" else {"x": value}
    return value


_NESTED = st.builds(_nested, st.sampled_from([1, 20, 31, 33, 200, 240]), of=st.sampled_from(["list", "dict"]))
_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    _NUMBERS,
    _TEXTS,
    _NESTED,
    st.lists(st.one_of(_NUMBERS, _TEXTS, st.none(), st.just(["e1", 0]), st.just([])), max_size=6),
    st.dictionaries(_TEXTS, _NUMBERS, max_size=3),
)

headers = st.dictionaries(st.one_of(st.sampled_from(sorted(FIELDS)), _TEXTS), _VALUES, max_size=10)
"""Any object: known fields with any value, unknown ones."""


def _dumped(header: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(header)
    except TypeError:  # a number that orjson does not write is one that a peer may
        return repr(header).replace("'", '"').replace("None", "null").encode("utf-8", "replace")


@st.composite
def headed(draw: st.DrawFn) -> list[bytes]:
    """Three frames with a good prefix and any object as header."""
    kind = draw(st.sampled_from(list(Kind)))
    flags = draw(st.integers(0, 2**16 - 1))
    prefix = b"ZC\x01" + bytes([kind]) + flags.to_bytes(2, "big") + b"\0\0"
    return [prefix, _dumped(draw(headers)), draw(st.binary(max_size=20))]


@st.composite
def good(draw: st.DrawFn) -> list[bytes]:
    """Frames that keep every rule."""
    batch = draw(st.lists(messages(), min_size=1, max_size=3))
    if draw(st.booleans()):
        return [frame for frames, _ in encode_packed(batch) for frame in frames]
    return [frame for message in batch for frame in encode_one(message)]


@st.composite
def damaged(draw: st.DrawFn) -> list[bytes]:
    """Good frames, then some bytes, frames and lengths changed."""
    frames = list(draw(st.one_of(good(), headed())))
    for _ in range(draw(st.integers(1, 4))):
        if not frames:
            break
        at = draw(st.integers(0, len(frames) - 1))
        frame = frames[at]
        match draw(st.integers(0, 9)):
            case 0 if frame:
                place = draw(st.integers(0, len(frame) - 1))
                frames[at] = (
                    frame[:place]
                    + bytes([frame[place] ^ (1 << draw(st.integers(0, 7)))])
                    + frame[place + 1 :]
                )
            case 1:
                frames[at] = frame[: draw(st.integers(0, len(frame)))]
            case 2:
                del frames[at]
            case 3:
                frames.insert(at, draw(st.binary(max_size=12)))
            case 4:
                frames[at] = frame + draw(st.binary(max_size=12))
            case 5:
                other = draw(st.integers(0, len(frames) - 1))
                frames[at], frames[other] = frames[other], frame
            case 6:
                frames[at] = b"[" * 1000 + frame + b"]" * 1000
            case 7 if len(frames) >= 3:
                frames[at - at % 3 : at - at % 3 + 3] = frames[at - at % 3 : at - at % 3 + 3] * 2
            case 8:
                frames[at] = frame * draw(st.sampled_from([2, 100, MAX_HEADER // max(1, len(frame)) + 1]))
            case _:
                frames[at] = draw(st.binary(max_size=40))
    return frames[: 3 * MAX_BATCH + 3]


transmissions = st.one_of(
    st.lists(st.binary(max_size=30), max_size=8), headed(), headed(), good(), damaged(), damaged()
)
