"""Kinds, flags and limits of the wire protocol (`protos/WIRE.md` sections 2 and 12)."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

VERSION = 1
MAGIC = b"ZC"

MAX_MESSAGE = 4_000_000
"""Bytes of one encoded message: the Gandalf client's limit, with room for its own envelope."""
MAX_HEADER = 65_536
MAX_BATCH = 256
SENT_AT_ONCE = 64
"""Messages that we put into one transmission, which a receiver takes in one step: its timers wait for it."""
CONFIRMED_AT_ONCE = 512
"""Replies that we confirm in one CONFIRM: their uuids fit into a header."""
MAX_PACKED_PAYLOAD = 4_096
"""Bytes of payload of a message that we pack: to copy more costs more than a frame."""
MAX_TRANSMISSION = 8_000_000
MAX_FRAME = 4_194_304


PACK = 0
"""In the place of a kind: several messages in three frames. No message is of that kind."""


class Kind(IntEnum):
    COMMAND = 1
    EVENT = 2
    CONFIG = 3
    CONFIGURATION = 4
    SECRET = 5
    HEARTBEAT = 6
    HELLO = 16
    WELCOME = 17
    GOAWAY = 18
    REPLACED = 19
    CONFIRM = 20
    PRESENCE = 21
    FETCH = 22
    ERROR = 23
    JOURNAL = 24
    CALL = 32
    RESULT = 33
    CANCEL = 34


class Flag(IntFlag):
    NONE = 0
    ANSWER = 1
    RECEIPT = 2
    PUSH = 4


class Outcome:
    """Names of the events that answer a command."""

    ON_GOING: Final = "ON_GOING"
    REJECTED: Final = "REJECTED"
    NO_ROUTE: Final = "NO_ROUTE"
    SUCCESS: Final = "SUCCES"  # spelt so by every Gandalf worker
    FAIL: Final = "FAIL"
