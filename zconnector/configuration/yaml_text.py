"""YAML as far as JSON goes: what a pivot's file may hold.

Built from the parser's events instead of PyYAML's own constructor, which takes whatever YAML knows (dates,
sets, tags that raise what they like) and half a minute for a megabyte. Here: mappings, lists, texts,
numbers, true, false, null; no tags, no aliases (a few of them can stand for gigabytes); a bounded number of
values and levels. A date is the text that it is.
"""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import SafeConstructor

from zconnector.errors import ConfigError
from zconnector.messages.depth import MAX_DEPTH

MAX_VALUES = 100_000
"""Values of one document, containers and keys included."""
_MAX_NUMBER = 400
"""Characters of a number; no JSON reader takes as many."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TAKEN = tuple(_TAG + name for name in ("null", "bool", "int", "float"))
_RESOLVERS = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _TAKEN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Builder:
    """One document out of its events; no recursion, whatever is inside what."""

    def __init__(self) -> None:
        self.document: Any = None
        self._open: list[tuple[Any, list[Any]]] = []
        """Containers not yet closed, and what is in them: of a mapping keys and values in turn."""
        self._values = 0
        self._construct = SafeConstructor()

    def take(self, event: Any) -> None:
        """Raises yaml.YAMLError, ValueError."""
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases are not taken{_place(event)}")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError(f"tags are not taken: {event.tag!r:.80}{_place(event)}")
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(self._open) >= MAX_DEPTH:
                raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels{_place(event)}")
            self._open.append((event, []))
        elif isinstance(event, yaml.SequenceEndEvent):
            self._add(self._open.pop()[1])
        elif isinstance(event, yaml.MappingEndEvent):
            self._add(self._mapping(*self._open.pop()))

    def _mapping(self, start: Any, flat: list[Any]) -> dict[Any, Any]:
        keys, values = flat[::2], flat[1::2]
        if any(isinstance(key, (dict, list)) for key in keys):
            raise yaml.YAMLError(f"a key must be a text{_place(start)}")
        found: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            if key in found:
                raise yaml.YAMLError(f"key {key!r:.80} is there twice{_place(start)}")
            found[key] = value
        return found

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block
            return text
        for tag, pattern in _RESOLVERS.get(text[:1], ()):
            if not pattern.match(text):
                continue
            if len(text) > _MAX_NUMBER:
                raise yaml.YAMLError(f"a number of {len(text)} digits{_place(event)}")
            node = yaml.ScalarNode(tag, text)
            return SafeConstructor.yaml_constructors[tag](self._construct, node)
        return text

    def _add(self, value: Any) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise yaml.YAMLError(f"more than {MAX_VALUES} values")
        if self._open:
            self._open[-1][1].append(value)
        else:
            self.document = value


def read_text(text: str, where: str) -> Any:
    """The one document of a YAML text.

    Raises:
        ConfigError: no YAML, more of it than JSON can say, or too much.
    """
    builder = _Builder()
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise yaml.YAMLError("more than one document")
            builder.take(event)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: no valid YAML: {' '.join(str(error).split())[:300]}") from None
    return builder.document


def _place(event: Any) -> str:
    mark = event.start_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
