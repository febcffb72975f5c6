"""A connector that was away misses no event inside retention, and is shown none twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.scene import Scene
from zconnector.worker import Client

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("away") / "dev", aggregators=2)
    try:
        yield await scene.start()
    finally:
        await scene.stop()


class Reader:
    """Reads a topic under a name, and counts how often it was shown each event."""

    def __init__(self, client: Client, topic: str) -> None:
        self.seen: Counter[str] = Counter()
        self._client = client
        self._topic = topic
        self._news = asyncio.Condition()

    async def run(self) -> None:
        async for event in self._client.events(self._topic):
            async with self._news:
                self.seen[event.uuid] += 1
                self._news.notify_all()

    async def sees(self, *uuids: str, seconds: float = 20.0) -> None:
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(lambda: all(self.seen[uuid] for uuid in uuids))


async def publish_until_seen(client: Client, topic: str, reader: Reader) -> None:
    """A reader sees what comes after its first wait, and nobody outside can tell when that was."""
    while not reader.seen:
        uuid = await client.send_event(topic, "FIRST")
        try:
            await reader.sees(uuid, seconds=0.2)
        except TimeoutError:
            continue


@pytest.mark.parametrize("stays", [True, False], ids=["the reader stays", "the reader comes back too"])
async def test_two_hundred_events_are_there_once_after_its_return(scene: Scene, stays: bool) -> None:
    topic = f"news-{stays}"
    missed = [f"{topic}-{number}" for number in range(EVENTS)]
    await scene.restore()
    async with Client(scene.grpc("git")) as git, Client(scene.grpc("ci"), name="reader") as ci:
        first = Reader(ci, topic)
        reading = asyncio.create_task(first.run())
        await publish_until_seen(git, topic, first)
        if not stays:
            reading.cancel()
        await scene.kill("ci")
        for uuid in missed:
            await git.send_event(topic, "HAPPENED", uuid=uuid)
        await scene.bring_back("ci")
        reader = first if stays else Reader(ci, topic)
        again = reading if stays else asyncio.create_task(reader.run())
        await reader.sees(*missed)
        await git.send_event(topic, "LAST", uuid=f"{topic}-last")
        await reader.sees(f"{topic}-last")  # in order of arrival: nothing is behind it
        assert {uuid: reader.seen[uuid] for uuid in missed} == dict.fromkeys(missed, 1)
        assert max(reader.seen.values()) == 1
        again.cancel()
    # It is shown before its number is known.
    await scene.until("ci", lambda status: status["cursor"] == status["latest"])
