"""The command `zconnector`: its subcommands; the one place where an error becomes a line and an exit code.

A subcommand's module is imported when it is needed, and imports what is heavy (zmq, grpc) only
when it runs: `zconnector --help` stays fast.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

import click
from click.core import ParameterSource

from zconnector import __version__
from zconnector.errors import ZConnectorError

INTERRUPTED = 130
PIPE_CLOSED = 141
IO_FAILED = 74

COMMANDS = {
    "demo": "zconnector.cli.demo",
    "dev": "zconnector.cli.dev",
    "cluster": "zconnector.cli.cluster",
    "aggregator": "zconnector.cli.aggregator",
    "connector": "zconnector.cli.connector",
    "frontend": "zconnector.cli.frontend",
    "secret": "zconnector.cli.secret",
    "pivot": "zconnector.cli.pivot",
    "config": "zconnector.cli.config",
    "send": "zconnector.cli.send",
    "watch": "zconnector.cli.watch",
    "status": "zconnector.cli.status",
    "queue": "zconnector.cli.queue",
    "dead": "zconnector.cli.dead",
    "workers": "zconnector.cli.workers",
    "worker": "zconnector.cli.worker",
    "cancel": "zconnector.cli.cancel",
    "explain": "zconnector.cli.explain",
    "repo": "zconnector.cli.repo",
}
"""Subcommand -> module, whose `command` it is; in the order of `--help`."""


class LazyGroup(click.Group):
    """A group whose subcommands are imported when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = importlib.import_module(module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.command is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As in click, which knows of near names only among commands that are imported already."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from None


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="See it work: zconnector demo",
)
@click.version_option(__version__, prog_name="zconnector")
def cli() -> None:
    """zconnector: a connector router for the Gandalf DevOps framework, on ZeroMQ.

    Workers on different connectors send each other commands and events; what was receipted
    is never lost, whatever process is killed.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status. Errors are one line on stderr, never a traceback."""
    try:
        result = cli.main(args=argv, prog_name="zconnector", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        if isinstance(error, click.BadParameter) and (origin := _origin(error)):
            error = click.BadParameter(error.message + origin, error.ctx, error.param, error.param_hint)
        error.show()
        return error.exit_code
    except ZConnectorError as error:
        click.echo(f"zconnector: {error}", err=True)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has left. Point stdout elsewhere, or the interpreter complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        click.echo(f"zconnector: {error}", err=True)
        return IO_FAILED
    return result if isinstance(result, int) else 0


def _origin(error: click.BadParameter) -> str:
    """Where a bad value came from, when it was not typed."""
    if error.ctx is None or error.param is None or not error.param.name:
        return ""
    source = error.ctx.get_parameter_source(error.param.name)
    if source is ParameterSource.ENVIRONMENT:
        return f" (from the environment: {error.ctx.auto_envvar_prefix}_{error.param.name.upper()})"
    if source is ParameterSource.DEFAULT_MAP:
        return f" (from {error.ctx.params.get('config') or 'the configuration file'})"
    return ""
