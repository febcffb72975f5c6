"""Rows of one statement: a few sizes, so that each is prepared once. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")

LARGE = 65_536
"""Bytes of a value that has a statement of its own: SQLite copies what is bound to one, all at once."""


def parts(items: Sequence[ItemT], sizes: Sequence[int]) -> Iterator[Sequence[ItemT]]:
    """The items, in order, in parts of these sizes, which fall and end with 1."""
    start = 0
    for size in sizes:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size
