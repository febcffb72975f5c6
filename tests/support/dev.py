"""`zconnector dev` as a child process, for tests that need real processes.

Waiting is for what is waited for: the ready line on its stdout, lines on its stderr, the end of a
process (pidfd); always with a deadline.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

READY_SECONDS = 60.0


class Dev:
    """One run of `zconnector dev`. Everything it and its components printed is kept for a failing test."""

    def __init__(self, state_dir: Path, *argv: str) -> None:
        self.state_dir = state_dir
        self.argv = argv
        self.errors: list[str] = []
        self.output: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    async def spawn(self) -> None:
        """Start it, and wait for nothing."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zconnector", "dev", "--state-dir", str(self.state_dir), *self.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        for stream, lines in ((self._process.stdout, self.output), (self._process.stderr, self.errors)):
            self._readers.append(asyncio.create_task(self._read(stream, lines)))

    async def start(self) -> dict[str, Any]:
        """Start it and wait until everything serves; the topology."""
        await self.spawn()
        await self.until(lambda: any(line.startswith("ready") for line in self.output), READY_SECONDS)
        return self.topology()

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        while line := await stream.readline():
            lines.append(line.decode().rstrip("\n"))
            self._news.set()
        self._news.set()

    async def until(self, true: Callable[[], bool], seconds: float) -> None:
        """Wait until what it printed makes something true; fails when it ends first, or at the deadline."""
        try:
            async with asyncio.timeout(seconds):
                while not true():
                    assert self.returncode is None or any(not r.done() for r in self._readers), self.story()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s: {self.story()}") from None

    async def said(self, text: str, seconds: float = 20.0) -> str:
        """Wait for a line on its stderr that contains a text; the line."""
        await self.until(lambda: any(text in line for line in self.errors), seconds)
        return next(line for line in self.errors if text in line)

    def topology(self) -> dict[str, Any]:
        return dict(json.loads((self.state_dir / "topology.json").read_bytes()))

    def pids(self) -> list[int]:
        """Of all components, as topology.json says now."""
        return [entry["pid"] for entries in self.topology().values() for entry in entries]

    def grpc(self, name: str) -> str:
        """gRPC address of a connector."""
        return next(str(c["grpc"]) for c in self.topology()["connectors"] if c["name"] == name)

    def pid_of(self, name: str) -> int:
        """Of `git`, `agg1/a` or `cluster`."""
        topology = self.topology()
        if name == "cluster":
            return int(topology["clusters"][0]["pid"])
        logical, _, instance = name.partition("/")
        if instance:
            found = (a for a in topology["aggregators"] if (a["name"], a["instance"]) == (logical, instance))
        else:
            found = (c for c in topology["connectors"] if c["name"] == logical)
        return int(next(found)["pid"])

    async def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a component by hand; after SIGKILL or SIGTERM wait for its end."""
        pid = self.pid_of(name)
        gone = asyncio.ensure_future(ended(pid)) if number in (signal.SIGKILL, signal.SIGTERM) else None
        await asyncio.sleep(0)  # the watch begins before the signal
        os.kill(pid, number)
        if gone is not None:
            await asyncio.wait_for(gone, 10)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return None if self._process is None else self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def wait(self, seconds: float = 20.0) -> int:
        """Wait for its end; the exit status."""
        assert self._process is not None
        status = await asyncio.wait_for(self._process.wait(), seconds)
        await asyncio.gather(*self._readers)
        return status

    async def stop(self) -> int:
        """SIGTERM, and wait; the exit status. Nothing happens if it has ended."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.terminate()
        try:
            return await self.wait(10)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
            raise AssertionError(f"dev did not end within 10 s: {self.story()}") from None

    def story(self) -> str:
        """All it printed, and the end of every component's log."""
        logs = [
            f"--- {path.name}\n" + "\n".join(path.read_text("utf-8", "replace").splitlines()[-15:])
            for path in sorted((self.state_dir / "logs").glob("*.log"))
        ]
        return "\n".join([f"exit status {self.returncode}", *self.output, *self.errors, *logs])


async def ended(pid: int) -> None:
    """Wait until a process (any, not only a child) has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = loop.create_future()
    loop.add_reader(descriptor, lambda: gone.done() or gone.set_result(None))
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def all_ended(pids: Sequence[int], seconds: float) -> None:
    """Wait until all these processes have ended."""
    async with asyncio.timeout(seconds):
        await asyncio.gather(*(ended(pid) for pid in pids))


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
