"""Where the thing to talk to is: a component's state directory, or a whole `zconnector dev`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from zconnector.cli.options import ENVIRONMENT
from zconnector.errors import ConfigError, NotRunningError

TOPOLOGY_FILE = "topology.json"
CONTEXT: dict[str, Any] = {"auto_envvar_prefix": ENVIRONMENT}
"""Context settings of every command that is not a component: one name of the environment for one option."""

F = TypeVar("F", bound=Callable[..., Any])


def state_dir_option(what: str) -> Callable[[F], F]:
    """Decorator: the option --state-dir of a command that talks to a running component."""
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path("state/dev"),
        show_default=True,
        help=f"State directory of {what}, or of `zconnector dev`.",
    )


def grpc_options(function: F) -> F:
    """Decorator: how to find a connector's gRPC address."""
    function = click.option(
        "--grpc", default="", metavar="unix:PATH", help="Address of the connector's worker service."
    )(function)
    function = state_dir_option("a connector")(function)
    return click.option(
        "--connector",
        default="",
        metavar="NAME",
        help="Which connector of a `zconnector dev` to go through.  [default: the first]",
    )(function)


def read_topology(state_dir: Path) -> dict[str, Any] | None:
    """`topology.json` of a `zconnector dev`; None where there is none.

    Raises ConfigError when the file is there and is not what dev writes.
    """
    try:
        content = (state_dir / TOPOLOGY_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        topology = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{state_dir / TOPOLOGY_FILE} is not JSON: {error}") from error
    if not isinstance(topology, dict) or not isinstance(topology.get("connectors"), list):
        raise ConfigError(f"{state_dir / TOPOLOGY_FILE} is not a topology of zconnector dev")
    return topology


def find_grpc(grpc: str, state_dir: Path, connector: str) -> str:
    """The address of a connector's worker service.

    Raises NotRunningError where nothing is found, ConfigError for a connector that dev does not have.
    """
    if grpc:
        return grpc
    topology = read_topology(state_dir)
    if topology is None:
        if connector:
            raise NotRunningError(f"no topology of a running `zconnector dev` in {state_dir}")
        return _grpc_of_component(state_dir)
    names = [str(entry["name"]) for entry in topology["connectors"]]
    for entry in topology["connectors"]:
        if not connector or entry["name"] == connector:
            return str(entry["grpc"])
    raise ConfigError(f"no connector {connector!r} in {state_dir} (there: {', '.join(names)})")


def _grpc_of_component(state_dir: Path) -> str:
    from zconnector.runtime.control import request

    address = request(state_dir, "status", {}, 5.0).get("grpc", "")
    if not address:
        raise NotRunningError(f"the component in {state_dir} serves no workers yet: see `zconnector status`")
    return str(address)


def find_component(state_dir: Path, role: str) -> Path:
    """The state directory of the first component of that role, given its own or that of a `dev`."""
    own = state_dir / role
    return sorted(own.iterdir())[0] if own.is_dir() and any(own.iterdir()) else state_dir
