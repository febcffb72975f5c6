"""`protos/WIRE.md` as data: its sections, and the tables in them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "protos" / "WIRE.md"

Table = list[dict[str, str]]


@cache
def section(number: int) -> str:
    """The text of one section."""
    parts = re.split(r"^## (\d+)\. .*$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    return found[number]


def tables(number: int) -> list[Table]:
    """The tables of a section in their order: one dict of column to cell for each row."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n?)+", section(number), flags=re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        head, rule, *body = rows
        assert all(set(cell) <= set("-: ") for cell in rule), f"section {number}: {head} has no rule below it"
        assert all(len(row) == len(head) for row in body), f"section {number}: ragged table {head}"
        found.append([dict(zip(head, row, strict=True)) for row in body])
    return found


def numbers(text: str) -> list[int]:
    """The whole numbers in a text: `1 ms to 600,000 ms` has 1 and 600000."""
    return [int(digits.replace(",", "")) for digits in re.findall(r"\d{1,3}(?:,\d{3})+|\d+", text)]
