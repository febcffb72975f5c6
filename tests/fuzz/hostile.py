"""Hostile transmissions out of a `random.Random`: quick, so that the cores see many of them.

What hypothesis makes (`frames.py`) shrinks, and costs ten times as much. A failing seed is its own replay.
"""

from __future__ import annotations

import random
from typing import Any

import orjson

from zconnector.messages.codec import encode_one
from zconnector.messages.fields import ANSWERED, BOUNDS, FIELDS, NAMES, REQUIRED
from zconnector.messages.kinds import MAX_BATCH, MAX_HEADER, Flag, Kind
from zconnector.messages.message import Message

_KINDS = list(Kind)
_NAMES = ("git", "ci", "m1", "t1", "acme", "beta", "agg1", "agg", "Git", "Ci", "a", "0")
_WORDS = (
    *(
        "GET",
        "SAVE",
        "PUT_IMPLICIT",
        "PUT_ABSENT",
        "VALIDATE",
        "CLONE",
        "PULL",
        "DO",
        "BUILD",
        "connector",
        "aggregator",
    ),
    *("ON_GOING", "REJECTED", "NO_ROUTE", "SUCCES", "FAIL", "REVOKED", "WRONG_SECRET", "BUSY", "u0", "u1"),
    *("c1", "e1", "", "é" * 30, "boot-1", "s1", "tcp://a:1", "k" * 40),
)
_NUMBERS = (0, 1, 2, 7, 750, 10_000, 2**31, 2**53, -1, -(2**53), 1_700_000_010_000)
_ODD: tuple[Any, ...] = (
    *(None, True, 1.5, 1e308, 2**53 + 1, 2**64 - 1, [], {}, "x" * 5000, "\x00", "../..", ["e1"], [["e1", 0]]),
    *([["e1", "x"], 5, None], [[1, 2]], {"boot": 5}, [{"instance": 1, "endpoint": [], "key": {}}]),
    *([{"instance": "a", "endpoint": "tcp://a", "key": "key-a"}], [["u0", 2**53]], [1], ["git", "../"]),
)
PAYLOADS = (
    *(
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"null",
        b'{"url":"x"}',
        b"[" * 2000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ),
    *(
        b'{"version":1,"values":{}}',
        b'{"version":-1,"values":[]}',
        b'{"pivots":[{"name":"Git"}],"products":5}',
    ),
    *(b'{"pivots":[{"name":"Git","major":1,"commandtypes":[{"name":"A","schema":{"$ref":"#/x"}}]}]}',),
    *(b'{"major":1,"minor":0,"commands":["X"]}', b'{"major":"x","commands":[1]}', b"s" * 3000),
    *(
        b'{"pivot":{"name":"Git","major":1,"minor":9,"commandtypes":["CLONE"]}}',
        b'{"product":{"name":"Ci","product":"P","major":1}}',
        b'{"pivot":5}',
    ),
    *(b'{"x":' + b"[" * 300 + b"]" * 300 + b"}",),
)


def good(rng: random.Random) -> list[bytes]:
    """A message that keeps every rule."""
    kind = rng.choice(_KINDS)
    flags = Flag(rng.choice((0, 0, 0, 1, 2, 4, 7)))
    needed = ("reference",) if flags & Flag.ANSWER and kind in ANSWERED else REQUIRED[kind]
    others = rng.sample(sorted(FIELDS), rng.randrange(6))
    header = {name: _value(rng, name) for name in dict.fromkeys((*needed, *others))}
    return encode_one(Message(kind, header, rng.choice(PAYLOADS), flags))


def _value(rng: random.Random, name: str) -> Any:
    if name in NAMES:
        return rng.choice(_NAMES)
    if name in BOUNDS:
        return rng.randint(*BOUNDS[name])
    if name == "retry":
        return rng.choice([{}, {"attempts": 1}, {"first": 0, "factor": 1.5, "limit": 10}])
    kind, limit = FIELDS[name]
    if kind is str:
        return rng.choice(_WORDS)[: limit // 4]
    if kind is int:
        return rng.choice(_NUMBERS)
    if kind is bool:
        return rng.random() < 0.5
    if kind is list:
        return rng.choice([odd for odd in _ODD if type(odd) is list])
    return rng.choice([{}, {"a": 1}, {"iterator": "x", "kind": 5}])


def headed(rng: random.Random) -> list[bytes]:
    """A good prefix, and a header in which some fields hold anything."""
    frames = good(rng)
    header = orjson.loads(frames[1])
    for _ in range(rng.randrange(1, 4)):
        header[rng.choice(sorted(FIELDS))] = rng.choice(_ODD)
    raw = orjson.dumps(header)
    if rng.random() < 0.2:
        deep = b"[" * rng.choice((20, 40, 300, 1000))
        field = rng.choice(("versions", "entries", "instances", "x")).encode()
        raw = raw[:-1] + b',"' + field + b'":' + deep + b"]" * len(deep) + b"}"
    return [frames[0], raw, frames[2]]


def damaged(rng: random.Random) -> list[bytes]:
    """Frames, then bytes, frames and lengths of them changed."""
    frames = [
        frame for _ in range(rng.randrange(1, 4)) for frame in (good if rng.random() < 0.5 else headed)(rng)
    ]
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(frames))
        frame = frames[at]
        match rng.randrange(8):
            case 0 if frame:
                place = rng.randrange(len(frame))
                frames[at] = (
                    frame[:place] + bytes([frame[place] ^ (1 << rng.randrange(8))]) + frame[place + 1 :]
                )
            case 1:
                frames[at] = frame[: rng.randrange(len(frame) + 1)]
            case 2 if len(frames) > 1:
                del frames[at]
            case 3:
                frames.insert(at, rng.randbytes(rng.randrange(12)))
            case 4:
                frames[at] = frame + rng.randbytes(rng.randrange(12))
            case 5:
                other = rng.randrange(len(frames))
                frames[at], frames[other] = frames[other], frame
            case 6:
                frames[at] = frame * rng.choice((2, 100, MAX_HEADER // max(1, len(frame)) + 1))
            case _:
                frames[at] = rng.randbytes(rng.randrange(40))
    return frames * rng.choice((1, 1, 1, 1, 2, MAX_BATCH))


def transmission(rng: random.Random) -> list[bytes]:
    """Any of them."""
    return rng.choices((good, headed, damaged), (3, 3, 2))[0](rng)
