"""A whole topology running on this machine: the processes of a plan, started in order, watched, ended.

`zconnector dev` shows it to the outside; the demo and the chaos runner use it directly.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from zconnector.cli.child import Child, ChildFailedError, ended
from zconnector.cli.locate import TOPOLOGY_FILE
from zconnector.cli.topology import Component, Plan, free_endpoint, make_plan, read_plan, topology_document
from zconnector.errors import ConfigError
from zconnector.runtime.control import request
from zconnector.runtime.statedir import StateDir, remove_socket

START_TIMEOUT = 30.0
CONTROL_TIMEOUT = 10.0
ROLES = ("cluster", "aggregator", "connector")
STOP_GRACE = {"connector": 1.8, "aggregator": 1.2, "cluster": 1.2}
"""Seconds between SIGTERM and SIGKILL; together under the 5 s in which everything ends."""
OWN_VARIABLES = frozenset(
    f"ZCONNECTOR_{name}"
    for name in (
        "ENROLMENT",
        "STATE_DIR",
        "BIND",
        "ADVERTISE",
        "GRPC",
        "MEMBER",
        "CONNECTOR",
        "CRASH_AT",
        "JSON",
    )
)
"""Variables that are meant for one component, not handed down to all of them."""
NOT_HEALED = (77, 78)
"""Exit statuses (not permitted, bad configuration) that a restart does not mend."""
RESTART_FIRST, RESTART_LIMIT, RESTART_GOOD = 0.1, 5.0, 5.0
"""Pause before the second restart in a row, longest pause, and life after which the count begins anew (s)."""

Told = Callable[[Component, str], None]
"""Called with a component and what happened to it."""


def write_atomic(path: Path, document: Any) -> None:
    """Replace a JSON file: a reader sees the old one or the new one, never a part."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    partial.replace(path)


class Stage:
    """The processes of one plan, in one state directory that it holds locked."""

    def __init__(
        self,
        state_dir: Path,
        *,
        aggregators: int | None = None,
        connectors: Sequence[str] | None = None,
        strict: bool = False,
        restart: bool = False,
        arguments: Sequence[str] = (),
        own_arguments: Mapping[str, Sequence[str]] | None = None,
        launchers: Mapping[str, Sequence[str]] | None = None,
        environment: Mapping[str, str] | None = None,
        told: Told = lambda component, what: None,
    ) -> None:
        """Lock the state directory and make the plan; nothing is started.

        `arguments` are added to every component's command line, `own_arguments` (by label) to one's;
        `launchers` (by label) run one in a place of its own, such as another network namespace (see Child).
        Raises ConfigError: the directory is in use, or the plan stored there and the one asked for do not
        go together.
        """
        self.state_dir = state_dir.absolute()
        self._strict = strict
        self._restart = restart
        self._arguments = list(arguments)
        self._own_arguments = dict(own_arguments or {})
        self._launchers = dict(launchers or {})
        inherited = os.environ if environment is None else environment
        self._environment = {name: value for name, value in inherited.items() if name not in OWN_VARIABLES}
        self._told = told
        self._children: dict[Path, Child] = {}
        self._grpc: dict[Path, str] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._serving = False
        self._decided = asyncio.Event()
        """Set when everything serves, or something ended before that (then `_death` says what)."""
        self._death: ChildFailedError | None = None
        self._held = StateDir(self.state_dir)
        self._held.__enter__()
        self.plan = make_plan(self._stored(), aggregators, connectors, free_endpoint)

    def _stored(self) -> Plan | None:
        path = self.state_dir / "dev.json"
        try:
            return read_plan(orjson.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{path} is not JSON: {error}") from error

    async def start(self, within: float = START_TIMEOUT) -> None:
        """Start everything and return when everything serves; `topology.json` is written then.

        Raises ChildFailedError when a component fails; call `stop` in any case.
        """
        (self.state_dir / TOPOLOGY_FILE).unlink(missing_ok=True)
        (self.state_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        write_atomic(self.state_dir / "dev.json", self.plan.document())
        await _all([self._start_all(within), self._no_death()])
        self.write_topology()

    async def _no_death(self) -> None:
        """Return when everything serves. Raises ChildFailedError when what was ready ends before that."""
        await self._decided.wait()
        if self._death is not None:
            raise self._death

    async def _start_all(self, within: float) -> None:
        waiting: list[Coroutine[Any, Any, None]] = []
        for role in ROLES:
            components = self.plan.of(role)
            if waiting and not all(component.enrolled for component in components):
                await _all(waiting)  # to make an enrolment, what it names must serve
                waiting = []
            for component in components:
                await self._launch(component, await self._enrolment(component))
            waiting += [self._became_ready(component, within) for component in components]
        await _all(waiting)
        self._serving = True
        self._decided.set()

    async def _enrolment(self, component: Component) -> str:
        if component.enrolled or component.role == "cluster":
            return ""
        member = self.state_dir / self.plan.of("cluster")[0].directory
        answer = await asyncio.to_thread(
            request, member, "secret_create", component.declaration(), CONTROL_TIMEOUT
        )
        return str(answer["enrolment"])

    async def _launch(self, component: Component, enrolment: str = "") -> None:
        directory = self.state_dir / component.directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        argv = component.arguments(self.state_dir, strict=self._strict)
        argv += [*self._arguments, *self._own_arguments.get(component.label, ())]
        launcher = self._launchers.get(component.label, ())
        child = Child(
            component.label,
            argv,
            self.state_dir / component.log,
            self._environment,
            launcher=launcher,
            ready_in=directory if launcher else None,
        )
        await child.start(enrolment)
        self._children[component.directory] = child

    async def _became_ready(self, component: Component, within: float) -> None:
        child = self._children[component.directory]
        await child.wait_ready(within)
        self._told(component, f"serves, pid {child.pid}")
        if not component.enrolled:
            self.plan = self.plan.enrolled(component)
            write_atomic(self.state_dir / "dev.json", self.plan.document())
        if component.role == "connector":
            directory = self.state_dir / component.directory
            status = await asyncio.to_thread(request, directory, "status", {}, CONTROL_TIMEOUT)
            self._grpc[component.directory] = str(status["grpc"])
        watcher = asyncio.create_task(self._watch(component, child))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    def write_topology(self) -> None:
        """Write `topology.json` anew."""
        write_atomic(self.state_dir / TOPOLOGY_FILE, self.topology())

    def topology(self) -> dict[str, list[dict[str, Any]]]:
        """What `topology.json` says now."""
        pids = {directory: child.pid for directory, child in self._children.items()}
        return topology_document(self.plan, pids, self._grpc)

    def component(self, label: str) -> Component:
        """The component that people call `label`: agg1/a, git, cluster/1."""
        return next(component for component in self.plan.components if component.label == label)

    def pid(self, component: Component) -> int:
        return self._children[component.directory].pid

    def alive(self, component: Component) -> bool:
        return self._children[component.directory].alive

    def grpc(self, name: str) -> str:
        """gRPC address of a connector."""
        return self._grpc[self.component(name).directory]

    async def kill(self, component: Component) -> None:
        """SIGKILL, and wait until it is dead."""
        child = self._children[component.directory]
        child.signal(signal.SIGKILL)
        await child.wait()

    async def end(self, component: Component) -> None:
        """SIGTERM, its drain, and SIGKILL where that takes too long; back when it has ended."""
        await self._children[component.directory].end(STOP_GRACE[component.role])

    def freeze(self, component: Component) -> None:
        """SIGSTOP."""
        self._children[component.directory].signal(signal.SIGSTOP)

    def thaw(self, component: Component) -> None:
        """SIGCONT."""
        self._children[component.directory].signal(signal.SIGCONT)

    async def bring_back(self, component: Component, within: float = START_TIMEOUT) -> None:
        """Start a dead component again and wait until it serves; `topology.json` gets its new pid.

        Raises ChildFailedError.
        """
        if self.alive(component):
            return
        await self._launch(component)
        await self._became_ready(component, within)
        self.write_topology()

    async def _watch(self, component: Component, child: Child) -> None:
        status = await child.wait()
        if self._stopping.is_set():
            return
        if not self._serving:
            self._death = child.failure()
            self._decided.set()
            return
        self._told(component, ended(status))
        if self._restart and status not in NOT_HEALED:
            await self._restart_until_ready(component)

    async def _restart_until_ready(self, component: Component) -> None:
        """Start it again and again, with growing pauses, until it stays (then its new watcher takes over)."""
        pause = 0.0
        loop = asyncio.get_running_loop()
        while not await self._stopped_within(pause):
            begun = loop.time()
            await self._launch(component)
            child = self._children[component.directory]
            if self._serving:
                self.write_topology()
            self._told(component, f"restarted, pid {child.pid}")
            status = await child.wait()
            if self._stopping.is_set():
                return
            self._told(component, ended(status))
            if status in NOT_HEALED:
                self._told(component, "is not started again: that would not mend it")
                return
            lived = loop.time() - begun
            pause = 0.0 if lived > RESTART_GOOD else min(max(pause * 2, RESTART_FIRST), RESTART_LIMIT)

    async def _stopped_within(self, pause: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause)
        return self._stopping.is_set()

    async def stop(self) -> None:
        """End everything, connectors first, within 5 s; no process and no socket file is left."""
        self._stopping.set()
        for role in reversed(ROLES):
            children = [
                self._children[component.directory]
                for component in self.plan.of(role)
                if component.directory in self._children
            ]
            await asyncio.gather(*(child.end(STOP_GRACE[role]) for child in children))
        await asyncio.gather(*self._watchers, return_exceptions=True)
        (self.state_dir / TOPOLOGY_FILE).unlink(missing_ok=True)
        for directory in self._children:
            remove_socket(self.state_dir / directory, "control.sock")
        remove_sockets(self.state_dir, self._grpc.values())
        self._held.__exit__(None, None, None)


async def _all(waiting: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await all; the first failure is raised at once and the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in waiting]
    try:
        for task in asyncio.as_completed(tasks):
            await task
    finally:
        for left in tasks:
            left.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def remove_sockets(directory: Path, addresses: Iterable[str]) -> None:
    """Unlink socket files that processes killed the hard way left behind, there and at gRPC addresses."""
    for address in addresses:
        Path(address.removeprefix("unix:")).unlink(missing_ok=True)
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
