"""The workload: as many in flight as asked for, and a driver that fails is an error, never a fast one."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.workload import OK, PAYLOAD_BYTES, DriverError, run


class Toy:
    """Answers at the next turn of the loop, and watches how many are under way."""

    def __init__(self, answer: str = OK, fails_at: int = 0) -> None:
        self.under_way = self.most = self.sent = 0
        self.sizes: set[int] = set()
        self._answer = answer
        self._fails_at = fails_at

    async def send(self, payload: str) -> str:
        self.sent += 1
        self.sizes.add(len(payload))
        if self.sent == self._fails_at:
            raise ConnectionError("it is dead")
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        return self._answer


class Mute:
    async def send(self, payload: str) -> str:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("never")


@pytest.mark.parametrize("in_flight", [1, 64])
async def test_so_many_are_in_flight_and_so_many_are_answered(in_flight: int) -> None:
    toy = Toy()
    measured = await run(toy, in_flight=in_flight, commands=500)
    assert (toy.sent, measured.count, toy.most) == (500, 500, in_flight)
    assert toy.sizes == {PAYLOAD_BYTES}
    assert measured.per_second == pytest.approx(500 / measured.seconds)


async def test_it_ends_with_its_time_and_counts_what_was_answered() -> None:
    toy = Toy()
    measured = await run(toy, in_flight=4, seconds=0.05)
    assert measured.count == toy.sent > 0
    assert measured.seconds >= 0.05


async def test_the_figures() -> None:
    figures = (await run(Toy(), in_flight=2, commands=10)).figures()
    assert set(figures) == {"in_flight", "count", "seconds", "per_second", "p50_ms", "p99_ms"}


@pytest.mark.parametrize("at", [1, 30])
async def test_a_driver_that_dies_is_an_error(at: int) -> None:
    with pytest.raises(DriverError, match="ConnectionError: it is dead"):
        await run(Toy(fails_at=at), in_flight=8, commands=100)


async def test_a_driver_that_answers_something_else_is_an_error() -> None:
    with pytest.raises(DriverError, match="the reply is '', not 'ok'"):
        await run(Toy(answer=""), in_flight=8, seconds=5)


async def test_a_driver_that_never_answers_is_an_error() -> None:
    with pytest.raises(DriverError, match=r"no reply within 0\.01 s"):
        await run(Mute(), in_flight=8, seconds=5, patience=0.01)


@pytest.mark.parametrize(
    "asked",
    [
        {"in_flight": 0, "seconds": 1},
        {"in_flight": 1},
        {"in_flight": 1, "seconds": 0},
        {"in_flight": 1, "commands": -1},
        {"in_flight": 1, "seconds": 1, "commands": 1},
    ],
)
async def test_nothing_to_measure_is_refused(asked: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"nothing to measure|either"):
        await run(Toy(), **asked)
