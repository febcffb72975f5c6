"""`zconnector secret`: declare components, list them, rebind and revoke them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zconnector.cli.locate import CONTEXT, find_component, state_dir_option
from zconnector.cli.output import emit, table
from zconnector.errors import ConfigError

TIMEOUT = 15.0
member_option = state_dir_option("the cluster member")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")


def ask(state_dir: Path, op: str, args: dict[str, Any]) -> dict[str, Any]:
    """One request to the control socket of the cluster member."""
    from zconnector.runtime.control import request

    return dict(request(find_component(state_dir, "cluster"), op, args, TIMEOUT))


@click.group("secret", context_settings=CONTEXT)
def command() -> None:
    """Declare components and manage their secrets (talks to the cluster member's control socket)."""


@command.command(
    "create",
    context_settings=CONTEXT,
    epilog="Examples: zconnector secret create aggregator --tenant acme --name agg1 --instance a"
    " --out agg1-a.enrolment;  zconnector secret create connector --tenant acme --name git --type Git"
    " --aggregator agg1 --out git.enrolment",
)
@click.argument("kind", type=click.Choice(["connector", "aggregator"]))
@click.option("--tenant", required=True, help="Tenant that it belongs to.")
@click.option("--name", required=True, help="Logical name.")
@click.option("--instance", default="0", show_default=True, help="Which instance of an aggregator.")
@click.option("--type", "type_", default="", help="Type of a connector, for instance Git.")
@click.option("--aggregator", default="", help="Logical name of the aggregator that a connector uses.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="TYPE[:COMMAND]",
    help="What a connector may send; may be repeated.  [default: *]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the enrolment string to this file (mode 0600) instead of stdout.",
)
@member_option
@json_option
def create(
    kind: str,
    tenant: str,
    name: str,
    instance: str,
    type_: str,
    aggregator: str,
    permissions: tuple[str, ...],
    out: Path | None,
    state_dir: Path,
    as_json: bool,
) -> None:
    """Declare a component and print its enrolment string, once.

    The string holds the component's secret: hand it over in a file or in ZCONNECTOR_ENROLMENT,
    never on a command line. The first process that presents it binds its key to it.
    """
    if kind == "connector" and not (type_ and aggregator):
        raise click.UsageError("a connector needs --type and --aggregator")
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already")
    answer = ask(
        state_dir,
        "secret_create",
        {
            "kind": kind,
            "tenant": tenant,
            "name": name,
            "instance": instance,
            "type": type_,
            "aggregator": aggregator,
            "permissions": list(permissions) or ["*"],
        },
    )
    if out is not None:
        from zconnector.shoset.keys import write_private

        write_private(out, f"{answer['enrolment']}\n".encode())
        click.echo(f"enrolment of {kind} {tenant}/{name}/{instance} written to {out}", err=True)
    elif as_json:
        emit(answer)
    else:
        click.echo(answer["enrolment"])


@command.command("list", context_settings=CONTEXT)
@click.option("--tenant", default="", help="Only this tenant's.")
@member_option
@json_option
def list_(tenant: str, state_dir: Path, as_json: bool) -> None:
    """List the declared components, without their secrets."""
    answer = ask(state_dir, "secret_list", {"tenant": tenant} if tenant else {})
    if as_json:
        emit(answer)
        return
    columns = ("tenant", "kind", "name", "instance", "type", "permissions", "bound", "revoked")
    table(columns, ([_text(entry.get(column)) for column in columns] for entry in answer["components"]))


def _which(function: Any) -> Any:
    """Decorator: the options that name one declared component."""
    function = json_option(member_option(function))
    function = click.option("--instance", default="0", show_default=True, help="Which instance.")(function)
    function = click.option("--name", required=True, help="Logical name.")(function)
    function = click.option("--tenant", required=True, help="Tenant.")(function)
    return click.argument("kind", type=click.Choice(["connector", "aggregator"]))(function)


@command.command("rebind", context_settings=CONTEXT)
@_which
def rebind(kind: str, tenant: str, name: str, instance: str, state_dir: Path, as_json: bool) -> None:
    """Forget the key that is bound to a component: the next process with its secret binds its own."""
    _change("secret_rebind", "unbound", kind, tenant, name, instance, state_dir, as_json)


@command.command("revoke", context_settings=CONTEXT)
@_which
def revoke(kind: str, tenant: str, name: str, instance: str, state_dir: Path, as_json: bool) -> None:
    """Revoke a component's secret and end its sessions."""
    _change("secret_revoke", "revoked", kind, tenant, name, instance, state_dir, as_json)


def _change(
    op: str, done: str, kind: str, tenant: str, name: str, instance: str, state_dir: Path, as_json: bool
) -> None:
    args = {"kind": kind, "tenant": tenant, "name": name, "instance": instance}
    answer = ask(state_dir, op, args)
    if as_json:
        emit(answer)
    else:
        click.echo(f"{done}: {kind} {tenant}/{name}/{instance}")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)
