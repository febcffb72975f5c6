"""What every client of the door does with a call: awaits its answer, or takes it back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from zconnector.errors import Refusal

Answer = asyncio.Future[tuple[dict[str, Any], bytes]]


class Asking(ABC):
    """Invariant: a call is in `_pending` until its answer is taken or it is taken back."""

    def __init__(self) -> None:
        self._pending: dict[int, Answer] = {}

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        """Ask the queue, and wait without limit for its answer: (args, payload).

        Cancelling the task that awaits this takes the call back.

        Raises:
            Refusal: what the queue answered; SHUTTING_DOWN when the door is closed or goes away; BUSY.
        """
        number, future = self._begin(op, args, payload)
        try:
            return await future
        except asyncio.CancelledError:
            # Also when the answer had just come: the caller will never see it.
            self._take_back(number)
            raise
        finally:
            self._pending.pop(number, None)

    def ask(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        """As `call`, without a task that waits: a future of the answer, or of its Refusal.

        Cancelling the future takes the call back, unless it has its answer: that is then the asker's.
        """
        try:
            number, future = self._begin(op, args, payload)
        except Refusal as refusal:
            refused: Answer = asyncio.get_running_loop().create_future()
            refused.set_exception(refusal)
            return refused

        def done(asked: Answer) -> None:
            self._pending.pop(number, None)
            if asked.cancelled():
                self._take_back(number)

        future.add_done_callback(done)
        return future

    @abstractmethod
    def _begin(self, op: str, args: Mapping[str, Any], payload: bytes) -> tuple[int, Answer]:
        """Put a call into `_pending` and on its way. Raises Refusal: SHUTTING_DOWN, BUSY."""

    @abstractmethod
    def _take_back(self, number: int) -> None:
        """Tell the door that the caller of a call is gone."""
