"""What a reader of a subscription holds, and what an acknowledgement makes room for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.support.bunches import Bunches
from zconnector.errors import Refusal
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as t
from zconnector.rpc.v1.reading import Reader

Answer = tuple[dict[str, Any], bytes]


class Door(Bunches):
    """Keeps what was asked; takes are answered by the test, acknowledgements at once."""

    def __init__(self) -> None:
        super().__init__()
        self.takes: list[tuple[int, asyncio.Future[Answer]]] = []
        self.said: list[dict[str, Any]] = []

    async def call(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        raise AssertionError(op)

    def ask(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> asyncio.Future[Answer]:
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if op == "acknowledge":
            self.said += args["events"]
            asked.set_result(({"results": [{} for _ in args["events"]]}, b""))
        else:
            self.takes.append((args["limit"], asked))
        return asked

    @property
    def room(self) -> int:
        """What the take that waits asks for; 0: none waits."""
        limit, asked = self.takes[-1]
        return 0 if asked.done() else limit

    async def hand_out(self, number: int, attempt: int) -> None:
        _, asked = self.takes[-1]
        asked.set_result(({"events": [{"id": number, "attempt": attempt, "size": 0}], "missed": 0}, b""))
        await asyncio.sleep(0)


def a_reader(door: Door, credits: int) -> Reader:
    def failed(refusal: Refusal) -> None:
        raise refusal

    reader = Reader(door, "s", "h", credits, lambda: None, failed)
    reader.feed.pull()
    return reader


async def twice(door: Door, credits: int = 3) -> Reader:
    """A reader that was handed event 7 again, its first lease being over."""
    reader = a_reader(door, credits)
    await door.hand_out(7, 1)
    await door.hand_out(7, 2)
    assert reader.feed.out == 2
    return reader


async def test_a_late_refusal_makes_room_for_its_own_hand_out_only() -> None:
    door = Door()
    reader = await twice(door)
    reader.acknowledge([t.EventAck(id=7, ok=False, attempt=1)])
    assert (reader.feed.out, door.said) == (1, [{"id": 7, "ok": False, "attempt": 1}])
    reader.acknowledge([t.EventAck(id=7, ok=False, attempt=2)])
    assert reader.feed.out == 0


async def test_done_makes_room_for_every_hand_out_of_the_event() -> None:
    door = Door()
    reader = await twice(door)
    reader.acknowledge([t.EventAck(id=7, ok=True, attempt=1)])
    assert reader.feed.out == 0
    reader.acknowledge([t.EventAck(id=7, ok=True, attempt=2)])
    assert reader.feed.out == 0


async def test_a_client_that_names_no_attempt_makes_room_for_all() -> None:
    door = Door()
    reader = await twice(door)
    reader.acknowledge([t.EventAck(id=7, ok=False)])
    assert (reader.feed.out, door.said) == (0, [{"id": 7, "ok": False, "attempt": 0}])


async def test_a_reader_without_credits_takes_again_when_all_hand_outs_are_done() -> None:
    """It had kept a credit for ever for each event that it was handed twice."""
    door = Door()
    reader = await twice(door, credits=2)
    assert door.room == 0
    reader.acknowledge([t.EventAck(id=7, ok=True, attempt=2)])
    assert door.room == 2
