"""What a client's tasks say together keeps its order."""

from __future__ import annotations

from zconnector.rpc._gen.zconnector.v1 import commands_pb2 as c
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.worker.sender import _submissions


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
