"""The door for clients within the connector's own process: the same calls, handed over as objects.

Through a socket each call would be encoded, sent, woken for, read, decoded and checked twice within one
process, which was a fifth of a connector's work. Front ends of their own process use the socket (`door.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zconnector.actions import Call, Caller, Respond
from zconnector.errors import Refusal
from zconnector.messages.message import clipped
from zconnector.queue.asking import Answered, Asking, Question
from zconnector.queue.door import OnCancel

INNER = b""
"""The `client` of every call that comes by here. ZeroMQ gives no peer an empty routing id."""

_new = tuple.__new__
"""Of what each command has two: a named tuple's own constructor costs a call more."""

OnCalls = Callable[[Sequence[Call]], None]


class InnerDoor(Asking):
    """Door and client in one: a call asks the core, `respond` performs its Respond actions.

    Sizes are not looked at: of what comes in `convert` and the core know the limits, and of what goes out the
    queue does (`envelope.unfit`).

    Invariant: `close` leaves no call without its answer.
    """

    def __init__(self, on_calls: OnCalls, on_cancel: OnCancel) -> None:
        """`on_calls`: calls that came together, for one step of the core."""
        super().__init__()
        self._on_calls = on_calls
        self._on_cancel = on_cancel
        self._closed = False

    def _put(self, numbers: Sequence[int], questions: Sequence[Question]) -> None:
        self._on_calls(
            [
                (_new(Caller, (INNER, number)), op, args, payload)
                for number, (op, args, payload) in zip(numbers, questions, strict=True)
            ]
        )

    def _withdraw(self, number: int) -> None:
        self._on_cancel(Caller(INNER, number))

    def _is_closed(self) -> bool:
        return self._closed

    def respond(self, action: Respond) -> None:
        """Answer one call. An answer to a call that was cancelled meanwhile goes nowhere."""
        error = action.error
        if error is not None:
            error = Refusal(error.reason, clipped(error.detail), error.uuid)
        self._answered(_new(Answered, (action.caller.call, action.args, action.payload, error)))

    def close(self) -> None:
        """End what waits with SHUTTING_DOWN, and take nothing more."""
        self._closed = True
        self._end_all("the queue is closing")
