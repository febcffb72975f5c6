"""Draft-04 JSON Schemas of payloads: compiled once, applied to bytes.

A schema never makes this process fetch anything: references lead inside the schema or are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import orjson
from jsonschema import Draft4Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from zconnector.errors import ConfigError

_MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Schema:
    """What a payload must look like. Equal when the source is."""

    source: Mapping[str, Any] | None
    """The schema itself; None: anything goes."""
    _validator: Draft4Validator | None = field(default=None, compare=False, repr=False)

    def complaint(self, payload: bytes) -> str:
        """What is wrong with a payload, with the path to it, in one short line; "" when nothing is."""
        if self._validator is None:
            return ""
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return f"payload is no JSON: {error}"[:_MAX_TEXT]
        try:
            found = next(self._validator.iter_errors(value), None)
        except Unresolvable as unresolved:
            return f"the schema has a reference that leads nowhere: {unresolved}"[:_MAX_TEXT]
        except RecursionError:
            return "payload or schema is nested too deeply"
        return "" if found is None else _line(found)


ANYTHING = Schema(None)


def compile_schema(source: object, where: str) -> Schema:
    """A schema from a mapping or from JSON text; None, "" and {} allow anything.

    Raises:
        ConfigError: no draft-04 schema, or one with references out of itself; says where.
    """
    if isinstance(source, str):
        if not source.strip():
            return ANYTHING
        try:
            source = orjson.loads(source)
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{where}: no valid JSON: {error}") from None
    if source is None or source == {}:
        return ANYTHING
    if not isinstance(source, Mapping):
        raise ConfigError(f"{where}: must be a JSON Schema (an object), not {type(source).__name__}")
    try:
        plain = orjson.loads(orjson.dumps(source))
    except TypeError as error:  # YAML has dates and non-text keys, JSON has not
        raise ConfigError(f"{where}: must be plain JSON ({error})") from None
    try:
        Draft4Validator.check_schema(plain)
    except SchemaError as error:
        raise ConfigError(f"{where}: no draft-04 JSON Schema: {_line(error)}") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    _check_references(plain, where)
    return Schema(plain, Draft4Validator(plain, registry=Registry()))


def _check_references(schema: Mapping[str, Any], where: str) -> None:
    for part in _parts(schema):
        reference = part.get("$ref")
        if isinstance(reference, str) and not _resolves(schema, reference):
            raise ConfigError(
                f"{where}: $ref {reference!r} must lead to a place in this schema; nothing is fetched"
            )
        patterns = part.get("patternProperties")
        for pattern in patterns if isinstance(patterns, dict) else ():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ConfigError(f"{where}: pattern {pattern!r} is no regular expression: {error}") from None


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    """Every object in a schema, but for literal values, in which `$ref` means nothing."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(value for name, value in part.items() if name not in ("enum", "default"))
        elif isinstance(part, list):
            waiting.extend(part)


def _resolves(schema: Mapping[str, Any], reference: str) -> bool:
    if not (reference == "#" or reference.startswith("#/")):
        return False
    place: Any = schema
    for step in reference[2:].split("/") if len(reference) > 1 else ():
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict) and step in place:
            place = place[step]
        elif isinstance(place, list) and step.isdigit() and int(step) < len(place):
            place = place[int(step)]
        else:
            return False
    return True


def _line(error: ValidationError | SchemaError) -> str:
    path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    return f"{path}: {' '.join(error.message.split())}"[:_MAX_TEXT]
