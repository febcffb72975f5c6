"""Arguments of calls at the door: read with their rules, refused with a sentence that names both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.errors import Reason, Refusal

Args = Mapping[str, Any]
_MAX_HEADER = 65_536
_DICT = frozenset((dict,))


def text(args: Args, name: str, *, limit: int = _MAX_HEADER) -> str:
    """A string of at most so many bytes; absent: empty. Raises Refusal (BAD_ARGUMENT)."""
    value = args.get(name, "")
    if type(value) is str and len(value) <= limit and value.isascii():  # as most are
        return value
    if not isinstance(value, str):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be str, not {type(value).__name__}")
    if len(value.encode("utf-8", "replace")) > limit:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} is longer than {limit:,} bytes")
    return value


def number(args: Args, name: str, least: int, greatest: int, default: int) -> int:
    """An int within bounds; absent: the default. Raises Refusal (BAD_ARGUMENT)."""
    value = args.get(name, default)
    if type(value) is not int or not least <= value <= greatest:
        detail = f"{name} must be an int from {least:,} to {greatest:,} (got {str(value)[:40]})"
        raise Refusal(Reason.BAD_ARGUMENT, detail)
    return value


def small(args: Args, name: str) -> int:
    """A version's number; absent: 0. Raises Refusal (BAD_ARGUMENT)."""
    return number(args, name, -128, 127, 0)


def flag(args: Args, name: str) -> bool:
    """A bool; absent: false. Raises Refusal (BAD_ARGUMENT)."""
    value = args.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be bool, not {type(value).__name__}")
    return value


def objects(args: Args, name: str, limit: int) -> list[Args]:
    """A list of at most so many objects; absent: empty. Raises Refusal (BAD_ARGUMENT)."""
    value = args.get(name, [])
    if not isinstance(value, list) or not (
        _DICT.issuperset(map(type, value)) or all(isinstance(item, Mapping) for item in value)
    ):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be a list of objects")
    if len(value) > limit:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} has {len(value):,} items, limit {limit:,}")
    return value


def names(args: Args, name: str, limit: int) -> list[str]:
    """A list of at most so many names of commands; absent: empty. Raises Refusal (BAD_ARGUMENT)."""
    value = args.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be a list of names")
    if len(value) > limit or any(len(item.encode("utf-8", "replace")) > 256 for item in value):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name}: at most {limit:,}, each of at most 256 bytes")
    return value
