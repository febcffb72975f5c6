"""Arguments of the door's operations, each held to its rule. All raise Refusal (BAD_ARGUMENT)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zconnector.errors import Reason, Refusal
from zconnector.messages.fields import is_unicode


def text(args: Mapping[str, Any], name: str, limit: int) -> str:
    """A text of at most `limit` bytes; "" where absent."""
    value = args.get(name, "")
    if not isinstance(value, str):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be str, not {type(value).__name__}")
    if not is_unicode(value) or len(value.encode()) > limit:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be at most {limit} bytes of UTF-8")
    return value


def integer(args: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    """An integer within bounds; `default` where absent."""
    value = args.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise Refusal(
            Reason.BAD_ARGUMENT, f"{name} must be an int from {least} to {most} (got {value!r:.40})"
        )
    return value


def items(args: Mapping[str, Any], name: str, least: int, most: int) -> list[Any]:
    """A list of so many items."""
    value = args.get(name)
    if not isinstance(value, list):
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be list, not {type(value).__name__}")
    if not least <= len(value) <= most:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must have {least} to {most} items (got {len(value)})")
    return value


def one_of(args: Mapping[str, Any], name: str, choices: Sequence[str]) -> str:
    """One of some words; the first where absent."""
    value = args.get(name, choices[0])
    if value not in choices:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be one of {', '.join(choices)} (got {value!r:.40})")
    return str(value)
