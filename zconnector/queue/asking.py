"""What every client of the door does with a call: awaits its answer, or takes it back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from zconnector.errors import Reason, Refusal

MAX_PENDING = 100_000
"""Calls of one client that may wait at once."""

Answer = asyncio.Future[tuple[dict[str, Any], bytes]]
Question = tuple[str, Mapping[str, Any], bytes]
"""A call: operation, arguments, payload."""


class Answered(NamedTuple):
    """What one call of a bunch came to."""

    number: int
    args: Mapping[str, Any]
    """To be read only: they may be the queue's own."""
    payload: bytes
    refusal: Refusal | None


Told = Callable[[list[Answered]], None]


class Asking(ABC):
    """Invariant: a call is in `_pending` until its answer is taken or it is taken back; one of a bunch is in
    `_bunched` until its answer has come, and then in `_untold` until the asker has it."""

    def __init__(self) -> None:
        self._calls = 0
        self._pending: dict[int, Answer] = {}
        self._bunched: dict[int, Told] = {}
        self._untold: dict[Told, list[Answered]] = {}

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
            self._withdraw(number)
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
                self._withdraw(number)

        future.add_done_callback(done)
        return future

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        """As `ask` for a bunch of calls, without a future for any. Returns a number for each, in order.

        `told` is called with the answers, all that come in one turn of the loop together, and never before
        this has returned. Calls that there is no room for are refused: BUSY.
        """
        # A frame of a stream brings twenty commands, and a commit their answers: what is done once for all of
        # them here, a future, two callbacks and a step of the core would be done twenty times.
        numbers = range(self._calls + 1, self._calls + 1 + len(questions))
        self._calls += len(questions)
        room = self._room()
        admitted, refused = numbers[:room], numbers[room:]
        if admitted:
            self._bunched.update(dict.fromkeys(admitted, told))
            self._put(admitted, questions[:room])
        for number in refused:
            self._tell(told, Answered(number, {}, b"", self._refusal()))
        return numbers

    def take_back(self, number: int) -> None:
        """Take back a call of a bunch, unless it has its answer: that is still told."""
        if self._bunched.pop(number, None) is not None:
            self._withdraw(number)

    @abstractmethod
    def _put(self, numbers: Sequence[int], questions: Sequence[Question]) -> None:
        """Put calls on their way, all at once."""

    @abstractmethod
    def _withdraw(self, number: int) -> None:
        """Tell the door that the caller of a call is gone."""

    @abstractmethod
    def _is_closed(self) -> bool:
        """Whether there is no way to the door."""

    def _begin(self, op: str, args: Mapping[str, Any], payload: bytes) -> tuple[int, Answer]:
        """Put a call into `_pending` and on its way. Raises Refusal: SHUTTING_DOWN, BUSY."""
        if not self._room():
            raise self._refusal()
        self._calls += 1
        number = self._calls
        future: Answer = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        self._put((number,), ((op, args, payload),))
        return number, future

    def _room(self) -> int:
        """How many more calls there may be."""
        return 0 if self._is_closed() else max(0, MAX_PENDING - len(self._pending) - len(self._bunched))

    def _refusal(self) -> Refusal:
        """Why there is no room."""
        if self._is_closed():
            return Refusal(Reason.SHUTTING_DOWN, "the queue's door is closed")
        return Refusal(Reason.BUSY, f"{MAX_PENDING} calls are waiting")

    def _answered(self, answered: Answered) -> None:
        """A call has its answer. One that was taken back meanwhile is no more."""
        told = self._bunched.pop(answered.number, None)
        if told is not None:
            answers = self._untold.get(told)
            if answers is None:
                self._tell(told, answered)
            else:
                answers.append(answered)
            return
        future = self._pending.get(answered.number)
        if future is None or future.done():
            return
        if answered.refusal is None:
            future.set_result((dict(answered.args), answered.payload))
        else:
            future.set_exception(answered.refusal)

    def _tell(self, told: Told, answered: Answered) -> None:
        """With what else this asker is told in this turn of the loop."""
        answers = self._untold.get(told)
        if answers is None:
            answers = self._untold[told] = []
            asyncio.get_running_loop().call_soon(self._tell_all, told)
        answers.append(answered)

    def _tell_all(self, told: Told) -> None:
        told(self._untold.pop(told))

    def _end_all(self, why: str) -> None:
        """End what waits with SHUTTING_DOWN."""
        for number in [*self._pending, *self._bunched]:
            self._answered(Answered(number, {}, b"", Refusal(Reason.SHUTTING_DOWN, why)))
