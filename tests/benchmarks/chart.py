"""The chart of a run: one figure, as SVG and PNG, made by matplotlib (the optional extra `bench`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no screen is asked for
import matplotlib.pyplot as plt

Lines = Sequence[dict[str, Any]]
Panel = tuple[str, Callable[[Any], None]]
NAME = "bench"
_WHO = {"aggregator": "ours", "bare pyzmq": "bare"}


def draw(lines: Lines, directory: Path) -> dict[str, str]:
    """Draw what was measured; the files made, by format. Nothing measured: no files."""
    panels = [
        panel
        for make in (_rates, _latencies, _cpu, _forward, _backlog, _wakeup, _profile)
        for panel in make(lines)
    ]
    if not panels:
        return {}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7 * columns, 3.6 * rows), squeeze=False)
    flat = [axis for row in axes for axis in row]
    for axis, (title, paint) in zip(flat, panels, strict=False):
        paint(axis)
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    figure.tight_layout()
    files: dict[str, str] = {}
    for kind in ("svg", "png"):
        path = directory / f"{NAME}.{kind}"
        figure.savefig(path, dpi=120)
        files[kind] = str(path)
    plt.close(figure)
    return files


def _of(lines: Lines, bench: str, *names: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["bench"] == bench and all(name in line for name in names)]


def _bars(labels: Sequence[str], values: Sequence[float], unit: str) -> Callable[[Any], None]:
    def paint(axis: Any) -> None:
        drawn = axis.barh(labels, values, color="tab:blue")
        axis.bar_label(drawn, fmt="%.4g", padding=3, fontsize=8)
        axis.invert_yaxis()
        axis.margins(x=0.15)
        axis.set_xlabel(unit)

    return paint


def _stacks(parts: dict[str, dict[str, float]], unit: str) -> Callable[[Any], None]:
    """A bar for each name, made of named parts."""

    def paint(axis: Any) -> None:
        left = dict.fromkeys(parts, 0.0)
        for kind in dict.fromkeys(kind for some in parts.values() for kind in some):
            widths = [some.get(kind, 0.0) for some in parts.values()]
            axis.barh(list(parts), widths, left=list(left.values()), label=kind)
            left = {name: left[name] + width for name, width in zip(left, widths, strict=True)}
        axis.invert_yaxis()
        axis.set_xlabel(unit)
        axis.legend(fontsize=7, ncols=2)

    return paint


def _rates(lines: Lines) -> list[Panel]:
    found = _of(lines, "r", "per_second")
    labels, values = [line["what"] for line in found], [line["per_second"] for line in found]
    return [("workload R: 64 in flight", _bars(labels, values, "commands a second"))] if found else []


def _latencies(lines: Lines) -> list[Panel]:
    found = _of(lines, "r", "p50_ms", "p99_ms")
    labels = [f"{line['what']} {name}" for line in found for name in ("p50", "p99")]
    values = [line[f"{name}_ms"] for line in found for name in ("p50", "p99")]
    return [("workload R: 1 in flight", _bars(labels, values, "ms"))] if found else []


def _cpu(lines: Lines) -> list[Panel]:
    found = [line for line in lines if line["bench"] == "r" and line["what"].startswith("CPU us")]
    skipped = ("bench", "what", "driver", "all")
    parts = {
        line["what"].partition(", ")[2]: {k: v for k, v in line.items() if k not in skipped} for line in found
    }
    return [("CPU of a command, by component", _stacks(parts, "microseconds"))] if found else []


def _forward(lines: Lines) -> list[Panel]:
    found = _of(lines, "forward", "ours_per_second", "bare_per_second")
    labels = [f"{who}, {line['what'].rpartition(' ')[2]} a transmission" for line in found for who in _WHO]
    values = [median(line[f"{key}_per_second"]) for line in found for key in _WHO.values()]
    return [("forwarding", _bars(labels, values, "messages a second"))] if found else []


def _backlog(lines: Lines) -> list[Panel]:
    found = _of(lines, "backlog", "us_small", "us_large")
    labels = [f"{line['what']}, {line[size]:,} stored" for line in found for size in ("small", "large")]
    values = [line[f"us_{size}"] for line in found for size in ("small", "large")]
    return [("cost with a backlog", _bars(labels, values, "microseconds a command"))] if found else []


def _wakeup(lines: Lines) -> list[Panel]:
    found = _of(lines, "wakeup", "pollers", "p50_ms", "p99_ms")
    labels = [f"{line['what']}, {line['pollers']:,} idle, {n}" for line in found for n in ("p50", "p99")]
    values = [line[f"{name}_ms"] for line in found for name in ("p50", "p99")]
    return [("wake-up of a waiting worker", _bars(labels, values, "ms"))] if found else []


def _profile(lines: Lines) -> list[Panel]:
    found = _of(lines, "profile", "kinds")
    parts = {line["what"]: line["kinds"] for line in found}
    return [("where the time of a command goes", _stacks(parts, "CPU microseconds"))] if found else []
