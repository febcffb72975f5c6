"""A short run of chaos; scripts/chaos.sh makes longer ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.chaos.report import Report
from tests.chaos.runner import Chaos

SECONDS = 42.0
"""With start, settling and end it is about a minute."""
SOAK_SECONDS = 300.0


async def run(tmp_path: Path, seconds: float, seed: int) -> tuple[Report, str]:
    """The report, and all that a failure shows: what is faulty first, since long output is cut at its end."""
    said: list[str] = []
    report = await Chaos(tmp_path / "chaos", seconds, seed, said.append).run()
    return report, "\n".join([*report.faulty(), *said, report.table(), json.dumps(report.summary())])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [20])
async def test_every_promise_is_kept_for_a_minute(tmp_path: Path, seed: int) -> None:
    report, story = await run(tmp_path, SECONDS, seed)
    assert report.verdict.receipts > 200, story
    assert report.kept, story


@pytest.mark.soak
@pytest.mark.skipif(os.environ.get("ZCONNECTOR_SOAK") != "1", reason="long; ZCONNECTOR_SOAK=1 runs it")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_for_five_minutes(tmp_path: Path, seed: int) -> None:
    report, story = await run(tmp_path, SOAK_SECONDS, seed)
    assert report.kept, story
