"""What a run writes: lines, a table, the summary."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.benchmarks.results import LINES, Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "out", quick=True, output=io.StringIO())


def test_each_line_is_in_the_file_at_once(results: Results) -> None:
    results.add("r", "x", per_second=5)
    results.add("r", "y", kinds={"core": 1.5})
    lines = (results.directory / LINES).read_text().splitlines()
    assert [json.loads(line) for line in lines] == results.lines
    assert results.lines[0] == {"bench": "r", "what": "x", "per_second": 5}


def test_the_summary(results: Results) -> None:
    results.judge("rate", 499.99999, ">= 500", False)
    results.judge("ratio", 2.0)
    summary = json.loads(json.dumps(results.summary({"png": "bench.png"})))
    assert set(summary) == {"summary", "quick", "cpus", "load", "figures", "failed", "files"}
    assert summary["summary"] is True
    assert summary["quick"] is True
    assert summary["figures"]["rate"] == {"value": 500.0, "goal": ">= 500", "met": False}
    assert summary["figures"]["ratio"] == {"value": 2.0, "goal": "", "met": None}
    assert summary["failed"] == {}
    assert not results.failed


def test_a_bench_without_figures_fails_the_run_and_says_why(results: Results) -> None:
    results.fail("r", "DriverError: no reply")
    assert results.failed
    assert results.summary({})["failed"] == {"r": "DriverError: no reply"}
    assert "DriverError: no reply" in results.table()


def test_the_table_says_what_is_met(results: Results) -> None:
    results.judge("rate", 100.0, ">= 500", False)
    results.judge("wake", 3.5, "< 10", True)
    _, rate, wake = results.table().splitlines()
    assert rate.endswith("NOT MET")
    assert wake.split() == ["wake", "3.5", "<", "10", "met"]
