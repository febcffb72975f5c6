"""A connector's core behind a real door, and requests that no client of ours would write."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from tests.support.connector import Connector
from zconnector.actions import Caller, Respond
from zconnector.queue.door import DoorServer

WORDS = (
    *(
        b"",
        b"CLONE",
        b"Git",
        b"u1",
        b"c1",
        b"SUCCES",
        b"FAIL",
        b"-1",
        b"99999999999999999999",
        b"1e3",
        b"\xff\xfe",
    ),
    *(
        b"x" * 300,
        b"y" * 70_000,
        "é".encode() * 100,
        b"ADMIN_UPDATE",
        b"\x00",
        b"\n",
        b"../..",
        b'{"url":"x"}',
    ),
)


class Served(Connector):
    """The connector's core behind a real door."""

    def __init__(self, context: Any, endpoint: str) -> None:
        self.door = DoorServer(context, endpoint, self.called, self.cancelled)
        super().__init__()
        self.ready()

    def called(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes) -> None:
        self.do(self.machine.call(caller, op, args, payload, self.now))

    def cancelled(self, caller: Caller) -> None:
        self.do(self.machine.cancel(caller, self.now))

    def _one(self, action: Any) -> None:
        if isinstance(action, Respond):
            self.door.respond(action)
        else:
            super()._one(action)


def protobuf(rng: random.Random) -> bytes:
    """A request as a client might write it: known and unknown fields, of any wire type."""
    parts: list[bytes] = []
    for _ in range(rng.randrange(8)):
        number, kind = rng.randrange(1, 18), rng.choice((2, 2, 2, 2, 0, 1, 5, 3, 7))
        parts.append(varint(number << 3 | kind))
        if kind == 2:
            word = rng.choice(WORDS)
            parts.append(varint(len(word) + rng.choice((0, 0, 0, 0, 1, 2**31))) + word)
        elif kind == 0:
            parts.append(varint(rng.choice((0, 1, 127, 128, 2**31, 2**63, 2**64 - 1))))
        else:
            parts.append(rng.randbytes(8 if kind == 1 else 4))
    return b"".join(parts)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


TEXTS = (
    *("", "CLONE", "PULL", "Git", "git", "self", "u1", "c1", "w1", "*"),
    *("x" * 300, "y" * 5_000, "é" * 100, "\0", "\n", "../.."),
)
INTS = {
    FieldDescriptor.CPPTYPE_INT32: (0, 1, -1, 2, 7, 127, 128, -129, 60_000, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 2, 9, 10, 64, 65, 1_000, 1_001, 60_000, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (0, 1, -1, 1_000, 2**53, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 1_000, 60_000, 2**53, 2**53 + 1, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (0, 1, 2, 3, 99),
}
FLOATS = (0.0, 1.0, 2.5, -1.0, 1e300, float("inf"), float("nan"))


def filled(made: Any, rng: random.Random, depth: int = 3) -> Any:
    """A message whose fields are of the right types, with values at and beyond every bound."""
    described: Descriptor = made.DESCRIPTOR
    for field in described.fields:
        if rng.random() < 0.4:
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and (
            depth == 0 or field.message_type.file.package == "google.protobuf"  # type: ignore[union-attr]
        ):
            continue
        if field.is_repeated:
            values = getattr(made, field.name)
            for _ in range(rng.randrange(4)):
                if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
                    filled(values.add(), rng, depth - 1)
                else:
                    values.append(_value(field, rng))
        elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            within = getattr(made, field.name)
            within.SetInParent()
            filled(within, rng, depth - 1)
        else:
            setattr(made, field.name, _value(field, rng))
    return made


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice(WORDS) if field.type == FieldDescriptor.TYPE_BYTES else rng.choice(TEXTS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    return rng.choice(INTS.get(field.cpp_type, FLOATS))
