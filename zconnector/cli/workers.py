"""`zconnector workers`: who takes commands at a connector, in which version, when it was last heard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.operate import ask_each, connector_options, connectors_in, lasting, show


@click.command(
    "workers",
    context_settings=CONTEXT,
    epilog="Examples: zconnector workers;  zconnector workers --connector ci --json",
)
@connector_options
def command(connector: str, state_dir: Path, as_json: bool) -> int:
    """List the workers: what they poll, their version, what they have, their last beat.

    Exit status 69 where a connector does not answer.
    """
    answers, failed = ask_each(connectors_in(state_dir, connector), "workers", {})
    show(
        as_json,
        [{"connector": who, **row} for who, answer in answers for row in answer["rows"]],
        {
            "connector": lambda row: row["connector"],
            "worker": lambda row: row["worker"] or "(unnamed)",
            "api": lambda row: row["api"],
            "state": lambda row: row["state"],
            "version": _version,
            "commands": lambda row: ", ".join(row["commands"]),
            "waits": lambda row: row["waits"],
            "leases": lambda row: row["leases"],
            "last beat": lambda row: lasting(row["last_beat_ms"]),
            "since": lambda row: lasting(row["since_ms"]),
        },
    )
    return failed


def _version(row: Mapping[str, Any]) -> str:
    return "" if row["major"] is None else f"{row['major']}.{row['minor']}"
