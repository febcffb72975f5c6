"""README's first five minutes, word for word."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.dev import Dev

ROOT = Path(__file__).parents[2]
SECONDS = 30.0


def blocks(title: str = "Your first worker") -> tuple[list[str], list[str]]:
    """The command lines and the Python files of a section, in order."""
    section = (ROOT / "README.md").read_text().partition(f"## {title}")[2].partition("\n## ")[0]
    found = re.findall(r"```(python)?\n(.*?)```", section, re.DOTALL)
    lines = [line for language, text in found if not language for line in text.splitlines()]
    return lines, [text for language, text in found if language]


async def shell(cwd: Path, *argv: str) -> asyncio.subprocess.Process:
    """A command of README with this interpreter first on the PATH, as in an activated environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return await asyncio.create_subprocess_exec(
        *argv,
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "ZCONNECTOR_LOG_LEVEL": "info"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def output(cwd: Path, *argv: str) -> str:
    process = await shell(cwd, *argv)
    out, err = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, out + err
    return out.decode()


async def test_the_first_worker_and_the_first_client(make_dev: Callable[..., Dev], tmp_path: Path) -> None:
    lines, files = blocks()
    activate, dev, run, *others = lines
    worker_file, client_file = files
    assert activate == "source .venv/bin/activate"
    words = shlex.split(dev)
    assert words[:3] == ["zconnector", "dev", "--state-dir"]
    await make_dev(state_dir=tmp_path / words[3]).start()
    words = shlex.split(run)
    (tmp_path / words[1]).write_text(worker_file)
    worker = await shell(tmp_path, *words)
    try:
        assert worker.stderr is not None
        async with asyncio.timeout(SECONDS):
            while b"worker.registered" not in (line := await worker.stderr.readline()):
                assert line, "the worker ended"
        send, status = (shlex.split(line) for line in others)
        said = await output(tmp_path, *send)
        assert re.fullmatch(r'receipted \S+\nSUCCES {"result":"green"}\n', said), said
        assert "git" in await output(tmp_path, *status)
        (tmp_path / "client.py").write_text(client_file)
        said = await output(tmp_path, "python", "client.py")
        assert said == "SUCCES {'result': 'green'}\n"
    finally:
        worker.terminate()
        await worker.communicate()


async def test_the_worker_that_retries_and_its_sender(make_dev: Callable[..., Dev], tmp_path: Path) -> None:
    _, (worker_file, client_file) = blocks("Workers: retries, leases, subscriptions")
    await make_dev(state_dir=tmp_path / "state" / "dev").start()
    (tmp_path / "deploy.py").write_text(worker_file)
    (tmp_path / "client.py").write_text(client_file)
    argv = ("python", "deploy.py", "deploy", "10000", "state/dev/connector/ci/grpc.sock")
    worker = await shell(tmp_path, *argv)
    try:
        assert worker.stderr is not None
        async with asyncio.timeout(SECONDS):
            while b"worker.registered" not in (line := await worker.stderr.readline()):
                assert line, "the worker ended"
        assert b'"api": "v1"' in line
        said = await output(tmp_path, "python", "client.py")
        assert said == 'SUCCES {"deployed":"prod","attempt":2}\nFAIL no such place\n'
    finally:
        worker.terminate()
        await worker.communicate()
