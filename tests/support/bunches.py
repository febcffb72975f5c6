"""Bunches of calls for a door in the hand of a test: what it can be asked one by one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from zconnector.errors import Refusal
from zconnector.queue.asking import Answered, Question, Told

_NUMBERS = itertools.count(1)


class Bunches:
    """To be mixed into a door that has `ask`; each answer is told by itself."""

    def __init__(self) -> None:
        self.bunched: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        raise NotImplementedError

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        return [self._ask_one_of(question, told) for question in questions]

    def take_back(self, number: int) -> None:
        self.bunched[number].cancel()

    def _ask_one_of(self, question: Question, told: Told) -> int:
        number = next(_NUMBERS)
        asked = self.bunched[number] = self.ask(*question)

        def done(_: object) -> None:
            if asked.cancelled():
                return
            error = asked.exception()
            if isinstance(error, Refusal):
                told([Answered(number, {}, b"", error)])
            else:
                told([Answered(number, *asked.result(), None)])

        asked.add_done_callback(done)
        return number
