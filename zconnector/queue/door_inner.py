"""The door for clients within the connector's own process: the same calls, handed over as objects.

Through a socket each call would be encoded, sent, woken for, read, decoded and checked twice within one
process, which was a fifth of a connector's work. Front ends of their own process use the socket (`door.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from zconnector.actions import Caller, Respond
from zconnector.errors import Reason, Refusal
from zconnector.messages.message import clipped
from zconnector.queue.asking import Answer, Asking
from zconnector.queue.door import OnCall, OnCancel
from zconnector.queue.door_client import MAX_PENDING

INNER = b""
"""The `client` of every call that comes by here. ZeroMQ gives no peer an empty routing id."""


class InnerDoor(Asking):
    """Door and client in one: `call` asks the core, `respond` performs its Respond actions.

    Sizes are not looked at: of what comes in `convert` and the core know the limits, and of what goes out the
    queue does (`envelope.unfit`).

    Invariant: `close` leaves no call without its answer.
    """

    def __init__(self, on_call: OnCall, on_cancel: OnCancel) -> None:
        super().__init__()
        self._on_call = on_call
        self._on_cancel = on_cancel
        self._calls = 0
        self._closed = False

    def _begin(self, op: str, args: Mapping[str, Any], payload: bytes) -> tuple[int, Answer]:
        if self._closed:
            raise Refusal(Reason.SHUTTING_DOWN, "the queue's door is closed")
        if len(self._pending) >= MAX_PENDING:
            raise Refusal(Reason.BUSY, f"{MAX_PENDING} calls are waiting")
        self._calls += 1
        future: Answer = asyncio.get_running_loop().create_future()
        self._pending[self._calls] = future
        number = self._calls
        self._on_call(Caller(INNER, number), op, args, payload)
        return number, future

    def _take_back(self, number: int) -> None:
        self._on_cancel(Caller(INNER, number))

    def respond(self, action: Respond) -> None:
        """Answer one call. An answer to a call that was cancelled meanwhile goes nowhere."""
        future = self._pending.get(action.caller.call)
        if future is None or future.done():
            return
        if action.error is None:
            future.set_result((dict(action.args), action.payload))
        else:
            error = action.error
            future.set_exception(Refusal(error.reason, clipped(error.detail), error.uuid))

    def close(self) -> None:
        """End what waits with SHUTTING_DOWN, and take nothing more."""
        self._closed = True
        for future in self._pending.values():
            if not future.done():
                future.set_exception(Refusal(Reason.SHUTTING_DOWN, "the queue is closing"))
