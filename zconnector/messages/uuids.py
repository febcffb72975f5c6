"""Uuids that sort by the time they were made (UUIDv7, RFC 9562).

Every message is found by its uuid in some index on disk. Random ones fall on a page each, which a commit then
writes anew; those of one moment lie side by side. What a member's commit costs with either:
docs/performance.md.
"""

from __future__ import annotations

import os
import time

_48_BITS, _62_BITS = (1 << 48) - 1, (1 << 62) - 1


def ordered_uuid(wall: int, bits: int) -> str:
    """One of a moment (milliseconds since 1970), told from others of that moment by 74 random bits."""
    number = (wall & _48_BITS) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0x2 << 62 | bits & _62_BITS
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def new_uuid() -> str:
    """One of now, for a shell: a core is told the time, and draws its bits from its own source."""
    return ordered_uuid(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10), "big") >> 6)
