"""SIGKILL at every crash point of WIRE.md section 13, and at fifty random moments: receipted is answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.crew import Crew, Happenings, Sender
from tests.support.dev import Dev
from tests.support.hands import Hands, Run
from tests.support.versions import ROLLOUT
from tests.support.wire_document import tables

pytestmark = pytest.mark.timeout(300)
module_loop = pytest.mark.asyncio(loop_scope="module")

BEFORE_STORED = ["target.before_commit"]
AFTER_STORED = [
    "target.after_commit",
    "target.after_receipt",
    "target.after_lease",
    "target.completion_before_commit",
    "target.completion_after_commit",
    "target.after_reply",
]
SOURCE_COMMAND = ["source.before_send", "source.after_send", "source.after_receipt"]
SOURCE_REPLY = ["source.reply_before_commit", "source.reply_after_commit", "source.reply_after_confirm"]
MEMBER_COMMAND = ["member.before_resolution", "member.after_resolution", "member.after_forward"]
MEMBER_REPLY = ["member.reply_before_commit", "member.reply_after_commit"]
MEMBER_EVENT = ["member.event_before_commit", "member.event_after_commit"]
ONCE = {"target.before_commit", "target.after_commit", "target.completion_after_commit", "target.after_reply"}
"""Where no lease was lost, the command runs once."""


@dataclass
class Town:
    """git sends, ci works."""

    hands: Hands
    sender: Sender
    crew: Crew
    happenings: Happenings

    async def restart(self, name: str, point: str) -> Run:
        """Start a component armed, with nothing under way that would reach the point before the test does."""
        for connector in ("git", "ci"):
            await self.hands.until(connector, lambda s: s["queue"]["outbox"]["count"] == 0, 40)
        await self.hands.end(name)
        armed = await self.hands.start(name, crash_at=point)
        await self.hands.connected("git", "ci")
        return armed


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    state: Path = tmp_path_factory.mktemp("town") / "dev"
    dev = Dev(state, "--aggregators", "2", "--connector", "git:Git", "--connector", "ci:Ci")
    try:
        await dev.start()
        happenings = Happenings()
        crew = Crew(dev.grpc("ci"), happenings=happenings)
        sender = Sender(dev.grpc("git"), happenings=happenings)
        async with Hands(dev) as hands, crew, sender:
            await hands.working("ci", "RUN")
            await sender.until_receipted("warm-up")
            await sender.answered("warm-up")
            yield Town(hands, sender, crew, happenings)
    finally:
        await dev.stop()


def test_every_crash_point_is_shown_here() -> None:
    documented = {row["point"] for row in tables(13)[0]}
    shown = [BEFORE_STORED, AFTER_STORED, SOURCE_COMMAND, SOURCE_REPLY]
    shown += [MEMBER_COMMAND, MEMBER_REPLY, MEMBER_EVENT]
    shown.append(ROLLOUT)  # in test_versions_killed.py
    assert documented == {point for points in shown for point in points}


@module_loop
@pytest.mark.parametrize("point", BEFORE_STORED + AFTER_STORED)
async def test_the_target_dies_and_comes_back(town: Town, point: str) -> None:
    armed = await town.restart("ci", point)
    sending = asyncio.ensure_future(town.sender.once(point))
    await armed.died()
    await town.hands.start("ci")
    outcome = await sending
    if point.startswith("target.completion") or point == "target.after_reply":
        assert outcome == "ACCEPTED"  # the worker had it, so the receipt was long on its way
    if point in AFTER_STORED:
        assert outcome != "NOT_SENT"  # it is stored: an answer that denies it would be false
    elif outcome != "ACCEPTED":
        await town.sender.until_receipted(point)
    await town.sender.answered(point)
    assert town.crew.executed[point] >= 1
    if point in ONCE:
        assert town.crew.executed[point] == 1


@module_loop
@pytest.mark.parametrize("point", SOURCE_COMMAND + SOURCE_REPLY)
async def test_the_source_dies_and_comes_back(town: Town, point: str) -> None:
    armed = await town.restart("git", point)
    sending = asyncio.ensure_future(town.sender.until_receipted(point))
    await armed.died()
    await town.hands.start("git")
    await sending
    await town.sender.answered(point)
    assert town.crew.executed[point] == 1  # neither worker, connection nor lease died


@module_loop
@pytest.mark.parametrize("point", MEMBER_COMMAND + MEMBER_REPLY)
async def test_the_member_dies_under_a_command_and_comes_back(town: Town, point: str) -> None:
    armed = await town.restart("cluster", point)
    sending = asyncio.ensure_future(town.sender.until_receipted(point))
    await armed.died()
    await town.hands.start("cluster")
    await sending
    await town.sender.answered(point)
    assert town.crew.executed[point] == 1


@module_loop
@pytest.mark.parametrize("point", MEMBER_EVENT)
async def test_the_member_dies_under_an_event_and_comes_back(town: Town, point: str) -> None:
    armed = await town.restart("cluster", point)
    await town.sender.client.send_event("news", "HAPPENED", uuid=point)
    await armed.died()
    await town.hands.start("cluster")
    await town.happenings.until(lambda: town.crew.seen[point] > 0)
    # It has left the outbox: the journal has it, and nothing is on its way a second time.
    await town.hands.until("git", lambda s: s["queue"]["outbox"]["count"] == 0)
    await town.sender.client.send_event("news", "HAPPENED", uuid=f"{point}-next")
    await town.happenings.until(lambda: town.crew.seen[f"{point}-next"] > 0)
    assert town.crew.seen[point] == 1


@module_loop
async def test_fifty_kills_of_the_target_at_random_moments_lose_nothing(town: Town) -> None:
    rng = random.Random(50)
    hands, sender, crew, happenings = town.hands, town.sender, town.crew, town.happenings
    stop = asyncio.Event()
    sent: list[str] = []

    async def traffic(number: int) -> None:
        while not stop.is_set():
            uuid = f"random-{number}-{len(sent)}"
            sent.append(uuid)
            await sender.until_receipted(uuid, seconds=120)
            await sender.answered(uuid, 120)

    senders = [asyncio.ensure_future(traffic(number)) for number in range(8)]
    kills = 0
    await hands.restart("ci")
    while kills < 50:
        following = await hands.warm("ci")
        moment = happenings.count + rng.randrange(12)
        reached = asyncio.ensure_future(happenings.reached(moment, 30))
        await asyncio.wait([reached, *senders], return_when=asyncio.FIRST_COMPLETED)
        reached.result()
        await hands.restart("ci", run=following)
        kills += 1
    stop.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*senders)
    assert len(sent) > 50
    assert not [uuid for uuid in sent if crew.executed[uuid] == 0]


@module_loop
async def test_no_command_of_all_these_had_two_final_replies(town: Town) -> None:
    await town.hands.until("ci", lambda s: s["queue"]["outbox"]["count"] == 0, 40)
    assert len(town.sender.finals) > 50
    assert not {uuid: finals for uuid, finals in town.sender.finals.items() if len(finals) != 1}
