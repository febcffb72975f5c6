"""Logs: one structured line an event, on stderr, with nothing secret in it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import orjson
import structlog

from zconnector.errors import ConfigError
from zconnector.loglines import Lines

MASK = "***"
_SECRET = ("secret", "token", "enrolment", "password")
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "console")


def configure(level: str, format: str) -> None:
    """Send structlog and the standard library's logging to stderr.

    Raises:
        ConfigError: no such level or format.
    """
    if level not in LEVELS:
        raise ConfigError(f"log level {level!r} must be one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ConfigError(f"log format {format!r} must be one of {', '.join(FORMATS)}")
    number: int = getattr(logging, level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask,
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_factory(Lines(sys.stderr)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def _factory(lines: Lines) -> Callable[..., Lines]:
    return lambda *_: lines


def mask(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide the value of every key, at any depth, whose name says that it is secret."""
    return _masked(event)


def _masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: MASK if value and _is_secret(name) else _masked_value(value) for name, value in fields.items()
    }


def _masked_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _masked(value)
    if isinstance(value, list | tuple):
        return [_masked_value(each) for each in value]
    return value


def _is_secret(name: Any) -> bool:
    lowered = str(name).lower()
    return any(part in lowered for part in _SECRET)


def _dumps(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
