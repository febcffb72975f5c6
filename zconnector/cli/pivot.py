"""`zconnector pivot`: which commands a connector type has, with their payload schemas."""

from __future__ import annotations

from pathlib import Path

import click

from zconnector.cli.locate import CONTEXT
from zconnector.cli.output import emit
from zconnector.cli.secret import ask, json_option, member_option
from zconnector.errors import ConfigError


@click.group("pivot", context_settings=CONTEXT)
def command() -> None:
    """Store and show pivots and product connectors (talks to the cluster member's control socket)."""


@command.command(
    "put",
    context_settings=CONTEXT,
    epilog="""Example: zconnector pivot put ci.yaml --tenant acme

\b
A pivot:
  name: Ci
  major: 1
  minor: 0
  commandtypes:
    - name: BUILD
      schema: '{"type": "object", "required": ["ref"]}'
    - name: CLEAN""",
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--tenant", default="dev", show_default=True, help="Tenant that it is for.")
@click.option("--product", default="", help="Store it as the product connector of this product.")
@member_option
@json_option
def put(file: Path, tenant: str, product: str, state_dir: Path, as_json: bool) -> None:
    """Store a pivot (or a product connector) from a YAML file; connectors get it at once."""
    try:
        text = click.open_file(str(file), encoding="utf-8").read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error
    answer = ask(state_dir, "pivot_put", {"tenant": tenant, "yaml": text, "product": product})
    if as_json:
        emit(answer)
    else:
        commands = ", ".join(answer["commands"]) or "no commands"
        click.echo(f"stored {answer['name']} {answer['version']} for tenant {tenant}: {commands}")


@command.command("show", context_settings=CONTEXT)
@click.argument("type_", metavar="TYPE")
@click.option("--tenant", default="dev", show_default=True, help="Tenant.")
@member_option
@json_option
def show(type_: str, tenant: str, state_dir: Path, as_json: bool) -> None:
    """Show the pivots and product connectors of a connector type."""
    answer = ask(state_dir, "pivot_show", {"tenant": tenant, "type": type_})
    if as_json:
        emit(answer)
        return
    import yaml

    click.echo(yaml.safe_dump(answer, sort_keys=False, allow_unicode=True), nl=False)
