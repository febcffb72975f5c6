"""The admin worker's hands: orders that meet while earlier ones are still being carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.scripted_processes import ScriptedProcesses
from zconnector.clock import SystemClock
from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.connector.hands import Hands, Place, Ports
from zconnector.errors import ConfigError
from zconnector.repository.cleaning import Gone, Unwanted
from zconnector.repository.install import Installed
from zconnector.repository.layout import WorkerName
from zconnector.repository.source import Source
from zconnector.supervision.launch import Events
from zconnector.supervision.states import State
from zconnector.versions.editions import Edition
from zconnector.versions.manager import Manager
from zconnector.versions.states import Clean, Start, Stop
from zconnector.versions.wanted import Wanted

V10, V11 = Edition(1, 0), Edition(1, 1)


class Door:
    """Takes everything, and has no configuration of any version."""

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        return {}, b'{"pivot":null,"product":null}'


class Packages:
    """Every version lies on the disk."""

    async def install(self, source: Source, worker: WorkerName, version: Version) -> Installed:
        raise ConfigError("there is no repository")

    async def installed(self, worker: WorkerName) -> Sequence[Installed]:
        place = Path("/installed")
        rest = ("file:///r", "mine", 1, "00")
        return [Installed(worker, v.version, place, place / "worker", None, None, *rest) for v in (V10, V11)]

    async def available(self, source: Source, worker: WorkerName) -> Sequence[Version]:
        return []

    async def files(self, installed: Installed) -> tuple[Pivot | None, ProductConnector | None]:
        return None, None

    async def clean(self, worker: WorkerName, unwanted: Unwanted) -> Sequence[Gone]:
        return []

    async def workers(self, type_: str) -> Sequence[WorkerName]:
        return []


class Server:
    """A socket whose path is taken until it has stopped, which takes as long as the test says."""

    taken: set[str]
    stopping: asyncio.Event
    may_stop: asyncio.Event

    def __init__(self, worker: str) -> None:
        self.address = ""

    async def start(self, address: str) -> str:
        if address in self.taken:
            raise ConfigError(f"another process serves on {address}")
        self.taken.add(address)
        self.address = address
        return address

    async def stop(self, grace: float) -> None:
        self.stopping.set()
        await self.may_stop.wait()
        self.taken.discard(self.address)


class Spawned(ScriptedProcesses):
    """Lets one wait for the next process."""

    def __init__(self) -> None:
        super().__init__()
        self._spawned = asyncio.Event()

    def spawn(self, name: str, run: int, events: Events) -> None:
        super().spawn(name, run, events)
        self._spawned.set()

    async def one_more(self) -> None:
        await self._spawned.wait()
        self._spawned.clear()


async def test_a_version_that_is_wanted_again_while_it_is_being_forgotten_starts(tmp_path: Path) -> None:
    Server.taken, Server.stopping, Server.may_stop = set(), asyncio.Event(), asyncio.Event()
    manager, clock = Manager(), SystemClock()
    manager.configured(Wanted.from_values({"product": "jenkins"}), clock.now())
    processes = Spawned()
    ports = Ports(packages=lambda *_: Packages(), processes=lambda *_: processes)
    place = Place("ci", "Ci", tmp_path, False, {})
    told: dict[str, Callable[..., None]] = dict.fromkeys(("answer", "changed", "wrote"), lambda *_: None)
    hands = Hands(manager, Door(), place, Server, clock, ports=ports, **told)
    async with asyncio.timeout(10):
        hands.feed([Start(V10)])
        await processes.one_more()
        hands.feed([Stop(V10)])
        await hands.supervision.reached("Ci-1.0", {State.STOPPED})
        hands.feed([Clean()])
        await Server.stopping.wait()
        hands.feed([Start(V10)])
        await asyncio.sleep(0)
        Server.may_stop.set()
        await processes.one_more()
        await hands.close()
    assert hands.supervision.view("Ci-1.0").state is State.STOPPED
