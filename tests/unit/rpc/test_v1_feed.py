"""A feed asks for what there is room for, and for no more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from tests.support.bunches import Bunches
from zconnector.errors import Reason, Refusal
from zconnector.rpc.v1.feed import Feed, Item

Answer = tuple[dict[str, Any], bytes]


class Door(Bunches):
    """Keeps what was asked, and answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Mapping[str, Any], asyncio.Future[Answer]]] = []

    async def call(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        return await self.ask(op, args, payload)

    def ask(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.asked.append((args, future))
        return future

    async def answer(self, *sizes: int) -> None:
        items = [{"uuid": str(place), "size": size} for place, size in enumerate(sizes)]
        self.asked[-1][1].set_result(({"commands": items}, b"x" * sum(sizes)))
        await asyncio.sleep(0)

    @property
    def limits(self) -> list[int]:
        return [args["limit"] for args, _ in self.asked]


class Scene:
    def __init__(self, credits: int) -> None:
        self.door = Door()
        self.items: list[Item] = []
        self.failures: list[Refusal] = []
        self.feed = Feed(
            self.door, "take", {"commands": ["A"]}, "commands", credits, self._took, self.failures.append
        )

    def _took(self, feed: Feed, items: list[Item], result: Mapping[str, Any]) -> None:
        self.items += items


async def test_one_call_at_a_time_for_what_there_is_room_for() -> None:
    scene = Scene(100)
    scene.feed.pull()
    scene.feed.pull()
    assert scene.door.limits == [64]
    await scene.door.answer(1, 2, 3)
    assert [len(payload) for _, payload in scene.items] == [1, 2, 3]
    assert scene.feed.out == 3
    assert scene.door.limits == [64, 64]
    await scene.door.answer(*[0] * 64)
    assert scene.door.limits == [64, 64, 33]
    await scene.door.answer(*[0] * 33)
    assert scene.door.limits == [64, 64, 33]  # full
    scene.feed.done(2)
    scene.feed.pull()
    assert scene.door.limits[-1] == 2


async def test_lower_credits_take_a_call_back_that_might_bring_more() -> None:
    scene = Scene(10)
    scene.feed.pull()
    scene.feed.set_credits(4)
    await asyncio.sleep(0)
    assert scene.door.asked[0][1].cancelled()
    assert scene.door.limits == [10, 4]
    scene.feed.set_credits(9)  # more: the call that is out brings less than it might, and the next one more
    assert scene.door.limits == [10, 4]
    scene.feed.set_credits(0)
    await asyncio.sleep(0)
    assert scene.door.limits == [10, 4]
    scene.feed.pull()
    assert scene.door.limits == [10, 4]


async def test_what_comes_although_it_was_stopped_is_handed_on() -> None:
    scene = Scene(2)
    scene.feed.pull()
    scene.door.asked[0][1].set_result(({"commands": [{"uuid": "0", "size": 0}]}, b""))
    scene.feed.stop()  # the answer had just come: it is ours to give back
    await asyncio.sleep(0)
    assert len(scene.items) == 1
    assert len(scene.door.asked) == 1


async def test_a_refusal_is_told_once_and_a_hold_asks_for_nothing() -> None:
    scene = Scene(2)
    scene.feed.hold(True)
    scene.feed.pull()
    assert scene.door.asked == []
    scene.feed.hold(False)
    scene.door.asked[0][1].set_exception(Refusal(Reason.SHUTTING_DOWN, "over"))
    await asyncio.sleep(0)
    assert [failure.reason for failure in scene.failures] == [Reason.SHUTTING_DOWN]
    assert len(scene.door.asked) == 1
