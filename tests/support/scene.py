"""A whole topology for tests that kill, freeze and bring back its processes, and what they wait with.

Waiting is for what is waited for: lines of a component's log (`tail -F`, which inotify wakes), answers of
its control socket, the end of a process; always with a deadline.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from tests.support.asking import until
from zconnector.cli.stage import Stage
from zconnector.cli.topology import TENANT, Component
from zconnector.runtime.control import request
from zconnector.shoset.enrolment import Enrolment

DEADLINE = 20.0
CI_PIVOT = """\
name: Ci
major: 1
minor: 0
commandtypes:
  - name: BUILD
    schema: |
      {"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "required": ["number"],
       "properties": {"number": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}}}
  - name: ANYTHING
"""
"""`"exclusiveMinimum": true` is draft-04 only: 0 is refused only by a validator of that draft."""


class Log:
    """The lines of one log file from an offset on, as they are written."""

    def __init__(self, path: Path, begins: int) -> None:
        self.path = path
        self.entries: list[dict[str, Any]] = []
        self.begins = begins
        self._news = asyncio.Event()
        self._tail: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Log:
        self._tail = await asyncio.create_subprocess_exec(
            *("tail", "-c", f"+{self.begins + 1}", "-F", str(self.path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._tail is not None and self._reader is not None:
            self._tail.kill()
            await self._tail.wait()
            await self._reader

    async def _read(self) -> None:
        assert self._tail is not None
        assert self._tail.stdout is not None
        while line := await self._tail.stdout.readline():
            try:
                entry = orjson.loads(line)
            except orjson.JSONDecodeError:
                entry = {"event": line.decode(errors="replace").rstrip()}
            self.entries.append(entry)
            self._news.set()

    async def until(self, true: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Wait until the lines that came make something true."""
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            last = "\n".join(str(entry) for entry in self.entries[-20:])
            raise AssertionError(
                f"{self.path.name}: not within {seconds} s; the last lines:\n{last}"
            ) from None

    async def said(self, event: str, seconds: float = DEADLINE, **fields: Any) -> dict[str, Any]:
        """Wait for a line with this event and these fields; the line."""

        def found() -> list[dict[str, Any]]:
            return [
                entry
                for entry in self.entries
                if entry.get("event") == event and all(entry.get(k) == v for k, v in fields.items())
            ]

        await self.until(lambda: bool(found()), seconds)
        return found()[0]

    def live(self) -> set[str]:
        """Instances with which this connector has a live session, as its lines say."""
        live: set[str] = set()
        for entry in self.entries:
            instance = str(entry.get("peer", "")).rpartition("/")[2]
            if entry.get("event") == "session live":
                live.add(instance)
            elif entry.get("event") == "session ended":
                live.discard(instance)
        return live


class Scene:
    """A running topology: one member, instances of agg1, connectors. Started and stopped on one loop."""

    def __init__(
        self,
        state_dir: Path,
        *,
        aggregators: int = 3,
        connectors: Iterable[str] = ("git:Git", "ci:Ci"),
    ) -> None:
        self.state_dir = state_dir
        self.told: list[str] = []
        self._log_begins: dict[str, int] = {}
        self.stage = Stage(
            state_dir,
            aggregators=aggregators,
            connectors=tuple(connectors),
            arguments=["--log-level", "info"],
            told=lambda component, what: self.told.append(f"{component.label}: {what}"),
        )

    async def start(self, pivot: str = CI_PIVOT) -> Scene:
        await self.stage.start(60)
        if pivot:
            await self.put_pivot(pivot)
        return self

    async def stop(self) -> None:
        await self.stage.stop()

    def component(self, label: str) -> Component:
        return self.stage.component(label)

    def directory(self, label: str) -> Path:
        return self.state_dir / self.component(label).directory

    def grpc(self, name: str) -> str:
        return self.stage.grpc(name)

    def log(self, label: str, *, from_end: bool = False) -> Log:
        """The log of a component's present process, from its start or from now."""
        path = self.state_dir / self.component(label).log
        return Log(path, path.stat().st_size if from_end else self._log_begins.get(label, 0))

    def enrolment(self, label: str) -> Enrolment:
        """As it is kept by a component that was validated."""
        return Enrolment.decode((self.directory(label) / "enrolment").read_text())

    async def ask(self, label: str, op: str = "status", **args: Any) -> dict[str, Any]:
        """One request to a component's control socket."""
        return await asyncio.to_thread(request, self.directory(label), op, args, DEADLINE)

    async def until(
        self, label: str, true: Callable[[dict[str, Any]], bool], seconds: float = DEADLINE
    ) -> dict[str, Any]:
        """Wait until a component's status says so. It is asked for until it does."""
        return await until(lambda: self.ask(label), true, seconds, label)

    async def declare(self, name: str, type_: str, **more: Any) -> Enrolment:
        """A further connector, declared and not started."""
        args: dict[str, Any] = {"kind": "connector", "tenant": TENANT, "name": name, "type": type_}
        args |= {"aggregator": "agg1", "permissions": ["*"], **more}
        answer = await self.ask("cluster/1", "secret_create", **args)
        return Enrolment.decode(answer["enrolment"])

    async def cli(self, *argv: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """Run `zconnector ARGV`: status, stdout, stderr."""
        return await run_cli(*argv, stdin=stdin)

    async def put_pivot(self, text: str, tenant: str = TENANT) -> None:
        """`zconnector pivot put`."""
        argv = ("pivot", "put", "-", "--tenant", tenant, "--state-dir", str(self.directory("cluster/1")))
        status, out, err = await run_cli(*argv, stdin=text.encode())
        assert status == 0, out + err

    def signal(self, label: str, number: signal.Signals) -> None:
        os.kill(self.stage.pid(self.component(label)), number)

    async def kill(self, label: str) -> None:
        """SIGKILL, and wait for the end."""
        await self.stage.kill(self.component(label))

    async def bring_back(self, label: str) -> None:
        """Start what is dead; it serves when this returns."""
        component = self.component(label)
        if not self.stage.alive(component):
            self._log_begins[label] = (self.state_dir / component.log).stat().st_size
            await self.stage.bring_back(component)

    async def restore(self) -> None:
        """Bring back what is dead, wake what is frozen, wait until every connector has all its sessions."""
        for component in self.stage.plan.components:
            self.stage.thaw(component)
            await self.bring_back(component.label)
        wanted = {component.instance for component in self.stage.plan.of("aggregator")}
        # An instance that stood still may have dropped a session whose other end has not noticed yet.
        connectors = {component.name for component in self.stage.plan.of("connector")}
        for component in self.stage.plan.of("aggregator"):
            await self.until(component.label, lambda status: connectors <= _live_below(status))
        for component in self.stage.plan.of("connector"):
            async with self.log(component.label) as log:
                await log.until(lambda log=log: log.live() == wanted)  # type: ignore[misc]

    def logs(self) -> dict[str, str]:
        """Everything logged so far, by file."""
        found = sorted((self.state_dir / "logs").glob("*.log"))
        return {path.name: path.read_text("utf-8", "replace") for path in found}


def _live_below(status: dict[str, Any]) -> set[str]:
    """Names of the peers below that a component has live sessions with."""
    return {peer["name"] for peer in status["sessions"]["down"] if peer["state"] == "LIVE"}


async def run_cli(*argv: str, stdin: bytes = b"", seconds: float = DEADLINE) -> tuple[int, str, str]:
    """Run `zconnector ARGV`: status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zconnector", *argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(stdin), seconds)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
