"""What a client's tasks say together keeps its order."""

from __future__ import annotations

import asyncio

import pytest

from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as c
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.worker.deadlines import Deadlines
from zconnector.worker.errors import CallFailed
from zconnector.worker.sender import _are_same, _Awaited, _submissions


def frames(*items: object) -> list[tuple[list[str], list[str], list[str]]]:
    left = list(items)
    found = []
    while left:
        frame = c.SubmitRequest.FromString(_submissions(left))
        found.append((list(frame.forget), [x.uuid for x in frame.commands], [x.uuid for x in frame.awaits]))
    return found


def test_a_forget_is_looked_at_where_it_was_said() -> None:
    send, wait = t.Submission(uuid="s"), c.AwaitRequest(uuid="a")
    assert frames(send, wait) == [([], ["s"], ["a"])]
    assert frames("a", wait) == [(["a"], [], ["a"])]
    assert frames(wait, "a") == [([], [], ["a"]), (["a"], [], [])]
    assert frames(wait, "a", "b", wait, send, "a") == [
        ([], [], ["a"]),
        (["a", "b"], ["s"], ["a"]),
        (["a"], [], []),
    ]


def test_a_frame_is_closed_when_it_is_large() -> None:
    large = t.Submission(uuid="l", payload=b"x" * 900_000)
    assert frames(large, large, "a") == [([], ["l"], []), ([], ["l"], []), (["a"], [], [])]


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    awaited = _Awaited(Deadlines())
    first, second = (asyncio.ensure_future(awaited.wait(None)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    awaited.answered("it")
    awaited.answered("another")
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "it"
    assert await awaited.wait(0.0) == "it"  # it is there: no deadline matters
    assert awaited.waiters == []


async def test_a_wait_ends_by_its_deadline_and_by_the_loss_of_the_stream() -> None:
    awaited = _Awaited(Deadlines())
    with pytest.raises(TimeoutError):
        await awaited.wait(asyncio.get_running_loop().time())
    assert awaited.waiters == []
    waiting = asyncio.ensure_future(awaited.wait(None))
    await asyncio.sleep(0)
    awaited.failed(CallFailed("UNAVAILABLE", "gone"))
    with pytest.raises(CallFailed, match="gone"):
        await waiting


@pytest.mark.parametrize("field", ["type", "command", "major", "admin", "payload"])
def test_another_body_is_another_command(field: str) -> None:
    other = {"type": "x", "command": "x", "major": 2, "admin": True, "payload": b"x"}[field]
    one = t.Submission(uuid="u", type="Git", command="A", major=1, payload=b"p", timeout_ms=1)
    same = t.Submission(uuid="u", type="Git", command="A", major=1, payload=b"p", timeout_ms=2, reply=True)
    assert _are_same(one, same)
    setattr(same, field, other)
    assert not _are_same(one, same)
