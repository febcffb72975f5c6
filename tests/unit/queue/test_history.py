"""What happened to a command, in a few bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.queue.conftest import START, Bench
from zconnector.queue.history import MAX_STEPS, noted, told
from zconnector.queue.states import Step


@given(st.lists(st.tuples(st.sampled_from(Step), st.integers(0, 2**47)), max_size=100))
def test_steps_come_back_in_order_and_never_more_than_the_bound(steps: list[tuple[Step, int]]) -> None:
    history = b""
    for step, wall in steps:
        history = noted(history, step, wall)
    times = [wall for wall, _ in told(history)]
    walls = [wall for _, wall in steps]
    kept = walls if len(walls) <= MAX_STEPS else walls[:4] + walls[4 - MAX_STEPS :]
    assert times == kept
    assert len(history) == 8 * len(kept)


def test_a_clock_before_1970_is_no_error() -> None:
    assert told(noted(b"", Step.LEASE, -5)) == [(0, "leased to a worker")]


def test_every_step_that_happens_to_what_is_known_has_its_sentence() -> None:
    never_seen = {Step.NOT_STORED, Step.FORGOTTEN, Step.ANSWERED}
    plain = {step for step in Step if told(noted(b"", step, 1))[0][1] == str(step)}
    assert plain == never_seen


def test_the_life_of_a_command(bench: Bench) -> None:
    bench.offer(bench.command("c1", delay=1_000))
    bench.passes(1)
    first = bench.wait(bench.iterator())
    bench.passes(1)
    bench.cancel(first)
    bench.wait(bench.iterator())
    bench.passes(1)
    bench.complete("c1")
    command = bench.queue.find_command("c1")
    assert command is not None
    assert [(wall - START, what) for wall, what in told(command.history)] == [
        (0, "stored and receipted, with a delay"),
        (1_000, "its delay is over: ready"),
        (1_000, "leased to a worker"),
        (2_000, "its lease ended without an answer: ready again"),
        (2_000, "leased to a worker"),
        (3_000, "done: its reply is stored"),
    ]


def test_an_end_that_is_not_stored_is_told(bench: Bench) -> None:
    bench.offer(bench.command("c1"))
    bench.wait(bench.iterator())
    bench.full = True
    bench.complete("c1")
    command = bench.queue.find_command("c1")
    assert command is not None
    assert told(command.history)[-1][1] == "that could not be stored: still leased"
