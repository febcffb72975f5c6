"""How deep a JSON value is nested.

orjson reads 1,024 levels and writes 254, and Python's own `repr` ends with a RecursionError somewhere
between: what is let in deeper than this can be neither stored, nor sent on, nor told of.
"""

from __future__ import annotations

MAX_HEADER_DEPTH = 32
"""Levels of a message's header."""
MAX_DEPTH = 100
"""Levels of a document: a pivot, a configuration, a control request."""


def is_deeper(value: object, limit: int) -> bool:
    """Whether lists and objects stand inside each other more than `limit` times."""
    level = [value]
    for _ in range(limit):
        inner: list[object] = []
        for each in level:
            if isinstance(each, list):
                inner.extend(each)
            elif isinstance(each, dict):
                inner.extend(each.values())
        if not inner:
            return False
        level = inner
    return any(isinstance(each, (list, dict)) for each in level)
