"""The logical configuration of a connector: its settings as the cluster keeps them.

Two layers, so that neither undoes the other: what the connector saves about itself at each start,
and above it what an operator has set. The version grows whenever what is in force changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from zconnector.errors import ConfigError
from zconnector.messages.depth import MAX_DEPTH, is_deeper

MAX_CONFIGURATION = 1 << 20
"""Bytes of one layer as JSON."""
_SORTED = orjson.OPT_SORT_KEYS


@dataclass(frozen=True, slots=True)
class LogicalConfiguration:
    """The configuration in force. Version 0: nothing was ever saved."""

    version: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The payload of a CONFIGURATION answer (WIRE.md section 9)."""
        return {"version": self.version, "values": dict(self.values)}

    @classmethod
    def from_dict(cls, document: object) -> LogicalConfiguration:
        """The configuration from the payload of a CONFIGURATION answer. Raises ConfigError."""
        if not isinstance(document, Mapping):
            raise ConfigError(f"configuration must be a JSON object, not {type(document).__name__}")
        version, values = document.get("version"), document.get("values")
        if type(version) is not int or version < 0:
            raise ConfigError(f"configuration version must be an integer from 0 (got {version!r:.60})")
        if not isinstance(values, Mapping):
            raise ConfigError(f"configuration values must be a JSON object, not {type(values).__name__}")
        return cls(version, dict(values))


@dataclass(frozen=True, slots=True)
class Layers:
    """What the cluster keeps of one connector's configuration."""

    version: int = 0
    saved: Mapping[str, Any] = field(default_factory=dict)
    """By the connector itself."""
    operator: Mapping[str, Any] = field(default_factory=dict)
    """By an operator; wins."""

    @property
    def in_force(self) -> LogicalConfiguration:
        return LogicalConfiguration(self.version, {**self.saved, **self.operator})

    def with_layer(self, values: Mapping[str, Any], *, operator: bool) -> Layers:
        """The layers with one of them replaced; a new version only when it makes a difference."""
        saved = self.saved if operator else dict(values)
        above = dict(values) if operator else self.operator
        changed = self.version == 0 or not same_values({**saved, **above}, self.in_force.values)
        return Layers(self.version + 1 if changed else self.version, saved, above)


def read_values(payload: bytes) -> dict[str, Any]:
    """The values of one layer from JSON.

    Raises:
        ConfigError: too long, no JSON, or no object.
    """
    if len(payload) > MAX_CONFIGURATION:
        raise ConfigError(f"configuration of {len(payload)} bytes, must be at most {MAX_CONFIGURATION}")
    try:
        values = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"configuration is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"configuration must be a JSON object, not {type(values).__name__}")
    check_values(values)
    return values


def same_values(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two objects are the same JSON; for Python `true` is 1."""
    if one != other:
        return False
    return orjson.dumps(dict(one), option=_SORTED) == orjson.dumps(dict(other), option=_SORTED)


def check_values(values: Mapping[str, Any]) -> None:
    """Whether a layer can be stored and sent.

    Raises:
        ConfigError: nested too deeply, or too long.
    """
    if is_deeper(values, MAX_DEPTH):
        raise ConfigError(f"configuration is nested deeper than {MAX_DEPTH} levels")
    size = len(orjson.dumps(values))
    if size > MAX_CONFIGURATION:
        raise ConfigError(f"configuration of {size} bytes, must be at most {MAX_CONFIGURATION}")
