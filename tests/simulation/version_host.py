"""The admin worker as it is, on virtual time, with a simulated repository and simulated processes.

All of `connector/admin.py`, `admin_commands.py`, `admin_questions.py` and `hands.py` runs; simulated are the
door, the ports `Packages` and `Processes`, and the sockets.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import structlog

from tests.simulation.model import Model
from tests.simulation.model_versions import VersionRules
from tests.simulation.nodes import ConnectorNode
from tests.simulation.process import GONE, Process
from tests.simulation.repositories import TYPE, Lying, Repository, SimulatedPackages, executable_of
from tests.simulation.scheduler import SECOND
from tests.simulation.version_workers import Home, SimulatedProcesses
from tests.simulation.virtual_loop import VirtualLoop
from zconnector.configuration.pivot import Version
from zconnector.connector.admin import AdminWorker
from zconnector.connector.admin_commands import read_version
from zconnector.connector.ports import Place, Ports
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.messages.fields import WISHES
from zconnector.messages.kinds import Outcome
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.shoset.identity import fresh_uuid
from zconnector.versions.traffic import CANARY

SPARED = 130 * SECOND


class SimulatedDoor:
    """The door of one router process, for its admin worker; the judges hear of what goes through it."""

    def __init__(self, host: AdminHost, process: Process, loop: VirtualLoop) -> None:
        self._host = host
        self._process = process
        self._loop = loop

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        process = self._process
        if not process.alive:
            raise GONE
        future: asyncio.Future[tuple[dict[str, Any], bytes]] = self._loop.create_future()
        heard = self._host.calling(op, args, payload)

        def given(result: Mapping[str, Any], body: bytes) -> None:
            self._host.given(op, args, payload, result, body)

        def answered(result: Mapping[str, Any], body: bytes, error: Refusal | None) -> None:
            if heard is not None:
                heard(result, error)
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result((dict(result), body))

        self._host.crash(f"before {op}", payload)
        if not process.alive:
            await asyncio.sleep(3600)
        number = process.call(op, args, payload, answered, given)
        try:
            return await future
        except asyncio.CancelledError:
            if process.alive:
                process.cancel(number)
            raise


class SimulatedServer:
    """A worker's socket: who calls there is known by the process that it belongs to."""

    def __init__(self, name: str) -> None:
        self.address = f"unix:/nowhere/{name}.sock"

    async def start(self, address: str) -> str:
        await asyncio.sleep(0.002)
        self.address = address
        return address

    async def stop(self, grace: float) -> None:
        return


class AdminHost:
    """What a machine with worker versions has beside its router: one admin worker for each router process."""

    def __init__(
        self, node: ConnectorNode, model: Model, rules: VersionRules, repository: Repository
    ) -> None:
        self.node = node
        self.repository = repository
        self.admin: AdminWorker | None = None
        self.home: Home | None = None
        self.fuse = ""
        """Where the router is to be killed next: `step moment`, of a commit of the admin worker."""
        self._model = model
        self.rules = rules
        self.disk: dict[Lying, int] = {}
        """What is installed, and since when; outlives the router."""
        self._kept: list[Home] = []
        self._rng = node.around.rng(f"admin host {node.name}")

    # ---- life

    def serve(self) -> None:
        """The router serves."""
        node, process = self.node, self.node.process
        if process is None or not process.alive:
            return
        around = node.around
        loop = VirtualLoop(process, node.clock, around.scheduler, self._defect)  # type: ignore[abstract]  # what is not there is not asked
        home = self.home = Home(node, process, loop, self._model, self.rules)
        home.lying = lambda: {executable_of(*each) for each in self.disk}
        self._kept.append(home)
        rng = around.rng(f"hands {process.name}")
        ports = Ports(
            packages=lambda *_: SimulatedPackages(
                self.repository, self.disk, rng, home.removed, lambda: around.scheduler.now
            ),
            processes=lambda prepare, clock, log: SimulatedProcesses(home, prepare),
            random=rng.random,
            uuid=lambda: fresh_uuid(rng),
        )
        place = Place(node.spec.name, TYPE, Path("/nowhere"), True, {})
        door = SimulatedDoor(self, process, loop)

        def begin() -> None:
            self.admin = AdminWorker(door, place, SimulatedServer, node.clock, ports)
            around.variant.admin(self.admin)
            loop.create_task(self.admin.run()).add_done_callback(self._ended)

        loop.run_in(begin)

    def ended(self) -> None:
        """The router's process has ended: so do its guards' workers."""
        home, self.home, self.admin = self.home, None, None
        if home is not None:
            for process in list(home.processes):
                process.orphaned()

    def over(self) -> None:
        """The world is."""
        for home in self._kept:
            home.loop.abandon()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._defect(f"the admin worker raised {task.exception()!r}")

    def _defect(self, what: str) -> None:
        self.node.around.defect(self.node.name, what)

    def crash(self, moment: str, payload: bytes = b"") -> None:
        """Kill the router, if this is the moment that a fault waits for."""
        process = self.node.process
        if not self.fuse or process is None or not moment.endswith("admin_keep"):
            return
        where, _, step = self.fuse.partition(" ")
        kept = orjson.loads(payload)
        if where in moment and "step" in kept and (kept["step"] or "OVER") == step:
            self.fuse = ""
            delay = 0 if where == "before" else self._rng.choice((0, 0, 150, 2_000, 300_000))
            self.node.around.scheduler.after(delay, self._kill, process)

    def _kill(self, process: Process) -> None:
        if process.alive:
            self.node.around.trace.step(self.node.around.scheduler.now, self.node.name, "killed in a rollout")
            process.kill()

    # ---- what goes through the door

    def calling(self, op: str, args: Mapping[str, Any], payload: bytes) -> Any:
        """As it is asked; returns who hears the answer as it arrives."""
        now, name, rules, model = self.node.around.scheduler.now, self.node.name, self.rules, self._model
        if op == "admin_steer":
            rules.steered(now, name, orjson.loads(payload))
        elif op == "admin_ended":
            rules.forgotten(name, str(args["worker"]))
        elif op == "admin_keep" and not args:
            rules.keeping(name, orjson.loads(payload), now)
        elif op == "admin_recall":
            model.recalling(name, CANARY)
        elif op == "operate" and args["verb"] == "cancel":
            model.wants(name, str(args["uuid"]), Reason.CANCELLED)
        elif op == "send_command":
            wishes = {wish: args[wish] for wish in WISHES if wish in args}
            attempt = model.sending(now, name, str(args["uuid"]), payload, int(args["timeout"]), wishes)

            def heard(result: Mapping[str, Any], error: Refusal | None) -> None:
                gone = error is not None and error.reason is Reason.SHUTTING_DOWN
                outcome = "LOST" if gone else str(error.reason) if error else str(result["outcome"])
                model.outcome(self.node.around.scheduler.now, attempt, outcome, str(args["uuid"]))

            return heard
        return None

    def given(
        self, op: str, args: Mapping[str, Any], payload: bytes, result: Mapping[str, Any], body: bytes
    ) -> None:
        """As the router gives its answer, in the midst of a step."""
        now, name, rules, model = self.node.around.scheduler.now, self.node.name, self.rules, self._model
        if op == "admin_recall":
            rules.recalled(now, name, orjson.loads(body)[0])
        elif op == "admin_keep" and not args:
            rules.kept(now, name, orjson.loads(payload))
            self.crash(f"after {op}", payload)
        elif op == "admin_watch":
            for news in orjson.loads(body):
                if news[0] == "draining":
                    rules.router_leaves(name)
                elif news[0] == "configuration":
                    rules.configured(now, name, news[2])
        elif op == "wait_command":
            uuid = str(result["uuid"])
            model.handed(now, name, uuid, body, ADMIN_WORKER, str(args["iterator"]), result)
            model.executed(now, name, uuid, ADMIN_WORKER)
            rules.asked(now, name, uuid, str(result["command"]), _named(body))
        elif op == "send_event":
            uuid, ok = str(args["reference"]), args["event"] == Outcome.SUCCESS
            model.completed(now, name, uuid)
            rules.answered(now, name, uuid, ok, orjson.loads(payload))
        elif op == "operate" and args["verb"] == "cancel":
            model.cancelled(now, name, str(args["uuid"]))


def _named(payload: bytes) -> Version | None:
    try:
        return read_version(payload)
    except ConfigError:
        return None


class Versioned:
    """In the place of a worker, for faults: one of the processes that a host has."""

    def __init__(self, host: AdminHost, rng: random.Random) -> None:
        self.node = host.node
        self.ended: dict[str, int] = {}
        self._host = host
        self._rng = rng
        self._hurt: dict[str, deque[int]] = {}

    def _some(self) -> list[Any]:
        home = self._host.home
        return [process for process in home.processes if process.worker] if home is not None else []

    def _spared(self) -> list[Any]:
        """Those that one more crash would not make give up: five within 120 s are a crash loop by right."""
        some = self._some()
        return [p for p in some if len([at for at in self._hurt.get(p.name, ()) if p.now - at < SPARED]) < 3]

    def _hurts(self, process: Any) -> None:
        self._hurt.setdefault(process.name, deque(maxlen=3)).append(process.now)

    @property
    def ongoing(self) -> int:
        return sum(process.ongoing for process in self._some())

    def start(self) -> None:
        return

    def die(self) -> None:
        if some := self._spared():
            process = self._rng.choice(some)
            self._hurts(process)
            self._host.rules.disturbed(process.now, self.node.name, process.name)
            process.die()

    def hang(self, duration: int) -> None:
        if some := self._spared():
            process = self._rng.choice(some)
            self._hurts(process)
            process.hang(min(duration, 9 * SECOND))

    def cancel_waits(self) -> None:
        if some := self._some():
            self._rng.choice(some).cancel_waits()


@contextmanager
def defects_heard(defect: Any) -> Iterator[None]:
    """Logs of the admin worker go nowhere, but for its defects."""

    def hear(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        if str(event.get("event", "")).startswith("defect"):
            defect("admin worker", f"{event['event']}: {event.get('exc_info')!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], cache_logger_on_first_use=False)
    try:
        yield
    finally:
        structlog.configure(**before)
