"""The one edge that knows apsw."""

from __future__ import annotations

from pathlib import Path

import pytest

from zconnector.errors import StorageError, StoreVersionError
from zconnector.storage.sqlite import Database

FIRST = "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT); INSERT INTO t VALUES (1, 'one');"
SECOND = "ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'new';"


def test_durability_is_set(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", [FIRST])
    with database.transaction() as transaction:
        assert transaction.execute("PRAGMA journal_mode") == [("wal",)]
        assert transaction.execute("PRAGMA synchronous") == [(2,)], "2 is FULL"
    database.close()


def test_an_older_file_is_migrated_forward_and_keeps_its_rows(tmp_path: Path) -> None:
    Database(tmp_path / "x.db", [FIRST]).close()
    database = Database(tmp_path / "x.db", [FIRST, SECOND])
    assert database.read("SELECT a, b, c FROM t") == [(1, "one", "new")]
    assert database.read("PRAGMA user_version") == [(2,)]
    database.close()


def test_a_failed_migration_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    Database(tmp_path / "x.db", [FIRST]).close()
    with pytest.raises(StorageError):
        Database(tmp_path / "x.db", [FIRST, SECOND, "INSERT INTO nowhere VALUES (1)"])
    database = Database(tmp_path / "x.db", [FIRST])
    assert database.read("SELECT * FROM t") == [(1, "one")]
    assert database.read("PRAGMA user_version") == [(1,)]
    database.close()


def test_a_newer_file_is_refused_untouched(tmp_path: Path) -> None:
    Database(tmp_path / "x.db", [FIRST, SECOND]).close()
    with pytest.raises(StoreVersionError, match="newer"):
        Database(tmp_path / "x.db", [FIRST])
    database = Database(tmp_path / "x.db", [FIRST, SECOND])
    assert database.read("SELECT count(*) FROM t") == [(1,)]
    database.close()


def test_an_exception_in_the_block_undoes_it(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", [FIRST])

    def interrupted() -> None:
        with database.transaction() as transaction:
            transaction.execute("INSERT INTO t VALUES (2, 'two')")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert database.read("SELECT a FROM t") == [(1,)]
    with database.transaction() as transaction:
        transaction.execute_many("INSERT INTO t VALUES (?, ?)", [(3, "three"), (4, "four")])
    assert database.read("SELECT a FROM t") == [(1,), (3,), (4,)]
    assert [row[0] for row in database.each("SELECT a FROM t ORDER BY a DESC")] == [4, 3, 1]
    database.close()


@pytest.mark.parametrize(
    ("sql", "bindings"),
    [
        ("INSERT INTO t VALUES (1, 'again')", ()),
        ("INSERT INTO t VALUES ('no number', 'x')", ()),
        ("INSERT INTO nowhere VALUES (1)", ()),
        ("INSERT INTO t VALUES (?, 'x')", (2**70,)),
    ],
    ids=["constraint", "type", "sql", "too large"],
)
def test_every_error_is_a_storage_error(tmp_path: Path, sql: str, bindings: tuple[int, ...]) -> None:
    database = Database(tmp_path / "x.db", [FIRST])
    with pytest.raises(StorageError), database.transaction() as transaction:
        transaction.execute(sql, bindings)
    with pytest.raises(StorageError):
        database.read("SELECT * FROM nowhere")
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (9, 'after')")
    assert database.read("SELECT max(a) FROM t") == [(9,)]
    database.close()


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"certainly not a database" * 200)
    with pytest.raises(StorageError):
        Database(tmp_path / "x.db", [FIRST])
    with pytest.raises(StorageError, match="open"):
        Database(tmp_path / "no such directory" / "x.db", [FIRST])


def test_a_full_disk_is_a_storage_error_until_there_is_room(tmp_path: Path) -> None:
    database = Database(tmp_path / "x.db", [FIRST], max_bytes=100_000)
    with pytest.raises(StorageError, match="full"), database.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (2, ?)", ("x" * 200_000,))
    assert database.read("SELECT a FROM t") == [(1,)]
    database.limit(1_000_000)
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO t VALUES (2, ?)", ("x" * 200_000,))
    assert database.read("SELECT a FROM t") == [(1,), (2,)]
    database.close()
