"""Holds the calls that are to be gathered, on the loop's clock, and asks the door all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.rpc.gathering import Gathering
from zconnector.rpc.port import Answered, DoorPort, Question

Answer = tuple[Mapping[str, Any], bytes]


@dataclass(slots=True, eq=False)
class _Call:
    question: Question
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    number: int = 0
    """At the door; 0: it is held."""


class Gate:
    """Calls pass in the order in which they came. To be made on the loop, or before it runs.

    Invariant: while calls are in `_held` there is a timer that lets them go; one that was asked is in
    `_asked` until its answer is told, or nobody waits for it any more.
    """

    def __init__(self, door: DoorPort, gathering: Gathering | None = None) -> None:
        self._door = door
        self._gathering = gathering or Gathering()
        self._held: list[_Call] = []
        self._asked: dict[int, _Call] = {}
        self._timer: asyncio.TimerHandle | None = None

    def answered(self) -> None:
        """An answer went out that mostly brings a call by here."""
        self._gathering.answered(asyncio.get_running_loop().time())

    async def call(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        """As the door's `call`, which those that go together enter as one bunch."""
        waits = self._gathering.comes(asyncio.get_running_loop().time())
        if not waits and not self._held:
            return await self._door.call(op, args, payload)
        call = _Call((op, args, payload))
        self._held.append(call)
        if not waits:
            self.open()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(self._gathering.due, self._over)
        try:
            return await call.answer
        except asyncio.CancelledError:
            if call.number:
                self._asked.pop(call.number, None)
                self._door.take_back(call.number)
            raise

    def open(self) -> None:
        """Let go what is held."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._gathering.gone()
        held = [call for call in self._held if not call.answer.done()]  # one that is was cancelled
        self._held.clear()
        if not held:
            return
        numbers = self._door.ask_all([call.question for call in held], self._told)
        for call, number in zip(held, numbers, strict=True):
            call.number = number
            self._asked[number] = call

    def _told(self, answers: list[Answered]) -> None:
        for number, args, payload, refusal in answers:
            call = self._asked.pop(number, None)
            if call is None or call.answer.done():
                continue
            if refusal is None:
                call.answer.set_result((args, payload))
            else:
                call.answer.set_exception(refusal)

    def _over(self) -> None:
        self._gathering.over()
        self.open()
