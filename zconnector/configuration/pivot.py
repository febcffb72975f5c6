"""Pivots and product connectors: what a connector type can do in one version.

A pivot names the commands, events, resources and keys of a connector type; a product connector
adds those of one product of that type. Both are read from YAML in Gandalf's layout
(`<major>_<minor>_pivot.yaml`, `<major>_<minor>_connector_product.yaml`), and travel as JSON.
Fields that we do not know are ignored: Gandalf's files carry more than a connector needs.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import orjson

from zconnector.configuration.schemas import Schema, compile_schema
from zconnector.configuration.yaml_text import read_text
from zconnector.errors import ConfigError
from zconnector.messages.depth import MAX_DEPTH, is_deeper
from zconnector.messages.fields import is_name, is_unicode
from zconnector.messages.retry import broken_rule

MAX_DOCUMENT = 1 << 20
"""Bytes of one pivot or product connector."""
MAX_ITEMS = 4096
"""Command types, event types, resource types or keys of one document."""
_MAX_NAME = 256


class Version(NamedTuple):
    """Version of a pivot, a product connector or a worker; the higher one is the newer."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class CommandType:
    """A command (or an event) that can be sent, and what its payload must look like."""

    name: str
    schema: Schema
    retry: Mapping[str, Any] | None = None
    """When it is tried again, where the settings of the connector do not say it (`messages/retry.py`)."""


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind of thing that a tool manages."""

    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """One setting that a worker of this type understands."""

    name: str
    default: Any = None
    type: str = "string"
    shortname: str = ""
    mandatory: bool = False


@dataclass(frozen=True, slots=True)
class Pivot:
    """What every connector of a type can do in one version."""

    name: str
    """The connector type."""
    major: int
    minor: int
    commandtypes: tuple[CommandType, ...] = ()
    eventtypes: tuple[CommandType, ...] = ()
    resourcetypes: tuple[ResourceType, ...] = ()
    keys: tuple[Key, ...] = ()
    implicit: bool = False
    """Made from the command lists of workers, for want of a file (`--no-strict`)."""

    @property
    def version(self) -> Version:
        return Version(self.major, self.minor)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], where: str = "pivot") -> Pivot:
        """A pivot from its JSON form.

        Raises:
            ConfigError: naming the place, the value and the rule.
        """
        return cls(
            **_common(document, where), implicit=_flag(document.get("implicit", False), f"{where}.implicit")
        )

    @classmethod
    def from_yaml(cls, text: str | bytes, where: str = "pivot") -> Pivot:
        """A pivot from a YAML file. Raises ConfigError."""
        return cls.from_dict(read_yaml(text, where), where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; `from_dict` reads it back as it was."""
        return {**_lists(self), "name": self.name, "implicit": self.implicit}


@dataclass(frozen=True, slots=True)
class ProductConnector:
    """What one product of a connector type can do beyond the pivot, in one version."""

    product: str
    name: str
    """The connector type."""
    major: int
    minor: int
    commandtypes: tuple[CommandType, ...] = ()
    eventtypes: tuple[CommandType, ...] = ()
    resourcetypes: tuple[ResourceType, ...] = ()
    keys: tuple[Key, ...] = ()

    @property
    def version(self) -> Version:
        return Version(self.major, self.minor)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], where: str = "product connector") -> ProductConnector:
        """A product connector from its JSON form. Raises ConfigError."""
        common = _common(document, where)
        product = document.get("product")
        if isinstance(product, Mapping):  # Gandalf's own dump nests the product
            product = product.get("name")
        return cls(product=_logical_name(product, f"{where}.product"), **common)

    @classmethod
    def from_yaml(cls, text: str | bytes, where: str = "product connector") -> ProductConnector:
        """A product connector from a YAML file. Raises ConfigError."""
        return cls.from_dict(read_yaml(text, where), where)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form; `from_dict` reads it back as it was."""
        return {**_lists(self), "name": self.name, "product": self.product}


def implicit_pivot(connector_type: str, major: object, minor: object, commands: list[str]) -> Pivot:
    """The pivot that a worker's SendCommandList stands for. Raises ConfigError."""
    document = {
        "name": connector_type,
        "major": major,
        "minor": minor,
        "commandtypes": [{"name": name} for name in dict.fromkeys(commands)],
        "implicit": True,
    }
    return Pivot.from_dict(document, "command list")


def merged(known: Pivot, more: Pivot) -> Pivot:
    """An implicit pivot with the commands of a further command list of the same version added."""
    names = {command.name for command in known.commandtypes}
    added = tuple(command for command in more.commandtypes if command.name not in names)
    return Pivot(
        known.name,
        known.major,
        known.minor,
        known.commandtypes + added,
        known.eventtypes,
        known.resourcetypes,
        known.keys,
        implicit=True,
    )


def put_beside(known: Pivot, more: Pivot) -> Pivot:
    """What is in force where one of the same version is known and another comes that must not replace it.

    What comes takes the place of an implicit one, and adds to it where it is implicit itself.
    """
    if not known.implicit:
        return known
    return merged(known, more) if more.implicit else more


def read_yaml(text: str | bytes, where: str) -> Mapping[str, Any]:
    """One YAML (or JSON) mapping of bounded size.

    Raises:
        ConfigError: too long, no YAML, or no mapping.
    """
    size = len(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
    if size > MAX_DOCUMENT:
        raise ConfigError(f"{where}: {size} bytes, must be at most {MAX_DOCUMENT}")
    try:
        if isinstance(text, bytes):
            text = text.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: must be UTF-8 ({error})") from None
    document = read_text(text, where)
    if not isinstance(document, Mapping):
        raise ConfigError(f"{where}: must be a mapping, not {_describe(document)}")
    return document


_WRITTEN = ("name", "major", "minor", "commandtypes", "eventtypes", "resourcetypes", "keys", "product")
_KNOWN = frozenset((*_WRITTEN, "implicit"))


def _check_spelling(document: Mapping[str, Any], where: str) -> None:
    """What means nothing to us may mean something to others, but not what is nearly one of our keys."""
    for key in document:
        if key in _KNOWN:
            continue
        meant = difflib.get_close_matches(str(key)[:80].lower(), _WRITTEN, n=1, cutoff=0.7)
        if meant:
            raise ConfigError(f"{where}: unknown key {str(key)[:80]!r}, did you mean {meant[0]!r}?")


def _common(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    if is_deeper(document, MAX_DEPTH):
        raise ConfigError(f"{where}: nested deeper than {MAX_DEPTH} levels")
    _check_spelling(document, where)
    return {
        "name": _logical_name(document.get("name"), f"{where}.name"),
        "major": _number(document.get("major"), f"{where}.major"),
        "minor": _number(document.get("minor", 0), f"{where}.minor"),
        "commandtypes": _items(document, "commandtypes", where, _command_type),
        "eventtypes": _items(document, "eventtypes", where, _command_type),
        "resourcetypes": _items(document, "resourcetypes", where, _resource_type),
        "keys": _items(document, "keys", where, _key),
    }


def _lists(of: Pivot | ProductConnector) -> dict[str, Any]:
    return {
        "major": of.major,
        "minor": of.minor,
        "commandtypes": [_of_command(command) for command in of.commandtypes],
        "eventtypes": [_of_command(event) for event in of.eventtypes],
        "resourcetypes": [{"name": r.name} for r in of.resourcetypes],
        "keys": [
            {
                "name": k.name,
                "defaultValue": k.default,
                "type": k.type,
                "shortname": k.shortname,
                "mandatory": k.mandatory,
            }
            for k in of.keys
        ],
    }


def _of_command(command: CommandType) -> dict[str, Any]:
    written = {"name": command.name, "schema": command.schema.source}
    return {**written, "retry": dict(command.retry)} if command.retry else written


Item = TypeVar("Item", CommandType, ResourceType, Key)


def _items(
    document: Mapping[str, Any], field: str, where: str, read: Callable[[Mapping[str, Any], str], Item]
) -> tuple[Item, ...]:
    values = document.get(field)
    place = f"{where}.{field}"
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > MAX_ITEMS:
        raise ConfigError(f"{place}: must be a list of at most {MAX_ITEMS}, not {_describe(values)}")
    items: dict[str, Item] = {}
    for index, value in enumerate(values):
        here = f"{place}[{index}]"
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise ConfigError(f"{here}: must be a mapping with a name, not {_describe(value)}")
        item = read(value, here)
        if item.name in items:
            raise ConfigError(f"{here}.name: {item.name!r} is there twice, must be unique in {field}")
        items[item.name] = item
    return tuple(items.values())


def _command_type(value: Mapping[str, Any], where: str) -> CommandType:
    name = _text(value.get("name"), f"{where}.name")
    retry = value.get("retry")
    broken = "" if retry is None else broken_rule(retry)
    if broken:
        raise ConfigError(f"{where}: {broken}")
    return CommandType(name, compile_schema(value.get("schema"), f"{where}.schema"), retry or None)


def _resource_type(value: Mapping[str, Any], where: str) -> ResourceType:
    return ResourceType(_text(value.get("name"), f"{where}.name"))


def _key(value: Mapping[str, Any], where: str) -> Key:
    default = value.get("defaultValue")
    try:
        orjson.dumps(default)
    except TypeError as error:
        raise ConfigError(f"{where}.defaultValue: must be a JSON value ({error})") from None
    return Key(
        name=_text(value.get("name"), f"{where}.name"),
        default=default,
        type=_text(value.get("type", "string"), f"{where}.type"),
        shortname=_text(value.get("shortname") or "", f"{where}.shortname", empty=True),
        mandatory=_flag(value.get("mandatory", False), f"{where}.mandatory"),
    )


def _text(value: object, where: str, *, empty: bool = False) -> str:
    size = len(value.encode("utf-8", "replace")) if isinstance(value, str) else 0
    if not isinstance(value, str) or size > _MAX_NAME or not (value or empty) or not is_unicode(value):
        raise ConfigError(f"{where}: must be a text of 1 to {_MAX_NAME} bytes, not {_describe(value)}")
    return value


def _logical_name(value: object, where: str) -> str:
    if not isinstance(value, str) or not is_name(value):
        raise ConfigError(f"{where}: must be 1 to 128 of A-Z a-z 0-9 _ . -, not {_describe(value)}")
    return value


def _number(value: object, where: str) -> int:
    if type(value) is not int or not 0 <= value <= 127:
        raise ConfigError(f"{where}: must be an integer from 0 to 127, not {_describe(value)}")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where}: must be true or false, not {_describe(value)}")
    return value


def _describe(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r:.60}"
