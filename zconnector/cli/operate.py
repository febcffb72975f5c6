"""What the operators' commands share: which connectors are meant, asking them, saying times."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import F, state_dir_option
from zconnector.errors import NotRunningError, Reason, Refusal

TIMEOUT = 30.0
PARTLY = 1
"""Exit status when some of what was asked for was refused, each with its reason on stderr."""

json_option = click.option("--json", "as_json", is_flag=True, help="JSON lines instead of text.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def connector_options(function: F) -> F:
    """Decorator: which connector is meant."""
    function = json_option(function)
    function = state_dir_option("a connector")(function)
    return click.option(
        "--connector", default="", metavar="NAME", help="Which connector, where the directory has several."
    )(function)


def connectors_in(state_dir: Path, connector: str) -> list[Path]:
    """State directories of the connectors that are meant.

    Raises UsageError for a name that is not there.
    """
    folder = state_dir / "connector"
    found = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else [state_dir]
    if not connector:
        return found
    chosen = [path for path in found if path.name == connector]
    if not chosen:
        names = ", ".join(path.name for path in found)
        raise click.UsageError(f"no connector {connector!r} in {state_dir} (there: {names})")
    return chosen


def the_connector(state_dir: Path, connector: str) -> Path:
    """The one connector that is to be changed. Raises UsageError when that is not clear."""
    found = connectors_in(state_dir, connector)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise click.UsageError(f"which connector of {state_dir} (there: {names})? Give --connector NAME.")
    return found[0]


def ask(directory: Path, verb: str, args: Mapping[str, Any], timeout: float = TIMEOUT) -> dict[str, Any]:
    """One verb at one connector; `timeout` in seconds.

    Raises UsageError where the connector calls the arguments bad; NotRunningError; Refusal.
    """
    from zconnector.runtime.control import request

    try:
        return request(directory, "operate", {"verb": verb, **args}, timeout)
    except Refusal as refusal:
        if refusal.reason is Reason.BAD_ARGUMENT:
            raise click.UsageError(refusal.detail) from None
        raise


def ask_each(
    directories: Iterable[Path], verb: str, args: Mapping[str, Any]
) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """A verb at each connector: name and answer; and the exit status. Who is silent is told on stderr.

    Raises NotRunningError when nobody answers: an empty list would say that there is nothing.
    """
    answers: list[tuple[str, dict[str, Any]]] = []
    silent: list[NotRunningError] = []
    for directory in directories:
        try:
            answers.append((directory.name, ask(directory, verb, args)))
        except NotRunningError as error:
            silent.append(error)
    last = silent.pop() if silent and not answers else None
    for away in silent:
        click.echo(f"zconnector: {away}", err=True)
    if last is not None:
        raise last
    return answers, silent[0].exit_code if silent else 0


def ask_whose(directories: Iterable[Path], verb: str, args: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """A verb about one uuid, at the connector that has it.

    Raises Refusal: NOT_FOUND, when all have answered and none has it; NotRunningError when one is silent.
    """
    missing: Refusal | NotRunningError | None = None
    for directory in directories:
        try:
            return directory, ask(directory, verb, args)
        except NotRunningError as error:
            missing = error
        except Refusal as refusal:
            if refusal.reason is not Reason.NOT_FOUND:
                raise
            missing = missing or refusal
    if missing is None:
        raise click.UsageError("there is no connector to ask")
    raise missing


def confirm(question: str, yes: bool) -> None:
    """Ask before something is removed. Raises UsageError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Give --yes to confirm.")
    click.confirm(question, abort=True, err=True)


class Duration(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Seconds, or a number with s, m, h or d behind it."""

    name = "duration"
    _FORM = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)")
    _UNITS: Mapping[str, int] = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        form = self._FORM.fullmatch(str(value))
        if form is None:
            self.fail(f"{value!r} is no duration: write 90, 90s, 15m, 2h or 7d.", param, ctx)
        return float(form[1]) * self._UNITS[form[2]]


DURATION = Duration()


def when(wall_ms: int) -> str:
    """A time for people, local; "-" for none."""
    if not wall_ms:
        return "-"
    moment = time.localtime(wall_ms / 1000)
    today = time.localtime()
    same_day = moment[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", moment)


def lasting(ms: int | None) -> str:
    """How long, for people; "-" for unknown."""
    if ms is None:
        return "-"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((3_600, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} d"


def sizes(count: int) -> str:
    """Bytes for people."""
    for limit, unit, name in ((10_000, 1, "B"), (10_000_000, 1_000, "kB")):
        if count < limit:
            return f"{count // unit} {name}"
    return f"{count // 1_000_000} MB"


def show(
    as_json: bool,
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, Callable[[Mapping[str, Any]], Any]],
) -> None:
    """Rows as JSON lines, or as a table whose cells are made by `columns`."""
    from zconnector.cli.output import emit, table

    if as_json:
        for row in rows:
            emit(row)
        return
    cells = [[_text(make(row)) for make in columns.values()] for row in rows]
    table(list(columns), cells)


def _text(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)
