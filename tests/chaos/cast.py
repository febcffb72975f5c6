"""Everybody in a chaos run: components behind proxies and on small disks, front ends, workers.

The member, each instance, and each connector with its front end and workers are machines of their own, where
namespaces make the partitions.

All have a label: `agg1/a`, `git`, `cluster/1`, `frontend git`, `worker git-1`; a link is `git>agg1/a`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.clients import Clients
from tests.chaos.disk import SmallDisk
from tests.chaos.partitions import Partitions, partitions
from tests.chaos.proxy import Proxy
from tests.chaos.record import Record
from tests.chaos.releases import TYPE
from tests.chaos.version_schedule import ROUTER, VERSIONS
from zconnector.cli.child import Child, ChildFailedError, tethered
from zconnector.cli.stage import Stage
from zconnector.cli.topology import TENANT, Component
from zconnector.cli.traffic import CI, GIT
from zconnector.runtime.control import request
from zconnector.runtime.statedir import remove_socket
from zconnector.shoset.enrolment import Enrolment

BACK = 60.0
"""Seconds that a restarted process may take until it serves (others may be dead meanwhile)."""
WORKERS = (("gandalf", True), ("gandalf", False), ("v1", True))
"""Of each side: the API, and whether it dials the front end (and the connector's own socket beside it)."""
CONTROL = 10.0
LIBRARY = ("asyncio.exceptions.CancelledError", "ExecuteBatchError")
"""What gRPC's library logs with a traceback when a server stops, or its client has gone."""
IN_VAIN = 5.0
"""Seconds that a component may take to find out that it cannot start."""
ENDPOINTS = ("agg1/a", "agg1/b", "agg1/c", "cluster/1")
"""Those that are dialled, each behind a proxy."""
MEMBER = "cluster/1"
LOGS = "logs"
"""The disk of everybody's log files."""


class Cast:
    """All processes of one run. `died` is told of those that end although nobody ended them."""

    partitions: Partitions
    stage: Stage

    def __init__(
        self, state_dir: Path, record: Record, died: Callable[[str], None], wanted: str, versions: bool
    ) -> None:
        """`wanted`: what makes partitions; `versions`: whether there is a router with worker versions."""
        self._versions = versions
        self._record = record
        self._died = died
        self._ours: set[str] = set()
        """Labels of those that are meant to be dead now."""
        self._stopping = False
        self._state_dir = state_dir
        self._wanted = wanted
        self.proxies: dict[str, Proxy] = {}
        self.disks: dict[str, SmallDisk] = {}
        self.front_ends: dict[str, FrontEnd] = {}
        self.workers: dict[str, Worker] = {}

    async def start(self) -> None:
        """Everything serves when this returns; call `stop` in any case.

        Raises ConfigError: namespaces are wanted, and not allowed.
        """
        machines = (*ENDPOINTS, GIT.name, CI.name, *([ROUTER] if self._versions else []))
        self.partitions = partitions(self._wanted, machines, self._pids)
        for name in ENDPOINTS:
            proxy = Proxy(name, self.partitions.dialler, self.partitions.place(name))
            await proxy.start()
            self.proxies[name] = proxy
        self.stage = Stage(
            self._state_dir,
            aggregators=3,
            connectors=(
                *(f"{side.name}:{side.type}" for side in (GIT, CI)),
                *([f"{ROUTER}:{TYPE}"] if self._versions else []),
            ),
            arguments=["--log-level", "info"],
            own_arguments={
                name: ["--advertise", f"tcp://{proxy.place.ip}:{proxy.port}"]
                for name, proxy in self.proxies.items()
            },
            launchers={name: self.partitions.launcher(name) for name in machines},
            told=self._told,
        )
        self.disks[LOGS] = SmallDisk(self._state_dir / "logs")
        for component in self.stage.plan.components:
            if component.role in ("connector", "cluster") and component.name != ROUTER:
                self.disks[component.label] = SmallDisk(self._state_dir / component.directory)
            if component.label in self.proxies:
                self.proxies[component.label].target = int(component.endpoint.rpartition(":")[2])
        await self.stage.start(BACK)

    async def start_front_ends(self) -> None:
        for side in (GIT, CI):
            front = FrontEnd(side.name, self.stage, self.partitions.launcher(side.name), self._ended)
            self.front_ends[front.label] = front
            await front.start()

    async def start_workers(self, clients: Clients) -> None:
        for side in (GIT, CI):
            front, own = self.addresses()[side.name]
            for number, (api, in_front) in enumerate(WORKERS, start=1):
                name, address = f"{side.name}-{number}", f"{front},{own}" if in_front else own
                launcher = self.partitions.launcher(side.name)
                worker = Worker(
                    side.name, api, name, address, launcher, self._state_dir, self._record, self._ended
                )
                worker.heard = clients.saw
                self.workers[worker.label] = worker
                await worker.start()

    async def stop(self) -> None:
        self._stopping = True
        for worker in self.workers.values():
            await worker.end()
        for front in self.front_ends.values():
            await front.end()
        for proxy in self.proxies.values():
            proxy.mend()
        if hasattr(self, "stage"):
            await self.stage.stop()
        for proxy in self.proxies.values():
            proxy.stop()
        for label, disk in self.disks.items():
            disk.close(keep=label == LOGS)
        if hasattr(self, "partitions"):
            self.partitions.close()

    def addresses(self) -> dict[str, tuple[str, str]]:
        """gRPC addresses of each side: the front end's and the connector's own."""
        return {
            side.name: (self.front_ends[f"frontend {side.name}"].address, self.stage.grpc(side.name))
            for side in (GIT, CI)
        }

    # ---- who there is

    def targets(self) -> list[tuple[str, str]]:
        """(role, label) of everything that a fault may hit, in an order that is always the same.

        Of the router with worker versions see `version_schedule.py`: a seed means the same with and without.
        """
        there = [component for component in self.stage.plan.components if component.name != ROUTER]
        found = [(component.role, component.label) for component in there]
        found += [("frontend", label) for label in self.front_ends]
        found += [
            ("worker", f"worker {side.name}-{n + 1}") for side in (GIT, CI) for n in range(len(WORKERS))
        ]
        return found + [("link", label) for label in self.links()]

    def links(self) -> list[str]:
        instances = [component.label for component in self.stage.plan.of("aggregator")]
        ups = [f"{side.name}>{instance}" for side in (GIT, CI) for instance in instances]
        return ups + [f"{instance}>cluster/1" for instance in instances]

    def link(self, label: str) -> tuple[Proxy, str]:
        """The proxy of a link, and who dials it."""
        peer, _, endpoint = label.partition(">")
        return self.proxies[endpoint], peer

    async def hold(self, label: str, ways: frozenset[str]) -> None:
        """A link carries nothing in these directions from now on."""
        await self.partitions.hold(*self.link(label), ways)

    async def heal(self, label: str, ways: frozenset[str]) -> None:
        """It does again."""
        await self.partitions.heal(*self.link(label), ways)

    def connector_of(self, label: str) -> tuple[str, bool]:
        """The connector whose workers a fault there touches ("": none), and whether its senders too."""
        if label in (GIT.name, CI.name, ROUTER):
            return label, True
        if label == VERSIONS:
            return ROUTER, False
        role, _, name = label.partition(" ")
        if role in ("frontend", "worker"):
            return name.partition("-")[0], role == "frontend"
        return "", False

    def _pids(self) -> dict[int, str]:
        pids: dict[int, str] = {}
        for component in self.stage.plan.components:
            with suppress(KeyError, RuntimeError):
                pids[self.stage.pid(component)] = component.label
        return pids

    def pid(self, label: str) -> int:
        if label in self.workers:
            return self.workers[label].pid
        if label in self.front_ends:
            return self.front_ends[label].pid
        return self.stage.pid(self.stage.component(label))

    # ---- what is done to them

    async def kill(self, label: str) -> None:
        """SIGKILL, and wait until it is dead."""
        self._ours.add(label)
        if label in self.workers:
            await self.workers[label].kill()
        elif label in self.front_ends:
            await self.front_ends[label].kill()
        else:
            await self.stage.kill(self.stage.component(label))
            self._connector_ended(label)

    async def end(self, label: str) -> None:
        """SIGTERM, and wait until it has ended."""
        self._ours.add(label)
        if label in self.workers:
            await self.workers[label].end()
        elif label in self.front_ends:
            await self.front_ends[label].end()
        else:
            await self.stage.end(self.stage.component(label))
            self._connector_ended(label)

    def _connector_ended(self, label: str) -> None:
        if self.stage.component(label).role == "connector":
            self._record.ended(asyncio.get_running_loop().time(), label)

    async def bring_back(self, label: str) -> float:
        """Start it again; seconds until it serves."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if label in self.workers:
            await self.workers[label].start()
        elif label in self.front_ends:
            await self.front_ends[label].start()
        else:
            await self.stage.bring_back(self.stage.component(label), BACK)
        self._ours.discard(label)
        return loop.time() - begun

    async def start_in_vain(self, label: str) -> str:
        """Start a component that is dead where it cannot: the end of its log, "" when it serves after all.

        It is dead again when this returns, in either case.
        """
        component = self.stage.component(label)
        try:
            await self.stage.bring_back(component, IN_VAIN)
        except ChildFailedError as error:
            said = str(error)
        else:
            said = ""
        await self.kill(label)
        return said

    def freeze(self, label: str) -> None:
        os.kill(self.pid(label), signal.SIGSTOP)

    def thaw(self, label: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid(label), signal.SIGCONT)

    async def declare(self, name: str) -> Enrolment:
        """A further connector, declared and not started."""
        args = {"kind": "connector", "tenant": TENANT, "name": name, "type": "Stranger", "instance": "0"}
        args |= {"aggregator": "agg1", "permissions": ["*"]}  # type: ignore[dict-item]
        member = self._state_dir / self.stage.plan.of("cluster")[0].directory
        answer = await asyncio.to_thread(request, member, "secret_create", args, CONTROL)
        return Enrolment.decode(answer["enrolment"])

    # ---- what they say

    def noticed(self, label: str, begin: float, end: float) -> float | None:
        """Seconds from the wall time `begin` until the last connector logged that its session with an
        instance ended; None: one did not, before `end`."""
        instance = label.rpartition("/")[2]
        latest = 0.0
        for component in self.stage.plan.of("connector"):
            found = [
                at
                for at, entry in self._log(component)
                if begin <= at <= end and entry.get("event") == "session ended"
                if str(entry.get("peer", "")).rpartition("/")[2] == instance
            ]
            if not found:
                return None
            latest = max(latest, min(found) - begin)
        return latest

    def _log(self, component: Component) -> list[tuple[float, dict[str, object]]]:
        entries: list[tuple[float, dict[str, object]]] = []
        for line in (self._state_dir / component.log).read_bytes().splitlines():
            with suppress(ValueError, KeyError):
                entry = json.loads(line)
                entries.append((datetime.fromisoformat(entry["timestamp"]).timestamp(), entry))
        return entries

    def directories(self) -> dict[str, Path]:
        """State directory of each connector and of the member."""
        found = {c.name: self._state_dir / c.directory for c in self.stage.plan.of("connector")}
        return found | {MEMBER: self._state_dir / self.stage.plan.of("cluster")[0].directory}

    def complaints(self) -> list[str]:
        """Lines of the logs that no fault explains: tracebacks."""
        found: list[str] = []
        for path in sorted((self._state_dir / "logs").glob("*.log")):
            lines = path.read_text("utf-8", "replace").splitlines()
            for number, line in enumerate(lines):
                near = "".join(lines[number : number + 30])
                if "Traceback" in line and not any(known in near for known in LIBRARY):
                    found.append(f"{path.name}: {line[:500]}")
        return found

    def _told(self, component: Component, what: str) -> None:
        if not self.stage.alive(component):
            self._ended(component.label, what)

    def _ended(self, label: str, what: str) -> None:
        if label not in self._ours and not self._stopping:
            self._died(f"{label} {what}")


class FrontEnd:
    """A gRPC front end of a connector, as its own process."""

    def __init__(
        self, connector: str, stage: Stage, launcher: Sequence[str], ended: Callable[[str, str], None]
    ) -> None:
        self.label = f"frontend {connector}"
        self._launcher = launcher
        self._directory = stage.state_dir / "frontend" / connector
        self._served = stage.state_dir / stage.component(connector).directory
        self._log = stage.state_dir / "logs" / f"frontend-{connector}.log"
        self._ended = ended
        self._child: Child | None = None
        self._watch: asyncio.Task[None] | None = None
        self.address = f"unix:{self._directory / 'grpc.sock'}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    async def start(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = ["frontend", "--state-dir", str(self._directory), "--connector", str(self._served)]
        self._child = Child(
            *(self.label, [*argv, "--log-level", "info"], self._log, dict(os.environ)),
            launcher=self._launcher,
            ready_in=self._directory if self._launcher else None,
        )
        await self._child.start()
        await self._child.wait_ready(BACK)
        self._watch = asyncio.create_task(self._watched(self._child))

    async def _watched(self, child: Child) -> None:
        status = await child.wait()
        self._ended(self.label, f"ended with {status}")

    async def kill(self) -> None:
        assert self._child is not None
        self._child.signal(signal.SIGKILL)
        await self._child.wait()

    async def end(self) -> None:
        if self._child is not None:
            await self._child.end(2.0)
        if self._watch is not None:
            await asyncio.gather(self._watch, return_exceptions=True)
        remove_socket(self._directory, "grpc.sock")


class Worker:
    """A worker process; what it prints goes into the record."""

    def __init__(
        self,
        side: str,
        api: str,
        name: str,
        address: str,
        launcher: Sequence[str],
        state_dir: Path,
        record: Record,
        ended: Callable[[str, str], None],
    ) -> None:
        self.label = f"worker {name}"
        self._side = side
        self._api = api
        self._name = name
        self._address = address
        self._launcher = launcher
        self._log = state_dir / "logs" / f"worker-{name}.log"
        self._record = record
        self._ended = ended
        self.heard: Callable[[str, str], None] = lambda uuid, who: None
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        program = str(Path(__file__).with_name("worker.py"))
        argv = [*self._launcher, sys.executable, program, self._side, self._api]
        argv += [self._name, "10000", self._address]
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "ZCONNECTOR_LOG_LEVEL": "info"},
            )
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read(self._process.stdout, f"{self._name}-{self.pid}"))

    async def _read(self, output: asyncio.StreamReader, worker: str) -> None:
        async for line in output:
            if not line.endswith(b"\n"):
                break  # it died in the middle of a line
            self._told(json.loads(line), worker)
        self._ended(self.label, "ended")

    def _told(self, entry: dict[str, Any], worker: str) -> None:
        did, at, uuid, record, side = entry["did"], entry["at"], entry["uuid"], self._record, self._side
        if did == "command":
            of, name, attempt = entry["of"], entry["name"], entry["attempt"]
            record.worked(at, side, worker, uuid, entry["body"], of, name, attempt)
        elif did == "ended":
            record.worked_off(at, worker, uuid, entry["how"], entry["pause"])
        elif did == "delivery":
            subscription, ok = entry["subscription"], entry["ok"]
            record.delivered(at, side, subscription, worker, uuid, entry["attempt"], ok)
            if ok:
                self.heard(uuid, subscription)
        else:
            record.worker_heard(at, side, worker, uuid)
            self.heard(uuid, self._name)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self._gone()

    async def end(self, grace: float = 5.0) -> None:
        """SIGTERM (it drains), then SIGKILL."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self._process.kill()
        await self._gone()

    async def _gone(self) -> None:
        if self._process is not None and self._reader is not None:
            await self._process.wait()
            await self._reader
