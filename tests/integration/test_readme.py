"""README's first five minutes, word for word."""

from __future__ import annotations

import asyncio
import json
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


def sections(title: str) -> tuple[list[list[str]], dict[str, str]]:
    """The blocks of command lines of a section, and its files by language."""
    section = (ROOT / "README.md").read_text().partition(f"## {title}")[2].partition("\n## ")[0]
    found = re.findall(r"```(\w*)\n(.*?)```", section, re.DOTALL)
    lines = [text.splitlines() for language, text in found if not language]
    files = {f"{language}{index}": text for index, (language, text) in enumerate(found) if language}
    return lines, files


async def running(cwd: Path, *versions: str) -> None:
    """Ask until exactly these run at ci, and no rollout goes on."""
    async with asyncio.timeout(SECONDS):
        while True:
            said = await output(cwd, "zconnector", "worker", "ls", "--connector", "ci", "--json")
            view = json.loads(said)
            now = [row["version"] for row in view["versions"] if row["state"] == "RUNNING"]
            if view["rollout"] is None and now == list(versions):
                return


async def test_the_update_under_load(make_dev: Callable[..., Dev], tmp_path: Path) -> None:
    blocks_, files = sections("Worker versions: an update under load")
    publish, again, traffic, update, more = blocks_
    await make_dev(state_dir=tmp_path / "state" / "dev").start()
    folder = tmp_path / "ci-1.0"
    folder.mkdir()
    names = iter(("worker.yaml", "pivot.yaml", "worker"))
    for text in files.values():
        (folder / next(names)).write_text(text)
    await output(tmp_path, "bash", "-ec", "\n".join(publish[:-1]))
    send = traffic[0].removeprefix("while ").partition(";")[0]
    await running(tmp_path, "1.0")
    assert "1.0" in await output(tmp_path, *shlex.split(publish[-1]))
    said = await output(tmp_path, *shlex.split(send))
    assert said.endswith('SUCCES {"by":"1.0","says":"hello"}\n')
    await output(tmp_path, "bash", "-ec", "\n".join(again))
    updating = asyncio.create_task(output(tmp_path, *shlex.split(update[0])))
    answers = []
    while not updating.done():
        answers.append((await output(tmp_path, *shlex.split(send))).split()[-1])
    assert "update 1.1 done" in await updating
    assert set(answers) <= {'{"by":"1.0","says":"hello"}', '{"by":"1.1","says":"hello"}'}
    said = await output(tmp_path, *shlex.split(send))
    assert said.endswith('SUCCES {"by":"1.1","says":"hello"}\n')
    share, rollback, logs = more
    await output(tmp_path, *shlex.split(share))
    await running(tmp_path, "1.0", "1.1")
    await output(tmp_path, *shlex.split(rollback))
    await running(tmp_path, "1.1")
    await output(tmp_path, *shlex.split(logs))
