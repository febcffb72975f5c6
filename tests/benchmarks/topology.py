"""The system under measurement: real processes as of `zconnector dev`, and a worker that does nothing.

One member, three aggregator instances, connectors A (`git`) and B (`ci`); CURVE on, everything durable.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.benchmarks.noop_worker import COMMAND
from zconnector.cli.child import tethered
from zconnector.cli.stage import Stage
from zconnector.worker import CallFailed, Client, NotSent, OutcomeUnknown, Rejected
from zconnector.worker.connection import pause

A, B = "git", "ci"
TYPE_A, TYPE_B = "Git", "Ci"
AGGREGATORS = 3
START_SECONDS = 60.0
WORKER = Path(__file__).with_name("noop_worker.py")


class Process:
    """A Python program of this directory as a process of its own, killed when this one dies."""

    def __init__(self, program: Path, *argv: str, log: Path, environment: Mapping[str, str] | None = None):
        self._argv = [sys.executable, str(program), *argv]
        self._log = log
        self._environment = {**os.environ, **(environment or {})}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *tethered(self._argv),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError(f"{self._argv[1]} was not started")
        return self._process

    @property
    def pid(self) -> int:
        return self._running.pid

    async def line(self, within: float = START_SECONDS) -> str:
        """The next line it prints. Raises RuntimeError: it ended, or says nothing for so many seconds."""
        assert self._running.stdout is not None
        try:
            raw = await asyncio.wait_for(self._running.stdout.readline(), within)
        except TimeoutError:
            raise RuntimeError(f"{self._argv[1]} said nothing for {within:g} s; see {self._log}") from None
        if not raw:
            raise RuntimeError(f"{self._argv[1]} ended: {self._log.read_text('utf-8', 'replace')[-2000:]}")
        return raw.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._running.stdin is not None
        self._running.stdin.write(line.encode() + b"\n")

    async def stop(self, grace: float = 3.0) -> None:
        """SIGTERM, then SIGKILL."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.communicate(), grace)
        except TimeoutError:
            self._process.kill()
            await self._process.communicate()


class Topology:
    """The running system: `async with Topology(directory) as topology`."""

    def __init__(
        self,
        state_dir: Path,
        *,
        aggregators: int = AGGREGATORS,
        concurrency: int = 64,
        connector_arguments: Sequence[str] = (),
    ) -> None:
        """`connector_arguments`: of connector B, on its command line."""
        self.state_dir = state_dir
        self.stage = Stage(
            state_dir,
            aggregators=aggregators,
            connectors=(f"{A}:{TYPE_A}", f"{B}:{TYPE_B}"),
            own_arguments={B: connector_arguments},
        )
        self.worker = Process(
            WORKER,
            "bench-worker",
            "10000",
            "",
            log=self.stage.state_dir / "worker.log",
            environment={"ZCONNECTOR_BENCH_CONCURRENCY": str(concurrency)},
        )

    async def __aenter__(self) -> Topology:
        try:
            await self.stage.start(START_SECONDS)
            self.worker._argv[-1] = self.grpc(B)
            await self.worker.start()
            await self._answers()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        await self.worker.stop()
        await self.stage.stop()

    def grpc(self, name: str) -> str:
        return self.stage.grpc(name)

    def pid(self, label: str) -> int:
        return self.stage.pid(self.stage.component(label))

    def pids(self) -> dict[str, list[int]]:
        """Processes by component, the benches' own (the client) included."""
        stage = self.stage
        return {
            "connector A": [self.pid(A)],
            "aggregators": [stage.pid(component) for component in stage.plan.of("aggregator")],
            "cluster member": [stage.pid(component) for component in stage.plan.of("cluster")],
            "connector B": [self.pid(B)],
            "worker": [self.worker.pid],
            "client": [os.getpid()],
        }

    async def _answers(self) -> None:
        async with Client(self.grpc(B), name="bench-start") as client:
            await self.answers(client, TYPE_B, 1, "")

    async def answers(self, client: Client, type: str, major: int, target: str) -> None:
        """Wait until a worker answers a command: it is registered, and everybody knows of it."""
        never = asyncio.Event()
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await client.send(
                        type, COMMAND, "", target=target, major=major, reply=True, reply_timeout=10
                    )
                    return
                except (Rejected, NotSent, OutcomeUnknown, CallFailed):
                    await pause(never, 0.1)
