"""`zconnector dev`: a whole topology on this machine, each component its own process."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from zconnector.cli.locate import CONTEXT
from zconnector.cli.options import CHOICES
from zconnector.cli.output import emit, table
from zconnector.cli.topology import DEFAULT_AGGREGATORS, DEFAULT_CONNECTORS, Component

if TYPE_CHECKING:
    from zconnector.cli.stage import Stage


@click.command(
    "dev",
    context_settings=CONTEXT,
    epilog="Examples: zconnector dev;  zconnector dev --state-dir /tmp/zc --aggregators 2 --connector git:Git"
    " --connector ci:Ci --connector mail:Mail --restart",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("state/dev"),
    show_default=True,
    help="Everything it keeps; a second start goes on from there.",
)
@click.option(
    "--aggregators",
    type=click.IntRange(min=1, max=26),
    default=DEFAULT_AGGREGATORS,
    show_default=True,
    help="Instances of the aggregator agg1.",
)
@click.option(
    "--clusters",
    type=click.IntRange(min=1, max=1),
    default=1,
    show_default=True,
    help="Cluster members (with SQLite: one).",
)
@click.option(
    "--connector",
    "connectors",
    multiple=True,
    metavar="NAME:TYPE",
    default=DEFAULT_CONNECTORS,
    show_default=True,
    help="A connector; may be repeated.",
)
@click.option("--strict/--no-strict", default=False, help="Only commands of stored pivots.  [default: no]")
@click.option("--restart", is_flag=True, help="Start again what dies.")
@click.option("--log-level", type=click.Choice(CHOICES["log_level"]), default="info", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The topology as one JSON line instead of a table.")
@click.pass_context
def command(
    ctx: click.Context,
    state_dir: Path,
    aggregators: int,
    clusters: int,
    connectors: tuple[str, ...],
    strict: bool,
    restart: bool,
    log_level: str,
    as_json: bool,
) -> None:
    """Run a whole topology on this machine, in the foreground, until Ctrl-C.

    When everything serves, topology.json in the state directory says what runs where, and a line
    beginning with "ready" is printed. Every component is its own process with its own log file
    under logs/, and may be killed by hand.
    """
    from zconnector.cli.stage import Stage

    def asked(name: str) -> bool:
        return ctx.get_parameter_source(name) is not ParameterSource.DEFAULT

    stage = Stage(
        state_dir,
        aggregators=aggregators if asked("aggregators") else None,
        connectors=connectors if asked("connectors") else None,
        strict=strict,
        restart=restart,
        arguments=["--log-level", log_level],
        told=_tell,
    )
    asyncio.run(_run(stage, as_json))


def _tell(component: Component, what: str) -> None:
    click.echo(f"{component.role} {component.label}: {what}", err=True)


async def _run(stage: Stage, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopped = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(stage.start())
    try:
        await asyncio.wait({stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _show(stage, as_json)
            await stopped
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        stopped.cancel()
        await stage.stop()


def _show(stage: Stage, as_json: bool) -> None:
    if as_json:
        emit(stage.topology())
        return
    rows = []
    for component in stage.plan.components:
        address = component.endpoint or stage.grpc(component.label)
        rows.append([component.role, component.label, component.type, str(stage.pid(component)), address])
    table(["role", "name", "type", "pid", "address"], rows)
    click.echo(f"ready {stage.state_dir / 'topology.json'}")
