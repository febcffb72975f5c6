"""What one sees of the demo: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Protocol

import click
from rich.align import Align
from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from zconnector.cli.ledger import Verdict

UP, DOWN, STARTING = "up", "killed", "starting"
_STYLE = {UP: "green", DOWN: "bold white on red", STARTING: "yellow"}
_SIGN = {UP: "●", DOWN: "✝", STARTING: "◌"}
LINES = 10


class View(Protocol):
    """What the demo tells whoever looks."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str, style: str = "") -> None:
        """One thing that happened."""

    def state(self, label: str, state: str, pid: int) -> None:
        """A component is UP, DOWN or STARTING."""

    def count(self, verdict: Verdict) -> None:
        """The ledger as it is now."""


class PlainView:
    """Lines with the seconds since the start."""

    def __init__(self, commands: int, events: int) -> None:
        self._begun = time.monotonic()
        self._shown = 0
        self._step = max(1, commands // 8)

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def say(self, text: str, style: str = "") -> None:
        click.echo(f"{time.monotonic() - self._begun:6.2f}  {text}")

    def state(self, label: str, state: str, pid: int) -> None:
        """Said in words by `say` already."""

    def count(self, verdict: Verdict) -> None:
        if verdict.replies >= self._shown + self._step:
            self._shown = verdict.replies
            self.say(
                f"{verdict.commands} commands sent, {verdict.receipts} receipted, {verdict.replies} answered;"
                f" {verdict.events} events sent, {verdict.arrivals} arrived"
            )


class LiveView:
    """The topology, progress and the latest happenings, redrawn a dozen times a second."""

    def __init__(self, commands: int, events: int) -> None:
        self._begun = time.monotonic()
        self._totals = (commands, events)
        self._states: dict[str, tuple[str, int]] = {}
        self._lines: deque[Text] = deque(maxlen=LINES)
        self._verdict: Verdict | None = None
        self._live = Live(get_renderable=self._picture, refresh_per_second=12, console=Console())

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str, style: str = "") -> None:
        line = Text(f"{time.monotonic() - self._begun:6.2f} s  ", style="dim")
        line.append(text, style=style or "default")
        self._lines.append(line)

    def state(self, label: str, state: str, pid: int) -> None:
        self._states[label] = (state, pid)

    def count(self, verdict: Verdict) -> None:
        self._verdict = verdict

    def _picture(self) -> Panel:
        picture = Group(self._topology(), Text(), self._progress(), Text(), *self._happenings())
        return Panel(picture, title="[bold]zconnector[/bold]  nothing receipted is lost", padding=(1, 2))

    def _box(self, label: str) -> Panel:
        state, pid = self._states.get(label, (STARTING, 0))
        text = Text(f"{_SIGN[state]} {label}\n", justify="center")
        text.append(f"{state} · pid {pid}" if state == UP else state, style="dim")
        return Panel(text, border_style=_STYLE[state], width=22)

    def _row(self, prefix: tuple[str, ...]) -> Align:
        boxes = [self._box(label) for label in self._states if label.startswith(prefix)]
        return Align.center(Columns(boxes, padding=(0, 2)))

    def _topology(self) -> Group:
        others = tuple(label for label in self._states if "/" not in label)
        return Group(self._row(("cluster/",)), self._row(("agg1/",)), self._row(others) if others else Text())

    def _progress(self) -> Table:
        commands, events = self._totals
        verdict = self._verdict
        rows = (
            ("commands sent", verdict.commands if verdict else 0, commands, "blue"),
            ("receipted", verdict.receipts if verdict else 0, commands, "cyan"),
            ("answered", verdict.replies if verdict else 0, commands, "green"),
            ("events sent", verdict.events if verdict else 0, events, "blue"),
            ("arrived", verdict.arrivals if verdict else 0, events, "green"),
        )
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right", width=14)
        table.add_column(width=46)
        table.add_column(justify="right", width=11)
        for name, done, total, style in rows:
            bar = ProgressBar(
                total=total, completed=done, width=46, complete_style=style, finished_style=style
            )
            table.add_row(name, bar, f"{done} / {total}")
        return table

    def _happenings(self) -> list[Text]:
        return [*self._lines, *(Text() for _ in range(LINES - len(self._lines)))]
