"""Traffic between two connectors of a running stage, written into a ledger: clients, worker processes.

What the demo shows and what the chaos runner judges is made here.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import uuid as uuid_module
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zconnector.cli.child import tethered
from zconnector.cli.ledger import Ledger
from zconnector.errors import NotRunningError
from zconnector.messages.kinds import Outcome
from zconnector.worker import CallFailed, Client, NoReply, NotSent, OutcomeUnknown, Rejected

WORKERS = Path(__file__).with_name("demo_workers")
RETRY_FIRST, RETRY_LIMIT = 0.2, 2.0
"""Seconds before a command that nobody took is sent again, with the same uuid; doubling, with jitter."""
MAX_OPEN = 200
"""Commands of one side that may be under way: a sender that is not answered does not pile up more."""


@dataclass(frozen=True, slots=True)
class Side:
    """One connector, what its worker does, and what its clients ask of the other one."""

    name: str
    type: str
    command: str
    """What its worker runs."""
    topic: str
    """What is published through it; the other side's worker listens."""
    event: str


GIT = Side("git", "Git", "CLONE", "pushes", "PUSHED")
CI = Side("ci", "Ci", "BUILD", "builds", "FINISHED")


def other(side: Side) -> Side:
    return CI if side is GIT else GIT


class WorkerProcess:
    """A worker of the demo as its own process; what it prints goes into the ledger."""

    def __init__(
        self, side: Side, grpc: str, ledger: Ledger, log: Path, heard: Callable[[str, str], None]
    ) -> None:
        self.side = side
        self._grpc = grpc
        self._ledger = ledger
        self._log = log
        self._heard = heard
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def start(self) -> None:
        program = WORKERS / f"{self.side.name}.py"
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered([sys.executable, str(program), f"{self.side.name}-worker", "10000", self._grpc]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "ZCONNECTOR_LOG_LEVEL": "info"},
            )
        if self._process.stdout is None:
            raise NotRunningError(f"the worker of {self.side.name} has no output")
        self._reader = asyncio.create_task(self._read(self._process.stdout))

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await output.readline():
            if not line.endswith(b"\n"):
                return  # it died in the middle of a line
            entry: Mapping[str, Any] = json.loads(line)
            if entry["did"] == "command":
                self._ledger.executed(entry["uuid"])
            else:
                self._ledger.saw(entry["uuid"], self.side.name)
            self._heard(entry["did"], entry["uuid"])

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NotRunningError(f"the worker of {self.side.name} was not started")
        return self._process.pid

    async def stop(self, grace: float = 3.0) -> None:
        """SIGTERM (it drains), then SIGKILL."""
        if self._process is None or self._reader is None:
            return
        if self._process.returncode is None:
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None and self._reader is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await self._reader


class Traffic:
    """Clients of both sides. Every step of every message is written into the ledger."""

    def __init__(self, ledger: Ledger, grpc: Mapping[str, str], changed: Callable[[], None]) -> None:
        self.ledger = ledger
        self._clients = {name: Client(address, name=f"{name}-client") for name, address in grpc.items()}
        self._changed = changed
        self._room = {name: asyncio.Semaphore(MAX_OPEN) for name in grpc}
        self._watchers: list[asyncio.Task[None]] = []
        self.receipted_at: dict[str, float] = {}
        """Loop time of each receipt, by uuid of the command."""
        self.sent_at: dict[str, float] = {}

    async def __aenter__(self) -> Traffic:
        for client in self._clients.values():
            await client.__aenter__()
        for side in (GIT, CI):
            watch = self._watch_replies(self._clients[side.name], other(side).command)
            self._watchers.append(asyncio.create_task(watch))
        return self

    async def __aexit__(self, *_: object) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for client in self._clients.values():
            await client.__aexit__(None, None, None)

    async def _watch_replies(self, client: Client, command: str) -> None:
        async for event in client.events(command):
            if event.event in (Outcome.SUCCESS, Outcome.FAIL):
                self.ledger.final(event.reference, event.uuid)

    async def command(self, source: Side, number: int, *, give_up: float) -> None:
        """Send one command to the other side's worker and wait for its reply.

        What is not receipted is sent again with the same uuid, which the system promises to run once;
        after `give_up` seconds without a receipt, or a reply, it is left as it is.
        """
        target = other(source)
        uuid = str(uuid_module.uuid4())
        async with self._room[source.name]:
            await self._command(source, target, uuid, number, give_up)

    async def _command(self, source: Side, target: Side, uuid: str, number: int, give_up: float) -> None:
        self.ledger.sent(uuid, target.name)
        self.sent_at[uuid] = asyncio.get_running_loop().time()
        self._changed()
        try:
            async with asyncio.timeout(give_up):
                if await self._until_receipted(source, target, uuid, number):
                    handle = self._clients[source.name].handle(uuid, target.command)
                    await handle.reply()
                    self.ledger.answered(uuid)
        except (TimeoutError, NoReply):
            return  # the ledger shows what is open
        finally:
            self._changed()

    async def _until_receipted(self, source: Side, target: Side, uuid: str, number: int) -> bool:
        payload = {"number": number, "repository": f"team/project-{number % 7}"}
        doubtful = False
        pause = RETRY_FIRST
        while True:
            try:
                await self._clients[source.name].send_command(
                    target.type, target.command, payload, uuid=uuid, timeout=5.0
                )
            except OutcomeUnknown:
                doubtful = True
            except NotSent:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, RETRY_LIMIT)
            except Rejected as refusal:
                if not doubtful:
                    self.ledger.refused(uuid, refusal.reason)
                return False
            else:
                self.ledger.receipted(uuid)
                self.receipted_at[uuid] = asyncio.get_running_loop().time()
                self._changed()
                return True

    async def event(self, source: Side, number: int, *, give_up: float) -> None:
        """Publish one event; the other side's worker should see it.

        One that the connector does not take within `give_up` seconds is not in the ledger.
        """
        uuid = str(uuid_module.uuid4())
        try:
            await self._clients[source.name].send_event(
                source.topic, source.event, {"number": number}, uuid=uuid, timeout=give_up
            )
        except CallFailed:
            return
        self.ledger.published(uuid, frozenset({other(source).name}))
        self._changed()

    async def warm_up(self, seen: Callable[[str], asyncio.Event], within: float = 20.0) -> None:
        """Wait until each side's worker runs a command and sees an event of the other side.

        A worker sees events from its first wait on, which nobody outside can observe: so one is
        published again and again until it is seen. Nothing of this is in the ledger.
        Raises NotRunningError.
        """
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*(self._warm_up_side(side, seen) for side in (GIT, CI)))
        except TimeoutError:
            raise NotRunningError(f"the workers did nothing for {within:g} s; see their logs") from None

    async def _warm_up_side(self, source: Side, seen: Callable[[str], asyncio.Event]) -> None:
        client, target = self._clients[source.name], other(source)
        while True:
            try:
                handle = await client.send_command(
                    target.type, target.command, {"number": 0, "repository": "-"}
                )
                await handle.reply()
                break
            except (Rejected, NotSent, OutcomeUnknown, CallFailed):
                await asyncio.sleep(RETRY_FIRST)
        while True:
            uuid = str(uuid_module.uuid4())
            here = seen(uuid)
            await client.send_event(source.topic, source.event, {"number": 0}, uuid=uuid)
            try:
                await asyncio.wait_for(here.wait(), 0.5)
                return
            except TimeoutError:
                continue
