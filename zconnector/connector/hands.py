"""The admin worker's hands: performs what the core of worker versions asks for. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import orjson
import structlog

from zconnector.actions import Note
from zconnector.clock import Clock
from zconnector.configuration.pivot import Version
from zconnector.connector.canary import send_canary, withdraw
from zconnector.connector.door import Door
from zconnector.connector.failures import is_away, may_pass, said
from zconnector.connector.logbook import LogBook
from zconnector.connector.ports import Place, Ports, Server
from zconnector.connector.readying import Ready, Readying
from zconnector.connector.sockets import Sockets
from zconnector.errors import Reason, Refusal, ZConnectorError
from zconnector.repository.cleaning import Unwanted
from zconnector.repository.layout import WorkerName
from zconnector.supervision.launch import Launch
from zconnector.supervision.shell import Supervision
from zconnector.supervision.states import AT_REST, Moved, Policy, State
from zconnector.versions.actions import (
    Action,
    Actions,
    Answer,
    Canary,
    Clean,
    Consult,
    Forget,
    Install,
    Keep,
    Look,
    Start,
    Steer,
    Stop,
)
from zconnector.versions.editions import Edition
from zconnector.versions.expiry import Signed
from zconnector.versions.manager import Manager
from zconnector.versions.traffic import steering

_log = structlog.get_logger("zconnector.versions")
ENDS = ("exited", "spawn_failed")
"""What happens to a run when it is over, in the words of supervision."""
_CLOSE = 0.7
"""Seconds that workers have to end when the connector does; then their guards end them."""


_PORTS = Ports()


class Hands:
    """Processes, installs, calls at the door. `act` never blocks; what it begins comes back to `feed`."""

    def __init__(
        self,
        manager: Manager,
        door: Door,
        place: Place,
        make_server: Callable[[str], Server],
        clock: Clock,
        *,
        answer: Callable[[Answer], None],
        changed: Callable[[], None],
        wrote: Callable[[], None],
        ports: Ports = _PORTS,
    ) -> None:
        self._manager = manager
        self._door = door
        self._place = place
        self._clock = clock
        self._answer = answer
        self._changed = changed
        self._uuid = ports.uuid
        packages = ports.packages(place.state_dir / "workers", clock)
        self.readying = Readying(door, packages, place.type, place.strict)
        self.logs = LogBook()
        processes = ports.processes(self._launch, clock, _Tee(self.logs, clock, wrote))
        self.supervision = Supervision(processes, self, clock=clock, random=ports.random)
        self._ready: dict[Edition, Ready] = {}
        self._sockets = Sockets(place.state_dir / "sockets", make_server)
        self._editions: dict[str, Edition] = {}
        self._starts: dict[Edition, int] = {}
        """Starts being prepared, by the number of the order; a stop takes it away."""
        self._orders = 0
        self._draining: set[str] = set()
        self._canaries: dict[Edition, str] = {}
        """Uuids of those that are under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._closing = False

    def name(self, edition: Edition) -> str:
        """Of the worker of an edition: what its leases, its log lines and its process carry."""
        return f"{self._place.type}-{edition}"

    def edition(self, name: str) -> Edition | None:
        return self._editions.get(name)

    # ---- the core

    def feed(self, actions: Actions) -> None:
        """Perform what the core has asked for, in order."""
        for action in actions:
            self._act(action)
        self._set_alarm()
        self._changed()

    def _act(self, action: Action) -> None:
        match action:
            case Keep(number, document):
                self.begin(self._keep(number, orjson.dumps(document)))
            case Install(edition, attempt, content):
                self.begin(self._install(edition, attempt, content))
            case Look(number):
                self.begin(self._look(number))
            case Consult():
                self.begin(self._consult())
            case Start(edition):
                self._orders += 1
                self._starts[edition] = self._orders
                self.begin(self._start(edition, self._orders))
            case Stop(edition, drain):
                self._starts.pop(edition, None)
                if self.name(edition) in self._editions:
                    self.supervision.stop(self.name(edition), drain)
            case Steer():
                self.begin(self._steer())
            case Canary(edition, attempt):
                self.begin(self._canary(edition, attempt))
            case Clean():
                self.begin(self._clean())
            case Forget(edition):
                self.begin(self._let_go(edition))
            case Answer():
                self._answer(action)
            case Note():
                getattr(_log, action.level)(action.event, **action.fields)

    def _set_alarm(self) -> None:
        due = self._manager.deadline()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if due is not None and not self._closing:
            pause = max(0.0, due - self._clock.now().mono)
            self._alarm = asyncio.get_running_loop().call_later(pause, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.feed(self._manager.tick(self._clock.now()))

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it beside all else; it ends with `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if isinstance(error, Refusal) and error.reason is Reason.SHUTTING_DOWN:
                return
            _log.error("defect: worker versions", exc_info=error)

    # ---- what it asks for

    async def _keep(self, number: int, document: bytes) -> None:
        try:
            await self._door.call("admin_keep", {}, document)
        except Refusal as refusal:
            if refusal.reason is Reason.SHUTTING_DOWN:
                return
            _log.error("worker versions not stored", error=refusal.detail)
            self.feed(self._manager.kept(number, False, self._clock.now()))
            return
        self.feed(self._manager.kept(number, True, self._clock.now()))

    async def _install(self, edition: Edition, attempt: int, content: str) -> None:
        result: dict[str, Any] = {}
        error, passing, away = "", False, False
        try:
            ready = await self.readying.get(self._manager.wanted_for(edition), edition.version, content)
            result = {"sha256": ready.sha256}
        except (ZConnectorError, OSError) as failure:
            error, passing, away = said(failure), may_pass(failure), is_away(failure)
        now = self._clock.now()
        self.feed(self._manager.installed(edition, attempt, result, error, passing, now, away))

    async def _look(self, number: int) -> None:
        try:
            found = await self.readying.latest(self._manager.wanted)
        except (ZConnectorError, OSError) as failure:
            self.feed(self._manager.found(number, None, said(failure), self._clock.now()))
        else:
            self.feed(self._manager.found(number, found, "", self._clock.now()))

    async def _consult(self) -> None:
        """What the manifest says that was accepted last."""
        wanted, manifest, signed = self._manager.wanted, None, None
        try:
            manifest = await self.readying.accepted(wanted)
        except (ZConnectorError, OSError) as failure:
            _log.warning("accepted manifest cannot be read", error=said(failure))
        if manifest is not None and wanted is not None:
            signed = Signed(wanted.repository, manifest.serial, manifest.expires)
        self.feed(self._manager.consulted(signed, self._clock.now()))

    async def _start(self, edition: Edition, order: int) -> None:
        """Have files, keys and a socket, then a process; unless it was stopped meanwhile."""
        name = self.name(edition)
        try:
            content = self._manager.content(edition)
            ready = await self.readying.start(self._manager.wanted_for(edition), edition.version, content)
            await self._sockets.open(edition, name)
            first = name not in self._editions
            self._supervise(name, edition)
            if first:  # whoever had that name before this process began is dead
                await self._gone(name)
            await self._steer()
        except (ZConnectorError, OSError) as failure:
            if isinstance(failure, Refusal) and failure.reason is Reason.SHUTTING_DOWN:
                return
            if self._starts.get(edition) == order:
                del self._starts[edition]
                self.feed(self._manager.moved(edition, State.FAILED, said(failure), self._clock.now()))
            return
        if self._starts.get(edition) != order or self._closing:
            return
        del self._starts[edition]
        self._ready[edition] = ready
        self.feed(self._manager.pin(edition, ready.sha256))
        self.supervision.start(name)

    def _supervise(self, name: str, edition: Edition) -> None:
        """Know it, with the policy that it was made with."""
        wanted = self._manager.wanted_for(edition)
        policy = wanted.worker.policy() if wanted else Policy()
        if name in self._editions:
            self.supervision.set_policy(name, policy)
            return
        self.supervision.add(name, policy)
        self._editions[name] = edition

    def _launch(self, name: str, run: int) -> Launch:
        edition = self._editions[name]
        ready, wanted = self._ready[edition], self._manager.wanted_for(edition)
        timeout = wanted.worker.timeout_ms if wanted else 10_000
        return Launch(
            argv=[str(ready.executable), self._place.connector, str(timeout), self._sockets.path(edition)],
            stdin=ready.stdin,
            env=self._place.environ,
            cwd=ready.directory,
            limits=wanted.worker.limits if wanted else {},
            version=str(edition.version),
            hide=ready.hide,
        )

    async def _steer(self) -> None:
        """Tell the router what is in force now, whatever was told before.

        A canary whose version is given up is withdrawn before its pin goes: no other version is to run it.
        """
        meant = self._manager.canary_of
        given_up = [self._canaries.pop(edition) for edition in [*self._canaries] if edition not in meant]
        for ident in given_up:
            await withdraw(self._door, ident)
        told = steering(self._manager, self.name, self._editions, self._draining)
        await self._door.call("admin_steer", {}, orjson.dumps(told))

    def _unwanted(self, worker: WorkerName) -> Unwanted:
        """What of a worker may leave the disk as things stand: never what a process runs from."""
        stock = self._manager.stock()
        runs = [
            (edition.version, ready.sha256)
            for edition, ready in self._ready.items()
            if ready.product == worker.product
            and self.supervision.view(self.name(edition)).state not in AT_REST
        ]

        def unwanted(version: Version, sha256: str) -> bool:
            busy = any(version == used and sha256 in ("", content) for used, content in runs)
            return not busy and stock.unwanted(worker.product, version, sha256)

        return unwanted

    async def _clean(self) -> None:
        try:
            gone = await self.readying.clean(self._manager.wanted, self._unwanted)
        except ZConnectorError as error:  # they go when the next rollout ends
            _log.warning("old worker versions not removed", error=said(error))
        else:
            if gone:
                _log.info("old worker versions removed", versions=gone)
        for edition in list(self._editions.values()):
            if edition not in self._manager.stock().editions:
                await self._let_go(edition)

    async def _let_go(self, edition: Edition) -> None:
        """Unless it is wanted again meanwhile, or was forgotten by another rollout's end."""
        name = self.name(edition)
        if edition in self._starts or name not in self._editions:
            return
        if self.supervision.view(name).state in AT_REST:
            await self._forget(name, edition)

    async def _forget(self, name: str, edition: Edition) -> None:
        """Of what nobody goes back to by itself nothing is kept open."""
        self.supervision.remove(name)
        del self._editions[name]
        self._ready.pop(edition, None)
        self._draining.discard(name)
        await self._sockets.close(edition)
        await self._steer()

    async def _canary(self, edition: Edition, attempt: int) -> None:
        wanted = self._manager.wanted
        canary = wanted.gate.canary if wanted else None
        error, passing = "", False
        if canary is not None:
            ident = self._canaries[edition] = self._uuid()
            error, passing = await send_canary(self._door, self._place.type, edition, canary, ident)
            if self._canaries.get(edition) == ident:
                del self._canaries[edition]
        self.feed(self._manager.canaried(edition, attempt, error, passing, self._clock.now()))

    # ---- supervision's listener

    def drain(self, name: str, run: int) -> None:
        self._draining.add(name)
        self.begin(self._steer())

    def moved(self, moved: Moved) -> None:
        name = moved.name
        if moved.state is State.STARTING and name in self._draining:
            self._draining.discard(name)
            self.begin(self._steer())
        if moved.event in ENDS:
            self.begin(self._gone(name))
        edition = self._editions[name]
        self.feed(self._manager.moved(edition, moved.state, moved.reason, self._clock.now()))

    async def _gone(self, name: str) -> None:
        await self._door.call("admin_ended", {"worker": name})

    # ---- the end

    def leave(self) -> None:
        """The connector is stopping: workers finish what they have; none is started any more."""
        self._closing = True
        self.begin(self.supervision.close())

    async def close(self) -> None:
        """End every worker, within bounds."""
        self._closing = True
        if self._alarm is not None:
            self._alarm.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.supervision.close(drain=False), _CLOSE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._sockets.stops(), return_exceptions=True)


class _Tee:
    """The log of the workers' output, kept for `logs` as well."""

    def __init__(self, logs: LogBook, clock: Clock, wrote: Callable[[], None]) -> None:
        self._logs = logs
        self._wrote = wrote
        self._clock = clock
        self._log = structlog.get_logger("zconnector.worker")

    def info(self, event: str, **fields: Any) -> None:
        self._logs.add(self._clock.now().wall, fields)
        self._log.info(event, **fields)
        self._wrote()
