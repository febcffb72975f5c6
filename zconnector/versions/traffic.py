"""What the router is told of the versions' traffic. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from zconnector.versions.editions import Edition, versions_of
from zconnector.versions.manager import Manager

CANARY = "zconnector-canary-"
"""How the application context of a canary begins; the edition, to which it is pinned, follows."""


def steering(
    manager: Manager, name: Callable[[Edition], str], watched: Iterable[str], draining: Iterable[str]
) -> dict[str, Any]:
    """The payload of `admin_steer` (WIRE.md section 14): all that is in force now, whatever was told before.

    `name`: of an edition's worker. `watched`: all such workers; `draining`: those that supervision drains.
    A pin to a version that is held back waits for its gate: only its canary goes there before. The canary of
    an edition whose version another one serves is aimed at its worker.
    """
    wanted, held = manager.wanted, manager.held
    served = versions_of(edition for edition in manager.memory.running if edition not in held)
    waits = {version for version in versions_of(held) if version not in served}
    pins = {context: str(v) for context, v in (wanted.pins if wanted else {}).items() if v not in waits}
    aims = {}
    for edition in manager.canary_of:
        if edition.version in waits:
            pins[f"{CANARY}{edition}"] = str(edition.version)
        else:
            aims[f"{CANARY}{edition}"] = name(edition)
    return {
        "watched": sorted(watched),
        "held": [name(edition) for edition in held],
        "drained": sorted({*draining, *(name(edition) for edition in manager.drained)}),
        "shares": {str(version): share for version, share in (wanted.shares if wanted else {}).items()},
        "pins": pins,
        "aims": aims,
        "beside": [name(edition) for edition in held if edition.version in served],
    }
