"""Which calls wait for others, and for how long: as a transcript, on a clock of our own."""

from __future__ import annotations

import pytest

from zconnector.rpc.gathering import LIMIT, MEMORY, MOST, Gathering

GOES, WAITS = False, True


class Transcript:
    def __init__(self) -> None:
        self.now = 0.0
        self.gathering = Gathering()

    def answers(self, count: int = 1) -> None:
        for _ in range(count):
            self.gathering.answered(self.now)

    def call(self) -> bool:
        waits = self.gathering.comes(self.now)
        if not waits:
            self.gathering.gone()
        return waits

    def passes(self, seconds: float) -> None:
        self.now += seconds
        if self.gathering.waiting and self.gathering.due <= self.now:
            self.gathering.over()
            self.gathering.gone()


@pytest.fixture
def seen() -> Transcript:
    return Transcript()


def test_a_lone_command_never_waits(seen: Transcript) -> None:
    for _ in range(20):
        assert seen.call() is GOES
        seen.passes(0.004)
        seen.answers()
        seen.passes(0.001)


def test_calls_that_nothing_announced_go_at_once(seen: Transcript) -> None:
    assert [seen.call() for _ in range(64)] == [GOES] * 64


def test_what_follows_a_bunch_goes_as_one(seen: Transcript) -> None:
    seen.answers(4)
    assert [seen.call() for _ in range(4)] == [WAITS, WAITS, WAITS, GOES]
    assert seen.gathering.waiting == 0
    assert seen.call() is GOES, "nothing is expected any more"


def test_nobody_waits_longer_than_the_limit(seen: Transcript) -> None:
    seen.answers(5)
    assert [seen.call(), seen.call()] == [WAITS, WAITS]
    first = seen.now
    seen.passes(LIMIT / 2)
    assert seen.call() is WAITS
    assert seen.gathering.due == first + LIMIT, "it counts from the first of them"
    seen.passes(LIMIT / 2)
    assert seen.gathering.waiting == 0
    assert seen.call() is WAITS, "the fifth is still expected"
    assert seen.gathering.due == seen.now + LIMIT


def test_who_waited_in_vain_is_the_last_to_do_so(seen: Transcript) -> None:
    seen.answers(8)
    assert seen.call() is WAITS
    seen.passes(LIMIT)
    assert [seen.call(), seen.call()] == [GOES, GOES]


def test_what_does_not_come_is_forgotten(seen: Transcript) -> None:
    seen.answers(8)
    seen.passes(MEMORY)
    assert seen.call() is GOES
    seen.answers(1)
    assert seen.call() is GOES


def test_no_more_than_so_many_wait(seen: Transcript) -> None:
    seen.answers(2 * MOST + 1)
    waits = [seen.call() for _ in range(2 * MOST)]
    assert waits == ([WAITS] * (MOST - 1) + [GOES]) * 2


def test_what_is_expected_is_bounded_by_what_is_remembered(seen: Transcript) -> None:
    for _ in range(10_000):
        seen.answers()
        seen.passes(MEMORY / 10)
    assert len(seen.gathering._expected) <= 11
