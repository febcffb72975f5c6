"""Runs a worker: over zconnector.v1 where the connector serves it, else over the Gandalf API."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from zconnector.errors import ConfigError, ZConnectorError
from zconnector.worker.client import Client
from zconnector.worker.connection import Connection, Tls
from zconnector.worker.gandalf import BEAT, GandalfRun
from zconnector.worker.handlers import Registry
from zconnector.worker.lifecycle import State
from zconnector.worker.stream import NoV1, V1Run

APIS = ("auto", "v1", "gandalf")

_log = structlog.get_logger("zconnector.worker")


class Runner:
    """One run of a worker, from registration to exit.

    `api`: "auto" asks the connector first; "v1" and "gandalf" settle it.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        major: int,
        minor: int,
        name: str,
        addresses: list[str],
        tls: Tls | None = None,
        beat: float = BEAT,
        rng: random.Random | None = None,
        api: str = "auto",
        lease: float | None = None,
    ) -> None:
        if api not in APIS:
            raise ConfigError(f"api must be one of {', '.join(APIS)} (got {api!r})")
        self._registry = registry
        self._major = major
        self._minor = minor
        self._name = name
        self._addresses = addresses
        self._tls = tls
        self._beat = beat
        self._rng = rng or random.Random()
        self._api = api
        self._lease = lease
        self._draining = asyncio.Event()
        self._stopping = False
        self._run: V1Run | GandalfRun | None = None
        self.worker = f"{name[:200]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """Identity of this process towards the connector, the same over reconnections."""

    @property
    def state(self) -> State:
        return State.REGISTERING if self._run is None else self._run.state

    @property
    def api(self) -> str:
        """What it speaks: "v1", "gandalf"; "" before the connector was asked."""
        if self._run is None:
            return ""
        return "v1" if isinstance(self._run, V1Run) else "gandalf"

    async def run(self) -> int:
        """Serve until told to leave; the exit status.

        Raises:
            RegistrationRefused: the connector does not take this worker.
        """
        slots = sum(handler.concurrency for handler in self._registry.commands.values())
        most = max(1, slots + len(self._registry.events))
        threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="handler")
        connection = Connection(self._addresses, worker=self.worker, tls=self._tls)
        client = Client("", name=self._name, connection=connection)
        common: dict[str, Any] = {
            "worker": self.worker,
            "name": self._name,
            "major": self._major,
            "minor": self._minor,
            "draining": self._draining,
            "rng": self._rng,
        }
        try:
            async with client:
                if self._api != "gandalf":
                    try:
                        await self._serve(
                            V1Run(self._registry, connection, client, threads, lease=self._lease, **common)
                        )
                    except NoV1:
                        if self._api == "v1":
                            raise
                        self._api = "gandalf"
                if self._api == "gandalf":
                    await self._serve(
                        GandalfRun(self._registry, connection, client, threads, beat=self._beat, **common)
                    )
        finally:
            await connection.close()
            threads.shutdown(wait=False, cancel_futures=True)
        _log.info("worker.stopped", worker=self.worker)
        return 0

    async def _serve(self, run: V1Run | GandalfRun) -> None:
        self._run = run
        if self._stopping:
            run.stop()
        await run.run()

    def stop(self) -> None:
        """Drain: take nothing more, finish what runs, then end."""
        self._stopping = True
        if self._run is not None:
            self._run.stop()


async def serve(runner: Runner) -> int:
    """Run a worker, turning an error into a log line and an exit status."""
    try:
        return await runner.run()
    except ZConnectorError as error:
        _log.error("worker.failed", error=str(error))
        return error.exit_code
