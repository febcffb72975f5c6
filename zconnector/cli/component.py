"""What the commands that run one component have in common: options, `--print-config`, running."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from zconnector.cli.options import ENVIRONMENT, option, settings_of
from zconnector.cli.output import emit, table
from zconnector.cli.resolve import MASK, Resolved, load_config, resolve, settings_from
from zconnector.settings import ProcessSettings


@contextmanager
def starting() -> Iterator[None]:
    """Around the imports of a process that runs a component: without what costs each start and serves none.

    That is looking for garbage among what is imported to stay, and rich, which structlog imports for coloured
    tracebacks wherever it finds it.
    """
    from zconnector.runtime import garbage

    with garbage.paused():
        if "rich" not in sys.modules and "structlog" not in sys.modules:
            sys.modules["rich"] = None  # type: ignore[assignment]  # "not to be found", to whoever imports it
            try:
                import structlog  # noqa: F401
            finally:
                del sys.modules["rich"]
        yield


def component_command(
    name: str,
    cls: type[ProcessSettings],
    run: Callable[[Any], int],
    help: str,
    epilog: str,
) -> click.Command:
    """The command `zconnector NAME`: resolve the settings, then run the process in the foreground.

    `run` gets the frozen settings and returns the exit status; it ends on SIGTERM and Ctrl-C after a drain.
    """

    @click.pass_context
    def callback(ctx: click.Context, /, **_given: Any) -> int:
        if ctx.params["print_config"] or ctx.params["json"]:
            _print_config(resolve(ctx, cls), as_json=ctx.params["json"])
            return 0
        return run(settings_from(ctx, cls))

    return click.Command(
        name,
        callback=callback,
        params=[
            *(option(setting) for setting in settings_of(cls)),
            click.Option(
                ["--enrolment-file"],
                type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
                help="File with the enrolment string of `zconnector secret create` (- for stdin); needed at"
                " the first start only, or in ZCONNECTOR_ENROLMENT.",
                hidden=name in ("cluster", "frontend"),
            ),
            click.Option(
                ["--config"],
                type=click.Path(path_type=Path, dir_okay=False),
                is_eager=True,
                callback=load_config,
                help=f"TOML file with a table [{name}].",
            ),
            click.Option(
                ["--print-config"],
                is_flag=True,
                help="Show every setting, its value and where it came from, and end.",
            ),
            click.Option(["--json"], is_flag=True, help="With --print-config: as JSON."),
        ],
        help=help,
        epilog=epilog,
        context_settings={"auto_envvar_prefix": ENVIRONMENT},
    )


def _print_config(entries: list[Resolved], *, as_json: bool) -> None:
    shown = [
        Resolved(entry.name, MASK if entry.name == "enrolment" and entry.value else entry.value, entry.source)
        for entry in entries
    ]
    if as_json:
        emit({entry.name: {"value": entry.value, "source": entry.source} for entry in shown})
    else:
        rows = [[entry.name, _text(entry.value), entry.source] for entry in shown]
        table(["setting", "value", "from"], rows)


def _text(value: Any) -> str:
    return "" if value is None else str(value)
