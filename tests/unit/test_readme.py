"""README's table of the architecture: what it names is there, and its tests can be run."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "README.md").read_text().partition("statement by statement")[2].splitlines()
    if line.startswith("|") and not line.startswith(("|---", "| statement"))
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_statement_has_its_place_and_its_test(row: list[str]) -> None:
    _, where, shown = row
    folder = ROOT
    for name in re.findall(r"`([^`]+)`", where):
        path = folder / name if (folder / name).exists() else ROOT / name
        assert path.exists(), name
        folder = path if path.is_dir() else path.parent
    file, _, test = shown.strip("`").partition("::")
    names = {
        node.name
        for node in ast.walk(ast.parse((ROOT / file).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert any(name.startswith("test_") for name in names)
    assert not test or test in names


def test_every_line_of_the_architecture_has_its_row() -> None:
    """Routing, six kinds of messages both ways, five steps of the start: no section is without a row."""
    statements = "\n".join(row[0] for row in ROWS)
    for word in ("Event", "Command", "Config", "Configuration", "Secret", "Initialisation", "Versions"):
        assert re.search(rf"^{word}", statements, re.MULTILINE), word
    assert len(ROWS) >= 30
