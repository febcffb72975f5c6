"""`zconnector cancel`: end one command."""

from __future__ import annotations

from pathlib import Path

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.operate import ask_whose, connector_options, connectors_in
from zconnector.cli.output import emit


@click.command(
    "cancel",
    context_settings=CONTEXT,
    epilog="Examples: zconnector cancel 6f1c2e0a-...;  zconnector cancel 6f1c2e0a-... --connector ci --json",
)
@click.argument("uuid")
@connector_options
def command(uuid: str, connector: str, state_dir: Path, as_json: bool) -> None:
    """End a command at the connector that has it: a dead letter, and FAIL to its source.

    A worker that has it is told; what it answers later has no effect.
    Exit status 65 where no connector has it, or it has ended already.
    """
    directory, answer = ask_whose(connectors_in(state_dir, connector), "cancel", {"uuid": uuid})
    if as_json:
        emit({"connector": directory.name, **answer})
    else:
        click.echo(f"cancelled {uuid} at {directory.name}: it is {answer['state']}")
