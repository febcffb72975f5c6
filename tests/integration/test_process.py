"""`serve_component`: one process from its settings to its exit status."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zconnector.errors import ConfigError, NotRunningError
from zconnector.runtime.control import request

WAIT = 10.0
PROGRAM = """
import sys
from pathlib import Path
from tests.integration.toys import Toy
from zconnector.actions import Serve, Stop
from zconnector.errors import *
from zconnector.runtime.process import serve_component
from zconnector.settings import ProcessSettings

def build(driver):
    async def serve():
        print("serving", flush=True)
    driver.serve = serve
    toy = Toy()
    toy.at_start = [Serve()]
    {wiring}
    return toy

sys.exit(serve_component(ProcessSettings(Path(sys.argv[1])), build))
"""

Processes = list[subprocess.Popen[str]]


@pytest.fixture
def processes() -> Iterator[Processes]:
    started: Processes = []
    yield started
    for each in started:
        each.kill()
        each.communicate()


def start(processes: Processes, state_dir: Path, wiring: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(wiring=wiring), str(state_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    processes.append(process)
    return process


def serving(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait until it serves (pytest's own deadline applies)."""
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n", process.communicate()
    return process


def left(state_dir: Path) -> set[str]:
    return {each.name for each in state_dir.iterdir()}


def test_it_serves_answers_and_ends_leaving_nothing_but_its_state(
    tmp_path: Path, processes: Processes
) -> None:
    process = serving(start(processes, tmp_path))
    assert request(tmp_path, "status", {}, WAIT) == {"pid": process.pid, "toy": True}
    process.send_signal(signal.SIGTERM)
    assert process.wait(WAIT) == 0
    assert left(tmp_path) == {"lock", "curve.key"}
    with pytest.raises(NotRunningError):
        request(tmp_path, "status", {}, WAIT)


def test_a_second_one_is_refused_in_one_line(tmp_path: Path, processes: Processes) -> None:
    first = serving(start(processes, tmp_path))
    second = start(processes, tmp_path)
    _, err = second.communicate(timeout=WAIT)
    assert second.returncode == ConfigError.exit_code
    assert err == f"zconnector: {tmp_path}: already running as pid {first.pid}\n"
    assert request(tmp_path, "status", {}, WAIT)["pid"] == first.pid


def test_after_a_kill_the_next_one_starts(tmp_path: Path, processes: Processes) -> None:
    first = serving(start(processes, tmp_path))
    first.kill()
    first.wait(WAIT)
    assert "control.sock" in left(tmp_path)
    with pytest.raises(NotRunningError):
        request(tmp_path, "status", {}, WAIT)
    second = serving(start(processes, tmp_path))
    assert request(tmp_path, "status", {}, WAIT)["pid"] == second.pid


@pytest.mark.parametrize(
    ("wiring", "code", "line"),
    [
        ("raise ConfigError('the port is taken')", 78, "zconnector: the port is taken"),
        (
            "toy.at_start = [Stop(Refusal(Reason.WRONG_SECRET, 'not this one'))]",
            77,
            "zconnector: WRONG_SECRET: not this one",
        ),
        (
            "raise ZeroDivisionError('x')",
            70,
            "zconnector: a defect ended this process; its log has the traceback",
        ),
        (
            "toy.on_tick = lambda now: 1 / 0; toy.due_at = 0.0",
            70,
            "zconnector: a defect ended this process; its log has the traceback",
        ),
    ],
)
def test_what_ends_it_badly_is_one_line_and_an_exit_status(
    tmp_path: Path, processes: Processes, wiring: str, code: int, line: str
) -> None:
    process = start(processes, tmp_path, wiring)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code
    assert err.splitlines()[-1] == line
    assert "Traceback" not in err.splitlines()[-1]
    assert all(each.startswith("{") for each in err.splitlines()[:-1])
    assert "control.sock" not in left(tmp_path)


def test_a_drain_that_hangs_ends_within_five_seconds(tmp_path: Path, processes: Processes) -> None:
    wiring = """
    import asyncio
    toy.on_drain = list
    async def hang():
        await asyncio.Event().wait()
    driver.at_close(hang)
    """.strip()
    process = serving(start(processes, tmp_path, wiring))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == 0
    assert time.monotonic() - began < 5.0
    assert left(tmp_path) == {"lock", "curve.key"}


async def test_requests_of_several_clients_at_once(tmp_path: Path, processes: Processes) -> None:
    await asyncio.to_thread(serving, start(processes, tmp_path))

    def ask() -> dict[str, Any]:
        return request(tmp_path, "status", {}, WAIT)

    answers = await asyncio.gather(*(asyncio.to_thread(ask) for _ in range(20)))
    assert len(answers) == 20
