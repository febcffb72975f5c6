"""Every QueueStore keeps the same promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zconnector.errors import StorageError, StoreVersionError
from zconnector.queue.memory import MemoryQueueStore
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import (
    COMMANDS,
    DOCUMENTS,
    EVENTS,
    NUMBERED,
    SPACES,
    Delete,
    Key,
    Put,
    QueueStore,
    Row,
    Write,
    scan_all,
)

Open = Callable[[], QueueStore]
ROOM = 400_000


def _sqlite(path: Path, max_bytes: int) -> Open:
    return lambda: SqliteQueueStore(path / "queue.db", max_bytes=max_bytes)


def _memory(max_bytes: int) -> Open:
    first = MemoryQueueStore()
    return lambda: MemoryQueueStore(first.rows, max_bytes=max_bytes)


@pytest.fixture(params=["memory", "sqlite"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return _memory(0) if request.param == "memory" else _sqlite(tmp_path, 0)


@pytest.fixture(params=["memory", "sqlite"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """A store with little room."""
    return _memory(ROOM) if request.param == "memory" else _sqlite(tmp_path, ROOM)


def rows(store: QueueStore, space: str) -> list[Row]:
    return list(store.scan(space))


def a_key(space: str, number: int) -> Key:
    return number if space in NUMBERED else f"key-{number}"


@pytest.mark.parametrize("space", SPACES)
def test_a_row_comes_back(opener: Open, space: str) -> None:
    store = opener()
    key = a_key(space, 1)
    assert store.commit([Put(space, key, {"a": 1, "b": ["x", None]}, b"body")]) == [None]
    assert rows(store, space) == [Row(space, key, {"a": 1, "b": ["x", None]}, 4)]
    assert store.body(space, key) == b"body"
    store.close()


def test_a_put_without_a_body_keeps_the_stored_one(opener: Open) -> None:
    store = opener()
    store.commit([Put(COMMANDS, 1, {"state": "READY"}, b"payload")])
    store.commit([Put(COMMANDS, 1, {"state": "LEASED"})])
    assert rows(store, COMMANDS) == [Row(COMMANDS, 1, {"state": "LEASED"}, 7)]
    assert store.body(COMMANDS, 1) == b"payload"
    store.close()


def test_a_put_with_an_empty_body_empties_it(opener: Open) -> None:
    store = opener()
    store.commit([Put(COMMANDS, 1, {}, b"payload"), Put(COMMANDS, 1, {}, b"")])
    assert store.body(COMMANDS, 1) == b""
    assert rows(store, COMMANDS)[0].size == 0
    store.close()


def test_a_new_row_without_a_body_has_an_empty_one(opener: Open) -> None:
    store = opener()
    store.commit([Put(DOCUMENTS, "cursor", {"value": 3})])
    assert store.body(DOCUMENTS, "cursor") == b""
    store.close()


def test_delete_takes_row_and_body(opener: Open) -> None:
    store = opener()
    store.commit([Put(COMMANDS, 1, {}, b"one"), Put(COMMANDS, 2, {}, b"two")])
    store.commit([Delete(COMMANDS, 1), Delete(COMMANDS, 99)])
    assert [row.key for row in rows(store, COMMANDS)] == [2]
    with pytest.raises(StorageError, match="no row 1"):
        store.body(COMMANDS, 1)
    store.commit([Put(COMMANDS, 1, {})])
    assert store.body(COMMANDS, 1) == b"", "the deleted body must not come back"
    store.close()


WRITES = st.lists(
    st.one_of(
        st.builds(
            Put,
            st.sampled_from((COMMANDS, EVENTS)),
            st.integers(1, 6),
            st.fixed_dictionaries({"n": st.integers(0, 99)}),
            st.sampled_from((None, b"", b"body", b"another", b"x" * 70_000)),
        ),
        st.builds(Delete, st.sampled_from((COMMANDS, EVENTS)), st.integers(1, 6)),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WRITES)
def test_one_transaction_leaves_what_its_writes_one_by_one_would(tmp_path: Path, writes: list[Write]) -> None:
    store = SqliteQueueStore(tmp_path / "queue.db")
    store.commit([Delete(space, key) for space in (COMMANDS, EVENTS) for key in range(1, 7)])
    expected = MemoryQueueStore()
    for write in writes:
        expected.commit([write])
    store.commit(writes)
    assert list(scan_all(store)) == list(scan_all(expected))
    for row in scan_all(expected):
        assert store.body(row.space, row.key) == expected.body(row.space, row.key)
    store.close()


@pytest.mark.parametrize("count", [1, 3, 4, 21, 63, 64, 65, 300])
def test_a_transaction_of_any_number_of_rows(opener: Open, count: int) -> None:
    store = opener()
    store.commit([Put(EVENTS, key, {"n": key}, b"%d" % key) for key in range(count)])
    assert [(row.key, row.meta, store.body(EVENTS, row.key)) for row in rows(store, EVENTS)] == [
        (key, {"n": key}, b"%d" % key) for key in range(count)
    ]
    store.commit([Delete(EVENTS, key) for key in range(count)])
    assert rows(store, EVENTS) == []
    store.close()


def test_a_scan_is_by_key_and_spaces_are_apart(opener: Open) -> None:
    store = opener()
    store.commit([Put(COMMANDS, key, {"n": key}) for key in (10, 2, 33, 4)])
    store.commit([Put(EVENTS, 2, {"n": "event"})])
    assert [row.key for row in rows(store, COMMANDS)] == [2, 4, 10, 33]
    assert [row.meta for row in rows(store, EVENTS)] == [{"n": "event"}]
    store.close()


def test_everything_is_there_after_reopening(opener: Open) -> None:
    store = opener()
    for space in SPACES:
        store.commit([Put(space, a_key(space, 7), {"space": space}, b"b")])
    before = list(scan_all(store))
    store.close()
    again = opener()
    assert list(scan_all(again)) == before
    assert len(before) == len(SPACES)
    again.close()


def test_all_or_none(opener: Open) -> None:
    store = opener()
    store.commit([Put(COMMANDS, 1, {"v": "old"}, b"old")])
    bad = Put(COMMANDS, 3, {"not json": object()})
    with pytest.raises(StorageError, match="cannot be stored"):
        store.commit([Put(COMMANDS, 1, {"v": "new"}, b"new"), Put(COMMANDS, 2, {}), bad])
    assert rows(store, COMMANDS) == [Row(COMMANDS, 1, {"v": "old"}, 3)]
    assert store.body(COMMANDS, 1) == b"old"
    store.close()


def test_an_unknown_space_is_a_storage_error(opener: Open) -> None:
    store = opener()
    with pytest.raises(StorageError, match="no such space"):
        store.commit([Put("elsewhere", 1, {})])
    with pytest.raises(StorageError, match="no such space"):
        store.body("elsewhere", 1)
    store.close()


def test_a_full_disk_refuses_and_recovers_when_there_is_room(small: Open) -> None:
    store = small()
    kept: list[int] = []

    def fill() -> None:
        for key in range(1, 100):
            store.commit([Put(COMMANDS, key, {"n": key}, b"x" * 20_000)])
            kept.append(key)

    with pytest.raises(StorageError, match="full"):
        fill()
    assert len(kept) > 3
    assert [row.key for row in rows(store, COMMANDS)] == kept, "what was refused left nothing behind"
    with pytest.raises(StorageError, match="full"):
        store.commit([Put(COMMANDS, 100, {}, b"x" * 20_000)])
    store.commit([Delete(COMMANDS, key) for key in kept[:3]])
    store.commit([Put(COMMANDS, 100, {}, b"y" * 20_000)])
    assert store.body(COMMANDS, 100) == b"y" * 20_000
    store.close()


def test_sqlite_refuses_a_store_of_a_newer_version(tmp_path: Path) -> None:
    store = SqliteQueueStore(tmp_path / "queue.db")
    with store.database.transaction() as transaction:
        transaction.execute("PRAGMA user_version=99")
    store.close()
    with pytest.raises(StoreVersionError, match="schema version 99"):
        SqliteQueueStore(tmp_path / "queue.db")


def test_sqlite_says_so_when_a_row_is_damaged(tmp_path: Path) -> None:
    store = SqliteQueueStore(tmp_path / "queue.db")
    with store.database.transaction() as transaction:
        transaction.execute("INSERT INTO commands VALUES (1, ?)", (b"{not json",))
    with pytest.raises(StorageError, match="row 1 of commands is damaged"):
        rows(store, COMMANDS)
    store.close()


def test_sqlite_keeps_what_was_committed_right_before_a_sigkill(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from zconnector.queue.sqlite import SqliteQueueStore
        from zconnector.queue.store import COMMANDS, Put
        store = SqliteQueueStore(Path(sys.argv[1]))
        for key in range(1, 51):
            store.commit([Put(COMMANDS, key, {"n": key}, bytes([key]) * 5000)])
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    path = tmp_path / "queue.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)], env=environment, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    store = SqliteQueueStore(path)
    assert [row.meta["n"] for row in rows(store, COMMANDS)] == list(range(1, 51))
    assert store.body(COMMANDS, 50) == bytes([50]) * 5000
    store.close()


def test_several_bodies_are_read_at_once_but_for_large_and_empty_ones(opener: Open) -> None:
    store = opener()
    sizes = {1: 10, 2: 0, 3: 100, 4: 101, 6: 50, 9: 10}
    store.commit([Put(COMMANDS, key, {}, b"x" * size) for key, size in sizes.items()])
    store.commit([Delete(COMMANDS, 6)])
    found = store.bodies(COMMANDS, 1, 8, 100)
    assert sorted(found) == [(1, b"x" * 10), (3, b"x" * 100)]
    assert store.bodies(COMMANDS, 10, 20, 100) == []
    store.close()
