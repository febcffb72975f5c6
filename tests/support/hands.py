"""Components of a running `zconnector dev`, taken over by hand: killed, armed, started again.

`dev` makes the topology and enrols everybody; without `--restart` it leaves alone what dies. From
then on a component's next process is started here, warm if wanted: with everything imported, it waits for
the word, so that a router can be back within a fraction of a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.asking import until
from tests.support.dev import Dev, all_ended
from zconnector.cli.child import tethered
from zconnector.cli.topology import Component, read_plan
from zconnector.runtime.control import request

DEADLINE = 20.0
_WARM = """
import importlib, os, socket, sys
from zconnector.cli.component import starting
role = sys.argv[1]
with starting():
    importlib.import_module(f"zconnector.cli.{role}")
    importlib.import_module(f"zconnector.{role}.process")
from zconnector.cli.main import main
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"WARM=1", chr(0) + os.environ["NOTIFY_SOCKET"][1:])
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""


def all_live(status: dict[str, Any]) -> bool:
    """Whether a connector has a live session with each of its instances."""
    return {up["state"] for up in status["sessions"]["up"]} == {"LIVE"}


class Run:
    """One process of a component."""

    def __init__(self, component: Component, state_dir: Path, settings: Sequence[str], crash_at: str) -> None:
        argv = component.arguments(state_dir, strict=False)
        self._argv = [sys.executable, "-c", _WARM, *argv, "--log-level", "info", *settings]
        self._log = state_dir / component.log
        self._environment = dict(os.environ)
        if crash_at:
            self._environment["ZCONNECTOR_CRASH_AT"] = crash_at
        self._said = asyncio.Event()
        self._warm = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._gone: asyncio.Task[int] | None = None

    async def spawn(self) -> Run:
        """Start the process; it imports what it needs and waits for `go`."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        name = f"hands-{os.getpid()}-{secrets.token_hex(8)}"
        listener.bind("\0" + name)
        loop = asyncio.get_running_loop()

        def notified() -> None:
            (self._warm if listener.recv(100).startswith(b"WARM") else self._said).set()

        def close(_: object) -> None:
            loop.remove_reader(listener)
            listener.close()

        loop.add_reader(listener, notified)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(self._argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=log,
                stderr=log,
                env={**self._environment, "NOTIFY_SOCKET": "@" + name},
                start_new_session=True,
            )
        self._gone = asyncio.create_task(self._process.wait())
        self._gone.add_done_callback(close)
        return self

    async def warmed(self) -> Run:
        """Wait until it has imported what it needs."""
        await asyncio.wait_for(self._warm.wait(), DEADLINE)
        return self

    def go(self) -> Run:
        """The word: it may lock its state directory and begin."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        return self

    async def ready(self) -> None:
        """Wait until it serves; a process that dies at its crash point before that is ready enough."""
        assert self._gone is not None
        said = asyncio.ensure_future(self._said.wait())
        await asyncio.wait({said, self._gone}, timeout=DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        said.cancel()
        if not self._said.is_set():
            assert self._gone.done(), "the component does not become ready"
            assert self._gone.result() == -signal.SIGKILL, self._log.read_text()[-3000:]

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        return self._gone is not None and not self._gone.done()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def died(self) -> None:
        """Wait until it has been killed, by itself or by us."""
        assert self._gone is not None
        status = await asyncio.wait_for(asyncio.shield(self._gone), DEADLINE)
        assert status == -signal.SIGKILL, f"status {status}: {self._log.read_text()[-3000:]}"

    async def ended(self) -> None:
        """Wait for its end, whatever that is."""
        assert self._gone is not None
        await asyncio.wait_for(asyncio.shield(self._gone), DEADLINE)

    async def kill(self) -> None:
        if self.alive:
            self.signal(signal.SIGKILL)
        assert self._gone is not None
        await self._gone


class Hands:
    """The components of one dev, by label (`git`, `agg1/a`, `cluster`); the first run of each is dev's."""

    def __init__(self, dev: Dev) -> None:
        self.dev = dev
        plan = read_plan(json.loads((dev.state_dir / "dev.json").read_bytes()))
        self._components = {component.label: component for component in plan.components}
        self._components["cluster"] = plan.of("cluster")[0]
        self._runs: dict[str, Run] = {}

    async def __aenter__(self) -> Hands:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(run.kill() for run in self._runs.values()))

    async def warm(self, name: str, *settings: str, crash_at: str = "") -> Run:
        """A next process of a component, which waits for `start(..., run)`."""
        return await Run(self._components[name], self.dev.state_dir, settings, crash_at).spawn()

    async def start(self, name: str, *settings: str, crash_at: str = "", run: Run | None = None) -> Run:
        """Start a component that is dead, and wait until it serves; settings as on its command line."""
        begun = run or await self.warm(name, *settings, crash_at=crash_at)
        self._runs[name] = begun
        await begun.go().ready()
        return begun

    async def kill(self, name: str) -> None:
        """SIGKILL, and wait for the end."""
        if name in self._runs:
            await self._runs[name].kill()
        else:
            await self.dev.kill(name)

    async def end(self, name: str) -> None:
        """SIGTERM, and wait for the end: everything that was under way towards its disk is there."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGTERM)
        if name in self._runs:
            await self._runs[name].ended()
        else:
            await all_ended([pid], DEADLINE)

    async def restart(self, name: str, *settings: str, crash_at: str = "", run: Run | None = None) -> Run:
        """SIGKILL and a fresh start, armed or not."""
        await self.kill(name)
        return await self.start(name, *settings, crash_at=crash_at, run=run)

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.pid(name), number)

    def pid(self, name: str) -> int:
        return self._runs[name].pid if name in self._runs else self.dev.pid_of(name)

    async def control(self, name: str, op: str = "status", **args: Any) -> dict[str, Any]:
        """Ask a component over its control socket."""
        directory = self.dev.state_dir / self._components[name].directory
        return await asyncio.to_thread(request, directory, op, args, DEADLINE)

    async def until(
        self, name: str, true: Callable[[dict[str, Any]], bool], seconds: float = DEADLINE
    ) -> dict[str, Any]:
        """Wait until a component's status says so. It is asked for until it does."""
        return await until(lambda: self.control(name), true, seconds, name)

    async def present(self, *names: str) -> None:
        """Wait until the cluster sees these connectors among others as present."""
        await self.until("cluster", lambda s: set(names) <= set(s["tenants"]["dev"]["present"]))

    async def connected(self, *names: str) -> None:
        """Wait until these connectors have their sessions, and the cluster sees them as present.

        Their own word comes first: after a restart others still see the sessions of the dead.
        """
        for name in names:
            await self.until(name, all_live)
        await self.present(*names)

    async def working(self, name: str, command: str) -> None:
        """Wait until a worker for that command has registered."""
        await self.until(name, lambda s: any(command in worker["commands"] for worker in s["workers"]))
