"""The demo's story: start, traffic both ways, one instance killed, another, one brought back, the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zconnector.cli.child import tail
from zconnector.cli.demo_view import DOWN, STARTING, UP, View
from zconnector.cli.ledger import Ledger, Verdict
from zconnector.cli.stage import Stage
from zconnector.cli.topology import Component
from zconnector.cli.traffic import CI, GIT, Traffic, WorkerProcess
from zconnector.errors import NotRunningError

FIRST_KILL, SECOND_KILL, RETURN = 0.2, 0.45, 0.7
"""Shares of the commands that are sent when an instance is killed, another is killed, the first is back."""
GIVE_UP = 30.0
"""Seconds that a command may take from its sending to its reply."""


@dataclass(frozen=True, slots=True)
class Report:
    """How the demo ended."""

    verdict: Verdict
    aggregators_killed: int
    seconds: float

    @property
    def good(self) -> bool:
        return self.verdict.good and self.verdict.receipts == self.verdict.replies

    def summary(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        return {
            "commands": self.verdict.commands,
            "receipts": self.verdict.receipts,
            "replies": self.verdict.replies,
            "events": self.verdict.events,
            "lost": self.verdict.lost,
            "duplicates_flagged": self.verdict.flagged,
            "aggregators_killed": self.aggregators_killed,
            "seconds": round(self.seconds, 1),
        }


class Demo:
    """One run of the story."""

    def __init__(self, state_dir: Path, commands: int, events: int, pace: float, view: View) -> None:
        self._commands = commands
        self._events = events
        self._pace = pace
        self._view = view
        self._ledger = Ledger()
        self._seen: dict[str, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self._killed = 0
        self._victims: set[str] = set()
        self._casualty: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a component dies that the story did not kill."""
        self._stage = Stage(state_dir, aggregators=3, connectors=("git:Git", "ci:Ci"), told=self._told)

    async def run(self) -> Report:
        """Play it to its end; all processes are gone when this returns or raises.

        Raises ZConnectorError where the topology does not start, or its workers do nothing.
        """
        begun = time.monotonic()
        workers: list[WorkerProcess] = []
        try:
            with self._view as view:
                for component in self._stage.plan.components:
                    view.state(component.label, STARTING, 0)
                view.say("starting a cluster member, three aggregator instances, two connectors")
                await self._stage.start()
                view.say("everything serves; starting a Python worker on each connector")
                for side in (GIT, CI):
                    log = self._stage.state_dir / "logs" / f"worker-{side.name}.log"
                    worker = WorkerProcess(side, self._stage.grpc(side.name), self._ledger, log, self._heard)
                    workers.append(worker)
                    await worker.start()
                await self._unless_somebody_dies(self._play())
                verdict = self._ledger.verdict()
                view.count(verdict)
                view.say(_conclusion(verdict), "bold green" if verdict.good else "bold red")
            return Report(verdict, self._killed, time.monotonic() - begun)
        finally:
            for worker in workers:
                await worker.stop()
            await self._stage.stop()

    async def _unless_somebody_dies(self, story: Coroutine[Any, Any, None]) -> None:
        """Raises NotRunningError when a component dies that should not."""
        playing = asyncio.create_task(story)
        try:
            await asyncio.wait({playing, self._casualty}, return_when=asyncio.FIRST_COMPLETED)
            if self._casualty.done():
                self._casualty.result()
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)

    def _told(self, component: Component, what: str) -> None:
        if self._stage.alive(component):
            self._view.state(component.label, UP, self._stage.pid(component))
        elif component.label not in self._victims and not self._casualty.done():
            log = self._stage.state_dir / component.log
            text = f"{component.label} {what}; the end of {log}:\n{tail(log)}"
            self._casualty.set_exception(NotRunningError(text))

    async def _play(self) -> None:
        grpc = {side.name: self._stage.grpc(side.name) for side in (GIT, CI)}
        async with Traffic(self._ledger, grpc, self._note) as traffic:
            await traffic.warm_up(self._event_of)
            self._view.say("workers answer: commands and events both ways from now on", "bold")
            plot = asyncio.create_task(self._plot())
            async with asyncio.TaskGroup() as group:
                published = 0
                for number in range(self._commands):
                    source = (GIT, CI)[number % 2]
                    group.create_task(traffic.command(source, number, give_up=GIVE_UP))
                    while published * self._commands < (number + 1) * self._events:
                        group.create_task(traffic.event((GIT, CI)[published % 2], published, give_up=GIVE_UP))
                        published += 1
                    await asyncio.sleep(self._pace)
            await plot
            await self._until(lambda: not self._ledger.open_events)

    async def _plot(self) -> None:
        a, b = (self._stage.component(f"agg1/{letter}") for letter in "ab")
        await self._until(lambda: self._share() >= FIRST_KILL)
        await self._kill(a)
        await self._until(lambda: self._share() >= SECOND_KILL)
        await self._kill(b)
        await self._until(lambda: self._share() >= RETURN)
        self._view.say(f"bringing {a.label} back", "yellow")
        self._view.state(a.label, STARTING, 0)
        await self._stage.bring_back(a)
        self._view.say(f"{a.label} serves again, pid {self._stage.pid(a)}", "bold green")

    async def _kill(self, component: Component) -> None:
        open_now = self._ledger.open_commands
        self._victims.add(component.label)
        await self._stage.kill(component)
        self._killed += 1
        self._view.state(component.label, DOWN, 0)
        self._view.say(f"SIGKILL {component.label}: {open_now} receipted commands await replies", "bold red")

    def _share(self) -> float:
        return len(self._ledger.commands) / self._commands

    async def _until(self, true: Callable[[], bool]) -> None:
        """Wait until the ledger makes something true, at most GIVE_UP seconds."""
        try:
            async with asyncio.timeout(GIVE_UP):
                while not true():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._view.say(f"nothing more happens after {GIVE_UP:g} s", "bold red")

    def _note(self) -> None:
        self._changed.set()
        self._view.count(self._ledger.verdict())

    def _heard(self, did: str, uuid: str) -> None:
        if did == "event":
            self._event_of(uuid).set()
        self._note()

    def _event_of(self, uuid: str) -> asyncio.Event:
        return self._seen.setdefault(uuid, asyncio.Event())


def _conclusion(verdict: Verdict) -> str:
    if verdict.good:
        return (
            f"every one of {verdict.receipts} receipted commands has its reply,"
            f" every one of {verdict.events} events arrived"
        )
    return f"LOST: commands {verdict.lost_commands}, events {verdict.lost_events}"
