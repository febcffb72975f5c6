"""What the gRPC service needs of the local queue: its door, as a port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class DoorPort(Protocol):
    """Asks the local queue (WIRE.md section 14). `zconnector.queue.door.DoorClient` is the real one."""

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """One call and its answer; cancelling the awaiting task takes the call back.

        Raises:
            Refusal: the queue said no.
        """
        ...
