"""Changes to what an operator has set of a logical configuration: names, and values inside of objects. Pure.

`NAME` is a name of the configuration, `NAME.KEY` one inside of a name whose value is an object (OBJECTS).
What is set stands in the operator's layer as a whole: an object begins with what is in force of it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zconnector.configuration.logical import Layers, check_values
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.versions.values import text
from zconnector.versions.wanted import Wanted

OBJECTS = ("shares", "pins", "keys", "update", "gate", "worker")
MAX_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be set (in this order) and then unset."""

    set: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unset: tuple[str, ...] = ()

    @classmethod
    def from_args(cls, args: Mapping[str, Any]) -> Changes:
        """From `{"set": {NAME: VALUE}, "unset": [NAME]}`. Raises ConfigError."""
        values, names = args.get("set", {}), args.get("unset", [])
        if not isinstance(values, Mapping):
            raise ConfigError(f"set must be an object of names and values, not a {type(values).__name__}")
        if not isinstance(names, list):
            raise ConfigError(f"unset must be a list of names, not {names!r:.60}")
        if not 0 < len(values) + len(names) <= MAX_CHANGES:
            raise ConfigError(f"from 1 to {MAX_CHANGES} names can be changed at once")
        for name in (*values, *names):
            text(name, "a name", 512)
        return cls(values, tuple(names))

    def apply(self, layers: Layers) -> dict[str, Any]:
        """The operator's layer as it is afterwards.

        Raises:
            ConfigError: what is in force then would break a rule, or NAME has nothing inside of it.
            Refusal: NOT_FOUND, what is to be unset was not set by an operator.
        """
        above = dict(layers.operator)
        for name, value in self.set.items():
            whole, key = _parts(name)
            if key is None:
                above[whole] = value
            else:
                above[whole] = {**_object(whole, above.get(whole, layers.saved.get(whole))), key: value}
        for name in self.unset:
            _unset(above, name)
        check_layer(layers, above)
        return above


def check_layer(layers: Layers, above: Mapping[str, Any]) -> None:
    """Whether this may be the operator's layer, over what the connector has saved. Raises ConfigError."""
    check_values(above)
    Wanted.from_values({**layers.saved, **above})


def _parts(name: str) -> tuple[str, str | None]:
    """NAME and, where there is one, KEY. Raises ConfigError."""
    whole, dot, key = name.partition(".")
    if not dot:
        return name, None
    if whole not in OBJECTS:
        meant = difflib.get_close_matches(whole[:80].lower(), OBJECTS, n=1, cutoff=0.7)
        hint = f", did you mean {f'{meant[0]}.{key}'!r:.120}?" if meant else ""
        raise ConfigError(f"{name!r:.120}: only {', '.join(OBJECTS)} have names inside of them{hint}")
    if not key:
        raise ConfigError(f"{name!r:.120} must be NAME or NAME.KEY")
    return whole, key


def _object(name: str, value: object) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is a {type(value).__name__}, not an object: set it as a whole")
    return value


def _unset(above: dict[str, Any], name: str) -> None:
    whole, key = (name, None) if name in above else _parts(name)
    inside = _object(whole, above.get(whole)) if key is not None else {}
    if (key is None and whole not in above) or (key is not None and key not in inside):
        there = ", ".join([*above, *(f"{whole}.{each}" for each in inside)]) or "nothing"
        raise Refusal(Reason.NOT_FOUND, f"{name!r:.120} was not set by an operator (set: {there:.400})")
    left = {each: value for each, value in inside.items() if each != key}
    if left:
        above[whole] = left
    else:
        del above[whole]
