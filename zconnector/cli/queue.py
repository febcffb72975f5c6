"""`zconnector queue`: the commands that wait at a connector; pause, resume and purge them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.operate import (
    PARTLY,
    ask,
    ask_each,
    confirm,
    connector_options,
    connectors_in,
    lasting,
    show,
    sizes,
    the_connector,
    yes_option,
)
from zconnector.cli.output import emit


@click.group(
    "queue",
    context_settings=CONTEXT,
    epilog="Examples: zconnector queue ls;  zconnector queue pause BUILD --connector ci",
)
def command() -> None:
    """The local queue of a connector: what waits there, and for whom."""


@command.command(
    "ls",
    context_settings=CONTEXT,
    epilog="Examples: zconnector queue ls;  zconnector queue ls --connector ci --json",
)
@connector_options
def ls(connector: str, state_dir: Path, as_json: bool) -> int:
    """List the command names with how many commands are in which state.

    Exit status 69 where a connector does not answer.
    """
    answers, failed = ask_each(connectors_in(state_dir, connector), "queue.ls", {})
    for who, answer in answers:
        if "*" in answer["paused"]:
            click.echo(f"{who}: everything is paused: `zconnector queue resume '*'`", err=True)
    show(
        as_json,
        [{"connector": who, **row} for who, answer in answers for row in answer["rows"]],
        {
            "connector": lambda row: row["connector"],
            "command": lambda row: row["command"],
            "major": lambda row: row["major"] or "any",
            **{state: _count(state) for state in ("ready", "delayed", "leased", "done", "dead")},
            "bytes": lambda row: sizes(row["bytes"]),
            "oldest": lambda row: lasting(row["oldest_ms"]),
            "workers": lambda row: row["workers"],
            "waits": lambda row: row["waits"],
            "": lambda row: "PAUSED" if row["paused"] else "",
        },
    )
    return failed


def _count(state: str) -> Callable[[Mapping[str, Any]], Any]:
    return lambda row: row[state] or ""


@command.command("peek", context_settings=CONTEXT, epilog="Example: zconnector queue peek BUILD --limit 5")
@click.argument("name", metavar="COMMAND")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Commands shown.")
@connector_options
def peek(name: str, limit: int, connector: str, state_dir: Path, as_json: bool) -> int:
    """Show the oldest live commands of a name, without touching them."""
    args = {"command": name, "limit": limit}
    answers, failed = ask_each(connectors_in(state_dir, connector), "queue.peek", args)
    show(
        as_json,
        [{"connector": who, **row} for who, answer in answers for row in answer["rows"]],
        {
            "connector": lambda row: row["connector"],
            "uuid": lambda row: row["uuid"],
            "state": lambda row: row["state"],
            "attempt": lambda row: row["attempt"],
            "age": lambda row: lasting(row["age_ms"]),
            "due in": lambda row: lasting(row["due_ms"]),
            "priority": lambda row: row["priority"],
            "order key": lambda row: row["order_key"],
            "worker": lambda row: (row["lease"] or {}).get("worker", ""),
            "source": lambda row: row["source"],
            "size": lambda row: sizes(row["size"]),
        },
    )
    return failed


@command.command(
    "pause",
    context_settings=CONTEXT,
    epilog="Examples: zconnector queue pause BUILD --connector ci;"
    "  zconnector queue pause '*' --connector ci",
)
@click.argument("name", metavar="COMMAND")
@connector_options
def pause(name: str, connector: str, state_dir: Path, as_json: bool) -> None:
    """Hand out no command of this name ('*': of any), over restarts too, until `queue resume`.

    They are taken and receipted meanwhile. What a worker has already goes on.
    """
    _change("queue.pause", "paused", name, connector, state_dir, as_json)


@command.command("resume", context_settings=CONTEXT, epilog="Example: zconnector queue resume BUILD")
@click.argument("name", metavar="COMMAND")
@connector_options
def resume(name: str, connector: str, state_dir: Path, as_json: bool) -> None:
    """Hand out commands of this name again ('*': all that is paused)."""
    _change("queue.resume", "resumed", name, connector, state_dir, as_json)


def _change(verb: str, done: str, name: str, connector: str, state_dir: Path, as_json: bool) -> None:
    directory = the_connector(state_dir, connector)
    answer = ask(directory, verb, {"command": name})
    if as_json:
        emit({"connector": directory.name, **answer})
    else:
        click.echo(f"{done} {name}; paused at {directory.name}: {', '.join(answer['paused']) or 'nothing'}")


@command.command(
    "purge",
    context_settings=CONTEXT,
    epilog="Example: zconnector queue purge BUILD --state ready --connector ci --yes",
)
@click.argument("name", metavar="COMMAND")
@click.option(
    "--state",
    type=click.Choice(["ready", "delayed"]),
    default=None,
    help="Only those in this state.  [default: both]",
)
@yes_option
@connector_options
def purge(name: str, state: str | None, yes: bool, connector: str, state_dir: Path, as_json: bool) -> int:
    """End the commands of this name ('*': all) that no worker has.

    They become dead letters (PURGED), and their sources hear FAIL. Exit status 1 where the disk ended it.
    """
    directory = the_connector(state_dir, connector)
    which = f"all {state} commands" if state else "all commands that wait"
    confirm(f"End {which} of {name} at {directory.name}?", yes)
    answer = ask(directory, "queue.purge", {"command": name, **({"state": state} if state else {})})
    if as_json:
        emit({"connector": directory.name, **answer})
    else:
        click.echo(f"{answer['n']} purged: see `zconnector dead ls --reason PURGED`")
    if answer["stopped_by"]:
        click.echo(f"zconnector: not all of them: {answer['stopped_by']}", err=True)
        return PARTLY
    return 0
