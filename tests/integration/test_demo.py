"""`zconnector demo`, as a person or a script runs it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest


async def demo(*argv: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "zconnector", "demo", *argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.timeout(150)
async def test_nothing_is_lost_while_two_of_three_aggregators_are_killed() -> None:
    process = await demo()
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    story = output.decode() + errors.decode()
    assert process.returncode == 0, story
    lines = output.decode().splitlines()
    summary = json.loads(lines[-1])
    assert set(summary) == {
        *("commands", "receipts", "replies", "events", "lost"),
        *("duplicates_flagged", "aggregators_killed", "seconds"),
    }
    assert summary["commands"] >= 300
    assert summary["events"] >= 100
    assert summary["receipts"] == summary["replies"] == summary["commands"], story
    assert (summary["lost"], summary["aggregators_killed"]) == (0, 2)
    assert summary["seconds"] < 60
    assert sum("SIGKILL agg1/" in line for line in lines) == 2
    assert any("agg1/a serves again" in line for line in lines)
    assert errors.decode() == ""


async def test_interrupted_it_ends_everything(tmp_path: Path) -> None:
    process = await demo("--state-dir", str(tmp_path / "demo"))
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"workers answer" not in (line := await process.stdout.readline()):
            assert line, "ended before it was interrupted"
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 130
    assert errors.decode().strip() == "interrupted"
    assert not list((tmp_path / "demo").rglob("*.sock"))
