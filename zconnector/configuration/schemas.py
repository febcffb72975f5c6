"""Draft-04 JSON Schemas of payloads: compiled once, applied to bytes.

A schema comes from an operator, a payload from whoever may send a command, and the check runs on the loop
of a connector that others wait for. So nothing here may raise on a payload, fetch anything, or take
longer than `MAX_STEPS` allow:

| what could go on for ever | what is done |
|---|---|
| a `pattern` that backtracks | patterns are RE2's: linear time, no look-around, no backreferences |
| `$ref` that fans out, recursive `anyOf` | each look at a value is a step |
| `uniqueItems`, `enum` on large values | by hash; each part is a step |
| errors of every item of a large array | the first one ends the check |
| a message that quotes the payload | values are quoted shortened |

References lead to a place inside the schema, counted from its root, or the schema is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson
import re2

from zconnector.configuration.keywords import (
    LOOKS,
    MAX_STEPS,
    SIMPLE,
    TEXT_STEP,
    Check,
    ExhaustedError,
    Failure,
    JsonObject,
    Node,
    Run,
    all_of,
    any_of,
    each_item,
    each_property,
    none_of,
    one_of,
    quoted,
)
from zconnector.errors import ConfigError

_MAX_TEXT = 300
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


@dataclass(frozen=True, slots=True)
class Schema:
    """What a payload must look like. Equal when the source is."""

    source: Mapping[str, Any] | None
    """The schema itself; None: anything goes."""
    _root: Node | None = field(default=None, compare=False, repr=False)

    def complaint(self, payload: bytes) -> str:
        """What is wrong with a payload, with the path to it, in one short line; "" when nothing is."""
        if self._root is None:
            return ""
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return f"payload is no JSON: {error}"[:_MAX_TEXT]
        try:
            found = self._root.check(value, Run())
        except ExhaustedError:
            return f"payload takes more than {MAX_STEPS} steps to check against its schema"
        except RecursionError:
            return "payload or schema is nested too deeply"
        return "" if found is None else _line(reversed(found.path), found.message)


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
        text = orjson.dumps(source)
    except TypeError as error:  # YAML has dates and non-text keys, JSON has not
        raise ConfigError(f"{where}: must be plain JSON ({error})") from None
    try:
        return _compiled_before(text) if len(text) <= _SHORT else _compiled(text)
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _compiled(text: bytes) -> Schema:
    """Raises ConfigError, RecursionError."""
    plain = orjson.loads(text)
    return Schema(plain, _Compiler(plain).root())


_SHORT = 4_096
_compiled_before = lru_cache(512)(_compiled)
"""A connector reads its pivots with each session anew, and they are mostly those that it has: to hold a
schema to the draft takes a millisecond. Nobody changes a Schema, so all may share it."""


class _Compiler:
    """Makes nodes of one schema. Every part that a reference leads to is held to the draft as well."""

    def __init__(self, plain: JsonObject) -> None:
        self._plain = plain
        self._nodes: dict[int, Node] = {}
        """By id of the part of `plain`, which lives as long as this."""

    def root(self) -> Node:
        self._hold(self._plain)
        return self._node(self._plain)

    def _hold(self, part: object) -> None:
        # An eighth of what a connector imports, and most types have no schema.
        from jsonschema import Draft4Validator, FormatChecker
        from jsonschema.exceptions import SchemaError

        no_formats = FormatChecker(formats=())  # the draft's own idea of a regular expression is Python's
        try:
            # Its stubs ask for a mapping; that a part is none is one of the things it finds out.
            Draft4Validator.check_schema(part, format_checker=no_formats)  # type: ignore[arg-type]
        except SchemaError as error:
            line = _line(error.absolute_path, " ".join(error.message.split()))
            raise ConfigError(f"no draft-04 JSON Schema: {line}") from None

    def _node(self, part: JsonObject) -> Node:
        known = self._nodes.get(id(part))
        if known is not None:
            return known
        node = self._nodes[id(part)] = Node()
        for name in ("properties", "patternProperties", "definitions", "dependencies"):
            for inner in part.get(name, {}).values():
                if isinstance(inner, dict):
                    self._node(inner)
        reference = part.get("$ref")
        if reference is not None:
            node.checks = (self._reference(reference).check,)
            return node
        checks = (self._keyword(name, value, part) for name, value in part.items())
        node.checks = tuple(check for check in checks if check is not None)
        return node

    def _reference(self, reference: object) -> Node:
        found = _find(self._plain, reference) if isinstance(reference, str) else None
        if not isinstance(found, dict):
            raise ConfigError(
                f"$ref {quoted(reference)} must lead to a place in this schema; nothing is fetched"
            )
        if id(found) not in self._nodes:
            self._hold(found)  # it may stand where the draft expects no schema
        return self._node(found)

    def _keyword(self, name: str, value: Any, schema: JsonObject) -> Check | None:
        make = SIMPLE.get(name)
        if make is not None:
            return make(value, schema)
        match name:
            case "pattern":
                return self._matches(value)
            case "items":
                return self._items(value, schema)
            case "properties" | "patternProperties" | "additionalProperties":
                # One check for the three of them, where the first of them stands.
                first = next(n for n in schema if n in _PROPERTIES)
                return self._properties(schema) if name == first else None
            case "dependencies":
                return self._dependencies(value)
            case "allOf":
                return all_of([self._node(part) for part in value])
            case "anyOf":
                return any_of([self._node(part) for part in value])
            case "oneOf":
                return one_of([self._node(part) for part in value])
            case "not":
                return none_of(self._node(value))
        return None

    def _regex(self, pattern: str) -> Any:
        try:
            return re2.compile(pattern, _OPTIONS)
        except (re2.error, UnicodeEncodeError) as error:
            why = error.args[0]
            text = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(error)
            raise ConfigError(
                f"pattern {quoted(pattern)} is no regular expression (RE2): {text[:80]}"
            ) from None

    def _matches(self, pattern: str) -> Check:
        search = self._regex(pattern).search

        def check(value: Any, run: Run) -> Failure | None:
            if type(value) is not str:
                return None
            run.spend(1 + len(value) // TEXT_STEP)
            if search(value) is not None:
                return None
            return Failure("{} does not match {}", value, pattern)

        return check

    def _items(self, items: Any, schema: JsonObject) -> Check:
        if isinstance(items, dict):
            return each_item([], self._node(items))
        more = schema.get("additionalItems", {})
        rest = self._node(more) if isinstance(more, dict) else None
        return each_item([self._node(item) for item in items], rest, closed=more is False)

    def _properties(self, schema: JsonObject) -> Check:
        named = {name: self._node(part) for name, part in schema.get("properties", {}).items()}
        patterns = [
            (self._regex(pattern).search, self._node(part))
            for pattern, part in schema.get("patternProperties", {}).items()
        ]
        more = schema.get("additionalProperties", {})
        rest = self._node(more) if isinstance(more, dict) and more else None
        return each_property(named, patterns, rest, closed=more is False)

    def _dependencies(self, dependencies: JsonObject) -> Check:
        wanted = {
            name: self._node(needs) if isinstance(needs, dict) else needs
            for name, needs in dependencies.items()
        }

        def check(value: Any, run: Run) -> Failure | None:
            if type(value) is not dict:
                return None
            run.spend(len(wanted) // LOOKS)
            for name, needs in wanted.items():
                if name not in value:
                    continue
                if isinstance(needs, Node):
                    failure = needs.check(value, run)
                    if failure is not None:
                        return failure
                    continue
                run.spend(len(needs) // LOOKS)
                for other in needs:
                    if other not in value:
                        return Failure("{} is a dependency of {}", other, name)
            return None

        return check


_PROPERTIES = ("properties", "patternProperties", "additionalProperties")


def _find(schema: JsonObject, reference: str) -> object:
    """What a reference leads to; None: nothing."""
    if not (reference == "#" or reference.startswith("#/")):
        return None
    place: Any = schema
    for step in reference[2:].split("/") if len(reference) > 1 else ():
        step = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(place, dict) and step in place:
            place = place[step]
        elif isinstance(place, list) and step.isascii() and step.isdigit() and len(step) < 8:
            index = int(step)
            if index >= len(place):
                return None
            place = place[index]
        else:
            return None
    return place


def _line(path: Iterable[str | int], message: str) -> str:
    place = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{place}: {' '.join(message.split())}"[:_MAX_TEXT]
