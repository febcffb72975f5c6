"""Stored rows damaged at random: a StorageError that names the row, never a traceback or another message."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.test_queue_restart import NOW, Shell, command, event
from tests.fuzz.profile import examples
from tests.unit.cluster.bench import Bench, topology
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.router import ClusterRouter
from zconnector.cluster.sqlite import SqliteStore
from zconnector.cluster.store import (
    AppendEvent,
    Component,
    Declare,
    Entry,
    PutConfiguration,
    PutPivot,
    PutProduct,
)
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import StorageError
from zconnector.queue.sqlite import SqliteQueueStore
from zconnector.queue.store import SPACES
from zconnector.settings import ClusterSettings
from zconnector.shoset.identity import Identity

Damage = Callable[[bytes], Any]


def flipped(at: float, bit: int) -> Damage:
    def damage(value: bytes) -> Any:
        if not value:
            return b"\1"
        place = int(at * (len(value) - 1))
        return value[:place] + bytes([value[place] ^ (1 << bit)]) + value[place + 1 :]

    return damage


damages = st.one_of(
    st.builds(flipped, st.floats(0, 1), st.integers(0, 7)),
    st.builds(lambda at: lambda value: value[: int(at * len(value))], st.floats(0, 0.99)),
    st.sampled_from([b"", b"{}", b"[]", b"null", b'{"uuid":5}', b"\xff", "a text", 5, b"[" * 2000]).map(
        lambda instead: lambda _: instead
    ),
)


def fill_queue(path: Path) -> dict[str, Any]:
    """A queue with something in each space; what it holds."""
    store = SqliteQueueStore(path)
    shell = Shell(store)
    queue = shell.queue
    commands, events = shell.iterator("command"), shell.iterator("event")
    shell.wait_event(events, 1)
    for uuid in ("leased", "ready", "done"):
        shell.do(queue.offer(command(uuid, uuid.encode()), NOW, shell.hear))
    shell.wait_command(commands, 2)
    reply = event("reply", reference="done", recipient="ci").with_fields(event="SUCCES")
    shell.do(queue.complete(reply, "w", NOW, shell.hear))
    for number in (1, 2):
        shell.do(queue.publish(event(f"e{number}", seq=number), NOW, outbox=True, done=shell.hear))
    shell.do(queue.offer(command("bad", b"\xff"), NOW, shell.hear))
    queue.sequenced("e1", 1, NOW)
    shell.do(queue.remember("pivots", {"names": ["BUILD"]}, NOW))
    shell.do(queue.remember_unknown(command("unknown"), NOW, shell.hear))
    depths = queue.depths()
    store.close()
    return depths


def rows_of(path: Path, tables: list[tuple[str, str]]) -> list[tuple[str, str, list[Any]]]:
    """(table, column, keys) of everything that can be damaged."""
    connection = apsw.Connection(str(path))
    found = []
    for table, column in tables:
        keys = [row[0] for row in connection.execute(f"SELECT {column} FROM {table}")]
        found += [(table, column, [number]) for number in range(len(keys))]
    connection.close()
    return found


def spoil(path: Path, table: str, column: str, number: int, damage: Damage) -> bool:
    """Damage one value; whether that has to be noticed."""
    connection = apsw.Connection(str(path))
    values = [row[0] for row in connection.execute(f"SELECT {column} FROM {table}")]
    before = values[number]
    after = damage(before if isinstance(before, bytes) else str(before).encode())
    if after != before:
        connection.execute(
            f"UPDATE {table} SET {column} = ? WHERE {column} IS ?",
            (after, before),
        )
    connection.close()
    # Without a seal it may be a row of before there were any: those are read, if they can be.
    return bool(after != before) and not (isinstance(after, bytes) and after[:1] in (b"{", b"["))


class Filled(NamedTuple):
    """A closed store: what was in it, and a place for damaged copies."""

    path: Path
    depths: dict[str, Any]

    def copy(self) -> Path:
        path = self.path.with_name(f"{uuid4().hex}.db")
        path.write_bytes(self.path.read_bytes())
        return path


@pytest.fixture(scope="module")
def queue_file(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    path = tmp_path_factory.mktemp("queue") / "queue.db"
    return Filled(path, fill_queue(path))


_META = [(space, "meta") for space in SPACES]
_BODY = [(f"{space}_body", "body") for space in SPACES]


@examples(60)
@given(pick=st.floats(0, 0.999), damage=damages)
def test_a_damaged_meta_is_refused_at_the_start(
    queue_file: Filled,
    pick: float,
    damage: Damage,
) -> None:
    path = queue_file.copy()
    places = rows_of(path, _META)
    table, column, (number,) = places[int(pick * len(places))]
    changed = spoil(path, table, column, number, damage)
    store = SqliteQueueStore(path)
    try:
        if not changed:
            with suppress(StorageError):
                Shell(store)
            return
        with pytest.raises(StorageError, match=f"{table} is damaged"):
            Shell(store)
    finally:
        store.close()


@examples(60)
@given(pick=st.floats(0, 0.999), damage=damages)
def test_a_damaged_body_is_never_another_message(
    queue_file: Filled,
    pick: float,
    damage: Damage,
) -> None:
    path = queue_file.copy()
    places = rows_of(path, _BODY)
    table, column, (number,) = places[int(pick * len(places))]
    spoil(path, table, column, number, damage)
    store = SqliteQueueStore(path)
    shell = Shell(store)
    shell.do(shell.queue.release(lambda _: True, "gone", NOW))
    heard = [shell.wait_command(shell.iterator("command"), 10 + n) for n in range(2)]
    heard.append(shell.wait_event(shell.iterator("event"), 20))
    wanted = {"ready": b"ready", "leased": b"leased"}
    for respond in heard:
        if respond is not None and respond.error is None and respond.args["uuid"] in wanted:
            assert respond.payload == wanted[respond.args["uuid"]]
    shell.queue.outbox_due(NOW)
    now, before = shell.queue.depths()["commands"], queue_file.depths["commands"]
    assert now["count"] == before["count"], "nothing is lost"
    store.close()


@examples(40)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=20), st.booleans())
def test_a_damaged_file_is_refused_or_read(
    queue_file: Filled,
    flips: list[tuple[float, int]],
    cut: bool,
) -> None:
    path = queue_file.copy()
    raw = path.read_bytes()
    for at, bit in flips:
        raw = flipped(at, bit)(raw)
    path.write_bytes(raw[: len(raw) * 2 // 3] if cut else raw)
    try:
        store = SqliteQueueStore(path)
    except StorageError:
        return
    try:
        Shell(store)
    except StorageError:
        return
    finally:
        store.close()


_CLUSTER = [
    ("journal", "header"),
    ("journal", "payload"),
    ("pivots", "document"),
    ("products", "document"),
    ("configurations", "saved"),
    ("configurations", "operator"),
    ("components", "permissions"),
]


@pytest.fixture(scope="module")
def cluster_file(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    path = tmp_path_factory.mktemp("cluster") / "cluster.db"
    store = SqliteStore(path)
    document = {"name": "Ci", "major": 1, "commandtypes": [{"name": "DO", "schema": {"type": "object"}}]}
    entry = {"uuid": "e1", "topic": "t", "event": "e"}
    store.commit(
        [
            Declare(Component("acme", "connector", "ci", "0", "Ci", ("*",), "hash")),
            PutPivot("acme", Pivot.from_dict(document)),
            PutProduct("acme", ProductConnector.from_dict({**document, "product": "P"})),
            PutConfiguration("acme", "ci", {"a": 1}, False),
            AppendEvent("acme", Entry("EVENT", "e1", 1000, entry, b"payload")),
            AppendEvent("acme", Entry("EVENT", "e2", 1000, {**entry, "uuid": "e2"}, b"payload")),
        ]
    )
    store.close()
    return Filled(path, {})


@examples(60)
@given(pick=st.floats(0, 0.999), damage=damages)
def test_a_damaged_row_of_a_member_is_a_storage_error(
    cluster_file: Filled, pick: float, damage: Damage
) -> None:
    path = cluster_file.copy()
    places = rows_of(path, _CLUSTER)
    table, column, (number,) = places[int(pick * len(places))]
    changed = spoil(path, table, column, number, damage)
    store = SqliteStore(path)
    identity = Identity("member", "", "cluster", "1", "boot")
    refused = ""
    try:
        ClusterRouter(identity, ClusterSettings(state_dir=path), store, random.Random(1), lambda: "s")
        store.configuration("acme", "ci")
        found = store.events("acme", 0, 10, 10, 10**6)
        assert [line.entry.payload for line in found] == [b"payload"] * 2
    except StorageError as error:
        refused = str(error)
    finally:
        store.close()
    assert refused or not changed, (table, column)


def test_a_damaged_event_refuses_its_fetch_and_nothing_else() -> None:
    """It ended the member, at each FETCH of that span anew."""

    class Damaged(MemoryStore):
        def events(self, *_: Any) -> Any:
            raise StorageError("event 1 of tenant acme is damaged")

    bench = Bench(Damaged())
    (a,) = topology("acme", "a", bench)[1]
    a.event("e1", "git")
    a.take()
    a.fetch(0, 1, "ci")
    assert a.take() == []
    assert bench.router.status(bench.now)["healthy"] is False
    a.event("e2", "git")
    assert len(a.take()) == 1
