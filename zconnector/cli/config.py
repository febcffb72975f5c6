"""`zconnector config`: the logical configuration of a connector, as the cluster keeps it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.output import emit, table
from zconnector.cli.secret import ask, json_option, member_option
from zconnector.errors import ConfigError

MASK = "***"
MAX_INPUT = 1 << 20
"""Bytes of a file or of stdin."""
_SECRET = "keys"

tenant_option = click.option("--tenant", default="dev", show_default=True, help="Tenant of the connector.")
connector_argument = click.argument("connector")


@click.group("config", context_settings=CONTEXT)
def command() -> None:
    """Show and change a connector's logical configuration (talks to the cluster member's control socket).

    A running connector gets each change at once, without a restart.
    """


@command.command(
    "set",
    context_settings=CONTEXT,
    epilog="""\b
Examples:
  zconnector config set ci product=jenkins repository=file:///srv/workers \\
      'repository_keys=["ed25519:..."]' 'versions=["1.0"]' --tenant acme
  zconnector config set ci keys.token=@token.txt keys.retries=3 'keys.pin="1234"'
  pass show ci/token | zconnector config set ci keys.token=-
  zconnector config set ci 'versions=["1.0","1.1"]' shares.1.1=10
  zconnector config set ci --from ci.yaml""",
)
@connector_argument
@click.argument("changes", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Set each name of this YAML or JSON object as a whole.",
)
@tenant_option
@member_option
@json_option
def set_(
    connector: str, changes: tuple[str, ...], file: Path | None, tenant: str, state_dir: Path, as_json: bool
) -> None:
    """Set values; all of them, or none where one breaks its rule.

    VALUE is JSON where it can be read as such, else text. NAME.KEY sets one value of an object (shares, pins,
    keys, update, gate, worker) and leaves its others. NAME=@FILE reads a file and NAME=- stdin, so that a
    secret is on no command line.
    """
    values = _from_file(file) if file is not None else {}
    for name, value in _assignments(changes, file):
        values[name] = value
    if not values:
        raise click.UsageError("nothing to set: give NAME=VALUE or --from FILE")
    _change(connector, tenant, state_dir, {"set": values}, as_json, f"set {', '.join(values)}")


@command.command(
    "unset",
    context_settings=CONTEXT,
    epilog="Example: zconnector config unset ci shares.1.1 update",
)
@connector_argument
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@tenant_option
@member_option
@json_option
def unset(connector: str, names: tuple[str, ...], tenant: str, state_dir: Path, as_json: bool) -> None:
    """Take back what was set: what the connector says of itself, or the default, is in force again."""
    args = {"unset": [_text(name, "a name") for name in names]}
    _change(connector, tenant, state_dir, args, as_json, f"unset {', '.join(names)}")


@command.command(
    "show",
    context_settings=CONTEXT,
    epilog="Example: zconnector config show ci --tenant acme --json",
)
@connector_argument
@click.option("--reveal", is_flag=True, help="Show the values of keys, which are masked otherwise.")
@tenant_option
@member_option
@json_option
def show(connector: str, reveal: bool, tenant: str, state_dir: Path, as_json: bool) -> None:
    """Show the values in force, and who set them: an operator, or the connector of itself."""
    answer = ask(state_dir, "config_get", {"tenant": tenant, "name": connector})
    layers = {
        layer: values if reveal else masked(values)
        for layer in ("values", "saved", "operator")
        for values in [answer[layer]]
    }
    if as_json:
        emit({"tenant": tenant, "connector": connector, "version": answer["version"], **layers})
        return
    rows = [
        [name, shown, "operator" if whole in layers["operator"] else "connector"]
        for whole in sorted(layers["values"])
        for name, shown in _rows(whole, layers["values"][whole])
    ]
    table(("name", "value", "set by"), rows, title=f"{tenant}/{connector}, version {answer['version']}")


def masked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without the values of keys."""
    hidden = values.get(_SECRET)
    if hidden is None:
        return dict(values)
    keys = dict.fromkeys(hidden, MASK) if isinstance(hidden, Mapping) else MASK
    return {**values, _SECRET: keys}


def _change(
    connector: str, tenant: str, state_dir: Path, args: dict[str, Any], as_json: bool, done: str
) -> None:
    answer = ask(state_dir, "config_change", {"tenant": tenant, "name": connector, **args})
    if as_json:
        emit({**answer, "values": masked(answer["values"])})
    else:
        click.echo(f"{tenant}/{connector}: {done}; version {answer['version']} is in force")


# ---- what was typed


def _assignments(changes: tuple[str, ...], file: Path | None) -> Iterator[tuple[str, Any]]:
    """Names and values of NAME=VALUE."""
    seen: set[str] = set()
    stdin_read = file is not None and str(file) == "-"
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise click.UsageError(f"each change must be NAME=VALUE (got {change.partition('=')[0]!r:.80})")
        if name in seen:
            raise click.UsageError(f"{name} is given twice")
        seen.add(_text(name, "a name"))
        if value in ("-", "@-"):
            if stdin_read:
                raise click.UsageError(f"{name}=-: stdin can be read once")
            stdin_read = True
        if value == "-" or (value.startswith("@") and len(value) > 1):
            yield name, _json_or_text(_one_line_less(_read(Path(value.removeprefix("@")))))
        else:
            yield name, _json_or_text(_text(value, f"the value of {name}"))


def _json_or_text(text: str) -> Any:
    import orjson

    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _one_line_less(text: str) -> str:
    """Without the newline that ends the last line of a file."""
    return text.removesuffix("\n").removesuffix("\r")


def _read(source: Path) -> str:
    """A file, or stdin for `-`; bounded."""
    what = "stdin" if str(source) == "-" else str(source)
    try:
        if what == "stdin":
            content = sys.stdin.buffer.read(MAX_INPUT + 1)
        else:
            with source.open("rb") as opened:
                content = opened.read(MAX_INPUT + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {what}: {error.strerror}") from None
    if len(content) > MAX_INPUT:
        raise ConfigError(f"{what} has more than {MAX_INPUT} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} must be UTF-8 ({error.reason} at byte {error.start})") from None


def _from_file(source: Path) -> dict[str, Any]:
    from zconnector.configuration.pivot import read_yaml

    values = dict(read_yaml(_read(source), str(source)))
    _check_names(values, str(source))
    return values


def _check_names(values: Mapping[Any, Any], where: str) -> None:
    """YAML reads 1.1 as a number, JSON has names that are texts only. Raises ConfigError."""
    left: list[tuple[str, Any]] = [(where, values)]
    while left:
        place, value = left.pop()
        if isinstance(value, list):
            left += [(f"{place}[{index}]", item) for index, item in enumerate(value)]
        elif isinstance(value, Mapping):
            for name, item in value.items():
                if not isinstance(name, str):
                    raise ConfigError(f"{place}: a name must be a text (got {name!r:.60}): quote it")
                left.append((f"{place}: {name}" if place == where else f"{place}.{name}", item))


def _text(value: str, what: str) -> str:
    """An argument that is text. Raises ConfigError."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{what} must be UTF-8") from None
    return value


def _rows(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """An object as the names that `set` takes."""
    import orjson

    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield f"{name}.{key}", item if isinstance(item, str) else orjson.dumps(item).decode()
    else:
        yield name, value if isinstance(value, str) else orjson.dumps(value).decode()
