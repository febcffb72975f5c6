"""Real supervised workers for tests: what they log, what becomes of them, and whether anything is left."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zconnector.supervision.launch import Launch
from zconnector.supervision.process import GuardedProcesses
from zconnector.supervision.shell import Supervision
from zconnector.supervision.states import Moved, Policy, State

DEADLINE = 30.0
WORKER = Path(__file__).parent.parent / "integration" / "supervised_worker.py"
NAME = "ci/1.0"


def behave(*how: str, **more: Any) -> Launch:
    return Launch(argv=[sys.executable, "-I", "-S", str(WORKER), *how], env={"PATH": "/bin"}, **more)


class Log:
    """Keeps structured lines, and wakes who waits for one."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def add(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        self.lines.append({"level": level, "event": event, **fields})
        more, self._more = self._more, asyncio.Event()
        more.set()

    def __getattr__(self, level: str) -> Callable[..., None]:
        return lambda event, **fields: self.add(level, event, fields)

    def output(self) -> list[str]:
        return [each["line"] for each in self.lines if each["event"] == "worker output"]

    async def until(self, found: Callable[[], bool]) -> None:
        """Wait for lines until it is so; the test's deadline ends it."""
        async with asyncio.timeout(DEADLINE):
            while not found():
                await self._more.wait()

    async def said(self, begin: str) -> str:
        """The rest of the first line of output that begins so."""
        await self.until(lambda: any(line.startswith(begin) for line in self.output()))
        return next(line for line in self.output() if line.startswith(begin)).removeprefix(begin).strip()


class Scene:
    """A supervisor of real processes. A worker counts as registered as soon as it says anything."""

    def __init__(self, launch: Callable[[str, int], Launch]) -> None:
        self.log = Log()
        self.moves: list[Moved] = []
        self.asked: list[tuple[str, int]] = []
        self.processes = GuardedProcesses(launch, log=self.log)
        self.supervision = Supervision(self.processes, self, log=self.log, random=lambda: 0.0)

    def drain(self, name: str, run: int) -> None:
        self.asked.append((name, run))

    def moved(self, moved: Moved) -> None:
        self.moves.append(moved)

    def begin(self, **policy: Any) -> None:
        self.supervision.add(NAME, Policy(**policy))
        self.supervision.start(NAME)

    async def reached(self, *states: State) -> Any:
        async with asyncio.timeout(DEADLINE):
            return await self.supervision.reached(NAME, states)

    async def close(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.supervision.close(drain=False)


def exists(pid: int) -> bool:
    """Whether there is such a process; a zombie, which nobody has waited for yet, is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def guard_of(pid: int) -> int:
    """The parent of a worker."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def shown(pid: int) -> bytes:
    """What anybody may read of a process: its arguments and environment."""
    return b"".join(Path(f"/proc/{pid}/{place}").read_bytes() for place in ("cmdline", "environ"))


async def gone(pid: int) -> None:
    """Wait for the end of a process that need not be a child."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(DEADLINE):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
