"""What the benches write: JSON lines, a table for people, one summary line at the end."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

LINES = "results.jsonl"
_VERDICTS = {True: "met", False: "NOT MET", None: ""}


class Results:
    """Collects the lines of one run; each is in the file as soon as it is known."""

    def __init__(self, directory: Path, *, quick: bool, output: TextIO | None = None) -> None:
        """Begins the file anew. Raises OSError."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.quick = quick
        self.lines: list[dict[str, Any]] = []
        self._ratios: dict[str, dict[str, Any]] = {}
        self._failed: dict[str, str] = {}
        self._output = output or sys.stderr
        self._file = (directory / LINES).open("w", encoding="utf-8")

    def add(self, bench: str, what: str, **figures: Any) -> None:
        """One measured line. `what` names it within its bench."""
        line = {"bench": bench, "what": what, **figures}
        self.lines.append(line)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        shown = "  ".join(f"{name}={_shown(value)}" for name, value in figures.items())
        print(f"{bench}: {what}: {shown}", file=self._output, flush=True)

    def judge(self, name: str, value: float, goal: str = "", met: bool | None = None) -> None:
        """A figure for the summary and the table; with the goal that the project has set for it, if any."""
        self._ratios[name] = {"value": round(value, 3), "goal": goal, "met": met}

    def fail(self, bench: str, why: str) -> None:
        """A bench has no figures, and this is why."""
        self._failed[bench] = why
        self.add(bench, "failed", error=why)

    def machine(self) -> None:
        """On what this was measured."""
        load = round(os.getloadavg()[0], 2)
        self.add("machine", "this", cpus=os.cpu_count(), python=platform.python_version(), load=load)

    def table(self) -> str:
        """The goals, for people."""
        rows = [("figure", "measured", "goal", "")]
        for name, entry in self._ratios.items():
            rows.append((name, f"{entry['value']:g}", entry["goal"], _VERDICTS[entry["met"]]))
        for name, why in self._failed.items():
            rows.append((name, "failed", "", why.splitlines()[0][:80]))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def summary(self, files: Mapping[str, str]) -> dict[str, Any]:
        """The last line: everything that a machine wants to know of a run."""
        return {
            "summary": True,
            "quick": self.quick,
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
            "figures": self._ratios,
            "failed": self._failed,
            "files": dict(files),
        }

    @property
    def failed(self) -> bool:
        """Whether a bench has no figures. A goal that is not met is a result, and no failure."""
        return bool(self._failed)

    def close(self) -> None:
        self._file.close()


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    return str(value)
