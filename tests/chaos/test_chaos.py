"""A short run of chaos; scripts/chaos.sh makes longer ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.chaos.runner import Chaos

SECONDS = 20.0
SOAK_SECONDS = 300.0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [20])
async def test_what_was_receipted_is_answered_and_every_event_arrives(tmp_path: Path, seed: int) -> None:
    said: list[str] = []
    report = await Chaos(tmp_path / "chaos", SECONDS, seed, said.append).run()
    story = "\n".join([*said, json.dumps(report.summary(), indent=2)])
    assert report.verdict.receipts > 100, story
    assert report.good, story


@pytest.mark.soak
@pytest.mark.skipif(os.environ.get("ZCONNECTOR_SOAK") != "1", reason="long; ZCONNECTOR_SOAK=1 runs it")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2])
async def test_the_same_for_five_minutes(tmp_path: Path, seed: int) -> None:
    said: list[str] = []
    report = await Chaos(tmp_path / "chaos", SOAK_SECONDS, seed, said.append).run()
    assert report.good, "\n".join([*said, json.dumps(report.summary(), indent=2)])
