"""scripts/chaos.sh: one run of chaos from the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.chaos.partitions import AUTO, WAYS
from tests.chaos.report import Report
from tests.chaos.runner import Chaos
from tests.chaos.schedule import KINDS
from tests.chaos.version_schedule import VERSION_KINDS
from zconnector.errors import ZConnectorError


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chaos.sh", description="Torment a topology and judge a record.")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults and traffic go on (1)")
    parser.add_argument("--seed", type=int, default=None, help="decides the schedule (a random one)")
    parser.add_argument("--faults", default="", help="kinds of faults, with commas between (all)")
    parser.add_argument(
        "--partitions", choices=WAYS, default=AUTO, help="what makes them (auto: namespaces where allowed)"
    )
    parser.add_argument("--list-faults", action="store_true", help="show the kinds of faults, and end")
    parser.add_argument("--state-dir", type=Path, default=None, help="keep logs and the record here")
    parser.add_argument(
        "--versions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a connector whose workers are versions, and an operator who changes them (default: there is)",
    )
    given = parser.parse_args()
    if given.minutes <= 0:
        parser.error("--minutes must be above 0")
    given.kinds = [name for name in given.faults.split(",") if name]
    known = {**KINDS, **(VERSION_KINDS if given.versions else {})}
    if unknown := set(given.kinds) - set(known):
        parser.error(f"unknown faults: {', '.join(sorted(unknown))} (known: {', '.join(known)})")
    return given


async def run(state_dir: Path, given: argparse.Namespace) -> Report:
    seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
    say = lambda text: print(text, flush=True)  # noqa: E731
    wanted = (given.kinds, given.partitions, given.versions)
    return await Chaos(state_dir, given.minutes * 60, seed, say, *wanted).run()


def main() -> int:
    given = arguments()
    if given.list_faults:
        for kind in (*KINDS.values(), *VERSION_KINDS.values()):
            print(
                f"{kind.name:<14} {'(alone) ' if kind.alone else ''}{kind.what}; at: {', '.join(kind.roles)}"
            )
        return 0
    try:
        if given.state_dir is not None:
            report = asyncio.run(run(given.state_dir, given))
        else:
            with tempfile.TemporaryDirectory(prefix="zconnector-chaos-") as directory:
                report = asyncio.run(run(Path(directory), given))
    except ZConnectorError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(report.table())
    print(json.dumps(report.summary()))
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
