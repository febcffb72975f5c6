"""When what a core sends is handed over: at the end of a wake, elsewhere a turn of the loop later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from zconnector.actions import Actions, Caller, Commit, Link, Respond, Stop, Transmit
from zconnector.clock import Instant, SystemClock
from zconnector.errors import StorageError
from zconnector.messages import Kind, Message
from zconnector.messages.codec import Frames, decode
from zconnector.runtime.performer import Args, Performer


def event(name: str) -> Message:
    return Message(Kind.EVENT, {"uuid": name, "topic": "t", "event": "e"})


def answer(call: int) -> Respond:
    return Respond(Caller(b"", call))


class Wire:
    """In place of sockets; a link in `full` takes nothing."""

    def __init__(self) -> None:
        self.sent: list[tuple[Link, list[str]]] = []
        self.full: set[Link] = set()
        sockets: Any = self
        self.performer = Performer(
            sockets, SystemClock(), enter=self.enter, stop=lambda _: None, serve=lambda: None, crash_at=""
        )

    def enter(self, step: Callable[[*Args], Actions], *args: *Args) -> None:
        self.performer.perform(step(*args))

    def transmit(self, link: Link, frames: Frames) -> bool:
        if link in self.full:
            return False
        self.sent.append((link, [message.uuid for message in decode(frames)]))
        return True

    def say(self, link: Link, name: str, other: Link | None = None) -> None:
        def refused(now: Instant) -> Actions:
            return [] if other is None else [Transmit(other, (event(name),))]

        self.performer.perform([Transmit(link, (event(name),), refused)])


async def test_what_a_wake_brings_leaves_together_with_its_end() -> None:
    wire = Wire()
    wire.performer.begin_wake()
    wire.say(1, "a")
    wire.say(1, "b")
    assert wire.sent == []
    wire.performer.end_wake()
    assert wire.sent == [(1, ["a", "b"])]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert wire.sent == [(1, ["a", "b"])]


async def test_outside_of_a_wake_a_turn_of_the_loop_is_gathered() -> None:
    wire = Wire()
    wire.say(1, "a")
    wire.say(1, "b")
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [(1, ["a", "b"])]


async def test_a_wake_goes_along_with_what_this_turn_sends_anyway() -> None:
    wire = Wire()
    wire.say(1, "a")
    wire.performer.begin_wake()
    wire.say(1, "b")
    wire.performer.end_wake()
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [(1, ["a", "b"])]


async def test_what_is_refused_at_the_end_of_a_wake_takes_its_other_way() -> None:
    wire = Wire()
    wire.full.add(1)
    wire.performer.begin_wake()
    wire.say(1, "a", other=2)
    wire.performer.end_wake()
    await asyncio.sleep(0)
    assert wire.sent == [(2, ["a"])]


async def test_what_follows_from_an_action_comes_after_what_was_asked_before() -> None:
    wire = Wire()
    answered: list[int] = []

    def respond(action: Respond) -> None:
        answered.append(action.caller.call)
        if action.caller.call == 1:
            wire.performer.perform([answer(3)])

    wire.performer.respond = respond
    wire.performer.perform([answer(1), answer(2)])
    assert answered == [1, 2, 3]
    wire.performer.perform([answer(4)])
    assert answered == [1, 2, 3, 4], "nothing is performed twice"


class Writer:
    """In place of a group commit: its outcomes come when they are told to."""

    def __init__(self) -> None:
        self.heard: list[Callable[[Any], None]] = []

    def submit(self, writes: Sequence[Any], on_done: Callable[[Any], None], *, lazy: bool = False) -> None:
        self.heard.append(on_done)


async def test_the_outcomes_of_a_wake_are_one_step_in_their_order() -> None:
    steps: list[Any] = []

    class Counting(Wire):
        def enter(self, step: Callable[[*Args], Actions], *args: *Args) -> None:
            steps.append(step)
            super().enter(step, *args)

    wire, answered = Counting(), [0]
    writer: Any = Writer()
    wire.performer.commits = writer
    wire.performer.respond = lambda action: answered.append(action.caller.call)

    def commit(call: int) -> Commit:
        return Commit(("w",), lambda _now, _results: [answer(call)], lambda _now, _error: [answer(-call)])

    wire.performer.perform([commit(1), commit(2), commit(3)])
    wire.performer.begin_wake()
    for outcome, on_done in zip(([None], StorageError("full"), [None]), writer.heard, strict=True):
        on_done(outcome)
    assert answered == [0]
    wire.performer.end_wake()
    assert answered == [0, 1, -2, 3]
    assert len(steps) == 1
    writer.heard[0]([None])  # outside of a wake: at once
    assert answered == [0, 1, -2, 3, 1]


async def test_nothing_follows_a_stop() -> None:
    wire = Wire()
    answered: list[int] = []
    wire.performer.respond = lambda action: answered.append(action.caller.call)
    wire.performer.perform([answer(1), Stop(), answer(2)])
    assert answered == [1]


async def test_what_comes_after_an_action_that_raised_is_dropped() -> None:
    wire = Wire()
    with pytest.raises(RuntimeError, match="without a door"):
        wire.performer.perform([answer(1), answer(2)])
    answered: list[int] = []
    wire.performer.respond = lambda action: answered.append(action.caller.call)
    wire.performer.perform([answer(3)])
    assert answered == [3]


async def test_after_a_wake_turns_are_gathered_again() -> None:
    wire = Wire()
    wire.performer.begin_wake()
    wire.performer.end_wake()
    wire.say(1, "a")
    await asyncio.sleep(0)
    assert wire.sent == [(1, ["a"])]
