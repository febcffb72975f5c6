"""The shell of supervision over processes that a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.scripted_processes import ScriptedProcesses
from tests.support.supervised import DEADLINE, Log
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
