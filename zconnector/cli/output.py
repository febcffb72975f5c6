"""What commands print: JSON lines for programs, tables for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click
import orjson


def emit(value: Any) -> None:
    """One JSON document on one line of stdout."""
    try:
        line = orjson.dumps(value, default=str).decode()
    except TypeError:  # an argument or a path that is not UTF-8: its bytes are told by escapes
        line = json.dumps(value, default=str)
    click.echo(line)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table on stdout; without colours and never shortened where stdout is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell.encode("utf-8", "backslashreplace").decode()) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(shown)
