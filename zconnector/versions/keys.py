"""The keys of one version of a worker: which it has, their values, and what must not be seen of them. Pure.

Declared by the pivot and the product connector, the latter over the former. No error tells a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from zconnector.configuration.pivot import Key, Pivot, ProductConnector
from zconnector.errors import ConfigError
from zconnector.supervision.masking import Mask

LEAST_SECRET = 4
"""Characters of a text, digits of a number, from which it is masked: a shorter one would mask what it is only
a part of, and every count."""
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,40})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_WORDS = {"true": True, "false": False}


def resolve(pivot: Pivot | None, product: ProductConnector | None, values: Mapping[str, Any]) -> bytes:
    """What the worker reads on stdin: one JSON object, names sorted, and a newline.

    Each declared key has its value of `values`, else its default; null is no value, an empty text no default
    (Gandalf's files write it where there is none). A key without either is absent.

    Raises:
        ConfigError: naming all mandatory keys that are missing and all of a wrong type.
    """
    found: dict[str, Any] = {}
    missing: list[str] = []
    wrong: list[str] = []
    for name, key in sorted(_declared(pivot, product).items()):
        given = values.get(name)
        value = given if given is not None else _default(key)
        if value is None:
            missing += [name] if key.mandatory else []
            continue
        word, read = _TYPES.get(key.type.lower(), ("", _anything))
        taken = read(value)
        if taken is None:
            what = "its value" if given is not None else "its default"
            wrong.append(f"{name} must be {word}, {what} is {_kind(value)}")
        else:
            found[name] = taken
    complaints = [f"mandatory, without value or default: {', '.join(missing)}"] if missing else []
    complaints += wrong
    if complaints:
        raise ConfigError(f"keys of {_whose(pivot, product)}: {'; '.join(complaints)}")
    return orjson.dumps(found, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def unknown(
    pivot: Pivot | None, product: ProductConnector | None, values: Mapping[str, Any]
) -> tuple[str, ...]:
    """Names of `values` that are not declared, so that no worker gets them; sorted."""
    declared = _declared(pivot, product)
    return tuple(sorted(name for name in values if name not in declared))


def masked(values: Mapping[str, Any]) -> Mask:
    """What must be masked in the output of a worker that has these values, also inside of lists and objects.

    Every text of at least LEAST_SECRET characters: as it is, each of its lines (output is read by the line),
    and as JSON spells it (a worker may log what it read). Every number of at least so many digits, as it is
    usually written; of a text that is one, that number as well (`resolve` makes it one). true, false, null
    and names are not masked.
    """
    texts: set[str] = set()
    numbers: set[str] = set()
    for leaf in _leaves(values):
        if isinstance(leaf, str):
            texts |= _spelled(leaf)
        number = _number(leaf) if isinstance(leaf, str) else leaf
        if number is not None:
            numbers |= _written(number)
    return Mask(tuple(texts), tuple(numbers))


def _spelled(text: str) -> set[str]:
    found: set[str] = set()
    lines = [line.rstrip("\r") for line in text.split("\n")]
    for part in (text, *(line for line in lines if len(line.strip()) >= LEAST_SECRET)):
        if len(part) >= LEAST_SECRET and not part.isspace():
            found.update((part, json.dumps(part)[1:-1], json.dumps(part, ensure_ascii=False)[1:-1]))
    return found


def _written(number: int | float) -> set[str]:
    """How JSON and most programs write it, without its sign; nothing where that are too few digits."""
    forms = {str(number)} if isinstance(number, int) else {repr(number), repr(number).replace("e+", "e")}
    if isinstance(number, float) and number.is_integer() and abs(number) < 1e15:
        forms.add(str(int(number)))
    digits = min(len(_digits(form)) for form in forms)
    return {form.lstrip("-") for form in forms} if digits >= LEAST_SECRET else set()


def _digits(form: str) -> str:
    """Those that are not for its size alone."""
    return form.lstrip("-").partition("e")[0].replace(".", "").lstrip("0")


def _declared(pivot: Pivot | None, product: ProductConnector | None) -> dict[str, Key]:
    return {key.name: key for source in (pivot, product) if source is not None for key in source.keys}


def _default(key: Key) -> Any:
    return None if key.default == "" else key.default


def _whose(pivot: Pivot | None, product: ProductConnector | None) -> str:
    source = product or pivot
    return f"{source.name} {source.version}" if source is not None else "nothing"  # which has none


def _leaves(value: object) -> Iterator[str | int | float]:
    """Texts and numbers. No recursion: a value may be as deep as it likes."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str) or type(one) is float or (type(one) is int and -(2**63) <= one < 2**64):
            yield one
        elif isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list):
            left += one


# ---- types: each reader gives the value as the type has it, None where it is of another


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value)
    # orjson writes no other, and who reads it may have no other.
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _number(value: object) -> int | float | None:
    whole = _whole(value)
    if whole is not None:
        return whole
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    return value if isinstance(value, float) and math.isfinite(value) else None


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return _WORDS.get(value)
    return value if isinstance(value, bool) else None


def _list(value: object) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _object(value: object) -> Mapping[str, Any] | None:
    return value if isinstance(value, Mapping) else None


def _anything(value: object) -> object:
    return value


_TYPES: dict[str, tuple[str, Callable[[object], object]]] = {
    "string": ("a text", _text),
    "integer": ("a whole number", _whole),
    "int": ("a whole number", _whole),
    "number": ("a number", _number),
    "float": ("a number", _number),
    "boolean": ("true or false", _flag),
    "bool": ("true or false", _flag),
    "list": ("a list", _list),
    "array": ("a list", _list),
    "object": ("an object", _object),
    "map": ("an object", _object),
}


def _kind(value: object) -> str:
    """What a value is, without telling it."""
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"
