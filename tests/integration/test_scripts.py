"""The shell scripts that start, show and stop components on one machine; and that they are idempotent."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.dev import alive
from zconnector.cli.traffic import WORKERS

ROOT = Path(__file__).parents[2]
SECONDS = 60.0

Run = Callable[..., Awaitable[tuple[int, str, str]]]


def prepared(venv: Path) -> Path:
    """What `setup` of lib.sh takes for a virtual environment of this checkout: this interpreter."""
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    content = (ROOT / "setup.cfg").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    (venv / ".zconnector-setup").write_text(hashlib.sha256(content).hexdigest() + "\n")
    return venv


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """Runs a script or a command line with a state directory of this test; stops everything at the end."""
    environment = {
        **os.environ,
        "ZCONNECTOR_HOME": str(tmp_path / "home"),
        "ZCONNECTOR_VENV": str(prepared(tmp_path / "venv")),
    }

    async def run(program: str, *argv: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(ROOT / "scripts" / program), *argv) if program.endswith(".sh") else (program, *argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    yield run
    await run("stop.sh")


def pid_in(home: Path, name: str) -> int:
    return int((home / "run" / f"{name}.pid").read_text().split()[0])


@pytest.mark.timeout(180)
async def test_a_topology_by_scripts_one_component_after_the_other(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    steps = (
        ("start_cluster.sh", "--no-strict"),
        ("start_aggregator.sh", "agg1", "a"),
        ("start_aggregator.sh", "agg1", "b"),
        ("start_connector.sh", "git", "Git", "agg1", "dev", "--no-strict"),
        ("start_connector.sh", "ci", "Ci", "agg1", "dev", "--no-strict"),
        ("start_worker.sh", "ci", str(WORKERS / "ci.py")),
    )
    for step in steps:
        code, _, errors = await run(*step)
        assert code == 0, (step, errors)
    names = [
        "cluster",
        "aggregator-agg1-a",
        "aggregator-agg1-b",
        "connector-git",
        "connector-ci",
        "worker-ci-ci",
    ]
    pids = {name: pid_in(home, name) for name in names}
    assert all(alive(pid) for pid in pids.values())

    for step in steps:  # once more: nothing happens
        code, _, errors = await run(*step)
        assert code == 0
        assert "runs already" in errors
    assert {name: pid_in(home, name) for name in names} == pids

    payload = json.dumps({"number": 3, "repository": "r"})
    send = ("-m", "zconnector", "send", "command", "Ci", "BUILD", payload)
    code, output, errors = await run(sys.executable, *send, "--state-dir", str(home / "connector" / "git"))
    assert code == 0, errors
    assert output.splitlines()[-1] == 'SUCCES {"build":3,"result":"green"}'

    # One that died is started again, with its endpoint and without a new enrolment.
    code, _, _ = await run("stop.sh", "aggregator-agg1-a")
    assert code == 0
    assert not alive(pids["aggregator-agg1-a"])
    code, _, errors = await run("start_aggregator.sh", "agg1", "a")
    assert code == 0, errors
    assert pid_in(home, "aggregator-agg1-a") != pids["aggregator-agg1-a"]

    code, _, _ = await run("stop.sh")
    assert code == 0
    assert not any(alive(pid) for pid in pids.values())
    assert not [path for path in home.rglob("*") if path.is_socket() or path.suffix == ".pid"]
    code, _, errors = await run("stop.sh")
    assert (code, errors) == (0, "")


async def test_what_does_not_start_is_said_with_its_log(run: Run) -> None:
    code, _, errors = await run("start_aggregator.sh", "agg1", "a")
    assert code == 1
    assert "start the cluster member first" in errors
    code, _, errors = await run("start_cluster.sh", "--bind", "nonsense")
    assert code == 1
    assert "cluster did not become ready; the end of" in errors
    assert "nonsense" in errors
    code, _, errors = await run("start_worker.sh", "ci", str(WORKERS / "ci.py"))
    assert code == 1
    assert "connector ci does not run" in errors


async def test_usage(run: Run) -> None:
    for script in ("start_cluster", "start_aggregator", "start_connector", "start_worker", "stop", "test"):
        code, output, _ = await run(f"{script}.sh", "--help")
        assert code == 0, script
        assert f"scripts/{script}.sh" in output
    code, _, errors = await run("start_connector.sh", "git")
    assert code == 2
    assert "NAME TYPE" in errors
