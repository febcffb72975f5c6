"""`zconnector demo`: see commands and events go on while aggregator instances are killed."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.output import emit

if TYPE_CHECKING:
    from zconnector.cli.demo_run import Report
    from zconnector.cli.demo_view import View

LOST = 1
INTERRUPTED = 130
PACE_MS = 30


@click.command("demo", context_settings=CONTEXT, epilog="Examples: zconnector demo;  zconnector demo --plain")
@click.option(
    "--commands", type=click.IntRange(min=8), default=320, show_default=True, help="Commands to send."
)
@click.option(
    "--events", type=click.IntRange(min=8), default=120, show_default=True, help="Events to publish."
)
@click.option(
    "--pace-ms",
    type=click.FloatRange(min=0),
    default=PACE_MS,
    show_default=True,
    help="Milliseconds between two commands, so that one can follow.",
)
@click.option("--plain", is_flag=True, help="Plain lines also on a terminal.")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Keep state and logs here.  [default: a temporary directory]",
)
def command(commands: int, events: int, pace_ms: float, plain: bool, state_dir: Path | None) -> int:
    """Workers on two connectors exchange commands and events; two of three aggregators are killed.

    A ledger outside the system notes what senders were told and what workers did. The last line
    is one JSON object; exit status 0 only if every receipted command got its reply and every
    event reached the other connector's worker.
    """
    from zconnector.cli.demo_view import LiveView, PlainView

    view: View = (PlainView if plain or not sys.stdout.isatty() else LiveView)(commands, events)
    if state_dir is not None:
        report = asyncio.run(_run(state_dir, commands, events, pace_ms / 1000, view))
    else:
        with tempfile.TemporaryDirectory(prefix="zconnector-demo-") as directory:
            report = asyncio.run(_run(Path(directory), commands, events, pace_ms / 1000, view))
    if report is None:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    emit(report.summary())
    return 0 if report.good else LOST


async def _run(state_dir: Path, commands: int, events: int, pace: float, view: View) -> Report | None:
    """The report, or None when it was interrupted (then, too, everything is ended first)."""
    from zconnector.cli.demo_run import Demo

    running = asyncio.create_task(Demo(state_dir, commands, events, pace, view).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        return None
