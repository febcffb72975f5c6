"""One connector as a process: wiring only."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from zconnector.actions import Respond
from zconnector.clock import Instant
from zconnector.connector.admin import AdminWorker
from zconnector.connector.machine import ConnectorMachine
from zconnector.connector.ports import Place
from zconnector.errors import ConfigError
from zconnector.queue.door import DoorServer
from zconnector.queue.door_inner import INNER, InnerDoor
from zconnector.queue.local import LocalQueue
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import scan_all
from zconnector.rpc.gandalf import ServiceSettings
from zconnector.rpc.operators import OperatorServer
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.token import TlsSettings
from zconnector.runtime import enrol, garbage
from zconnector.runtime.driver import DefectError, Driver
from zconnector.runtime.process import serve_component
from zconnector.runtime.statedir import remove_socket, socket_path
from zconnector.settings import ConnectorSettings
from zconnector.shoset.enrolment import Enrolment
from zconnector.shoset.identity import Identity, boot_id
from zconnector.shoset.uplinks import Target

DOOR_SOCKET = "door.sock"
"""In the connector's state directory: where front ends in processes of their own find the door."""
OPERATORS_SOCKET = "operators.sock"
"""There too: where operators' programs dial."""
OWN_HEARTBEAT, OWN_SILENCE = 1.0, 8.0
"""Of v1 streams of supervised workers, in seconds: as often as workers of the Gandalf API beat."""
DEDUPE_BEYOND_TIMEOUT = 60.0
"""Seconds that a finished command is remembered beyond the longest timeout."""
_STOP_GRACE = 0.5
"""Seconds that answers to workers may still take when the process ends."""


def run(settings: ConnectorSettings, environ: Mapping[str, str]) -> int:
    """Run a connector in the foreground; returns the exit status. `environ`: that of supervised workers."""
    return serve_component(settings, lambda driver: _build(driver, settings, environ))


def _build(driver: Driver, settings: ConnectorSettings, environ: Mapping[str, str]) -> ConnectorMachine:
    enrolment = enrol.load(settings)
    if enrolment.kind != "connector":
        raise ConfigError(f"this enrolment is for a {enrolment.kind}, not for a connector")
    _check(settings)
    settings = replace(settings, grpc=settings.grpc or f"unix:{settings.state_dir / 'grpc.sock'}")
    rng = random.Random()
    now = driver.now()
    store = SqliteQueueStore(settings.state_dir / "queue.db")
    driver.use_store(store)
    queue = LocalQueue(settings.queue, store, rng)
    with garbage.paused():
        queue.restore(scan_all(store), now)
    identity = Identity(
        kind="connector",
        tenant=enrolment.tenant,
        name=enrolment.name,
        instance=enrolment.instance,
        boot=boot_id(now, rng),
        type=enrolment.type,
        secret=enrolment.secret.encode(),
    )
    machine = ConnectorMachine(identity, _targets(enrolment, queue), queue, settings, rng, now)
    place = Place(enrolment.name, enrolment.type, settings.state_dir, settings.strict, environ)
    _Workers(driver, machine, settings, enrolment, identity.boot, place).wire()
    return machine


def _check(settings: ConnectorSettings) -> None:
    """Raises ConfigError: a late copy of a command could outlive its memory (DESIGN section 3, promise 3)."""
    window, longest = settings.queue.dedupe_window, settings.max_timeout_ms / 1000 + DEDUPE_BEYOND_TIMEOUT
    if window < longest:
        raise ConfigError(
            f"queue_dedupe_window is {window:g} s, must be at least the longest timeout "
            f"(max_timeout_ms) and {DEDUPE_BEYOND_TIMEOUT:g} s: {longest:g} s"
        )


def _targets(enrolment: Enrolment, queue: LocalQueue) -> list[Target]:
    """Where to look for the aggregator: the enrolment's instances, and those of the last WELCOME."""
    known = {Target(e.instance, e.endpoint, e.key) for e in enrolment.endpoints}
    kept = queue.recall("instances") or {}
    latest = {
        Target(str(item["instance"]), str(item["endpoint"]), str(item["key"]))
        for item in kept.get("instances", [])
    }
    moved = {target.instance for target in latest}
    return sorted(
        latest | {target for target in known if target.instance not in moved},
        key=lambda target: (target.instance, target.endpoint),
    )


def _tls(settings: ConnectorSettings) -> TlsSettings | None:
    """What serving over TCP needs, where any of it was given."""
    given = (settings.grpc_tls_cert, settings.grpc_tls_key, settings.grpc_token_file)
    if not any(given):
        return None
    if not all(given):
        raise ConfigError("grpc_tls_cert, grpc_tls_key and grpc_token_file go together")
    try:
        token = Path(settings.grpc_token_file).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the worker token in {settings.grpc_token_file}: {error}") from None
    return TlsSettings(Path(settings.grpc_tls_cert), Path(settings.grpc_tls_key), token)


class _Workers:
    """The shells that serve workers: the door, the gRPC service, the admin worker."""

    def __init__(
        self,
        driver: Driver,
        machine: ConnectorMachine,
        settings: ConnectorSettings,
        enrolment: Enrolment,
        boot: str,
        place: Place,
    ) -> None:
        self._driver = driver
        self._machine = machine
        self._settings = settings
        self._enrolment = enrolment
        self._inner = InnerDoor(driver.calls, driver.cancel)
        endpoint = f"ipc://{socket_path(settings.state_dir, DOOR_SOCKET)}"
        self._door = DoorServer(driver.context, endpoint, driver.call, driver.cancel)
        service = ServiceSettings(default_timeout_ms=settings.default_timeout_ms)
        self._server = WorkerServer(self._inner, boot, service)
        self._operators = OperatorServer(self._inner)
        self._boot = boot
        self._admin = AdminWorker(self._inner, place, self._own_server)
        self._administering: asyncio.Task[None] | None = None

    def wire(self) -> None:
        self._driver.on_respond(self._respond)
        self._driver.serve = self._serve
        self._driver.at_close(self._close)

    def _respond(self, action: Respond) -> None:
        door = self._inner if action.caller.client == INNER else self._door
        door.respond(action)

    async def _serve(self) -> None:
        """The core says that workers may be served."""
        enrol.keep(self._settings.state_dir, self._enrolment)
        self._door.start()
        operators = await self._operators.start(self._settings.state_dir / OPERATORS_SOCKET)
        address = await self._server.start(self._settings.grpc, tls=_tls(self._settings))
        self._driver.feed(self._machine.serving(address, operators, self._now()))
        self._administering = asyncio.create_task(self._admin.run())
        self._administering.add_done_callback(self._admin_ended)
        self._driver.feed(self._machine.admin_running(self._now()))

    async def _close(self) -> None:
        if self._administering is not None:
            self._administering.cancel()
            await asyncio.gather(self._administering, return_exceptions=True)
        await self._admin.close()
        await asyncio.gather(self._server.stop(_STOP_GRACE), self._operators.stop(_STOP_GRACE))
        self._inner.close()
        self._door.stop()
        remove_socket(self._settings.state_dir, DOOR_SOCKET)

    def _own_server(self, worker: str) -> WorkerServer:
        """For one supervised worker, on a socket of its own."""
        service = ServiceSettings(
            default_timeout_ms=self._settings.default_timeout_ms,
            worker=worker,
            heartbeat=OWN_HEARTBEAT,
            silence=OWN_SILENCE,
        )
        return WorkerServer(self._inner, self._boot, service)

    def _admin_ended(self, task: asyncio.Task[None]) -> None:
        """It serves until it is cancelled: anything else is a defect, and nobody would answer for it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._driver.log.error("defect: the admin worker raised", exc_info=error)
            self._driver.stop(DefectError("a defect ended this process; its log has the traceback"))

    def _now(self) -> Instant:
        return self._driver.now()
