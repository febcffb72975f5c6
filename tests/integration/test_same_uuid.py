"""The same uuid, whatever way it comes and however often, is one command (DESIGN section 3, promise 3)."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from tests.support.crew import Crew, Sender
from tests.support.scene import Scene
from zconnector.worker import Rejected
from zconnector.worker.connection import pause

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

INSTANCES = ("agg1/a", "agg1/b", "agg1/c")
TWINS = ("ci", "ci2")
TORMENTS = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    connectors = ("git:Git", "ci:Ci", "ci2:Ci")
    scene = Scene(tmp_path_factory.mktemp("uuid") / "dev", connectors=connectors)
    try:
        yield await scene.start(pivot="")
    finally:
        await scene.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def scene(standing: Scene) -> Scene:
    await standing.restore()
    return standing


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crews(standing: Scene) -> AsyncIterator[dict[str, Crew]]:
    """A worker for RUN on each of the two connectors of type Ci."""
    async with Crew(standing.grpc("ci")) as one, Crew(standing.grpc("ci2")) as two:
        yield {"ci": one, "ci2": two}


@pytest_asyncio.fixture(loop_scope="module")
async def sender(scene: Scene, crews: dict[str, Crew]) -> AsyncIterator[Sender]:
    async with Sender(scene.grpc("git")) as sender:
        async with asyncio.timeout(20):
            while not await declared(sender):
                continue
        yield sender


async def declared(sender: Sender) -> bool:
    """Whether the workers' list has become the type's pivot."""
    try:
        await sender.until_receipted("warm-up")
    except Rejected:
        return False
    return True


def executed(crews: dict[str, Crew], uuid: str) -> dict[str, int]:
    return {name: crew.executed[uuid] for name, crew in crews.items() if crew.executed[uuid]}


async def only_through(scene: Scene, label: str) -> None:
    """Freeze all instances but one; every connector knows only that one afterwards."""
    for other in INSTANCES:
        scene.signal(other, signal.SIGCONT if other == label else signal.SIGSTOP)
    for name in ("git", *TWINS):
        async with scene.log(name) as log:
            await log.until(lambda log=log: log.live() == {label[-1]})  # type: ignore[misc]


async def test_through_two_instances_it_is_stored_once_and_receipted_twice(
    scene: Scene, sender: Sender, crews: dict[str, Crew]
) -> None:
    for label in ("agg1/a", "agg1/b"):
        await only_through(scene, label)
        assert await sender.once("twice") == "ACCEPTED"
        await sender.answered("twice")
    counts = [(await scene.ask(name))["counters"] for name in TWINS]
    assert sum(each.get("commands.DUPLICATE", 0) for each in counts) >= 1
    assert list(executed(crews, "twice").values()) == [1]


async def test_with_another_body_it_is_a_conflict(
    scene: Scene, sender: Sender, crews: dict[str, Crew]
) -> None:
    assert await sender.once("body", payload="one") == "ACCEPTED"
    await sender.answered("body")
    for _ in range(4):  # over whichever instance, and also once it has ended
        with pytest.raises(Rejected) as refused:
            await sender.once("body", payload="two")
        assert refused.value.reason == "CONFLICT"
    assert await sender.once("body", payload="one") == "ACCEPTED"
    assert list(executed(crews, "body").values()) == [1]


async def test_a_retried_command_never_runs_on_both_connectors_of_its_type(
    scene: Scene, sender: Sender, crews: dict[str, Crew]
) -> None:
    """Sent again and again under one uuid while instances and both connectors are killed and frozen."""
    rng = random.Random(7)
    uuids: list[str] = []

    async def torment() -> None:
        for number in range(TORMENTS):
            label = rng.choice((*INSTANCES, *TWINS))
            if number % 2:
                await scene.kill(label)
                await scene.bring_back(label)
                continue
            scene.signal(label, signal.SIGSTOP)
            await sender.happenings.more(rng.randrange(40))
            scene.signal(label, signal.SIGCONT)

    tormentor = asyncio.create_task(torment())

    async def send() -> None:
        while not tormentor.done():
            uuid = f"retried-{len(uuids)}"
            uuids.append(uuid)
            for _ in range(3):
                await sender.until_receipted(uuid, each=0.5)
            await sender.answered(uuid, 60)

    async with asyncio.timeout(200):
        await asyncio.gather(tormentor, *(send() for _ in range(8)))
    runs = {uuid: executed(crews, uuid) for uuid in uuids}
    assert not {uuid: run for uuid, run in runs.items() if len(run) != 1}
    assert {name for run in runs.values() for name in run} == set(TWINS)  # both were used
    finals = {uuid: sender.finals.get(uuid, set()) for uuid in uuids}
    assert not {uuid: final for uuid, final in finals.items() if len(final) > 1}


async def frozen_and_released(
    scene: Scene,
    sender: Sender,
    crews: dict[str, Crew],
    name: str,
    long_enough: Callable[[], Awaitable[None]],
) -> None:
    """Commands get into a frozen instance, run over the others, and their copies come out of it later."""
    uuids = [f"frozen-{name}-{number}" for number in range(30)]
    scene.signal("agg1/b", signal.SIGSTOP)
    await asyncio.gather(*(sender.until_receipted(uuid, each=1.5) for uuid in uuids))
    for uuid in uuids:
        await sender.answered(uuid)
    async with scene.log("git") as log:
        await log.until(lambda: log.live() == {"a", "c"})
        await long_enough()
        scene.signal("agg1/b", signal.SIGCONT)
        await log.until(lambda: log.live() == {"a", "b", "c"})
    await sender.until_receipted(f"after-{name}")
    await sender.answered(f"after-{name}")
    assert {uuid: sum(executed(crews, uuid).values()) for uuid in uuids} == dict.fromkeys(uuids, 1)


async def test_a_frozen_instance_that_is_released_causes_no_second_execution(
    scene: Scene, sender: Sender, crews: dict[str, Crew]
) -> None:
    async def noticed() -> None:
        """Everybody has gone on without it."""

    await frozen_and_released(scene, sender, crews, "short", noticed)


@pytest.mark.soak
@pytest.mark.skipif(os.environ.get("ZCONNECTOR_SOAK") != "1", reason="long; ZCONNECTOR_SOAK=1 runs it")
@pytest.mark.timeout(1200)
async def test_nor_one_that_was_frozen_for_longer_than_the_dedupe_window(
    scene: Scene, sender: Sender, crews: dict[str, Crew]
) -> None:
    """12 minutes: what had ended is forgotten meanwhile, so that only floor and deadline stand guard."""

    async def forgotten() -> None:
        async with asyncio.timeout(900):
            for name in TWINS:
                while (await scene.ask(name))["queue"]["commands"]["ended"]:
                    await pause(asyncio.Event(), 5.0)

    await frozen_and_released(scene, sender, crews, "long", forgotten)
