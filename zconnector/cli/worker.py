"""`zconnector worker`: the worker versions that a connector runs, and what they write."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.operate import (
    ask,
    ask_each,
    connector_options,
    connectors_in,
    lasting,
    show,
    the_connector,
    when,
)
from zconnector.cli.output import emit
from zconnector.errors import NotRunningError, ZConnectorError

_LONG = 3_600.0
"""Seconds that a rollout may take before this command gives up waiting; the rollout goes on."""


@click.group(
    "worker",
    context_settings=CONTEXT,
    epilog="Examples: zconnector worker ls;  zconnector worker update 1.1 --connector ci",
)
def command() -> None:
    """Run and replace worker versions (docs/versions.md). `zconnector workers` shows who takes commands.

    A version can run with other keys, worker settings or another content than before: that is another
    edition of it. 1.9~2 is version 1.9, edition 2; edition 0 is written 1.9. You always name the version.
    """


@command.command(
    "ls", context_settings=CONTEXT, epilog="Examples: zconnector worker ls;  zconnector worker ls --json"
)
@connector_options
def ls(connector: str, state_dir: Path, as_json: bool) -> int:
    """List the versions that run or ran here, the rollout that goes on, and how the last one ended.

    Exit status 69 where a connector does not answer.
    """
    answers, failed = ask_each(connectors_in(state_dir, connector), "worker.ls", {})
    if as_json:
        for who, answer in answers:
            emit({"connector": who, **answer})
        return failed
    show(
        False,
        [{"connector": who, **row} for who, answer in answers for row in answer["versions"]],
        {
            "connector": lambda row: row["connector"],
            "version": lambda row: row["version"],
            "edition": lambda row: row["edition"],
            "state": lambda row: row["state"],
            "traffic": lambda row: row["traffic"],
            "pid": lambda row: row["pid"],
            "for": lambda row: lasting(row["since_ms"]),
            "crashes": lambda row: row["crashes"],
            "reason": lambda row: row["reason"],
        },
    )
    lines = [f"{who}: {line}" for who, answer in answers for line in _summary(answer)]
    for line in lines:
        click.echo(line)
    if legend := _legend("\n".join((*lines, *_reasons(answers)))):
        click.echo(legend)
    return failed


def _reasons(answers: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [str(row["reason"]) for _, answer in answers for row in answer["versions"]]


def _legend(text: str) -> str:
    """What the first edition that is named in a text stands for; "": none is."""
    found = re.search(r"\b(\d+\.\d+)~(\d+)\b", text)
    if found is None:
        return ""
    return f"({found[0]}: version {found[1]}, edition {found[2]}; see zconnector worker --help)"


def _summary(answer: Mapping[str, Any]) -> list[str]:
    lines = []
    if answer["problem"]:
        lines.append(f"the configuration is wrong, and not applied: {answer['problem']}")
    if answer["unfit"]:
        lines.append(f"changed keys or worker settings are not in force: {answer['unfit']}")
    if (rollout := answer["rollout"]) is not None:
        lines.append(f"{_described(rollout)}: {rollout['step']}{_because(rollout['reason'])}")
    if (waits := answer.get("waits")) is not None and waits["at"] is not None:
        times = f"{waits['tries']} time{'s' if waits['tries'] > 1 else ''} in vain"
        lines.append(
            f"the configuration's {_list(waits['new'])} is tried again at {when(waits['at'])} "
            f"({times}), and waits for: {waits['for']}"
        )
    if (manifest := answer.get("manifest")) is not None and manifest["expiring"]:
        lines.append(_expiring(manifest))
    if (last := answer["last"]) is not None:
        lines.append(f"{_described(last)}: {last['outcome']} at {when(last['at'])}{_because(last['reason'])}")
    return lines


def _expiring(manifest: Mapping[str, Any]) -> str:
    left, at = manifest["left_ms"], when(manifest["expires"] * 1000)
    told = (
        f"expired at {at}, {lasting(-left)} ago"
        if manifest["expired"]
        else f"expires in {lasting(left)}, at {at}"
    )
    return (
        f"the manifest of {manifest['address']} (serial {manifest['serial']}) {told}: "
        "nothing new is installed by it from then on; sign it again (zconnector repo sign)"
    )


def _described(rollout: Mapping[str, Any]) -> str:
    return f"{rollout['why']} from {_list(rollout['old'])} to {_list(rollout['new'])}"


def _list(versions: list[str]) -> str:
    return ", ".join(versions) or "none"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _rollout_command(
    name: str, verb: str, help: str, epilog: str, *, required: bool | None
) -> Callable[..., Any]:
    """One of the commands that change what runs; `required`: whether it needs a version, None: takes none."""

    @connector_options
    def callback(connector: str, state_dir: Path, as_json: bool, version: str = "") -> None:
        directory = the_connector(state_dir, connector)
        result = _followed(directory, verb, {"version": version or ""}, quiet=as_json)
        if as_json:
            emit(result)
            return
        about = f"{result['Major']}.{result['Minor']}" if "Major" in result else ""
        click.echo(f"{directory.name}: {name} {about} done".replace("  ", " "))
        if unchecked := result.get("unchecked"):
            click.echo(f"zconnector: {about} serves as it is; could not be checked: {unchecked}", err=True)

    if required is not None:
        callback = click.argument("version", required=required, metavar="MAJOR.MINOR")(callback)
    return command.command(name, context_settings=CONTEXT, help=help, epilog=epilog)(callback)


def _followed(directory: Path, verb: str, args: Mapping[str, Any], *, quiet: bool) -> dict[str, Any]:
    """Ask, and tell on stderr how the rollout goes until it is answered."""
    done: list[dict[str, Any] | ZConnectorError | click.UsageError] = []

    def perform() -> None:
        try:
            done.append(ask(directory, verb, args, _LONG))
        except (ZConnectorError, click.UsageError) as error:
            done.append(error)

    asking = threading.Thread(target=perform, daemon=True)
    asking.start()
    revision, shown, explained = 0, "", ""
    while not quiet and asking.is_alive():
        try:
            view = ask(directory, "worker.changes", {"after": revision})
        except (NotRunningError, ZConnectorError):
            break
        revision, rollout = view["revision"], view["rollout"]
        line = "" if rollout is None else f"{rollout['step']}{_because(rollout['reason'])}"
        if line and line != shown:
            told = f"{_described(rollout)}: {line}"
            click.echo(told, err=True)
            if not explained and (explained := _legend(told)):
                click.echo(explained, err=True)
        shown = line
        asking.join(0.02)  # the answer follows the last step at once
    asking.join()
    outcome = done[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


start = _rollout_command(
    "start",
    "worker.start",
    """Run a version beside those that run.

    Fetched from the repository, verified, started, and given traffic once it passed its gate.
    Exit status 65 when it was rolled back, with the reason.
    """,
    "Example: zconnector worker start 1.0 --connector ci",
    required=True,
)
stop = _rollout_command(
    "stop",
    "worker.stop",
    "Stop a version: it finishes what it runs; its commands go to the others, or wait.",
    "Example: zconnector worker stop 1.0 --connector ci",
    required=True,
)
update = _rollout_command(
    "update",
    "worker.update",
    """Replace the newest running version (of the same major) by this one, without losing a command.

    Without MAJOR.MINOR: by the newest of its major that the repository has. The old one serves until the
    new one has registered all its commands and passed the gate; on any failure it goes on serving, and
    the exit status is 65, with the reason.

    A version that runs is updated where the repository has another content of it now; where the repository
    is away it serves as it is, and that this could not be checked is told.
    """,
    "Examples: zconnector worker update 1.1 --connector ci;  zconnector worker update",
    required=False,
)
rollback = _rollout_command(
    "rollback",
    "worker.rollback",
    "End the rollout that goes on, or go back to what ran before the last one.",
    "Example: zconnector worker rollback --connector ci",
    required=None,
)


@command.command(
    "latest", context_settings=CONTEXT, epilog="Example: zconnector worker latest --connector ci --json"
)
@connector_options
def latest(connector: str, state_dir: Path, as_json: bool) -> None:
    """Show the versions that the repository has, the newest last."""
    answer = ask(the_connector(state_dir, connector), "worker.latest", {}, _LONG)
    if as_json:
        emit(answer)
    else:
        click.echo("\n".join(answer["versions"]))


@command.command(
    "logs",
    context_settings=CONTEXT,
    epilog="Examples: zconnector worker logs 1.1;  zconnector worker logs --follow --connector ci",
)
@click.argument("version", required=False, metavar="[MAJOR.MINOR]")
@click.option(
    "--lines", type=click.IntRange(1, 500), default=100, show_default=True, help="How many of the last lines."
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@connector_options
def logs(
    version: str | None, lines: int, follow: bool, connector: str, state_dir: Path, as_json: bool
) -> None:
    """Show what the workers wrote: the last of 2,000 lines that are kept (all of it is in the log)."""
    directory = the_connector(state_dir, connector)
    asked = {"version": version or "", "limit": lines}
    answer = ask(directory, "worker.logs", asked)
    while True:
        for line in answer["lines"]:
            if as_json:
                emit(line)
            else:
                click.echo(
                    f"{when(line['at'])} {line['worker']}#{line['run']} {line['stream']} {line['line']}"
                )
        if not follow:
            return
        answer = ask(directory, "worker.logs", {**asked, "after": answer["last"], "follow": True})
