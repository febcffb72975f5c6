"""The local queue's store on SQLite.

Two tables for each space. SQLite rewrites a whole row, overflow pages included, when any column
of it changes; with the body in a table of its own, a lease costs one small row whatever the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from zconnector.errors import StorageError
from zconnector.queue.store import NUMBERED, SPACES, Delete, Key, Put, Row, Write, encode_meta
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


class _Statements:
    """The SQL of one space."""

    def __init__(self, space: str) -> None:
        self.put_meta = f"INSERT OR REPLACE INTO {space} (key, meta) VALUES (?, ?)"
        self.put_body = f"INSERT OR REPLACE INTO {space}_body (key, body) VALUES (?, ?)"
        self.drop_meta = f"DELETE FROM {space} WHERE key = ?"
        self.drop_body = f"DELETE FROM {space}_body WHERE key = ?"
        joined = f"FROM {space} AS m LEFT JOIN {space}_body AS b ON b.key = m.key"
        self.body = f"SELECT b.body {joined} WHERE m.key = ?"
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
        with self.database.transaction() as transaction:
            for write in writes:
                _perform(transaction, write)
        return [None] * len(writes)

    def body(self, space: str, key: Key) -> bytes:
        rows = self.database.read(_statements(space).body, (key,))
        if not rows:
            raise StorageError(f"no row {key!r} in {space}")
        body = b"" if rows[0][0] is None else rows[0][0]
        if not isinstance(body, bytes):
            raise StorageError(f"the body of row {key!r} of {space} is damaged: it is no bytes")
        return body

    def scan(self, space: str) -> Iterator[Row]:
        for key, meta, size in self.database.each(_statements(space).scan):
            try:
                decoded = orjson.loads(unseal(meta, f"row {key!r} of {space}", _about(space, key)))
            except orjson.JSONDecodeError as error:
                raise StorageError(f"row {key!r} of {space} is damaged: {error}") from error
            yield Row(space, key, decoded, size)

    def close(self) -> None:
        self.database.close()


def _about(space: str, key: Key) -> bytes:
    """What a row's checksum covers beside its meta."""
    return f"{space}/{key}".encode("utf-8", "surrogatepass")


def _perform(transaction: Transaction, write: Write) -> None:
    statements = _statements(write.space)
    match write:
        case Put(_, key, meta, body):
            transaction.execute(statements.put_meta, (key, seal(encode_meta(meta), _about(write.space, key))))
            if body:
                transaction.execute(statements.put_body, (key, body))
            elif body is not None:
                transaction.execute(statements.drop_body, (key,))
        case Delete(_, key):
            transaction.execute(statements.drop_meta, (key,))
            transaction.execute(statements.drop_body, (key,))
