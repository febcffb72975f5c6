"""A worker file as a process of its own: arguments, signals, exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.scripted_door import ScriptedDoor
from zconnector.rpc.server import WorkerServer
from zconnector.rpc.settings import ServiceSettings

FILE = """
import asyncio
from zconnector.worker import Worker

worker = Worker(major=1, minor=0)

@worker.command("CREATE_ISSUE")
async def create_issue(ctx, payload):
    if payload == "slow":
        await ctx.progress("STARTED")
        await asyncio.sleep(0.3)
    return payload.upper()

worker.run()
"""


@pytest.fixture
async def door() -> ScriptedDoor:
    return ScriptedDoor()


@pytest.fixture(params=[True, False], ids=["v1", "gandalf"])
async def socket(request: pytest.FixtureRequest, door: ScriptedDoor, tmp_path: Path) -> AsyncIterator[str]:
    server = WorkerServer(door, "b1", ServiceSettings(v1=request.param))
    path = tmp_path / "grpc" / "w.sock"
    await server.start(f"unix:{path}")
    yield str(path)
    await server.stop(0)


def said(door: ScriptedDoor) -> list[bytes]:
    """What was told of commands so far, progress and answers, over whichever API."""
    ended = [payload for _, payload in door.queue.replies.values()]
    return [payload for *_, payload in door.queue.progress] + ended + [payload for _, payload in door.events]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "issues.py"
    made.write_text(FILE)
    return made


async def launch(file: Path, *argv: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(file),
        *argv,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env},
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(20):
        _, err = await process.communicate()
    return process.returncode, err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_exits_with_zero(
    door: ScriptedDoor, socket: str, file: Path, number: signal.Signals
) -> None:
    process = await launch(file, "issues", "1000", socket)
    await door.command("CREATE_ISSUE", b"slow", uuid="u-1")
    await door.until(lambda: len(said(door)) == 1, 20)  # it is at work
    process.send_signal(number)
    await door.until(lambda: len(said(door)) == 2, 20)
    assert said(door)[1] == b"SLOW"
    assert await ended(process) == (0, "")


async def test_the_environment_names_the_connector(door: ScriptedDoor, socket: str, file: Path) -> None:
    process = await launch(file, ZCONNECTOR_GRPC=f"unix:{socket}")
    await door.until(lambda: bool(door.asked("register")), 20)
    assert door.asked("register")[0]["worker"].startswith("issues-")
    door.draining = door.queue.draining = door.queue.leaving = True
    await door.wake()
    assert await ended(process) == (0, "")


async def test_a_refused_worker_says_why_and_fails(door: ScriptedDoor, socket: str, file: Path) -> None:
    door.missing = ["CLOSE_ISSUE"]
    status, err = await ended(await launch(file, "issues", "1000", socket))
    assert status == 78
    assert "commands without a handler here: CLOSE_ISSUE" in err
    assert "Traceback" not in err


async def test_a_killed_worker_swallows_nothing(door: ScriptedDoor, socket: str, file: Path) -> None:
    process = await launch(file, "issues", "1000", socket)
    await door.until(lambda: door.waiting >= 1, 20)
    process.kill()
    await ended(process)
    await door.until(lambda: door.cancelled >= 1 and door.waiting == 0, 20)
    await door.command("CREATE_ISSUE", b"a", uuid="u-1")
    other = await launch(file, "issues", "1000", socket)
    await door.until(lambda: len(said(door)) == 1, 20)
    assert said(door) == [b"A"]
    other.terminate()
    assert (await ended(other))[0] == 0
