"""`zconnector explain`: where a command is, what happened to it, and the one thing it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT, state_dir_option
from zconnector.cli.operate import TIMEOUT, json_option
from zconnector.cli.output import emit, table
from zconnector.errors import NotRunningError, Reason, Refusal

_ENDED = ("DONE", "DEAD", "REPLIED", "REFUSED", "JOURNALLED", "SENT")


@click.command(
    "explain",
    context_settings=CONTEXT,
    epilog="Examples: zconnector explain 6f1c2e0a-...;"
    "  zconnector explain 6f1c2e0a-... --component state/dev/connector/ci --json",
)
@click.argument("uuid")
@click.option(
    "--component",
    "components",
    type=click.Path(path_type=Path, file_okay=False),
    multiple=True,
    help="State directory of one component to ask; may be repeated.  [default: all below --state-dir]",
)
@state_dir_option("a component")
@json_option
def command(uuid: str, components: tuple[Path, ...], state_dir: Path, as_json: bool) -> int:
    """Ask every connector and cluster member on this machine about UUID, and merge what they say by time.

    Exit status 0: somebody knows it; 65: nobody does; 69: nobody does, and not everybody answered.
    """
    stories: list[dict[str, Any]] = []
    silent: NotRunningError | None = None
    unknown: Refusal | None = None
    for directory in components or find_components(state_dir):
        try:
            stories.append(ask(directory, uuid))
        except NotRunningError as error:
            silent = error
            click.echo(f"zconnector: {error}", err=True)
        except Refusal as refusal:
            if refusal.reason is not Reason.NOT_FOUND:
                raise
            unknown = refusal
    if not stories:
        if silent is not None:
            return silent.exit_code
        raise Refusal(Reason.NOT_FOUND, unknown.detail if unknown and len(components) == 1 else _nobody(uuid))
    told = merged(uuid, stories)
    if as_json:
        emit(told)
    else:
        _show(told)
    return 0


def find_components(state_dir: Path) -> list[Path]:
    """The connectors and cluster members below a directory, or the component that it is itself."""
    found: list[Path] = []
    for role in ("connector", "cluster"):
        folder = state_dir / role
        below = sorted(path for path in folder.iterdir() if _is_component(path)) if folder.is_dir() else []
        found += below or ([folder] if _is_component(folder) else [])
    return found or [state_dir]


def _is_component(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in ("lock", "control.sock", "control.path"))


def ask(directory: Path, uuid: str) -> dict[str, Any]:
    """What one component knows. Raises NotRunningError; Refusal, NOT_FOUND when it knows nothing."""
    from zconnector.runtime.control import request

    try:
        return request(directory, "explain", {"uuid": uuid}, TIMEOUT)
    except Refusal as refusal:
        if refusal.reason is not Reason.BAD_ARGUMENT:
            raise
        raise click.UsageError(f"{directory}: {refusal.detail}") from None


def merged(uuid: str, stories: list[dict[str, Any]]) -> dict[str, Any]:
    """What all of them know: who knows best says the state and what it waits for."""
    best = min(stories, key=_rank)
    steps = [{**step, "where": story["where"]} for story in stories for step in story["history"]]
    return {
        "uuid": uuid,
        "state": best["state"],
        "waits_for": best["waits_for"],
        "where": best["where"],
        "history": sorted(steps, key=lambda step: step["at"]),
        "told_by": stories,
    }


def _rank(story: Mapping[str, Any]) -> int:
    """Lower knows better: its target, then whoever has it on its way, then whoever only knows its end."""
    if "in its queue" in story["where"]:
        return 0
    if story["state"] in ("SENDING", "WAITING", "UNDER_WAY", "UNKNOWN"):
        return 1
    if "dead letters" in story["where"]:
        return 2
    if story["state"] == "REPLIED":
        return 3
    if story["state"] in ("RESOLVED", "REFUSED"):
        return 4
    return 5 if story["state"] in _ENDED else 6


def _show(told: Mapping[str, Any]) -> None:
    from datetime import datetime

    click.echo(f"{told['uuid']} is {told['state']} ({told['where']})")
    click.echo(f"it waits for: {told['waits_for'] or 'nothing'}")
    rows = []
    for step in told["history"]:
        moment = datetime.fromtimestamp(step["at"] / 1000)
        rows.append([moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3], step["where"].split(":")[0], step["what"]])
    table(["when", "where", "what"], rows)


def _nobody(uuid: str) -> str:
    return f"no connector and no cluster member that was asked knows {uuid}"
