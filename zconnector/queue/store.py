"""What the local queue keeps: spaces of rows, the two writes that change them, and the store's port.

A row has a key, a small `meta` (JSON: what the core must know of it without reading more) and
a body (opaque bytes: the packed message). They are kept apart so that a lease, a resend or a completion never
rewrites a payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from zconnector.errors import StorageError
from zconnector.storage.port import Store

Key = int | str

COMMANDS = "commands"
EVENTS = "events"
OUTBOX = "outbox"
DEAD = "dead"
ITERATORS = "iterators"
POSITIONS = "positions"
DOCUMENTS = "documents"

NUMBERED = (COMMANDS, EVENTS, OUTBOX, DEAD)
"""Spaces whose keys are integers that grow: their order is the order of arrival."""
NAMED = (ITERATORS, POSITIONS, DOCUMENTS)
SPACES = NUMBERED + NAMED


@dataclass(slots=True)
class Put:
    """Make or replace a row. `body` None keeps the stored body (of a new row: none)."""

    space: str
    key: Key
    meta: Mapping[str, Any]
    body: bytes | None = None


@dataclass(slots=True)
class Delete:
    """Remove a row; one that is not there is no error."""

    space: str
    key: Key


Write = Put | Delete


@dataclass(slots=True)
class Row:
    """What a scan returns of a row: everything but its body."""

    space: str
    key: Key
    meta: dict[str, Any]
    size: int
    """Bytes of the body."""


class Bodies(Protocol):
    """Where the core reads a stored body."""

    def body(self, space: str, key: Key) -> bytes:
        """The body of a committed row. Raises StorageError, also when there is no such row."""

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        """Of the rows with these keys (both included) in a space of numbers, those whose body has 1 to `most`
        bytes: key and body. Raises StorageError."""


class QueueStore(Store, Bodies, Protocol):
    """A store of the local queue. `commit` takes Put and Delete, and has no results to tell."""

    def commit(self, writes: Sequence[Write]) -> list[Any]: ...

    def scan(self, space: str) -> Iterator[Row]:
        """All rows of a space, by key. Raises StorageError."""


def scan_all(store: QueueStore) -> Iterator[Row]:
    """Everything a queue is restored from."""
    for space in SPACES:
        yield from store.scan(space)


def encode_meta(meta: Mapping[str, Any]) -> bytes:
    """A row's meta as it is stored. Raises StorageError for what JSON cannot say."""
    try:
        return orjson.dumps(meta)
    except TypeError as error:  # orjson.JSONEncodeError is one
        raise StorageError(f"meta cannot be stored: {error}") from error
