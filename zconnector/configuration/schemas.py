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

import reprlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any
from urllib.parse import unquote

import orjson
import re2
from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import SchemaError

from zconnector.errors import ConfigError

MAX_STEPS = 1_000_000
"""Looks at a value while one payload is checked: about a second."""
_MAX_TEXT = 300
_LOOKS = 8
"""Names looked up in an object in one step."""
_TEXT_STEP = 1_024
"""Characters of a text that a pattern reads in one step."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class _Short(reprlib.Repr):
    """Values as they stand in a message: a part of them, and never sorted first."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxdict = 3, 4
        self.maxstring = self.maxother = self.maxlong = 120

    def repr_dict(self, x: Any, level: int) -> str:
        if level <= 0:
            return "{...}"
        shown = [
            f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}"
            for k, v in islice(x.items(), self.maxdict)
        ]
        return "{" + ", ".join(shown + ["..."] * (len(x) > self.maxdict)) + "}"


_SHORT = _Short()
_NO_FORMATS = FormatChecker(formats=())
"""The draft's own idea of a regular expression is Python's."""

JsonObject = dict[str, Any]


class _ExhaustedError(Exception):
    """The payload takes too many steps."""


class _Run:
    """One check of one payload: the steps that are left."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise _ExhaustedError


class _Failure:
    """The first thing wrong with a value, and where, innermost step first.

    Most are thrown away again (the other branches of an `anyOf`), so that the text is made last.
    """

    __slots__ = ("_text", "_values", "path")

    def __init__(self, text: str, *values: object) -> None:
        """`values` are quoted in the places `{}` of `text`."""
        self._text = text
        self._values = values
        self.path: list[str | int] = []

    @property
    def message(self) -> str:
        return self._text.format(*map(_quoted, self._values))

    def at(self, step: str | int) -> _Failure:
        self.path.append(step)
        return self


Check = Callable[[Any, _Run], _Failure | None]


class _Node:
    """One schema or part of one; made before its checks, so that references may go in circles."""

    __slots__ = ("checks",)

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = ()

    def check(self, value: Any, run: _Run) -> _Failure | None:
        run.spend(1)
        for check in self.checks:
            failure = check(value, run)
            if failure is not None:
                return failure
        return None


@dataclass(frozen=True, slots=True)
class Schema:
    """What a payload must look like. Equal when the source is."""

    source: Mapping[str, Any] | None
    """The schema itself; None: anything goes."""
    _root: _Node | None = field(default=None, compare=False, repr=False)

    def complaint(self, payload: bytes) -> str:
        """What is wrong with a payload, with the path to it, in one short line; "" when nothing is."""
        if self._root is None:
            return ""
        try:
            value = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            return f"payload is no JSON: {error}"[:_MAX_TEXT]
        try:
            found = self._root.check(value, _Run())
        except _ExhaustedError:
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
        plain = orjson.loads(orjson.dumps(source))
    except TypeError as error:  # YAML has dates and non-text keys, JSON has not
        raise ConfigError(f"{where}: must be plain JSON ({error})") from None
    try:
        root = _Compiler(plain, where).root()
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply") from None
    return Schema(plain, root)


class _Compiler:
    """Makes nodes of one schema. Every part that a reference leads to is held to the draft as well."""

    def __init__(self, plain: JsonObject, where: str) -> None:
        self._plain = plain
        self._where = where
        self._nodes: dict[int, _Node] = {}
        """By id of the part of `plain`, which lives as long as this."""

    def root(self) -> _Node:
        self._hold(self._plain)
        return self._node(self._plain)

    def _hold(self, part: object) -> None:
        try:
            Draft4Validator.check_schema(part, format_checker=_NO_FORMATS)  # type: ignore[arg-type]
        except SchemaError as error:
            line = _line(error.absolute_path, " ".join(error.message.split()))
            raise ConfigError(f"{self._where}: no draft-04 JSON Schema: {line}") from None

    def _node(self, part: JsonObject) -> _Node:
        known = self._nodes.get(id(part))
        if known is not None:
            return known
        node = self._nodes[id(part)] = _Node()
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

    def _reference(self, reference: object) -> _Node:
        found = _find(self._plain, reference) if isinstance(reference, str) else None
        if not isinstance(found, dict):
            raise ConfigError(
                f"{self._where}: $ref {_quoted(reference)} must lead to a place in this schema; "
                "nothing is fetched"
            )
        if id(found) not in self._nodes:
            self._hold(found)  # it may stand where the draft expects no schema
        return self._node(found)

    def _keyword(self, name: str, value: Any, schema: JsonObject) -> Check | None:
        make = _SIMPLE.get(name)
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
                return _all_of([self._node(part) for part in value])
            case "anyOf":
                return _any_of([self._node(part) for part in value])
            case "oneOf":
                return _one_of([self._node(part) for part in value])
            case "not":
                return _not(self._node(value))
        return None

    def _regex(self, pattern: str) -> Any:
        try:
            return re2.compile(pattern, _OPTIONS)
        except (re2.error, UnicodeEncodeError) as error:
            why = error.args[0]
            text = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(error)
            raise ConfigError(
                f"{self._where}: pattern {_quoted(pattern)} is no regular expression (RE2): {text[:80]}"
            ) from None

    def _matches(self, pattern: str) -> Check:
        search = self._regex(pattern).search

        def check(value: Any, run: _Run) -> _Failure | None:
            if type(value) is not str:
                return None
            run.spend(1 + len(value) // _TEXT_STEP)
            if search(value) is not None:
                return None
            return _Failure("{} does not match {}", value, pattern)

        return check

    def _items(self, items: Any, schema: JsonObject) -> Check:
        if isinstance(items, dict):
            return _each_item([], self._node(items))
        more = schema.get("additionalItems", {})
        rest = self._node(more) if isinstance(more, dict) else None
        return _each_item([self._node(item) for item in items], rest, closed=more is False)

    def _properties(self, schema: JsonObject) -> Check:
        named = {name: self._node(part) for name, part in schema.get("properties", {}).items()}
        patterns = [
            (self._regex(pattern).search, self._node(part))
            for pattern, part in schema.get("patternProperties", {}).items()
        ]
        more = schema.get("additionalProperties", {})
        rest = self._node(more) if isinstance(more, dict) and more else None
        return _each_property(named, patterns, rest, closed=more is False)

    def _dependencies(self, dependencies: JsonObject) -> Check:
        wanted = {
            name: self._node(needs) if isinstance(needs, dict) else needs
            for name, needs in dependencies.items()
        }

        def check(value: Any, run: _Run) -> _Failure | None:
            if type(value) is not dict:
                return None
            run.spend(len(wanted) // _LOOKS)
            for name, needs in wanted.items():
                if name not in value:
                    continue
                if isinstance(needs, _Node):
                    failure = needs.check(value, run)
                    if failure is not None:
                        return failure
                    continue
                run.spend(len(needs) // _LOOKS)
                for other in needs:
                    if other not in value:
                        return _Failure("{} is a dependency of {}", other, name)
            return None

        return check


_PROPERTIES = ("properties", "patternProperties", "additionalProperties")


def _each_item(first: list[_Node], rest: _Node | None, *, closed: bool = False) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        if type(value) is not list:
            return None
        for index, item in enumerate(value):
            node = first[index] if index < len(first) else rest
            if node is None:
                break
            failure = node.check(item, run)
            if failure is not None:
                return failure.at(index)
        if closed and len(value) > len(first):
            return _Failure("Additional items are not allowed ({} was unexpected)", value[len(first)])
        return None

    return check


def _each_property(
    named: dict[str, _Node],
    patterns: list[tuple[Callable[[str], Any], _Node]],
    rest: _Node | None,
    *,
    closed: bool,
) -> Check:
    looks_at_all = bool(patterns) or closed or rest is not None
    looks = len(named) // _LOOKS

    def check(value: Any, run: _Run) -> _Failure | None:
        if type(value) is not dict:
            return None
        run.spend(looks)
        for name, node in named.items():
            if name in value:
                failure = node.check(value[name], run)
                if failure is not None:
                    return failure.at(name)
        if not looks_at_all:
            return None
        for name, inner in value.items():
            run.spend(1 + len(patterns) * (1 + len(name) // _TEXT_STEP))
            matching = [node for search, node in patterns if search(name) is not None]
            for node in matching:
                failure = node.check(inner, run)
                if failure is not None:
                    return failure.at(name)
            if matching or name in named:
                continue
            if closed:
                return _Failure("Additional properties are not allowed ({} was unexpected)", name)
            failure = rest.check(inner, run) if rest is not None else None
            if failure is not None:
                return failure.at(name)
        return None

    return check


def _all_of(nodes: list[_Node]) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        return next((failure for node in nodes if (failure := node.check(value, run)) is not None), None)

    return check


def _any_of(nodes: list[_Node]) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        if any(node.check(value, run) is None for node in nodes):
            return None
        return _Failure("{} is not valid under any of the given schemas", value)

    return check


def _one_of(nodes: list[_Node]) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        valid = sum(1 for node in nodes if node.check(value, run) is None)
        if valid == 1:
            return None
        if not valid:
            return _Failure("{} is not valid under any of the given schemas", value)
        return _Failure("{} is valid under {} of the given schemas, must be one", value, valid)

    return check


def _not(node: _Node) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        if node.check(value, run) is not None:
            return None
        return _Failure("{} should not be valid under the given schema", value)

    return check


# ---- keywords that look at nothing but the value

_TYPES: dict[str, Callable[[Any], bool]] = {
    "array": lambda v: type(v) is list,
    "boolean": lambda v: type(v) is bool,
    "integer": lambda v: type(v) is int,
    "null": lambda v: v is None,
    "number": lambda v: type(v) in (int, float),
    "object": lambda v: type(v) is dict,
    "string": lambda v: type(v) is str,
}


def _type(types: str | list[str], _: JsonObject) -> Check:
    names = [types] if isinstance(types, str) else types
    tests = [_TYPES[name] for name in names]
    said = "{} is not of type " + ", ".join(map(repr, names))

    def check(value: Any, run: _Run) -> _Failure | None:
        if any(test(value) for test in tests):
            return None
        return _Failure(said, value)

    return check


def _enum(values: list[Any], _: JsonObject) -> Check:
    kept = {_frozen(value, None) for value in values}

    def check(value: Any, run: _Run) -> _Failure | None:
        return None if _frozen(value, run) in kept else _Failure("{} is not one of {}", value, values)

    return check


def _unique(wanted: bool, _: JsonObject) -> Check | None:
    def check(value: Any, run: _Run) -> _Failure | None:
        if type(value) is list and len({_frozen(item, run) for item in value}) < len(value):
            return _Failure("{} has non-unique elements", value)
        return None

    return check if wanted else None


def _required(names: list[str], _: JsonObject) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        if type(value) is dict:
            run.spend(len(names) // _LOOKS)
            for name in names:
                if name not in value:
                    return _Failure("{} is a required property", name)
        return None

    return check


def _size(of: type[Any], fits: Callable[[int, int], bool], said: str) -> Callable[[Any, JsonObject], Check]:
    def make(limit: int, _: JsonObject) -> Check:
        def check(value: Any, run: _Run) -> _Failure | None:
            if type(value) is not of or fits(len(value), limit):
                return None
            return _Failure("{} " + said, value)

        return check

    return make


def _bound(exclusive: str, *, least: bool) -> Callable[[Any, JsonObject], Check]:
    def make(limit: float, schema: JsonObject) -> Check:
        strict = bool(schema.get(exclusive, False))
        side = "less than the minimum" if least else "greater than the maximum"
        said = f"{{}} is {side}{' (exclusive)' if strict else ''} of {{}}"

        def check(value: Any, run: _Run) -> _Failure | None:
            if type(value) not in (int, float):
                return None
            beyond = value < limit if least else value > limit
            if beyond or (strict and value == limit):
                return _Failure(said, value, limit)
            return None

        return check

    return make


def _multiple_of(unit: float, _: JsonObject) -> Check:
    def check(value: Any, run: _Run) -> _Failure | None:
        if type(value) not in (int, float) or _is_multiple(value, unit):
            return None
        return _Failure("{} is not a multiple of {}", value, unit)

    return check


def _is_multiple(value: float, unit: float) -> bool:
    if type(unit) is int:
        return not value % unit
    quotient = value / unit
    try:
        return int(quotient) == quotient
    except OverflowError:  # the quotient is beyond any float
        return (Fraction(value) / Fraction(unit)).denominator == 1


_SIMPLE: dict[str, Callable[[Any, JsonObject], Check | None]] = {
    "type": _type,
    "enum": _enum,
    "required": _required,
    "uniqueItems": _unique,
    "multipleOf": _multiple_of,
    "minimum": _bound("exclusiveMinimum", least=True),
    "maximum": _bound("exclusiveMaximum", least=False),
    "minLength": _size(str, lambda n, limit: n >= limit, "is too short"),
    "maxLength": _size(str, lambda n, limit: n <= limit, "is too long"),
    "minItems": _size(list, lambda n, limit: n >= limit, "is too short"),
    "maxItems": _size(list, lambda n, limit: n <= limit, "is too long"),
    "minProperties": _size(dict, lambda n, limit: n >= limit, "does not have enough properties"),
    "maxProperties": _size(dict, lambda n, limit: n <= limit, "has too many properties"),
}


def _frozen(value: Any, run: _Run | None) -> Any:
    """A JSON value as what can be hashed; equal just when the values are (1 is 1.0, but not true)."""
    if run is not None:
        run.spend(1)
    if type(value) is list:
        return tuple(_frozen(item, run) for item in value)
    if type(value) is dict:
        return frozenset((name, _frozen(item, run)) for name, item in value.items())
    return ("bool", value) if type(value) is bool else value


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


def _quoted(value: object) -> str:
    return _SHORT.repr(value)


def _line(path: Iterator[str | int] | Any, message: str) -> str:
    place = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{place}: {' '.join(message.split())}"[:_MAX_TEXT]
