"""The gate: what was held goes together, in order, and always goes."""

from __future__ import annotations

import asyncio

from zconnector.rpc.gate import Gate
from zconnector.rpc.gathering import LIMIT, Gathering


class Calls:
    """Calls that pass by a gate, and the turn of the loop in which each of them did."""

    def __init__(self, limit: float = 3_600.0) -> None:
        self.gate = Gate(Gathering(limit))
        self.passed: list[int] = []
        self.turns: list[int] = []
        self._turn = 0
        asyncio.get_running_loop().call_soon(self._tick)

    def _tick(self) -> None:
        self._turn += 1
        asyncio.get_running_loop().call_soon(self._tick)

    def call(self, number: int) -> asyncio.Task[None]:
        return asyncio.ensure_future(self._call(number))

    async def _call(self, number: int) -> None:
        await self.gate.passed()
        self.passed.append(number)
        self.turns.append(self._turn)


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_lone_call_is_through_before_the_loop_turns() -> None:
    gate = Gate()
    for _ in range(3):
        call = gate.passed()
        try:
            call.send(None)
        except StopIteration:
            gate.answered()
        else:
            raise AssertionError("it waits")


async def test_those_that_belong_together_pass_in_one_turn_and_in_order() -> None:
    calls = Calls()
    for _ in range(3):
        calls.gate.answered()
    tasks = []
    for number in range(3):
        tasks.append(calls.call(number))
        await turns(5)
        assert calls.passed == ([] if number < 2 else [0, 1, 2])
    await asyncio.gather(*tasks)
    assert len(set(calls.turns)) == 1


async def test_who_comes_while_they_leave_does_not_overtake() -> None:
    calls = Calls()
    for _ in range(2):
        calls.gate.answered()
    first = calls.call(0)
    await turns(2)
    rest = [calls.call(number) for number in (1, 2, 3)]
    await asyncio.gather(first, *rest)
    assert calls.passed == [0, 1, 2, 3]


async def test_they_go_when_what_is_expected_does_not_come() -> None:
    calls = Calls(LIMIT)
    for _ in range(5):
        calls.gate.answered()
    async with asyncio.timeout(10):
        await asyncio.gather(calls.call(0), calls.call(1))
    assert calls.passed == [0, 1]


async def test_one_that_is_cancelled_holds_up_nobody_and_does_not_pass() -> None:
    calls = Calls()
    for _ in range(3):
        calls.gate.answered()
    first, second = calls.call(0), calls.call(1)
    await turns(2)
    first.cancel()
    async with asyncio.timeout(10):
        await asyncio.gather(second, calls.call(2))
    assert first.cancelled()
    assert calls.passed == [1, 2]


async def test_opened_at_the_end_nothing_is_left_behind() -> None:
    calls = Calls()
    for _ in range(5):
        calls.gate.answered()
    tasks = [calls.call(number) for number in range(3)]
    await turns(2)
    calls.gate.open()
    await turns(3)
    assert all(task.done() for task in tasks)
