"""The admin worker's hands: orders that meet while earlier ones are still being carried out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from structlog.testing import capture_logs

from tests.support.repositories import KEY, FixedClock, publish, worker_folder
from tests.support.scripted_processes import ScriptedProcesses
from zconnector.clock import SystemClock
from zconnector.configuration.pivot import Pivot, ProductConnector, Version
from zconnector.connector.hands import Hands
from zconnector.connector.ports import Place, Ports
from zconnector.connector.readying import DiskPackages
from zconnector.errors import ConfigError
from zconnector.repository.cleaning import Gone, Unwanted
from zconnector.repository.install import Installed
from zconnector.repository.layout import WorkerName
from zconnector.repository.manifest import Manifest
from zconnector.repository.source import Source
from zconnector.supervision.launch import Events
from zconnector.supervision.states import State
from zconnector.versions.actions import Answer, Clean, Start, Stop
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition, Values
from zconnector.versions.manager import Manager
from zconnector.versions.states import Memory
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

    async def accepted(self, address: str) -> Manifest | None:
        return None

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


async def test_that_a_manifest_expires_soon_is_logged_once_and_shown(tmp_path: Path) -> None:
    """Nobody heard of it before it was over: what was fetched was accepted, and that was all."""
    publish(tmp_path / "repository", worker_folder(tmp_path / "w10"), lifetime=3 * 86_400)
    values = {
        "product": "jenkins",
        "repository": f"file://{tmp_path / 'repository'}",
        "repository_keys": [str(KEY.public)],
    }
    manager, clock, change = Manager(), FixedClock(), asyncio.Event()
    answers: list[Answer] = []
    hands = Hands(
        manager,
        Door(),
        Place("ci", "Ci", tmp_path, False, {}),
        Server,
        clock,
        answer=answers.append,
        changed=change.set,
        wrote=lambda: None,
        ports=Ports(packages=DiskPackages, processes=lambda *_: Spawned()),
    )

    async def until(true: Callable[[], bool]) -> None:
        while not true():
            await change.wait()
            change.clear()

    with capture_logs() as logs:

        def told() -> list[Any]:
            return [line for line in logs if line["event"] == "repository manifest expires soon"]

        async with asyncio.timeout(10):
            manager.configured(Wanted.from_values(values), clock.now())
            hands.feed(manager.restore(None, clock.now()))
            for count in range(1, 4):
                hands.feed(manager.ask(str(count), Verb.GET, V10.version, "", clock.now()))
                await until(lambda count=count: len(answers) == count and bool(told()))  # type: ignore[misc]
            hands.feed(manager.ask("look", Verb.LATEST, None, "", clock.now()))
            await until(lambda: len(answers) == 4)
            await hands.close()
    (line,) = told()
    assert (line["log_level"], line["repository"], line["left_days"]) == ("warning", values["repository"], 3)
    assert line["expires"] == "2025-12-01T03:20:00+00:00"
    view = manager.expiry.view(clock.now())
    assert view is not None
    assert (view["expiring"], view["expired"], view["left_ms"]) == (True, False, 3 * 86_400_000)


async def test_the_same_archive_of_a_former_product_leaves_although_that_of_the_new_one_runs(
    tmp_path: Path,
) -> None:
    """It stayed for as long as the same bytes ran, in another folder. Found by the simulation."""

    class Two(Packages):
        asked: ClassVar[dict[str, bool]] = {}
        done = asyncio.Event()

        async def workers(self, type_: str) -> Sequence[WorkerName]:
            return [WorkerName(type_, "gitlab"), WorkerName(type_, "jenkins")]

        async def clean(self, worker: WorkerName, unwanted: Unwanted) -> Sequence[Gone]:
            self.asked[worker.product] = unwanted(V10.version, "00")
            if len(self.asked) == 2:
                self.done.set()
            return []

    Server.taken, Server.stopping, Server.may_stop = set(), asyncio.Event(), asyncio.Event()
    Server.may_stop.set()
    manager, clock, processes = Manager(), SystemClock(), Spawned()
    manager.configured(Wanted.from_values({"product": "GitLab"}), clock.now())
    memory = Memory(running=(V10,), values={0: Values(product="GitLab")}, contents={V10: "00"})
    manager.restore(memory.to_dict(), clock.now())
    told: dict[str, Callable[..., None]] = dict.fromkeys(("answer", "changed", "wrote"), lambda *_: None)
    ports = Ports(packages=lambda *_: Two(), processes=lambda *_: processes)
    hands = Hands(manager, Door(), Place("ci", "Ci", tmp_path, False, {}), Server, clock, ports=ports, **told)
    async with asyncio.timeout(10):
        hands.feed([Start(V10)])
        await processes.one_more()
        hands.feed([Clean()])
        await Two.done.wait()
        await hands.close()
    assert Two.asked == {"gitlab": False, "jenkins": True}
