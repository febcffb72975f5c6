"""What the connector's own clients need of the local queue's door."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Door(Protocol):
    """Asks the local queue (WIRE.md section 14)."""

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """One call and its answer. Raises Refusal."""
        ...
