"""The command line of the benches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks import bench, drivers
from tests.benchmarks.results import Results
from tests.benchmarks.workload import DriverError

ROOT = Path(__file__).parents[3]


def test_help_has_examples_and_names_every_bench() -> None:
    script = ROOT / "tests" / "benchmarks" / "bench.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, check=True)
    assert "examples:" in done.stdout
    assert "scripts/bench.sh --only r" in done.stdout
    for name in bench.BENCHES:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--only", "r,nonsense"], "no bench 'nonsense'; there are: r, forward"),
        (["--drivers", "carrier-pigeon"], "no driver 'carrier-pigeon'; there are: "),
        (["--turns", "0"], "--turns must be at least 1"),
        (["--seconds", "-1"], "--seconds must be above 0"),
    ],
)
def test_a_bad_argument_is_named(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(argv)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_gandalf_driver_is_there_and_every_driver_is_whole() -> None:
    assert "gandalf" in drivers.names()
    for name in drivers.names():
        module = drivers.load(name)
        assert module.LABEL
        assert callable(module.opened)


async def test_a_bench_that_fails_is_told_of_and_the_others_still_run(tmp_path: Path) -> None:
    ran: list[str] = []

    async def dead(results: Results, state: Path) -> None:
        raise DriverError("no reply within 60 s")

    async def well(results: Results, state: Path) -> None:
        assert os.path.isdir(state)  # noqa: ASYNC240
        ran.append("well")

    results = Results(tmp_path, quick=True)
    await bench.measure(results, {"dead": dead, "well": well}, ["dead", "well"])
    assert ran == ["well"]
    assert results.failed
    assert json.loads(results.directory.joinpath("results.jsonl").read_text())["error"].startswith(
        "DriverError"
    )


@pytest.mark.parametrize("argv", [[], ["--quick"]])
def test_every_bench_that_can_be_asked_for_can_be_run(argv: list[str]) -> None:
    pytest.importorskip("nats", reason="the extra `bench` is not installed")
    table = bench.table_of_benches(bench.parser().parse_args(argv), ["gandalf"])
    assert tuple(table) == bench.BENCHES


def test_without_what_a_bench_needs_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "nats.py").write_text("raise ImportError('No module named nats')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    argv = [sys.executable, str(ROOT / "tests" / "benchmarks" / "bench.py"), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "zconnector[bench]" in done.stderr
    assert "Traceback" not in done.stderr
