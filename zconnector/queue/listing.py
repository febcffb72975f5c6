"""A RESULT that lists messages: headers in its `args`, payloads one after the other in its payload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.messages.kinds import MAX_HEADER
from zconnector.queue.envelope import LISTED

PAYLOADS = 3_000_000
"""Bytes of payload of one list, unless its first message alone has more."""
_HEADERS = MAX_HEADER - LISTED
_OF_ONE = 128
"""Bytes that an item has beside its message's header."""


class Listing:
    """Collects items, as many as fit into one RESULT; the first one always does (`envelope.unfit`)."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self._payloads: list[bytes] = []
        self._headers = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.items)

    @property
    def payload(self) -> bytes:
        """The payloads, to be sliced by the `size` of each item."""
        return b"".join(self._payloads)

    def takes(self, header: int, payload: int) -> bool:
        """Whether there is room for a message with so many bytes of header and payload."""
        if not self.items:
            return True
        return self._headers + header + _OF_ONE <= _HEADERS and self._bytes + payload <= PAYLOADS

    def add(self, header: Mapping[str, Any], header_bytes: int, payload: bytes, **told: Any) -> None:
        """One more; `told` is what the RESULT says of it beside its own header."""
        self.items.append({**header, **told, "size": len(payload)})
        self._payloads.append(payload)
        self._headers += header_bytes + _OF_ONE
        self._bytes += len(payload)
