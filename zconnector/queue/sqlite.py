"""The local queue's store on SQLite.

Two tables for each space. SQLite rewrites a whole row, overflow pages included, when any column
of it changes; with the body in a table of its own, a lease costs one small row whatever the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from zconnector.errors import DamagedError, StorageError
from zconnector.queue.store import NUMBERED, SPACES, Delete, Key, Row, Write, encode_meta
from zconnector.storage.batches import LARGE, parts
from zconnector.storage.seal import seal, unseal
from zconnector.storage.sqlite import Database, Transaction


def _tables(space: str) -> str:
    key = "INTEGER PRIMARY KEY" if space in NUMBERED else "TEXT PRIMARY KEY"
    tail = "" if space in NUMBERED else " WITHOUT ROWID"
    return (
        f"CREATE TABLE {space} (key {key}, meta BLOB NOT NULL){tail};"
        f"CREATE TABLE {space}_body (key {key}, body BLOB NOT NULL){tail};"
    )


MIGRATIONS = ("".join(_tables(space) for space in SPACES),)
"""Version 1: the seven spaces. Migrations are only ever added."""


_AT_ONCE = (64, 16, 4, 1)
"""Rows of one statement: a few sizes, so that each is prepared once."""


class _Table:
    """The SQL that changes one table, by the number of rows."""

    def __init__(self, name: str, column: str) -> None:
        self.put = {
            size: f"INSERT OR REPLACE INTO {name} (key, {column}) VALUES {', '.join(['(?, ?)'] * size)}"
            for size in _AT_ONCE
        }
        self.drop = {size: f"DELETE FROM {name} WHERE key IN ({', '.join('?' * size)})" for size in _AT_ONCE}


class _Statements:
    """The SQL of one space."""

    def __init__(self, space: str) -> None:
        self.meta = _Table(space, "meta")
        self.bodies = _Table(f"{space}_body", "body")
        joined = f"FROM {space} AS m LEFT JOIN {space}_body AS b ON b.key = m.key"
        self.body = f"SELECT b.body {joined} WHERE m.key = ?"
        self.ahead = (
            f"SELECT key, body FROM {space}_body WHERE key BETWEEN ? AND ? AND length(body) BETWEEN 1 AND ?"
        )
        self.scan = f"SELECT m.key, m.meta, ifnull(length(b.body), 0) {joined} ORDER BY m.key"


_STATEMENTS = {space: _Statements(space) for space in SPACES}


def _statements(space: str) -> _Statements:
    try:
        return _STATEMENTS[space]
    except KeyError:
        raise StorageError(f"no such space: {space!r}") from None


class SqliteQueueStore:
    """A QueueStore in one file; see `zconnector.storage.sqlite` for what a commit means."""

    def __init__(self, path: Path, *, max_bytes: int = 0) -> None:
        """Raises StoreVersionError (written by a newer zconnector) or StorageError."""
        self.database = Database(path, MIGRATIONS, max_bytes=max_bytes)

    def commit(self, writes: Sequence[Write]) -> list[Any]:
        spaces = _folded(writes)
        with self.database.transaction() as transaction:
            for space, (metas, bodies) in spaces.items():
                statements = _statements(space)
                _perform(transaction, statements.meta, metas)
                _perform(transaction, statements.bodies, bodies)
        return [None] * len(writes)

    def body(self, space: str, key: Key) -> bytes:
        rows = self.database.read(_statements(space).body, (key,))
        if not rows:
            raise StorageError(f"no row {key!r} in {space}")
        body = b"" if rows[0][0] is None else rows[0][0]
        if not isinstance(body, bytes):
            raise StorageError(f"the body of row {key!r} of {space} is damaged: it is no bytes")
        return body

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        rows = self.database.read(_statements(space).ahead, (first, last, most))
        return [(key, body) for key, body in rows if isinstance(body, bytes)]

    def scan(self, space: str) -> Iterator[Row]:
        for key, meta, size in self.database.each(_statements(space).scan):
            try:
                decoded = orjson.loads(unseal(meta, space, _about(space, key)))
            except orjson.JSONDecodeError as error:
                raise StorageError(f"row {key!r} of {space} is damaged: {error}") from error
            except DamagedError:
                unseal(meta, f"row {key!r} of {space}", _about(space, key))  # the same, and says which row
                raise
            yield Row(space, key, decoded, size)

    def close(self) -> None:
        self.database.close()


def _about(space: str, key: Key) -> bytes:
    """What a row's checksum covers beside its meta."""
    return f"{space}/{key}".encode("utf-8", "surrogatepass")


_Changes = dict[Key, bytes | None]
"""What becomes of a table's rows; None: the row goes."""


def _folded(writes: Sequence[Write]) -> dict[str, tuple[_Changes, _Changes]]:
    """By space, what writes make of its metas and bodies: how a transaction leaves a row is all that counts.

    A statement for each write would cost more than what it does: the thread gives Python's lock away for
    each, and has to get it back from a busy event loop.
    """
    spaces: dict[str, tuple[_Changes, _Changes]] = {}
    for write in writes:
        changes = spaces.get(write.space)
        if changes is None:
            changes = spaces[write.space] = ({}, {})
        metas, bodies = changes
        key = write.key
        if isinstance(write, Delete):
            metas[key] = bodies[key] = None
            continue
        metas[key] = seal(encode_meta(write.meta), _about(write.space, key))
        if write.body is not None:
            bodies[key] = write.body or None
    return spaces


def _perform(transaction: Transaction, table: _Table, changes: _Changes) -> None:
    rows: list[tuple[Key, bytes]] = []
    large: list[tuple[Key, bytes]] = []
    gone: list[Key] = []
    for key, value in changes.items():
        if value is None:
            gone.append(key)
        else:
            (rows if len(value) <= LARGE else large).append((key, value))
    for part in parts(rows, _AT_ONCE):
        transaction.execute(table.put[len(part)], [each for row in part for each in row])
    for row in large:
        transaction.execute(table.put[1], row)
    for keys in parts(gone, _AT_ONCE):
        transaction.execute(table.drop[len(keys)], keys)
