"""An operator: pauses and resumes command names, and replays dead letters, now and then; and readers of named
subscriptions, who stop in the middle and come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.record import Record
from tests.chaos.worker import AUDIT, AUDITED, EVENTS, LISTENS, WISHED
from zconnector.cli.traffic import CI, GIT
from zconnector.errors import Refusal, ZConnectorError
from zconnector.runtime.control import request
from zconnector.worker import CallFailed, Client

BETWEEN = (1.5, 5.0)
"""Seconds between two things that the operator does."""
PAUSED = (0.5, 2.5)
AGAIN = 0.3
"""Seconds before a connector that does not answer is asked again."""
TIMEOUT = 8.0
SIDES = (GIT, CI)

BILLING = "billing"
READS: dict[str, dict[str, str | None]] = {
    AUDIT: {LISTENS[AUDITED]: EVENTS[AUDITED]},
    BILLING: dict.fromkeys(LISTENS.values()),
}
"""Topics of each subscription, all at `AUDITED`, with the event name if only one is wanted. A worker there is
a member of the first, too."""
STAYS = (5, 60)
"""Events after which a reader stops without a word about the last one, and comes back."""


class Operator:
    """Asks connectors over their control sockets, as the command line does. The seed decides what."""

    def __init__(self, record: Record, directories: Mapping[str, Path], seed: int) -> None:
        """`directories`: state directory of each connector."""
        self._record = record
        self._directories = directories
        self._rng = random.Random(f"operator {seed}")

    async def work(self, until: float, give_up: float) -> None:
        """Until that loop time. Nothing is left paused, if a connector answers at all before `give_up`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(give_up):
            while loop.time() < until:
                side = self._rng.choice(SIDES)
                if self._rng.random() < 0.5:
                    name = self._rng.choice((side.command, WISHED[side.name]))
                    await self._pause(side.name, name, self._rng.uniform(*PAUSED))
                else:
                    await self._replay(side.name, WISHED[side.name])
                await asyncio.sleep(self._rng.uniform(*BETWEEN))

    async def _pause(self, connector: str, name: str, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        paused = await self._ask(connector, "queue.pause", {"command": name}) is not None
        begun = loop.time()
        await asyncio.sleep(seconds)
        if paused:
            self._record.paused(begun, loop.time(), connector, name)
        while True:
            if await self._ask(connector, "queue.resume", {"command": name}) is not None:
                return
            await asyncio.sleep(AGAIN)

    async def _replay(self, connector: str, name: str) -> None:
        loop = asyncio.get_running_loop()
        asked = loop.time()
        answer = await self._ask(connector, "dead.replay", {"command": name})
        if answer is None:
            self._record.replay_in_doubt(asked, connector)
            return
        for entry in answer["uuids"]:
            self._record.replayed(asked, loop.time(), connector, entry["uuid"], entry["replay_of"])

    async def _ask(self, connector: str, verb: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
        """None: it did not answer, and may have done it."""
        directory = self._directories[connector]
        try:
            return await asyncio.to_thread(request, directory, "operate", {"verb": verb, **args}, TIMEOUT)
        except Refusal as refusal:
            self._record.refused_operator(asyncio.get_running_loop().time(), connector, verb, str(refusal))
        except ZConnectorError:
            pass
        return None


def listening(
    reading: Coroutine[Any, Any, None], who: str, died: Callable[[str], None]
) -> asyncio.Task[None]:
    """A task of somebody who listens until it is cancelled: whatever else ends it is told."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            died(f"{who} ended: {task.exception()!r}")

    task = asyncio.create_task(reading)
    task.add_done_callback(ended)
    return task


class Readers:
    """One of each named subscription."""

    def __init__(
        self,
        record: Record,
        addresses: tuple[str, str],
        seed: int,
        saw: Callable[[str, str], None],
        died: Callable[[str], None],
    ) -> None:
        """`addresses` of the connector; `saw` is told uuid and subscription of what was handled; `died` what
        ended a reader although nobody ended it."""
        self._died = died
        self._record = record
        self._addresses = ",".join(addresses)
        self._rng = random.Random(f"readers {seed}")
        self._saw = saw
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Readers:
        self._tasks = [
            listening(self._read(*each), f"reader {each[0]}", self._died) for each in READS.items()
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, subscription: str, topics: Mapping[str, str | None]) -> None:
        wanted = [topic if event is None else (topic, event) for topic, event in topics.items()]
        loop = asyncio.get_running_loop()
        turn = 0
        while True:
            turn += 1
            stays = self._rng.randint(*STAYS)
            async with Client(self._addresses, name=f"reader {subscription} {turn}") as client:
                reading = client.subscribe(subscription, *wanted)
                try:
                    async for event in reading:
                        stays -= 1
                        # The last one is not acknowledged: it has to come again, to whoever reads then.
                        self._record.delivered(
                            loop.time(), AUDITED, subscription, "reader", event.uuid, event.attempt, stays > 0
                        )
                        if stays > 0:
                            self._saw(event.uuid, subscription)
                        else:
                            break
                except CallFailed as failed:
                    if not failed.passing:
                        raise
                finally:
                    await reading.aclose()  # type: ignore[attr-defined]
