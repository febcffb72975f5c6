"""The shell of supervision over processes that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.scripted_processes import ScriptedProcesses
from tests.support.supervised import DEADLINE, Log
from zconnector.clock import Instant
from zconnector.errors import ConfigError, Refusal
from zconnector.supervision.launch import MAX_ARGV, Launch
from zconnector.supervision.masking import Mask
from zconnector.supervision.shell import Supervision
from zconnector.supervision.states import Level, Moved, Policy, State


class Connector:
    """Answers what supervision asks of it at once, from within its call."""

    def __init__(self, processes: ScriptedProcesses) -> None:
        self.log = Log()
        self.processes = processes
        self.supervision = Supervision(processes, self, log=self.log)
        self.moves: list[Moved] = []

    def drain(self, name: str, run: int) -> None:
        assert not self.supervision.serves(name, run)
        self.supervision.drained(name, run)
        assert (
            name,
            run,
            Level.TERM,
        ) not in self.processes.signals  # what follows from it comes after this action

    def moved(self, moved: Moved) -> None:
        self.moves.append(moved)
        if moved.state is State.STARTING:
            self.supervision.registered(moved.name, moved.run)


@pytest.fixture
async def patient() -> AsyncIterator[None]:
    async with asyncio.timeout(DEADLINE):
        yield


def states(connector: Connector) -> list[State]:
    return [move.state for move in connector.moves]


async def test_what_is_told_within_an_action_is_done_after_it() -> None:
    connector = Connector(ScriptedProcesses())
    connector.supervision.add("w")
    connector.supervision.start("w")
    assert connector.supervision.serves("w", 1)
    connector.supervision.stop("w")
    assert states(connector) == [
        *(State.STARTING, State.RUNNING, State.DRAINING, State.STOPPING, State.STOPPED)
    ]
    assert [line["state"] for line in connector.log.lines] == [str(state) for state in states(connector)]


@pytest.mark.usefixtures("patient")
async def test_time_wakes_it() -> None:
    processes = ScriptedProcesses(unable=frozenset({1}), deaf=True)
    connector = Connector(processes)
    connector.supervision.add("w", Policy(backoff=0.01, term=0.01, hang=0.02))
    connector.supervision.start("w")
    await connector.supervision.reached("w", {State.BACKOFF})
    await connector.supervision.reached("w", {State.RUNNING})
    await connector.supervision.reached("w", {State.KILLING, State.BACKOFF})
    assert processes.signals == [("w", 2, Level.TERM), ("w", 2, Level.KILL)]
    await connector.supervision.close()


class Deaf:
    """Hears what supervision does, and asks nothing of it."""

    def drain(self, name: str, run: int) -> None: ...

    def moved(self, moved: Moved) -> None: ...


class Untimed(asyncio.SelectorEventLoop):
    """As uvloop: what is due at once is called soon, by a handle that knows no time."""

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        if when <= self.time():
            return self.call_soon(callback, *args, context=context)
        return super().call_at(when, callback, *args, context=context)


def test_an_alarm_that_rings_at_once_needs_no_timer_of_the_loop() -> None:
    async def hung() -> None:
        async with asyncio.timeout(DEADLINE):
            connector = Connector(ScriptedProcesses())
            connector.supervision.add("w", Policy(hang=1e-9, backoff=DEADLINE))
            connector.supervision.start("w")
            connector.supervision.beat("w", 1)
            await connector.supervision.reached("w", {State.BACKOFF})
            await connector.supervision.close()

    with asyncio.Runner(loop_factory=Untimed) as runner:
        runner.run(hung())


class Still(asyncio.SelectorEventLoop):
    """As uvloop: its time stands still within a turn, while a timer counts from when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.turn = self.mono = 100.0
        self.rings: list[tuple[float, asyncio.TimerHandle]] = []

    def now(self) -> Instant:
        """It is the clock too."""
        return Instant(self.mono, 0)

    def time(self) -> float:
        return self.turn

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.rings.append((self.mono + when - self.turn, handle))
        return handle


def first_ring(*workers: tuple[float, float, float]) -> float:
    """Of the alarm of workers that may be silent for so long, begun at a loop's time and the clock's."""
    loop = Still()

    async def begin() -> float:
        supervision = Supervision(ScriptedProcesses(), Deaf(), clock=loop, log=Log())
        for number, (hang, turn, mono) in enumerate(workers):
            loop.turn, loop.mono = turn, mono
            supervision.add(str(number), Policy(hang=hang))
            supervision.start(str(number))
            supervision.registered(str(number), 1)
        return min(at for at, handle in loop.rings if not handle.cancelled())

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(begin())


def test_an_alarm_that_was_set_in_a_long_turn_of_the_loop_makes_no_other_late() -> None:
    later, sooner = (10.0, 100.0, 100.5), (9.0, 101.2, 101.2)
    assert first_ring(sooner) < first_ring(later)
    assert first_ring(later, sooner) == pytest.approx(first_ring(sooner))


@pytest.mark.usefixtures("patient")
async def test_close_stops_all_and_lets_nothing_start() -> None:
    processes = ScriptedProcesses()
    connector = Connector(processes)
    for name in ("a", "b", "idle"):
        connector.supervision.add(name)
    connector.supervision.start("a")
    connector.supervision.start("b")
    await connector.supervision.close()
    connector.supervision.start("idle")
    assert not processes.alive
    assert {view.state for view in connector.supervision.views()} == {State.STOPPED}
    connector.supervision.remove("a")
    with pytest.raises(Refusal, match="no worker 'a'"):
        connector.supervision.view("a")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"argv": []}, "absolute path"),
        ({"argv": ["worker"]}, "absolute path"),
        ({"argv": ["/w", "a\0b"]}, "NUL"),
        ({"argv": ["/w", "x" * MAX_ARGV]}, "must fit in"),
        ({"argv": ["/w"], "env": {"A=B": "c"}}, "environment"),
        ({"argv": ["/w"], "limits": {"luck": 1}}, "'luck' must be one of"),
        ({"argv": ["/w"], "limits": {"cpu": -1}}, "whole number"),
    ],
)
def test_launches_that_break_their_rule(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Launch(**wrong)  # type: ignore[arg-type]


def test_a_launch_shows_no_secret() -> None:
    shown = repr(Launch(argv=["/w"], stdin=b"s3cret", env={"K": "s3cret"}, hide=Mask(["s3cret"], ["4711"])))
    assert "s3cret" not in shown
