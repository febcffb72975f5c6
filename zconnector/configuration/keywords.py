"""The keywords of draft-04 JSON Schema, each as a check of a value that takes a bounded number of steps.

A check returns the first thing wrong, and makes no text before somebody asks for it. That, and the steps, are
why these are ours: jsonschema quotes the whole value in each error, also in those that other branches of an
`anyOf` throw away, and cannot be stopped half way. `tests/fuzz/test_documents.py` holds every verdict to
jsonschema's.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from typing import Any

MAX_STEPS = 1_000_000
"""Looks at a value while one payload is checked: about a second."""
LOOKS = 8
"""Names looked up in an object in one step."""
TEXT_STEP = 1_024
"""Characters of a text that a pattern reads in one step."""


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

JsonObject = dict[str, Any]


class ExhaustedError(Exception):
    """The payload takes too many steps."""


class Run:
    """One check of one payload: the steps that are left."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise ExhaustedError


class Failure:
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
        return self._text.format(*map(quoted, self._values))

    def at(self, step: str | int) -> Failure:
        self.path.append(step)
        return self


Check = Callable[[Any, Run], Failure | None]


class Node:
    """One schema or part of one; made before its checks, so that references may go in circles."""

    __slots__ = ("checks",)

    def __init__(self) -> None:
        self.checks: tuple[Check, ...] = ()

    def check(self, value: Any, run: Run) -> Failure | None:
        run.spend(1)
        for check in self.checks:
            failure = check(value, run)
            if failure is not None:
                return failure
        return None


def each_item(first: list[Node], rest: Node | None, *, closed: bool = False) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
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
            return Failure("Additional items are not allowed ({} was unexpected)", value[len(first)])
        return None

    return check


def each_property(
    named: dict[str, Node],
    patterns: list[tuple[Callable[[str], Any], Node]],
    rest: Node | None,
    *,
    closed: bool,
) -> Check:
    looks_at_all = bool(patterns) or closed or rest is not None
    looks = len(named) // LOOKS

    def check(value: Any, run: Run) -> Failure | None:
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
            run.spend(1 + len(patterns) * (1 + len(name) // TEXT_STEP))
            matching = [node for search, node in patterns if search(name) is not None]
            for node in matching:
                failure = node.check(inner, run)
                if failure is not None:
                    return failure.at(name)
            if matching or name in named:
                continue
            if closed:
                return Failure("Additional properties are not allowed ({} was unexpected)", name)
            failure = rest.check(inner, run) if rest is not None else None
            if failure is not None:
                return failure.at(name)
        return None

    return check


def all_of(nodes: list[Node]) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        return next((failure for node in nodes if (failure := node.check(value, run)) is not None), None)

    return check


def any_of(nodes: list[Node]) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        if any(node.check(value, run) is None for node in nodes):
            return None
        return Failure("{} is not valid under any of the given schemas", value)

    return check


def one_of(nodes: list[Node]) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        valid = sum(1 for node in nodes if node.check(value, run) is None)
        if valid == 1:
            return None
        if not valid:
            return Failure("{} is not valid under any of the given schemas", value)
        return Failure("{} is valid under {} of the given schemas, must be one", value, valid)

    return check


def none_of(node: Node) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        if node.check(value, run) is not None:
            return None
        return Failure("{} should not be valid under the given schema", value)

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

    def check(value: Any, run: Run) -> Failure | None:
        if any(test(value) for test in tests):
            return None
        return Failure(said, value)

    return check


def _enum(values: list[Any], _: JsonObject) -> Check:
    kept = {_frozen(value, None) for value in values}

    def check(value: Any, run: Run) -> Failure | None:
        return None if _frozen(value, run) in kept else Failure("{} is not one of {}", value, values)

    return check


def _unique(wanted: bool, _: JsonObject) -> Check | None:
    def check(value: Any, run: Run) -> Failure | None:
        if type(value) is list and len({_frozen(item, run) for item in value}) < len(value):
            return Failure("{} has non-unique elements", value)
        return None

    return check if wanted else None


def _required(names: list[str], _: JsonObject) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        if type(value) is dict:
            run.spend(len(names) // LOOKS)
            for name in names:
                if name not in value:
                    return Failure("{} is a required property", name)
        return None

    return check


def _size(of: type[Any], fits: Callable[[int, int], bool], said: str) -> Callable[[Any, JsonObject], Check]:
    def make(limit: int, _: JsonObject) -> Check:
        def check(value: Any, run: Run) -> Failure | None:
            if type(value) is not of or fits(len(value), limit):
                return None
            return Failure("{} " + said, value)

        return check

    return make


def _bound(exclusive: str, *, least: bool) -> Callable[[Any, JsonObject], Check]:
    def make(limit: float, schema: JsonObject) -> Check:
        strict = bool(schema.get(exclusive, False))
        side = "less than the minimum" if least else "greater than the maximum"
        said = f"{{}} is {side}{' (exclusive)' if strict else ''} of {{}}"

        def check(value: Any, run: Run) -> Failure | None:
            if type(value) not in (int, float):
                return None
            beyond = value < limit if least else value > limit
            if beyond or (strict and value == limit):
                return Failure(said, value, limit)
            return None

        return check

    return make


def _multiple_of(unit: float, _: JsonObject) -> Check:
    def check(value: Any, run: Run) -> Failure | None:
        if type(value) not in (int, float) or _is_multiple(value, unit):
            return None
        return Failure("{} is not a multiple of {}", value, unit)

    return check


def _is_multiple(value: float, unit: float) -> bool:
    if type(unit) is int:
        return not value % unit
    quotient = value / unit
    try:
        return int(quotient) == quotient
    except OverflowError:  # the quotient is beyond any float
        return (Fraction(value) / Fraction(unit)).denominator == 1


SIMPLE: dict[str, Callable[[Any, JsonObject], Check | None]] = {
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


def _frozen(value: Any, run: Run | None) -> Any:
    """A JSON value as what can be hashed; equal just when the values are (1 is 1.0, but not true)."""
    if run is not None:
        run.spend(1)
    if type(value) is list:
        return tuple(_frozen(item, run) for item in value)
    if type(value) is dict:
        return frozenset((name, _frozen(item, run)) for name, item in value.items())
    return ("bool", value) if type(value) is bool else value


def quoted(value: object) -> str:
    return _SHORT.repr(value)
