"""The chart: files of both kinds from what was measured, none from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")

from tests.benchmarks import chart

LINES: list[dict[str, Any]] = [
    {"bench": "r", "what": "Gandalf API", "per_second": 200.0, "p50_ms": 7.0, "p99_ms": 12.0},
    {"bench": "r", "what": "CPU us per command, Gandalf API", "worker": 5.0, "client": 6.0, "all": 11.0},
    {"bench": "forward", "what": "a: 16", "ours_per_second": [5, 6], "bare_per_second": [9, 8]},
    {"bench": "backlog", "what": "lease", "small": 10, "large": 20, "us_small": 1.0, "us_large": 1.1},
    {"bench": "wakeup", "what": "door to worker", "pollers": 1000, "p50_ms": 1.0, "p99_ms": 2.0},
    {"bench": "profile", "what": "connector A", "kinds": {"core": 3.0, "sqlite": 2.0}, "all": 5.0},
]


def test_both_kinds_of_file_and_every_bench_is_in_it(tmp_path: Path) -> None:
    files = chart.draw(LINES, tmp_path)
    assert set(files) == {"svg", "png"}
    assert Path(files["png"]).read_bytes().startswith(b"\x89PNG")
    drawn = Path(files["svg"]).read_text()
    for title in (
        "workload R: 64 in flight",
        "CPU of a command",
        "cost with a backlog",
        "wake-up of a waiting",
    ):
        assert title in drawn


def test_nothing_measured_is_no_chart(tmp_path: Path) -> None:
    assert chart.draw([{"bench": "machine", "what": "this", "cpus": 2}], tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
