"""One value of the logical configuration: its rule, and what is said of one that breaks it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from zconnector.errors import ConfigError
from zconnector.messages.fields import is_unicode


def check_spelling(given: Iterable[object], known: Iterable[str], where: str, *, others: bool) -> None:
    """Names that are none of the known: near ones are refused, all where `others` is false.

    Raises:
        ConfigError: naming the name, and the one that was meant.
    """
    known = list(known)
    for name in given:
        if name in known:
            continue
        meant = difflib.get_close_matches(str(name)[:80].lower(), known, n=1, cutoff=0.7)
        if meant:
            raise ConfigError(f"{where}unknown name {name!r:.80}, did you mean {meant[0]!r}?")
        if not others:
            raise ConfigError(f"{where}unknown name {name!r:.80}, must be one of {', '.join(known)}")


def mapping(value: object, name: str, known: Iterable[str] = ()) -> Mapping[str, Any]:
    """An object; with `known`: of these names and no other. Raises ConfigError."""
    if not isinstance(value, Mapping):
        raise broken(name, "an object", value)
    for key in value:
        if not isinstance(key, str):
            raise ConfigError(f"{name}: a name must be a text (got {key!r:.80})")
    if known:
        check_spelling(value, known, f"{name}: ", others=False)
    return value


def number(value: object, name: str, least: float, most: float, unit: str = "seconds") -> float:
    """A number within bounds. Raises ConfigError."""
    # Compared before it is converted: an integer of any length is a JSON value.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise broken(name, f"a number of {unit} from {least:g} to {most:,.0f}", value)
    return float(value)


def whole(value: object, name: str, least: int, most: int, unit: str) -> int:
    """An integer within bounds. Raises ConfigError."""
    if type(value) is not int or not least <= value <= most:
        raise broken(name, f"a whole number{unit} from {least} to {most:,}", value)
    return value


def text(value: object, name: str, most: int, least: int = 1) -> str:
    """A text by its length in bytes. Raises ConfigError."""
    if not isinstance(value, str) or not is_unicode(value) or not least <= len(value.encode()) <= most:
        raise broken(name, f"a text of {least} to {most} bytes", value)
    return value


def broken(name: str, rule: str, value: object) -> ConfigError:
    """A value that breaks its rule."""
    return ConfigError(f"{name} must be {rule} (got {short(value)})")


def short(value: object) -> str:
    """A value as it stands in a message: of an object or list its size, of a long text the beginning."""
    if value is None:
        return "nothing"
    if isinstance(value, (Mapping, list)):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**60:
        return "a very long number"  # which Python would not even write
    return f"{value!r:.100}"
