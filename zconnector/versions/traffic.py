"""What the router is told of the versions' traffic. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zconnector.configuration.pivot import Version
from zconnector.versions.manager import Manager

CANARY = "zconnector-canary-"
"""How the application context of a canary begins; the version, to which it is pinned, follows."""


def steering(
    manager: Manager, name: Callable[[Version], str], watched: Iterable[str], draining: Iterable[str]
) -> dict[str, Any]:
    """The payload of `admin_steer` (WIRE.md section 14): all that is in force now, whatever was told before.

    `name`: of a version's worker. `watched`: all such workers; `draining`: those that supervision drains.
    A pin to a version that is held back waits for its gate: only its canary goes there before.
    """
    wanted, held = manager.wanted, manager.held
    pins = {context: str(v) for context, v in (wanted.pins if wanted else {}).items() if v not in held}
    pins |= {f"{CANARY}{version}": str(version) for version in manager.canary_of}
    return {
        "watched": sorted(watched),
        "held": [name(version) for version in held],
        "drained": sorted({*draining, *(name(version) for version in manager.drained)}),
        "shares": {str(version): share for version, share in (wanted.shares if wanted else {}).items()},
        "pins": pins,
    }
