"""Supervised processes of worker versions: what a guard starts, tells and reports, and how each behaves.

A process belongs to one process of its router: its socket is there, and its guard ends it when that dies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.agent import Agent, Args
from tests.simulation.model import Model
from tests.simulation.model_versions import VersionRules
from tests.simulation.nodes import ConnectorNode
from tests.simulation.process import Process
from tests.simulation.repositories import Quality, commands_of, quality_of, streams
from tests.simulation.scheduler import MS, SECOND
from tests.simulation.streams import StreamWorker, Ways
from tests.simulation.virtual_loop import VirtualLoop
from tests.simulation.workers import Habits, Worker
from zconnector.configuration.pivot import Version
from zconnector.errors import Refusal, ZConnectorError
from zconnector.supervision.launch import Events
from zconnector.supervision.process import Prepare
from zconnector.supervision.states import Level

SILENCE = 8 * SECOND
"""After which the front end of a v1 worker ends its stream."""
HABITS = Habits(slow=0.02, progress=0.05, twice=0.02, fails=0.02)
WAYS = Ways(fails=0.02, naks=0, progress=0, slow=0.02, late=0, twice=0.03, forged=0.02, given_back=0)


@dataclass(slots=True)
class Home:
    """What the processes of one router process have in common."""

    node: ConnectorNode
    router: Process
    loop: VirtualLoop
    model: Model
    rules: VersionRules
    processes: list[SimulatedProcess] = field(default_factory=list)
    """Those that live."""
    lying: Callable[[], set[str]] = set
    """Executables that are on the disk."""

    def removed(self, executables: list[str]) -> None:
        """What has left the disk: nothing that runs."""
        for process in self.processes:
            if process.executable in executables:
                self.node.around.defect(self.node.name, f"{process.name} runs, and left the disk")


class SimulatedProcesses:
    """The port `Processes`."""

    def __init__(self, home: Home, prepare: Prepare) -> None:
        self._home = home
        self._prepare = prepare

    def spawn(self, name: str, run: int, events: Events) -> None:
        try:
            launch = self._prepare(name, run)
        except ZConnectorError as error:
            events.spawn_failed(name, run, str(error), True)
            return
        if launch.argv[0] not in self._home.lying():
            home = self._home
            home.node.around.defect(home.node.name, f"{name} is started from what has left the disk")
        major, minor = launch.version.split(".")
        version = Version(int(major), int(minor))
        SimulatedProcess(self._home, name, run, version, events, launch.argv[0], launch.stdin)

    def signal(self, name: str, run: int, level: Level) -> None:
        for process in list(self._home.processes):
            if (process.name, process.run) == (name, run):
                process.told(level)


class SimulatedProcess(Agent):
    """One process and its guard."""

    def __init__(
        self,
        home: Home,
        name: str,
        run: int,
        version: Version,
        events: Events,
        executable: str,
        stdin: bytes,
    ) -> None:
        super().__init__(home.node, name)
        self.run = run
        self.version = version
        self.executable = executable
        self.quality = quality_of(version, executable, stdin)
        self.rng = home.node.around.rng(f"process {home.router.name} {name} {run}")
        self._home = home
        self._events = events
        self._ending = self._drops = False
        kind = VersionStream if streams(version) else VersionGandalf
        self.worker: VersionStream | VersionGandalf | None = None
        home.processes.append(self)
        home.rules.spawned(self.now, home.node.name, name, self.quality, f"{executable} {stdin.decode()}")
        self.after(self.some(20 * MS, 300 * MS), self._started, kind)

    @property
    def ongoing(self) -> int:
        return self.worker.ongoing if self.worker else 0

    def _tell(self, call: Callable[..., None], *args: Any) -> None:
        if self._home.router.alive:
            self._home.loop.call_soon(call, self.name, self.run, *args)

    def _started(self, kind: Any) -> None:
        self._tell(self._events.started, 1_000 + self.run)
        if self.quality is Quality.DEAD:
            self.after(self.some(10 * MS, 200 * MS), self.exit, 1)
        elif self.quality is not Quality.MUTE:
            self.worker = kind(self._home, self)
            self.after(self.some(50 * MS, 600 * MS), self.worker.start)
        if self.quality is Quality.TIRED:
            self.after(self.some(30 * SECOND, 120 * SECOND), self.die)

    def registered(self) -> None:
        """Its worker's command list was taken."""
        if self.quality is Quality.FRAIL:
            self.after(self.some(50 * MS, 1_500 * MS), self.die)
        elif self.quality is Quality.SILENT and self.worker is not None:
            self.worker.hang(600 * SECOND)

    def told(self, level: Level) -> None:
        """A signal: most leave at once, some finish first, some do not listen."""
        if level is Level.KILL:
            self.after(self.some(MS, 20 * MS), self.exit, -9)
            return
        if self._ending:
            return
        self._ending = True
        self._home.rules.terminated(self.now, self.node.name, self.name, self.ongoing)
        draw = self.rng.random()
        if self.worker is None or draw < 0.75:
            self.after(self.some(5 * MS, 150 * MS), self.exit, -15)
        elif draw < 0.95:
            self._leave()

    def _leave(self) -> None:
        if self.ongoing:
            self.after(100 * MS, self._leave)
        else:
            self.exit(0)

    def die(self) -> None:
        """It crashes, or somebody kills it."""
        self.exit(-11)

    def hang(self, duration: int) -> None:
        if self.worker is not None and self.now >= self.worker._hung_until:
            self._home.rules.hung(self.now, self.node.name, self.name, self.now + duration)
            self.worker.hang(duration)

    def cancel_waits(self) -> None:
        if self.worker is not None:
            self._home.rules.disturbed(self.now, self.node.name, self.name)
            self.worker.cancel_waits()

    def exit(self, status: int) -> None:
        """It is gone, and all that it left behind."""
        if self not in self._home.processes:
            return
        self._home.processes.remove(self)
        self._home.rules.exited(self.now, self.node.name, self.name, self.ongoing)
        if self.worker is not None:
            self.worker.vanish()
        self._tell(self._events.exited, status)
        self.life += 1

    def orphaned(self) -> None:
        """Its router is gone: the guard ends it (tests over real processes show that it does)."""
        self.exit(-9)


class VersionGandalf(Worker):
    """A worker of the Gandalf API on a socket of its own."""

    def __init__(self, home: Home, process: SimulatedProcess) -> None:
        habits = Habits(fails=1.0) if process.quality is Quality.WRONG else HABITS
        super().__init__(home.node, process.name, home.model, named=True, habits=habits)
        self._home, self._process = home, process
        self.rng = home.node.around.rng(f"worker {home.router.name} {process.name} {process.run}")
        self.version = process.version
        self.commands = _registers(process)
        self.life = 1_000 * home.node.starts + process.run

    @property
    def door(self) -> Process | None:
        return self._home.router if self._home.router.alive and self._home.router.serving else None

    @property
    def identity(self) -> str:
        return self.name

    def call(self, op: str, args: Args, answered: Any, payload: bytes = b"", given: Any = None) -> Any:
        args = {**args, "own": True}  # as its own socket's door says
        return super().call(op, args, answered, payload, _watched(self, op, args, given))

    def _run(self, name: str, header: Args) -> None:
        if not self._hung:
            self._home.rules.executed(self.now, self.node.name, str(header["uuid"]), self.name, header)
        super()._run(name, header)

    def _again(self) -> None:
        self._process.exit(1 if not self._leaving else 0)

    def vanish(self) -> None:
        waits = list(self._waits.values())
        self._end()
        for wait in waits:
            self.cancel(wait)


class VersionStream(StreamWorker):
    """A worker of zconnector.v1 on a socket of its own."""

    def __init__(self, home: Home, process: SimulatedProcess) -> None:
        super().__init__(home.node, process.name, home.model, ways=WAYS, concurrency=2)
        self._home, self._process = home, process
        self.rng = home.node.around.rng(f"worker {home.router.name} {process.name} {process.run}")
        self._lease = 0
        self.version = process.version
        self.commands = _registers(process)
        self.life = 1_000 * home.node.starts + process.run

    @property
    def door(self) -> Process | None:
        return self._home.router if self._home.router.alive and self._home.router.serving else None

    def call(self, op: str, args: Args, answered: Any, payload: bytes = b"", given: Any = None) -> Any:
        args = {**args, "own": True}  # as its own socket's door says
        return super().call(op, args, answered, payload, _watched(self, op, args, given))

    def start(self) -> None:
        super().start()
        self.after(SECOND, self._beat)

    def _beat(self) -> None:
        """Its front end passes on that its stream says something."""
        self.after(SECOND, self._beat)
        if self._holder and self.now >= self._hung_until:
            self.call("beat", self._who(), _ignored)

    def hang(self, duration: int) -> None:
        super().hang(duration)
        self.after(SILENCE, self._cut, self._holder)

    def _cut(self, holder: str) -> None:
        """The front end has heard nothing for so long that it ends the stream."""
        if holder and holder == self._holder and self.now < self._hung_until:
            self._end_stream()
            for work in self._hand.values():
                work.lost = True
            self._connect()  # once it is awake

    def _ask(self, holder: str) -> None:
        if holder == self._holder and self.now >= self._hung_until:
            self._home.rules.attended(self.now, self.node.name, self.name, True)
        super()._ask(holder)

    def _end_stream(self) -> None:
        if self._holder:
            self._home.rules.attended(self.now, self.node.name, self.name, False)
        super()._end_stream()

    def _begin(self, entry: Args) -> None:
        self._home.rules.executed(self.now, self.node.name, str(entry["uuid"]), self.name, entry)
        super()._begin(entry)

    def vanish(self) -> None:
        self._end_stream()
        self.life += 1
        self._hand.clear()


def _registers(process: SimulatedProcess) -> tuple[str, ...]:
    """The names that its worker registers, whichever API that speaks."""
    declared = commands_of(process.version)
    return declared[:-1] if process.quality is Quality.LACKING else declared


def _ignored(_: Args, __: bytes, ___: Refusal | None) -> None:
    return


def _watched(
    worker: VersionGandalf | VersionStream, op: str, args: Args, given: Callable[[Args, bytes], None] | None
) -> Callable[[Args, bytes], None] | None:
    """`given` of a call, after the judge of versions has heard of it."""
    rules, node, name = worker._home.rules, worker.node.name, worker.name
    process = worker._process

    def note(result: Args) -> None:
        if op == "register" and result["valid"]:
            rules.registered(worker.now, node, name, worker.version, worker.commands)
            process.after(0, process.registered)
        elif op == "beat":
            rules.beaten(worker.now, node, name)
        elif op == "wait_command":
            rules.handed(worker.now, node, name, result)
        elif op == "take":
            for entry in result["commands"]:
                rules.handed(worker.now, node, name, entry)

    def told(result: Args, payload: bytes) -> None:
        note(result)
        if given is not None:
            given(result, payload)

    return told if op in ("register", "beat", "wait_command", "take") else given
