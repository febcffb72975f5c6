"""`zconnector status`: what a running component, or every one of a `zconnector dev`, knows of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT, read_topology, state_dir_option
from zconnector.cli.output import emit, table
from zconnector.errors import NotRunningError

TIMEOUT = 5.0


@click.command(
    "status",
    context_settings=CONTEXT,
    epilog="Examples: zconnector status --state-dir /var/lib/zconnector/git;"
    "  zconnector status --state-dir state/dev --json",
)
@state_dir_option("a component")
@click.option("--json", "as_json", is_flag=True, help="JSON: one line for each component.")
def command(state_dir: Path, as_json: bool) -> int:
    """Show peers, sessions, the step of initialisation, queue depths, the cursor.

    Exit status 69 where something does not answer.
    """
    failed = 0
    for directory in components_in(state_dir):
        try:
            found = _ask(directory)
        except NotRunningError as error:
            failed = error.exit_code
            click.echo(f"zconnector: {error}", err=True)
            continue
        if as_json:
            emit(found)
        else:
            table(["", ""], flatten(found), title=str(directory))
    return failed


def components_in(state_dir: Path) -> list[Path]:
    """State directories of all components of a `dev`, or the one given."""
    if read_topology(state_dir) is None:
        return [state_dir]
    return sorted(
        path for role in ("cluster", "aggregator", "connector") for path in (state_dir / role).glob("*")
    )


def _ask(directory: Path) -> dict[str, Any]:
    from zconnector.runtime.control import request

    return dict(request(directory, "status", {}, TIMEOUT))


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Rows `a.b.c`, value, for people."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from flatten(item, f"{prefix}{name}.")
        elif isinstance(item, list) and item and all(isinstance(entry, Mapping) for entry in item):
            for number, entry in enumerate(item):
                yield from flatten(entry, f"{prefix}{name}[{number}].")
        else:
            yield [prefix + name, _text(item)]


def _text(item: Any) -> str:
    if isinstance(item, list):
        return ", ".join(str(entry) for entry in item)
    return "-" if item is None or item == {} else str(item)
