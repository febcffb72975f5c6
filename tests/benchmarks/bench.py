"""scripts/bench.sh: every measurement, or some, in one run; see `--help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.benchmarks.results import Results  # noqa: E402
from tests.benchmarks.workload import DriverError  # noqa: E402
from zconnector.errors import ZConnectorError  # noqa: E402

EXAMPLES = """\
examples:
  scripts/bench.sh --quick                    all of it, short: a look, no result
  scripts/bench.sh --only r                   workload R beside NATS JetStream
  scripts/bench.sh --only forward,backlog     two of the benches
  scripts/bench.sh --only r --drivers gandalf --seconds 10 --turns 5
  scripts/bench.sh --out /tmp/measured        where results.jsonl, bench.svg and bench.png go

benches:
  r        workload R through each driver, and NATS JetStream, in turns; CPU per command and component
  forward  an aggregator's forwarding beside a bare pyzmq forwarder, both without CURVE
  wakeup   how soon a waiting worker has its command among 1,000 idle pollers; memory with 10,000
  backlog  enqueue and lease with 1,000,000 stored commands against 1,000; restart with 100,000
  profile  where the time of a command goes in each component (py-spy)
  echo     a bare pyzmq echo: what the machine does at this minute

The last line of the output is a JSON object. Exit status 0: every bench has its figures (a goal that is
not met is a result); 1: one has none; 2: usage."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="scripts/bench.sh",
        description="Measure the speed of the whole system, beside peers of the same minute.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", metavar="NAME[,NAME]", help="these benches (default: all)")
    made.add_argument(
        "--quick", action="store_true", help="short runs and small numbers; the summary says so"
    )
    made.add_argument(
        "--out", type=Path, default=ROOT / "build" / "bench", metavar="DIR", help="(build/bench)"
    )
    made.add_argument(
        "--drivers", metavar="NAME[,NAME]", help="ways of sending in r (default: all there are)"
    )
    made.add_argument("--seconds", type=float, help="length of each measurement (8; quick: 2)")
    made.add_argument("--turns", type=int, help="turns of r, forward, backlog (5; quick: 2)")
    return made


def chosen(text: str | None, known: Sequence[str], what: str) -> list[str]:
    """The names of a comma-separated list. Raises ValueError naming the one that is not known."""
    names = [name.strip() for name in text.split(",")] if text else list(known)
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}; there are: {', '.join(known)}")
    return names


Bench = Callable[[Results, Path], Awaitable[None]]


def table_of_benches(given: argparse.Namespace, driver_names: Sequence[str]) -> dict[str, Bench]:
    """The benches by name, in the order in which they run. Imported late: `--help` needs none of them."""
    from tests.benchmarks import (
        bench_backlog,
        bench_echo,
        bench_forward,
        bench_profile,
        bench_r,
        bench_wakeup,
    )

    quick = given.quick
    seconds = given.seconds or (2.0 if quick else 8.0)
    turns = given.turns or (2 if quick else 5)
    return {
        "r": lambda results, state: bench_r.bench(
            results, state, turns=turns, seconds=seconds, names=driver_names
        ),
        "forward": lambda results, state: bench_forward.bench(
            results, state, turns=turns, seconds=seconds / 2
        ),
        "wakeup": lambda results, state: bench_wakeup.bench(
            results,
            state,
            pollers=(0, 200) if quick else (0, 1_000, 10_000),
            wakes=50 if quick else 500,
            idle=1_000 if quick else 10_000,
            seconds=seconds,
        ),
        "backlog": lambda results, state: bench_backlog.bench(
            results,
            state,
            turns=2 * turns,
            small=1_000,
            large=20_000 if quick else 1_000_000,
            stored=5_000 if quick else 100_000,
        ),
        "profile": lambda results, state: bench_profile.bench(
            results, state, seconds=2 * seconds, names=driver_names
        ),
        "echo": lambda results, state: bench_echo.bench(results, seconds=seconds),
    }


BENCHES = ("r", "forward", "wakeup", "backlog", "profile", "echo")


async def measure(results: Results, benches: dict[str, Bench], names: Sequence[str]) -> None:
    """Run the benches one after the other; one that fails is told of, and the others still run."""
    for name in names:
        with tempfile.TemporaryDirectory(prefix="zconnector-bench-") as state:
            try:
                await benches[name](results, Path(state))
            except (DriverError, ZConnectorError, RuntimeError, OSError, ValueError, TimeoutError) as error:
                results.fail(name, f"{type(error).__name__}: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser()
    given = arguments.parse_args(argv)
    try:
        from tests.benchmarks import drivers

        names = chosen(given.only, BENCHES, "bench")
        driver_names = chosen(given.drivers, drivers.names(), "driver")
        if given.turns is not None and given.turns < 1:
            raise ValueError(f"--turns must be at least 1 (got {given.turns})")
        if given.seconds is not None and given.seconds <= 0:
            raise ValueError(f"--seconds must be above 0 (got {given.seconds:g})")
    except ValueError as error:
        arguments.error(str(error))
    try:
        table = table_of_benches(given, driver_names)
    except ImportError as error:
        print(f"error: {error}: pip install 'zconnector[bench]', or run scripts/bench.sh", file=sys.stderr)
        return 1
    results = Results(given.out, quick=given.quick)
    results.machine()
    try:
        asyncio.run(measure(results, table, names))
    finally:
        results.close()
    files = {"lines": str(given.out / "results.jsonl")}
    try:
        from tests.benchmarks import chart

        files |= chart.draw(results.lines, given.out)
    except ImportError as error:
        print(f"no chart: {error} (pip install 'zconnector[bench]')", file=sys.stderr)
    print(results.table())
    print(json.dumps(results.summary(files)), flush=True)
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
