"""When a newer version of the repository is looked for: update modes. Pure, but for the rules of time zones.

`zoneinfo` reads those from the system or from `tzdata`; the same answer for the same data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from zconnector.errors import ConfigError
from zconnector.versions.values import broken, mapping, number

MIN_INTERVAL, MAX_INTERVAL = 10, 366 * 86_400
_AT = re.compile(r"(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){1,2}", re.ASCII)
_ZONE = re.compile(r"(?=.{1,64}\Z)[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Mode(StrEnum):
    """Who says when: an operator, an interval, or a time of day."""

    MANUAL = "manual"
    AUTO = "auto"
    PLANNED = "planned"


@dataclass(frozen=True, slots=True)
class Update:
    """When the newest version of the repository takes the place of the newest that runs."""

    mode: Mode = Mode.MANUAL
    interval: float = 0.0
    """Seconds between two looks; of `auto`."""
    at: str = ""
    """HH:MM or HH:MM:SS by the clocks of `zone`; of `planned`."""
    zone: str = ""

    @classmethod
    def from_value(cls, value: object) -> Update:
        """An update mode from its JSON form. Raises ConfigError."""
        given = mapping(value, "update", ("mode", "interval", "at", "zone"))
        mode = given.get("mode")
        if not isinstance(mode, str) or mode not in {each.value for each in Mode}:
            raise broken("update.mode", "manual, auto or planned", mode)
        update = cls(Mode(mode), _interval(given), _at(given), _zone(given))
        if update.mode is Mode.AUTO and not update.interval:
            raise ConfigError(
                "update.interval must be given where update.mode is auto: seconds between two looks"
            )
        if update.mode is Mode.PLANNED and not (update.at and update.zone):
            raise ConfigError(
                "update.at and update.zone must be given where update.mode is planned: "
                'such as "03:30" and "Europe/Paris"'
            )
        return update


def next_due(update: Update, wall_ms: int) -> int | None:
    """When to look next, strictly after now (both milliseconds since 1970); None: never by itself.

    A planned time that the day does not have (clocks go forward) is so much later as they go; one that it
    has twice is the first.
    """
    match update.mode:
        case Mode.MANUAL:
            return None
        case Mode.AUTO:
            return wall_ms + int(update.interval * 1000)
        case Mode.PLANNED:
            return _next_at(time.fromisoformat(update.at), ZoneInfo(update.zone), wall_ms)


def _next_at(at: time, zone: ZoneInfo, wall_ms: int) -> int:
    today = (_EPOCH + timedelta(milliseconds=wall_ms)).astimezone(zone).date()
    days = 0
    while True:  # ends with tomorrow, or the day after where tomorrow is one that the zone left out
        # fold=0, the default: of two the first, and of none by the offset before the change.
        local = datetime.combine(today + timedelta(days=days), at, zone)
        due = (local.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
        if due > wall_ms:
            return due
        days += 1


def _interval(given: Mapping[str, Any]) -> float:
    value = given.get("interval")
    return 0.0 if value is None else number(value, "update.interval", MIN_INTERVAL, MAX_INTERVAL)


def _at(given: Mapping[str, Any]) -> str:
    value = given.get("at")
    if value is None:
        return ""
    if not isinstance(value, str) or not _AT.fullmatch(value):
        raise broken("update.at", "a time of day from 00:00 to 23:59:59, as HH:MM or HH:MM:SS", value)
    return value


def _zone(given: Mapping[str, Any]) -> str:
    value = given.get("zone")
    if value is None:
        return ""
    rule = "a time zone that this machine knows, such as Europe/Paris or UTC"
    if not isinstance(value, str) or not _ZONE.fullmatch(value):
        raise broken("update.zone", rule, value)
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # unknown; no file of a zone; a folder
        raise broken("update.zone", rule, value) from None
    return value
