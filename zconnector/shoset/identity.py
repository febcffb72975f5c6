"""Who a process is towards its peers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from zconnector.clock import Instant


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process says of itself in HELLO and WELCOME."""

    kind: str
    """connector, aggregator or member."""
    tenant: str
    name: str
    instance: str
    boot: str
    type: str = ""
    secret: bytes = field(default=b"", repr=False)
    """Sent in SECRET to every peer above; empty for a member."""
    endpoint: str = ""
    server_key: str = ""


def boot_id(now: Instant, rng: random.Random) -> str:
    """A fresh boot id. Ids sort by the time of the start, so that of two processes the newer is known."""
    return f"{now.wall:013x}-{rng.getrandbits(48):012x}"


def fresh_uuid(rng: random.Random) -> str:
    """A random uuid from the given source of randomness, in the usual notation."""
    bits = (rng.getrandbits(128) & ~(0xF << 76) & ~(0x3 << 62)) | (0x4 << 76) | (0x2 << 62)
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
