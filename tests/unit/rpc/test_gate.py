"""The gate: what was held goes as one bunch, in order, always goes, and each call has its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from zconnector.errors import Reason, Refusal
from zconnector.rpc.gate import Gate
from zconnector.rpc.gathering import LIMIT, Gathering
from zconnector.rpc.port import Answered, Question, Told


class Door:
    """Answers each call with its own arguments: alone at once, of a bunch with the next turn or when told."""

    def __init__(self) -> None:
        self.alone: list[int] = []
        self.bunches: list[list[int]] = []
        self.taken_back: list[int] = []
        self.refused: set[int] = set()
        self.silent = False
        self._told: list[tuple[Told, list[Answered]]] = []

    @property
    def passed(self) -> list[int]:
        return [number for bunch in self.bunches for number in bunch] or self.alone

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        self.alone.append(args["n"])
        return dict(args), payload

    def ask(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> asyncio.Future[tuple[dict[str, Any], bytes]]:
        raise NotImplementedError

    def ask_all(self, questions: Sequence[Question], told: Told) -> Sequence[int]:
        self.bunches.append([args["n"] for _, args, _ in questions])
        numbers = [100 + args["n"] for _, args, _ in questions]
        answers = [
            Answered(
                number, args, payload, Refusal(Reason.BUSY, "full") if args["n"] in self.refused else None
            )
            for number, (_, args, payload) in zip(numbers, questions, strict=True)
        ]
        self._told.append((told, answers))
        if not self.silent:
            asyncio.get_running_loop().call_soon(self.tell)
        return numbers

    def tell(self) -> None:
        """The answers of all bunches."""
        while self._told:
            told, answers = self._told.pop(0)
            told(answers)

    def take_back(self, number: int) -> None:
        self.taken_back.append(number)


class Calls:
    """Calls that pass by a gate. Enough are expected that only `limit`, or the last of them, opens it."""

    def __init__(self, expected: int, limit: float = 3_600.0) -> None:
        self.door = Door()
        self.gate = Gate(self.door, Gathering(limit))
        for _ in range(expected):
            self.gate.answered()

    def call(self, number: int) -> asyncio.Task[tuple[Mapping[str, Any], bytes]]:
        return asyncio.ensure_future(self.gate.call("send_event", {"n": number}, b"%d" % number))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_call_is_through_before_the_loop_turns() -> None:
    calls = Calls(0)
    for number in range(3):
        call = calls.gate.call("send_event", {"n": number})
        try:
            call.send(None)
        except StopIteration:
            calls.gate.answered()
        else:
            raise AssertionError("it waits")
    assert calls.door.alone == [0, 1, 2]


async def test_those_that_belong_together_go_as_one_bunch_and_in_order() -> None:
    calls = Calls(3)
    tasks = []
    for number in range(3):
        tasks.append(calls.call(number))
        await turns(5)
        assert calls.door.bunches == ([] if number < 2 else [[0, 1, 2]])
    assert await asyncio.gather(*tasks) == [({"n": n}, b"%d" % n) for n in range(3)]
    assert calls.door.alone == []


async def test_who_comes_when_they_have_gone_does_not_overtake() -> None:
    calls = Calls(2)
    tasks = [calls.call(number) for number in range(4)]
    await asyncio.gather(*tasks)
    assert (calls.door.bunches, calls.door.alone) == ([[0, 1]], [2, 3])


async def test_they_go_when_what_is_expected_does_not_come() -> None:
    calls = Calls(5, LIMIT)
    async with asyncio.timeout(10):
        await asyncio.gather(calls.call(0), calls.call(1))
    assert calls.door.passed == [0, 1]


async def test_each_hears_its_own_refusal() -> None:
    calls = Calls(3)
    calls.door.refused.add(1)
    first, second, third = (calls.call(number) for number in range(3))
    assert (await first, await third) == (({"n": 0}, b"0"), ({"n": 2}, b"2"))
    with pytest.raises(Refusal) as refused:
        await second
    assert refused.value.reason is Reason.BUSY


async def test_one_that_is_cancelled_while_held_holds_up_nobody_and_is_not_asked() -> None:
    calls = Calls(3)
    first, second = calls.call(0), calls.call(1)
    await turns(2)
    first.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(second, calls.call(2))
    assert first.cancelled()
    assert calls.door.bunches == [[1, 2]]
    assert calls.door.taken_back == []


async def test_one_that_is_cancelled_when_it_was_asked_is_taken_back() -> None:
    calls = Calls(2)
    calls.door.silent = True
    first, second = calls.call(0), calls.call(1)
    await turns(2)
    first.cancel()
    await turns(2)
    assert (first.cancelled(), calls.door.taken_back) == (True, [100])
    calls.door.tell()
    assert await second == ({"n": 1}, b"1")


async def test_opened_at_the_end_nothing_is_left_behind() -> None:
    calls = Calls(5)
    tasks = [calls.call(number) for number in range(3)]
    await turns(2)
    calls.gate.open()
    await turns(3)
    assert all(task.done() for task in tasks)
    assert calls.door.bunches == [[0, 1, 2]]
