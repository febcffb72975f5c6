"""What the gRPC service needs of the local queue: its door, as a port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from zconnector.queue.asking import Answered, Question, Told

__all__ = ["Answered", "DoorPort", "Question", "Told"]


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

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        """As `call`, without a task that waits: a future of the answer, or of its Refusal.

        Cancelling the future takes the call back, unless it has its answer: that is then the asker's.
        """
        ...

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        """As `ask` for a bunch of calls, without a future for any. Returns a number for each, in order.

        `told` is called with the answers, all that come in one turn of the loop together, and never before
        this has returned. Calls that there is no room for are refused: BUSY.
        """
        ...

    def take_back(self, number: int) -> None:
        """Take back a call of a bunch, unless it has its answer: that is still told."""
        ...
