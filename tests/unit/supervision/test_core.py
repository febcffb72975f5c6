"""Transcripts of the supervisor's core, and what holds in any order of inputs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.transcript import at
from zconnector.actions import Note
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.supervision.core import MAX_WORKERS, Supervisor
from zconnector.supervision.states import (
    LIVE,
    Action,
    Actions,
    Drain,
    Level,
    Moved,
    Policy,
    Signal,
    Spawn,
    State,
)

POLICY = Policy(start=30, hang=10, drain=20, term=5, kill=3, backoff=1, backoff_max=8, crashes=3, window=60)
TERM, KILL = Signal("w", 1, Level.TERM), Signal("w", 1, Level.KILL)


def made(policy: Policy = POLICY, random: Callable[[], float] = lambda: 1.0) -> Supervisor:
    core = Supervisor(random)
    core.add("w", policy, at(0))
    return core


def running(policy: Policy = POLICY) -> Supervisor:
    core = made(policy)
    core.start("w", at(0))
    core.started("w", 1, 4711, at(0))
    core.registered("w", 1, at(0))
    return core


def asks(actions: Actions) -> list[Action]:
    """What it asks for, without what it tells."""
    return [action for action in actions if not isinstance(action, Note | Moved)]


def state(core: Supervisor) -> State:
    return core.view("w").state


def ring(core: Supervisor, late: float = 0.0) -> tuple[float, Actions]:
    """The next deadline comes: when (seconds after the start), and what is done."""
    due = core.deadline()
    assert due is not None
    seconds = due - at(0).mono + late
    return seconds, core.tick(at(seconds))


def test_it_starts_serves_and_is_drained() -> None:
    core = made()
    assert asks(core.start("w", at(0))) == [Spawn("w", 1)]
    core.started("w", 1, 4711, at(0))
    assert not core.serves("w", 1)
    core.registered("w", 1, at(1))
    assert core.serves("w", 1)
    assert not core.serves("w", 2)
    assert core.view("w").pid == 4711
    assert asks(core.stop("w", at(2))) == [Drain("w", 1)]
    assert not core.serves("w", 1)
    assert asks(core.drained("w", 1, at(3))) == [TERM]
    core.exited("w", 1, -15, at(4))
    assert state(core) is State.STOPPED
    assert core.deadline() is None


def test_every_limit_of_a_stop_is_kept_to() -> None:
    core = running()
    core.stop("w", at(0))
    assert ring(core) == (18.0, [])  # the first look
    when, done = ring(core)
    assert (when, asks(done)) == (20.0, [TERM])
    when, done = ring(core)
    assert (when, asks(done)) == (25.0, [KILL])
    when, done = ring(core)
    assert (when, asks(done)) == (28.0, [KILL])  # it hangs in the kernel
    assert [note.level for note in done if isinstance(note, Note)] == ["error"]
    core.exited("w", 1, -9, at(29))
    assert state(core) is State.STOPPED


def test_without_drain_it_is_terminated_at_once() -> None:
    assert asks(running().stop("w", at(1), drain=False)) == [TERM]
    draining = running()
    draining.stop("w", at(1))
    assert asks(draining.stop("w", at(2), drain=False)) == [TERM]
    assert asks(running(Policy(drain=0)).stop("w", at(1))) == [TERM]


def test_silence_ends_it_and_a_beat_comes_too_late() -> None:
    core = running()
    core.beat("w", 1, at(5))
    assert ring(core) == (13.0, [])
    when, done = ring(core)
    assert (when, asks(done)) == (15.0, [TERM])
    assert core.beat("w", 1, at(15)) == []
    assert not core.serves("w", 1)
    core.exited("w", 1, -15, at(16))
    view = core.view("w")
    assert (view.state, view.reason, view.crashes) == (State.BACKOFF, "hung: no beat for 10 s", 1)
    assert core.beat("w", 1, at(16)) == []


def test_a_beat_between_the_looks_is_life() -> None:
    core = running()
    ring(core)
    core.beat("w", 1, at(9))
    assert ring(core) == (17.0, [])
    assert state(core) is State.RUNNING


@pytest.mark.parametrize("frozen", [2.0, 3600.0])
def test_a_supervisor_that_was_frozen_hears_first(frozen: float) -> None:
    """Whether it froze before the first look or between the two."""
    core = running()
    when, done = ring(core, frozen)
    assert done == []
    when, done = ring(core, frozen)
    assert done == []
    core.beat("w", 1, at(when + 1))
    assert ring(core)[1] == []
    assert state(core) is State.RUNNING
    assert asks(ring(core)[1]) == [TERM]  # and it was awake this time


def test_a_clock_that_stands_still_ends_nothing() -> None:
    core = running()
    for _ in range(100):
        assert core.tick(at(0)) == []


def test_it_must_register_in_time_but_need_not_beat() -> None:
    core = made(Policy(start=10, hang=None))
    core.start("w", at(0))
    ring(core)
    when, done = ring(core)
    assert (when, asks(done)) == (10.0, [TERM])
    assert running(Policy(hang=None)).deadline() is None


def test_crashes_pause_longer_and_longer_and_a_loop_ends_it() -> None:
    core = made(Policy(backoff=1, backoff_max=3, crashes=5, window=60))
    core.start("w", at(0))
    pauses, now = [], 0.0
    for run in range(1, 5):
        core.exited("w", run, 0, at(now))
        then, done = ring(core)
        assert asks(done) == [Spawn("w", run + 1)]
        pauses.append(then - now)
        now = then
    assert pauses == [1, 2, 3, 3]
    done = core.exited("w", 5, -6, at(now))
    view = core.view("w")
    assert (view.state, view.due) == (State.FAILED, None)
    assert view.reason == (
        "crash loop, 5 ends in 60 s, the last: killed by SIGABRT before it had registered its commands"
    )
    assert [note.level for note in done if isinstance(note, Note)] == ["error"]
    assert asks(core.start("w", at(now))) == [Spawn("w", 6)]
    assert core.view("w").crashes == 0


def test_old_crashes_are_forgotten() -> None:
    core = made()
    core.start("w", at(0))
    for run, when in ((1, 0), (2, 30), (3, 61), (4, 100)):
        core.tick(at(when))
        core.exited("w", run, 1, at(when))
        assert state(core) is State.BACKOFF, run
        core.tick(at(when + 8))
    core.exited("w", 5, 1, at(110))
    assert state(core) is State.FAILED


def test_a_start_during_the_stop_lets_it_end_first() -> None:
    core = running()
    core.stop("w", at(1))
    assert core.start("w", at(2)) == []
    core.drained("w", 1, at(3))
    done = core.exited("w", 1, 0, at(4))
    assert asks(done) == [Spawn("w", 2)]
    assert core.view("w").crashes == 0
    assert core.exited("w", 1, 0, at(5)) == []  # told twice
    assert core.registered("w", 1, at(5)) == []  # was under way when it ended
    assert state(core) is State.STARTING


def test_a_stop_and_a_start_forgive_a_hanging_one() -> None:
    core = running()
    ring(core)
    assert asks(ring(core)[1]) == [TERM]
    assert core.stop("w", at(10)) == []
    assert core.start("w", at(10)) == []
    assert asks(core.exited("w", 1, -15, at(11))) == [Spawn("w", 2)]


def test_a_stop_before_it_was_made() -> None:
    core = made()
    core.start("w", at(0))
    assert asks(core.stop("w", at(0))) == [TERM]
    core.spawn_failed("w", 1, "no memory", False, at(1))
    assert state(core) is State.STOPPED


def test_a_stop_ends_a_pause_and_a_failure() -> None:
    core = running()
    core.exited("w", 1, 1, at(1))
    assert state(core) is State.BACKOFF
    assert asks(core.stop("w", at(1))) == []
    assert (state(core), core.deadline()) == (State.STOPPED, None)


def test_what_cannot_run_fails_at_once_what_may_is_tried_again() -> None:
    core = made()
    core.start("w", at(0))
    core.spawn_failed("w", 1, "busy", False, at(0))
    assert (state(core), core.view("w").reason) == (State.BACKOFF, "cannot be started: busy")
    ring(core)
    core.spawn_failed("w", 2, "no such file", True, at(2))
    assert (state(core), core.view("w").reason) == (State.FAILED, "cannot be started: no such file")


def test_refusals() -> None:
    core = made()
    with pytest.raises(Refusal, match="supervised already") as refused:
        core.add("w", POLICY, at(0))
    assert refused.value.reason is Reason.BAD_ARGUMENT
    with pytest.raises(Refusal, match="printable"):
        core.add("a\nb", POLICY, at(0))
    for call in (core.view, core.remove):
        with pytest.raises(Refusal, match="no worker 'x'"):
            call("x")
    core.start("w", at(0))
    with pytest.raises(Refusal, match="STARTING: stop it first"):
        core.remove("w")
    for number in range(1, MAX_WORKERS):
        core.add(str(number), POLICY, at(0))
    with pytest.raises(Refusal, match="256 workers"):
        core.add("more", POLICY, at(0))
    core.remove("1")
    assert core.beat("1", 1, at(0)) == []


@pytest.mark.parametrize(
    "wrong",
    [{"start": 0}, {"hang": -1.0}, {"term": float("nan")}, {"crashes": 0}, {"backoff": 2, "backoff_max": 1}],
)
def test_policies_that_break_their_rule(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Policy(**wrong)  # type: ignore[arg-type]


Row = tuple[str, str, str]


def table() -> set[Row]:
    """Every (state, event, next) of docs/supervision.md."""
    text = Path(__file__).parents[3].joinpath("docs/supervision.md").read_text("utf-8")
    rows = set()
    for line in text.partition("## Transitions")[2].partition("## Processes")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0] in set(State):
            for event in re.split("[(:]", cells[1])[0].split(","):
                rows.add((cells[0], event.strip(), cells[3]))
    return rows


ROWS = table()
KINDS = (
    *("start", "stop", "stop now", "registered", "beat", "drained", "exit", "fail", "fail for good"),
    *("started", "stale exit", "ring", "ring", "ring", "ring late"),
)
INPUTS = st.lists(st.tuples(st.sampled_from(KINDS), st.floats(0, 40)), max_size=60)
RUNS = st.floats(0, 1, exclude_max=True)


class World:
    """One worker's process as the core asks for it, in any order of events; checks what must always hold."""

    def __init__(self, random: float) -> None:
        self.core = made(random=lambda: random)
        self.now = 0.0
        self.alive: int | None = None
        self.killed = False
        self.ends: list[float] = []
        self.was = State.STOPPED
        self.seen: set[Row] = set()

    def do(self, what: str, wait: float) -> None:
        core, run = self.core, self.core.view("w").run
        due = core.deadline()
        if what.startswith("ring"):
            if due is None:
                return
            self.now = max(self.now, due - at(0).mono) + (wait if what == "ring late" else 0)
            self.check(core.tick(at(self.now)))
            return
        self.now += wait if due is None else min(wait, max(0.0, due - at(0).mono - self.now))
        now = at(self.now)
        match what:
            case "start":
                self.check(core.start("w", now))
            case "stop" | "stop now":
                self.check(core.stop("w", now, drain=what == "stop"))
            case "registered" if self.alive:
                self.check(core.registered("w", run, now))
            case "beat" if self.alive:
                self.check(core.beat("w", run, now))
            case "drained":
                self.check(core.drained("w", run, now))
            case "started" if self.alive:
                self.check(core.started("w", run, 4711, now))
            case "stale exit" if run > 1:
                assert core.exited("w", run - 1, 0, now) == []
            case "exit" if self.alive:
                self.gone()
                self.check(core.exited("w", run, 1, now))
            case "fail" | "fail for good" if self.alive:
                self.gone()
                self.check(core.spawn_failed("w", run, "why", what != "fail", now))

    def gone(self) -> None:
        self.alive, self.killed = None, False
        self.ends.append(self.now)

    def check(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, Spawn):
                assert self.alive is None, "two processes of one worker"
                self.alive = action.run
            elif isinstance(action, Signal):
                assert self.alive == action.run
                self.killed = self.killed or action.level is Level.KILL
            elif isinstance(action, Moved):
                assert (action.was, action.event, action.state) in ROWS
                assert action.was is self.was
                self.seen.add((action.was, action.event, action.state))
                self.was = action.state
        view = self.core.view("w")
        assert view.state is self.was
        assert (view.state in LIVE) == (self.alive is not None)
        assert view.state is not State.STOPPED or not view.wanted
        assert (view.due is None) == (view.state in (State.STOPPED, State.FAILED))
        if view.state is State.BACKOFF and actions:
            assert view.due is not None
            pause = view.due - at(0).mono - self.now
            assert POLICY.backoff / 2 <= pause + 1e-6
            assert pause <= POLICY.backoff_max + 1e-6
            assert view.crashes < POLICY.crashes
        assert view.crashes <= POLICY.crashes
        if actions and view.state is State.FAILED and view.reason.startswith("crash loop"):
            assert sum(end > self.now - POLICY.window for end in self.ends) >= POLICY.crashes


@given(INPUTS, RUNS)
@settings(max_examples=400, deadline=None)
def test_in_any_order_what_must_hold_holds(inputs: list[tuple[str, float]], random: float) -> None:
    world = World(random)
    for what, wait in inputs:
        world.do(what, wait)


def test_every_row_of_the_table_happens() -> None:
    rng = Random(5)
    world = World(0.5)
    expected = {row for row in ROWS if row[0] != row[2]}
    for _ in range(1_000_000):
        world.do(rng.choice(KINDS), rng.uniform(0, 10))
        if world.seen >= expected:
            break
    assert world.seen == expected


@given(INPUTS, RUNS, st.sampled_from(["stop", "stop now"]))
@settings(max_examples=400, deadline=None)
def test_a_wanted_stop_ends_within_the_sum_of_its_limits(
    inputs: list[tuple[str, float]], random: float, stop: str
) -> None:
    """With nobody's help but the kernel's, to whom SIGKILL is an end; a clock that rings in time."""
    world = World(random)
    for what, wait in inputs:
        world.do(what, wait)
    world.do(stop, 0)
    begun = world.now
    while world.was is not State.STOPPED:
        assert world.was in LIVE
        world.do("exit" if world.killed else "ring", 0)
    assert world.now - begun <= POLICY.drain + POLICY.term + POLICY.kill + 1e-6
