"""Typed payloads: what a handler's annotation asks for, made of the bytes that came.

| annotation of `payload` | the handler gets |
|---|---|
| none, `str`, `object`, `Any` | the text |
| `bytes` | the bytes |
| `dict`, `list`, `int`, `float`, `bool`, `dict[str, Any]`, ... | the JSON value, which must be one |
| a dataclass | one made of the JSON object's members |
| a `msgspec.Struct` | decoded and checked by msgspec |
| a pydantic model | decoded and checked by pydantic |

msgspec and pydantic are known by their classes' own methods: neither need be installed.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import orjson

from zconnector.errors import ConfigError
from zconnector.worker.payload import PayloadError

Decode = Callable[[bytes], Any]
_JSON = (dict, list, int, float, bool)


def decoder(function: Callable[..., Any], what: str) -> Decode:
    """How a handler's payload is made; `what` names the handler in an error.

    Raises:
        ConfigError: its annotation is none of the above.
    """
    wanted = _annotation(function, what)
    if wanted in (str, object, Any, inspect.Parameter.empty):
        return text
    if wanted is bytes:
        return bytes
    if isinstance(wanted, type) and hasattr(wanted, "model_validate_json"):
        return _checked(wanted.model_validate_json)
    if isinstance(wanted, type) and hasattr(wanted, "__struct_fields__"):
        return _checked(sys.modules["msgspec"].json.Decoder(wanted).decode)
    if isinstance(wanted, type) and dataclasses.is_dataclass(wanted):
        return _checked(lambda raw: wanted(**orjson.loads(raw)))
    origin = typing.get_origin(wanted) or wanted
    if origin in _JSON:
        return _checked(lambda raw: _instance(orjson.loads(raw), origin))
    raise ConfigError(f"{what}: a payload cannot be a {wanted!r}: use str, bytes, dict, list or a model")


def text(raw: bytes) -> str:
    """Raises:
    PayloadError: it is not UTF-8.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise PayloadError(f"the payload is not UTF-8: {error}") from None


def _annotation(function: Callable[..., Any], what: str) -> Any:
    """The annotation of the second parameter."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return inspect.Parameter.empty  # a built-in without a signature
    found = parameters[1].annotation if len(parameters) > 1 else inspect.Parameter.empty
    if not isinstance(found, str):
        return found
    target = function if inspect.isroutine(function) else type(function).__call__
    # Only this one is resolved: others may name what is imported for the type checker alone.
    alone = types.SimpleNamespace(__annotations__={"payload": found})
    try:
        return typing.get_type_hints(alone, getattr(inspect.unwrap(target), "__globals__", {}))["payload"]
    except NameError as error:
        why = f"{what}: the annotation {found!r} of its payload means nothing at module level: {error}"
        raise ConfigError(why) from None


def _checked(decode: Callable[[bytes], Any]) -> Decode:
    def run(raw: bytes) -> Any:
        try:
            return decode(raw)
        except (ValueError, TypeError) as error:  # JSON, msgspec and pydantic errors are ValueErrors
            raise PayloadError(f"the payload is not what the handler takes: {error}") from None

    return run


def _instance(value: Any, wanted: Any) -> Any:
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise TypeError(f"a JSON {type(value).__name__}, not {wanted.__name__}")
    return value
