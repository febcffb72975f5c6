"""`zconnector dead`: look at dead letters, change, replay, purge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT, F
from zconnector.cli.operate import (
    DURATION,
    PARTLY,
    ask,
    ask_each,
    ask_whose,
    confirm,
    connector_options,
    connectors_in,
    show,
    sizes,
    the_connector,
    when,
    yes_option,
)
from zconnector.cli.output import emit, table
from zconnector.cli.send import payload_options, read_payload

PAGE = 1_000


def _filter_options(function: F) -> F:
    """Decorator: which letters are meant."""
    function = click.option(
        "--older",
        type=DURATION,
        default=None,
        help="Only letters older than this (seconds, or 15m, 2h, 7d).",
    )(function)
    function = click.option("--source", default="", help="Only those from this connector.")(function)
    function = click.option("--command", "name", default="", help="Only those of this command.")(function)
    return click.option("--reason", default="", help="Only those with this reason.")(function)


def _filter(reason: str, name: str, source: str, older: float | None) -> dict[str, Any]:
    given = {"reason": reason.upper(), "command": name, "source": source}
    wanted: dict[str, Any] = {field: value for field, value in given.items() if value}
    if older is not None:
        wanted["older_ms"] = int(older * 1000)
    return wanted


def _which(uuid: str, wanted: dict[str, Any], every: bool) -> dict[str, Any]:
    """The arguments of a verb that changes letters: one, some or all of them."""
    if bool(uuid) + bool(wanted) + every != 1:
        raise click.UsageError("give one of: a UUID; --reason, --command, --source, --older; --all")
    return {"uuid": uuid} if uuid else {"all": True} if every else wanted


@click.group(
    "dead",
    context_settings=CONTEXT,
    epilog="Examples: zconnector dead ls --reason EXPIRED;  zconnector dead replay 6f1c2e0a-...",
)
def command() -> None:
    """Dead letters: commands that ended without a worker, or whose attempts are used up."""


@command.command(
    "ls",
    context_settings=CONTEXT,
    epilog="Examples: zconnector dead ls --connector ci;"
    "  zconnector dead ls --reason EXPIRED --older 1h --json",
)
@click.argument("prefix", metavar="[UUID-PREFIX]", default="")
@_filter_options
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Letters shown of each connector.",
)
@connector_options
def ls(
    prefix: str,
    reason: str,
    name: str,
    source: str,
    older: float | None,
    limit: int,
    connector: str,
    state_dir: Path,
    as_json: bool,
) -> int:
    """List dead letters, oldest first.

    Exit status 69 where a connector does not answer.
    """
    wanted = _filter(reason, name, source, older)
    if prefix:
        wanted["uuid"] = prefix
    rows: list[dict[str, Any]] = []
    failed = 0
    for directory in connectors_in(state_dir, connector):
        left, after = limit, 0
        while left:
            page = {**wanted, "limit": min(left, PAGE), "after": after}
            answers, status = ask_each([directory], "dead.ls", page)
            failed = failed or status
            for who, answer in answers:
                rows += ({"connector": who, **row} for row in answer["rows"])
            after = answers[0][1]["next"] if answers else 0
            left = left - len(answers[0][1]["rows"]) if after else 0
    show(
        as_json,
        rows,
        {
            "connector": lambda row: row["connector"],
            "uuid": lambda row: row["uuid"],
            "command": lambda row: row["command"],
            "reason": lambda row: row["reason"],
            "attempts": lambda row: row["attempts"],
            "died": lambda row: when(row["at"]),
            "source": lambda row: row["source"],
            "size": lambda row: sizes(row["size"]),
            "detail": lambda row: row["error"] or row["detail"],
        },
    )
    return failed


@command.command(
    "show",
    context_settings=CONTEXT,
    epilog="Example: zconnector dead show 6f1c2e0a-... --json",
)
@click.argument("uuid")
@connector_options
def show_(uuid: str, connector: str, state_dir: Path, as_json: bool) -> None:
    """Show one dead letter: why it is one, its header and its payload."""
    directory, letter = ask_whose(connectors_in(state_dir, connector), "dead.show", {"uuid": uuid})
    if as_json:
        emit({"connector": directory.name, **letter})
        return
    header = letter.pop("header")
    payload = letter.pop("payload", None)
    encoded = letter.pop("payload_base64", "")
    times = {"at": when(letter["at"]), "edited": when(letter["edited"])}
    shown = {"connector": directory.name, **letter, **times}
    rows = [[name, str(value)] for name, value in shown.items() if value not in ("", 0)]
    rows += [[f"header.{name}", str(value)] for name, value in header.items()]
    table(["", ""], rows)
    click.echo(payload if payload is not None else f"payload in base64: {encoded}")


@command.command(
    "edit",
    context_settings=CONTEXT,
    epilog="""Examples: zconnector dead edit 6f1c... '{"ref": "main"}';"""
    "  zconnector dead edit 6f1c... --payload-file fixed.json",
)
@click.argument("uuid")
@payload_options
@connector_options
def edit(
    uuid: str, payload: str, payload_file: Path | None, connector: str, state_dir: Path, as_json: bool
) -> None:
    """Replace the payload of a dead letter; it must keep the schema of its command."""
    content = read_payload(payload, payload_file)
    directory, answer = ask_whose(
        connectors_in(state_dir, connector), "dead.edit", {"uuid": uuid, "payload": content}
    )
    if as_json:
        emit({"connector": directory.name, **answer})
    else:
        click.echo(f"edited {uuid}: `zconnector dead replay {uuid}` sends it again")


@command.command(
    "replay",
    context_settings=CONTEXT,
    epilog="Examples: zconnector dead replay 6f1c...;"
    "  zconnector dead replay --reason ATTEMPTS_EXHAUSTED --command BUILD --connector ci",
)
@click.argument("uuid", default="")
@_filter_options
@click.option("--all", "every", is_flag=True, help="All dead letters of the connector.")
@connector_options
def replay(
    uuid: str,
    reason: str,
    name: str,
    source: str,
    older: float | None,
    every: bool,
    connector: str,
    state_dir: Path,
    as_json: bool,
) -> int:
    """Make dead letters commands again: with a fresh uuid, and attempts anew.

    Exit status 1 where some were refused (they stay dead letters).
    """
    which = _which(uuid, _filter(reason, name, source, older), every)
    if uuid:
        directory, answer = ask_whose(connectors_in(state_dir, connector), "dead.replay", which)
    else:
        directory = the_connector(state_dir, connector)
        answer = ask(directory, "dead.replay", which)
        while answer["next"]:
            more = ask(directory, "dead.replay", {**which, "after": answer["next"]})
            for field in ("n", "uuids", "refused"):
                more[field] = answer[field] + more[field]
            answer = more
    if as_json:
        emit({"connector": directory.name, **{field: answer[field] for field in ("n", "uuids", "refused")}})
    else:
        for entry in answer["uuids"]:
            click.echo(f"{entry['replay_of']} is {entry['uuid']} now")
        click.echo(f"{answer['n']} replayed, {len(answer['refused'])} refused")
    for entry in answer["refused"]:
        click.echo(f"zconnector: {entry['uuid']}: {entry['reason']}: {entry['detail']}", err=True)
    return PARTLY if answer["refused"] else 0


@command.command(
    "purge",
    context_settings=CONTEXT,
    epilog="Examples: zconnector dead purge 6f1c... --yes;"
    "  zconnector dead purge --older 7d --connector ci --yes",
)
@click.argument("uuid", default="")
@_filter_options
@click.option("--all", "every", is_flag=True, help="All dead letters of the connector.")
@yes_option
@connector_options
def purge(
    uuid: str,
    reason: str,
    name: str,
    source: str,
    older: float | None,
    every: bool,
    yes: bool,
    connector: str,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Remove dead letters for good."""
    which = _which(uuid, _filter(reason, name, source, older), every)
    if uuid:
        confirm(f"Remove the dead letter {uuid} for good?", yes)
        directory, answer = ask_whose(connectors_in(state_dir, connector), "dead.purge", which)
    else:
        directory = the_connector(state_dir, connector)
        confirm(f"Remove these dead letters of {directory.name} for good?", yes)
        answer = ask(directory, "dead.purge", which)
    if as_json:
        emit({"connector": directory.name, **answer})
    else:
        click.echo(f"{answer['n']} purged")
