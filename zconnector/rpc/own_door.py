"""The door as a supervised worker sees it: whatever it calls itself, it is whose socket it came by."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from zconnector.rpc.port import DoorPort

NAMED = frozenset(
    {"register", "beat", "wait_command", "take", "adopt", "tidings", "send_command", "send_event"}
)
"""Calls whose `worker` is who calls."""


class OwnDoor:
    """A DoorPort for one supervised worker (DESIGN section 7: its socket is its identity)."""

    def __init__(self, door: DoorPort, worker: str) -> None:
        self._door = door
        self._worker = worker

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        return await self._door.call(op, self._named(op, args), payload)

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        return self._door.ask(op, self._named(op, args), payload)

    def _named(self, op: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**args, "worker": self._worker} if op in NAMED else args
