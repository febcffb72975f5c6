"""SQLite as our stores use it: durable, one writer, schema versions, one kind of error.

Every commit is on the disk when it returns: WAL with `synchronous=FULL`. Writes go through one
connection (one thread at a time), reads through another one, so that reading a body on the event loop never
waits for an fsync in the writer's thread. This is the only place that knows apsw's errors: whatever the
library raises leaves here as StorageError.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from zconnector.errors import StorageError, StoreVersionError

PAGE_SIZE = 4096
BUSY_TIMEOUT_MS = 5_000
WAL_PAGES = 1_000
"""Pages in the write-ahead log before the writer copies them into the database."""
WAL_BYTES_KEPT = 64 << 20
"""What the log file is cut down to after it once had to grow."""

Bindings = Sequence[Any]
Rows = list[tuple[Any, ...]]


_ERRORS = (apsw.Error, OverflowError)
"""What the library raises; the latter for an int beyond SQLite's 64 bits."""


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Around what is done rarely: to enter such a context costs as much as a small statement."""
    try:
        yield
    except _ERRORS as error:
        raise StorageError(f"{what}: {error}") from error


class Transaction:
    """The statements of one transaction; lives inside `Database.transaction`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, bindings: Bindings = ()) -> Rows:
        """Run a statement and return all its rows. Raises StorageError."""
        try:
            return self._connection.execute(sql, bindings).fetchall()
        except _ERRORS as error:
            raise StorageError(f"write: {error}") from error

    def execute_many(self, sql: str, rows: Iterable[Bindings]) -> None:
        """Run a statement once for each row of bindings. Raises StorageError."""
        with _translated("write"):
            self._connection.executemany(sql, rows)

    @property
    def changed(self) -> int:
        """Rows that the last statement changed."""
        return self._connection.changes()


class Database:
    """One database file, brought to the newest schema on opening.

    `migrations[n]` is the SQL that leads from schema version n to n + 1; a new file has version 0.
    """

    def __init__(self, path: Path, migrations: Sequence[str], *, max_bytes: int = 0) -> None:
        """Open or make the file and migrate it.

        Args:
            max_bytes: what the database may grow to; 0: as far as the disk goes.

        Raises:
            StoreVersionError: the file was written by a newer zconnector; nothing was changed.
            StorageError: the file cannot be opened, is no database, or the disk refused.
        """
        self._path = path
        with _translated(f"open {path}"):
            self._writer = apsw.Connection(str(path))
        try:
            self._prepare(migrations)
            if max_bytes:
                self.limit(max_bytes)
            with _translated(f"open {path}"):
                self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
                self._reader.set_busy_timeout(BUSY_TIMEOUT_MS)
        except BaseException:
            self._writer.close()
            raise

    def _prepare(self, migrations: Sequence[str]) -> None:
        with _translated(f"open {self._path}"):
            self._writer.set_busy_timeout(BUSY_TIMEOUT_MS)
            version = self._pragma("user_version")
            if version > len(migrations):
                raise StoreVersionError(
                    f"{self._path} has schema version {version}; this zconnector knows up to "
                    f"{len(migrations)}: it was written by a newer one"
                )
            self._pragma(f"page_size={PAGE_SIZE}")
            mode = self._pragma("journal_mode=wal")
            if mode != "wal":
                raise StorageError(f"{self._path}: the file system does not allow WAL (mode is {mode})")
            self._pragma("synchronous=full")
            self._pragma(f"wal_autocheckpoint={WAL_PAGES}")
            self._pragma(f"journal_size_limit={WAL_BYTES_KEPT}")
        with self.transaction() as transaction:
            for number, sql in enumerate(migrations[version:], start=version + 1):
                transaction.execute(sql)
                transaction.execute(f"PRAGMA user_version={number}")

    def _pragma(self, text: str) -> Any:
        row = self._writer.execute(f"PRAGMA {text}").fetchone()
        return None if row is None else row[0]

    def limit(self, max_bytes: int) -> None:
        """Bound the database's size from now on; it is never cut below what it has. Raises StorageError."""
        with _translated("limit"):
            self._pragma(f"max_page_count={max(1, max_bytes // PAGE_SIZE)}")

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One durable transaction: committed (fsync) at the end of the block, undone by any exception.

        Raises StorageError when the disk refuses; then nothing of it is stored.
        """
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except _ERRORS as error:
            raise StorageError(f"begin: {error}") from error
        try:
            yield Transaction(self._writer)
            try:
                self._writer.execute("COMMIT")
            except _ERRORS as error:
                raise StorageError(f"commit: {error}") from error
        except BaseException:
            # SQLite itself ends the transaction on some errors (a full disk, an I/O error).
            if self._writer.in_transaction:
                with _translated("rollback"):
                    self._writer.execute("ROLLBACK")
            raise

    def read(self, sql: str, bindings: Bindings = ()) -> Rows:
        """All rows of a query over what is committed. Not for the writer's thread. Raises StorageError."""
        try:
            return self._reader.execute(sql, bindings).fetchall()
        except _ERRORS as error:
            raise StorageError(f"read: {error}") from error

    def each(self, sql: str, bindings: Bindings = ()) -> Iterator[tuple[Any, ...]]:
        """Like `read`, row by row, for results that do not fit in memory. Raises StorageError."""
        with _translated("read"):
            yield from self._reader.execute(sql, bindings)

    def close(self) -> None:
        """Release the file; the log is copied into the database. Raises StorageError."""
        with _translated("close"):
            self._reader.close()
            self._writer.close()
