"""What every cluster store promises (zconnector/cluster/store.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.sqlite import SqliteStore
from zconnector.cluster.sqlite_schema import MIGRATIONS
from zconnector.cluster.store import (
    Appended,
    AppendEvent,
    AppendReply,
    Bind,
    ClusterStore,
    Component,
    ComponentId,
    Declare,
    Entry,
    Learn,
    PutConfiguration,
    PutPivot,
    PutProduct,
    Reassign,
    Rebind,
    Resolve,
    Resolved,
    Revoke,
    Trim,
)
from zconnector.configuration.pivot import Pivot, ProductConnector, implicit_pivot
from zconnector.errors import StorageError, StoreVersionError
from zconnector.storage.seal import seal
from zconnector.storage.sqlite import Database

Make = Callable[[], ClusterStore]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Opens the store; a second call opens what the first one left (not in memory)."""
    if request.param == "memory":
        return MemoryStore
    return lambda: SqliteStore(tmp_path / "cluster.db")


@pytest.fixture
def store(make: Make) -> Any:
    store = make()
    yield store
    store.close()


def entry(uuid: str, kind: str = "EVENT", at: int = 1000, payload: bytes = b"p", **header: Any) -> Entry:
    return Entry(kind, uuid, at, {"uuid": uuid, **header}, payload)


def resolve(uuid: str, candidate: str, digest: str = "d", tenant: str = "acme", at: int = 1000) -> Resolve:
    return Resolve(tenant, uuid, digest, candidate, entry(uuid, "COMMAND", at))


def one(store: ClusterStore, write: Any) -> Any:
    (result,) = store.commit([write])
    return result


# ---- resolutions


def test_the_first_resolution_stands(store: ClusterStore) -> None:
    assert store.resolution("acme", "u1") is None
    assert one(store, resolve("u1", "ci")) == Resolved("ci", "d", True)
    assert one(store, resolve("u1", "ci2", "other")) == Resolved("ci", "d", False)
    assert store.resolution("acme", "u1") == Resolved("ci", "d", False)
    assert one(store, resolve("u1", "ci2", tenant="beta")) == Resolved("ci2", "d", True)


def test_two_resolutions_of_one_transaction_agree(store: ClusterStore) -> None:
    assert [r.target for r in store.commit([resolve("u1", "a"), resolve("u1", "b")])] == ["a", "a"]


def test_a_resolution_moves_only_from_where_it_is(store: ClusterStore) -> None:
    one(store, resolve("u1", "ci"))
    assert one(store, Reassign("acme", "u1", "ci", "ci2")) == Resolved("ci2", "d", True)
    assert one(store, Reassign("acme", "u1", "ci", "ci3")) == Resolved("ci2", "d", False)
    assert one(store, Reassign("acme", "u9", "ci", "ci3")) == Resolved("", "", False)


# ---- the journal


def test_every_tenant_has_a_sequence_from_one_without_holes(store: ClusterStore) -> None:
    results = store.commit([AppendEvent("acme", entry(f"e{n}")) for n in range(3)])
    assert results == [Appended(1, True), Appended(2, True), Appended(3, True)]
    assert one(store, AppendEvent("acme", entry("e1"))) == Appended(2, False)
    assert one(store, AppendEvent("beta", entry("e1"))) == Appended(1, True)
    one(store, resolve("u1", "ci"))  # commands are another stream
    assert one(store, AppendEvent("acme", entry("e3"))) == Appended(4, True)
    assert (store.latest("acme"), store.latest("beta"), store.latest("none")) == (4, 1, 0)
    assert store.latest_of_all() == {"acme": 4, "beta": 1}


def test_many_lines_of_one_transaction_are_numbered_in_order_whatever_their_size(store: ClusterStore) -> None:
    """Beyond what one statement takes, with large ones and copies among them."""
    entries = [entry(f"e{n}", payload=b"p" * (70_000 if n % 50 == 7 else 9)) for n in range(150)]
    writes = [AppendEvent("acme", each) for each in (*entries, entries[3], entries[57])]
    results = store.commit(writes)
    assert results == [*(Appended(n, True) for n in range(1, 151)), Appended(4, False), Appended(58, False)]
    assert [r.entry for r in store.events("acme", 0, 999, 999, 10**9)] == entries


def test_events_are_read_back_as_they_were(store: ClusterStore) -> None:
    one(store, AppendEvent("acme", entry("e1", payload=b"\x00\xff", nested={"a": [1]})))
    (line,) = store.events("acme", 0, 10, 10, 10**6)
    assert line.entry is not None
    assert (line.seq, line.entry.uuid, line.entry.kind, line.entry.timestamp) == (1, "e1", "EVENT", 1000)
    assert line.entry.header == {"uuid": "e1", "nested": {"a": [1]}}
    assert line.entry.payload == b"\x00\xff"


def test_events_come_in_order_within_span_count_and_bytes(store: ClusterStore) -> None:
    store.commit([AppendEvent("acme", entry(f"e{n}", payload=bytes(1000))) for n in range(1, 11)])

    def seqs(after: int, upto: int, limit: int, size: int) -> list[int]:
        return [line.seq for line in store.events("acme", after, upto, limit, size)]

    assert seqs(2, 5, 100, 10**6) == [3, 4, 5]
    assert seqs(0, 99, 4, 10**6) == [1, 2, 3, 4]
    assert seqs(0, 99, 100, 2500) == [1, 2]
    assert seqs(0, 99, 100, 1) == [1]
    assert seqs(10, 99, 100, 10**6) == []
    assert store.events("beta", 0, 99, 100, 10**6) == []


def test_replies_are_journalled_once_beside_commands(store: ClusterStore) -> None:
    one(store, resolve("u1", "ci"))
    assert not store.has_reply("acme", "u1")
    assert one(store, AppendReply("acme", entry("r1", "REPLY"))) == Appended(2, True)
    assert one(store, AppendReply("acme", entry("r1", "REPLY"))) == Appended(2, False)
    assert one(store, AppendReply("acme", entry("u1", "REPLY"))).fresh  # a uuid is its kind's
    assert store.has_reply("acme", "r1")
    assert not store.has_reply("beta", "r1")
    assert store.latest("acme") == 0


def test_what_is_too_old_goes_in_chunks_and_the_sequence_goes_on(store: ClusterStore) -> None:
    store.commit([AppendEvent("acme", entry(f"e{n}", at=n * 100)) for n in range(1, 11)])
    assert store.oldest("acme") == 1
    assert one(store, Trim(550, 10**9, 3, 1000)).rows == 3
    assert one(store, Trim(550, 10**9, 3, 1000)).rows == 2
    assert one(store, Trim(550, 10**9, 3, 1000)).rows == 0
    assert store.oldest("acme") == 6
    assert one(store, AppendEvent("acme", entry("e1", at=9999))) == Appended(11, True)
    while one(store, Trim(10**6, 10**9, 100, 1000)).rows:
        pass
    assert (store.oldest("acme"), store.latest("acme")) == (12, 11)
    assert store.oldest("none") == 1


def test_what_is_too_much_goes_oldest_first(store: ClusterStore) -> None:
    store.commit([AppendEvent("acme", entry(f"e{n}", payload=bytes(1000))) for n in range(1, 11)])
    before = one(store, Trim(0, 10**9, 100, 1000))
    assert before.rows == 0
    assert before.bytes > 10_000
    after = one(store, Trim(0, before.bytes // 2, 100, 1000))
    assert after.bytes <= before.bytes // 2
    assert 4 <= after.rows <= 6
    assert store.oldest("acme") == after.rows + 1


def test_a_resolution_is_kept_as_long_as_the_journal_and_at_least_until_it_is_settled(
    store: ClusterStore,
) -> None:
    one(store, resolve("old", "ci", at=1000))
    one(store, resolve("young", "ci", at=9000))
    one(store, Trim(0, 10**9, 100, 8000))
    assert store.resolution("acme", "old") is not None  # its journal line is still there
    one(store, Trim(10_000, 10**9, 100, 8000))
    assert store.resolution("acme", "old") is None
    assert store.resolution("acme", "young") is not None


def test_a_resolution_made_while_the_clock_was_back_stays_with_its_journal_line(store: ClusterStore) -> None:
    one(store, resolve("first", "ci", at=9000))
    one(store, resolve("jumped", "ci", at=1000))
    one(store, Trim(0, 10**9, 100, 9000))
    assert store.resolution("acme", "jumped") is not None


# ---- components

GIT = ComponentId("acme", "connector", "git", "0")


def component(**fields: Any) -> Component:
    return Component(*GIT, type="Git", permissions=("Ci:DO", "*"), hashed="h1", **fields)


def stored(store: ClusterStore) -> Component:
    (found,) = store.components()
    return found


def test_a_component_comes_back_as_it_was_declared(store: ClusterStore) -> None:
    assert one(store, Declare(component())) is True
    assert stored(store) == component()


def test_the_first_key_is_bound_and_stays(store: ClusterStore) -> None:
    assert one(store, Bind(GIT, "k1")) == ""
    one(store, Declare(component()))
    assert store.commit([Bind(GIT, "k1"), Bind(GIT, "k2")]) == ["k1", "k1"]
    assert stored(store).key == "k1"
    assert one(store, Rebind(GIT)) is True
    assert one(store, Bind(GIT, "k2")) == "k2"


def test_a_component_in_use_is_not_declared_over_until_it_is_revoked(store: ClusterStore) -> None:
    one(store, Declare(component()))
    assert one(store, Declare(component())) is True  # nobody has used it
    one(store, Bind(GIT, "k1"))
    assert one(store, Declare(component())) is False
    assert stored(store).key == "k1"
    assert one(store, Revoke(GIT)) is True
    assert one(store, Revoke(GIT)) is False
    assert one(store, Rebind(GIT)) is False
    assert one(store, Bind(GIT, "k1")) == ""
    assert stored(store).revoked
    assert one(store, Declare(component())) is True
    assert stored(store) == component()


def test_an_endpoint_is_learnt(store: ClusterStore) -> None:
    one(store, Declare(component()))
    one(store, Learn(GIT, "tcp://a:1", "k" * 40))
    assert (stored(store).endpoint, stored(store).server_key) == ("tcp://a:1", "k" * 40)


# ---- pivots, products, configuration


def pivot(*commands: str, minor: int = 0) -> Pivot:
    schema = {"type": "object"}
    commandtypes = [{"name": name, "schema": schema} for name in commands]
    return Pivot.from_dict({"name": "Ci", "major": 1, "minor": minor, "commandtypes": commandtypes})


def test_pivots_are_kept_by_tenant_and_version_and_replaced(store: ClusterStore) -> None:
    store.commit([PutPivot("acme", pivot("A")), PutPivot("acme", pivot("B", minor=1))])
    one(store, PutPivot("beta", pivot("C")))
    assert one(store, PutPivot("acme", pivot("D"))) == pivot("D")
    assert sorted(store.pivots(), key=str) == sorted(
        [("acme", pivot("D")), ("acme", pivot("B", minor=1)), ("beta", pivot("C"))], key=str
    )


def test_implicit_pivots_add_up_and_never_replace_an_operators(store: ClusterStore) -> None:
    one(store, PutPivot("acme", implicit_pivot("Ci", 1, 0, ["A"])))
    both = one(store, PutPivot("acme", implicit_pivot("Ci", 1, 0, ["B", "A"])))
    assert [c.name for c in both.commandtypes] == ["A", "B"]
    assert both.implicit
    assert one(store, PutPivot("acme", pivot("X"))) == pivot("X")
    assert one(store, PutPivot("acme", implicit_pivot("Ci", 1, 0, ["C"]))) == pivot("X")
    assert store.pivots() == [("acme", pivot("X"))]


def test_products_are_kept_by_product(store: ClusterStore) -> None:
    def product(name: str, command: str) -> ProductConnector:
        document = {"product": name, "name": "Ci", "major": 1, "minor": 0, "commandtypes": [command]}
        return ProductConnector.from_dict(document)

    store.commit([PutProduct("acme", product(p, c)) for p, c in (("x", "A"), ("y", "B"), ("x", "C"))])
    assert sorted(store.products(), key=str) == [("acme", product("x", "C")), ("acme", product("y", "B"))]


def test_what_must_not_replace_replaces_an_implicit_pivot_only(store: ClusterStore) -> None:
    assert one(store, PutPivot("acme", pivot("A"), absent=True)) == pivot("A")
    assert one(store, PutPivot("acme", pivot("B"), absent=True)) == pivot("A")
    assert one(store, PutPivot("acme", pivot("C", minor=1), absent=True)) == pivot("C", minor=1)
    one(store, PutPivot("beta", implicit_pivot("Ci", 1, 0, ["A"])))
    assert one(store, PutPivot("beta", pivot("B"), absent=True)) == pivot("B")
    assert sorted(store.pivots(), key=str) == sorted(
        [("acme", pivot("A")), ("acme", pivot("C", minor=1)), ("beta", pivot("B"))], key=str
    )


def test_a_product_that_must_not_replace_does_not(store: ClusterStore) -> None:
    def product(name: str, command: str) -> ProductConnector:
        document = {"product": name, "name": "Ci", "major": 1, "minor": 0, "commandtypes": [command]}
        return ProductConnector.from_dict(document)

    assert one(store, PutProduct("acme", product("x", "A"), absent=True)) == product("x", "A")
    assert one(store, PutProduct("acme", product("x", "B"), absent=True)) == product("x", "A")
    assert one(store, PutProduct("acme", product("y", "B"), absent=True)) == product("y", "B")
    assert one(store, PutProduct("acme", product("x", "C"))) == product("x", "C")
    assert sorted(store.products(), key=str) == [("acme", product("x", "C")), ("acme", product("y", "B"))]


def test_configuration_has_two_layers_and_a_version(store: ClusterStore) -> None:
    assert store.configuration("acme", "git").version == 0
    one(store, PutConfiguration("acme", "git", {"a": 1, "b": 1}, operator=False))
    layers = one(store, PutConfiguration("acme", "git", {"b": 2}, operator=True))
    assert layers.in_force.to_dict() == {"version": 2, "values": {"a": 1, "b": 2}}
    again = one(store, PutConfiguration("acme", "git", {"a": 1, "b": 7}, operator=False))
    assert again.in_force.to_dict() == {"version": 2, "values": {"a": 1, "b": 2}}
    assert store.configuration("acme", "git") == again
    assert store.configuration("beta", "git").version == 0


def test_a_layer_that_is_another_by_now_is_not_replaced(store: ClusterStore) -> None:
    def over(values: dict[str, Any], before: dict[str, Any]) -> Any:
        return one(store, PutConfiguration("acme", "git", values, operator=True, over=before))

    assert over({"a": 1}, {"z": 1}) is None
    assert store.configuration("acme", "git").version == 0
    assert over({"a": 1}, {}).operator == {"a": 1}
    one(store, PutConfiguration("acme", "git", {"b": 1}, operator=False))
    assert over({"a": 2}, {}) is None
    assert over({"a": 2}, {"a": True}) is None  # which is 1, for Python
    assert over({"a": 2}, {"a": 1}).in_force.values == {"a": 2, "b": 1}


# ---- what a file must do besides


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cluster.db")
    store.commit(
        [
            resolve("u1", "ci"),
            AppendEvent("acme", entry("e1")),
            AppendReply("acme", entry("r1", "REPLY")),
            Declare(component()),
            Bind(GIT, "k1"),
            PutPivot("acme", pivot("A")),
            PutConfiguration("acme", "git", {"a": 1}, operator=True),
        ]
    )
    store.close()
    store = SqliteStore(tmp_path / "cluster.db")
    assert store.resolution("acme", "u1") == Resolved("ci", "d", False)
    assert store.latest("acme") == 1
    assert store.has_reply("acme", "r1")
    assert stored(store) == component(key="k1")
    assert store.pivots() == [("acme", pivot("A"))]
    assert store.configuration("acme", "git").in_force.values == {"a": 1}
    assert one(store, AppendEvent("acme", entry("e2"))) == Appended(2, True)
    store.close()


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cluster.db")
    with pytest.raises(StorageError):
        store.commit([AppendEvent("acme", entry("e1")), AppendEvent("acme", entry("e2", at=2**70))])
    assert store.latest("acme") == 0
    assert one(store, AppendEvent("acme", entry("e3"))) == Appended(1, True)
    store.close()


def test_what_json_cannot_say_is_a_storage_error_of_that_write(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cluster.db")
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    with pytest.raises(StorageError, match="cannot be stored"):
        store.commit([PutConfiguration("acme", "ci", {"x": deep}, False)])
    assert one(store, AppendEvent("acme", entry("e1"))) == Appended(1, True)
    store.close()


def test_a_store_of_a_newer_zconnector_is_refused(tmp_path: Path) -> None:
    import apsw

    SqliteStore(tmp_path / "cluster.db").close()
    connection = apsw.Connection(str(tmp_path / "cluster.db"))
    connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(StoreVersionError):
        SqliteStore(tmp_path / "cluster.db")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda t, n: AppendEvent(t, entry(f"e{n}", at=n)),
                st.sampled_from(["acme", "beta"]),
                st.integers(0, 9),
            ),
            st.builds(
                lambda t, n, c: resolve(f"u{n}", c, tenant=t, at=n),
                st.sampled_from(["acme", "beta"]),
                st.integers(0, 4),
                st.sampled_from(["x", "y"]),
            ),
            st.builds(
                lambda t, n: AppendReply(t, entry(f"r{n}", "REPLY", at=n, reference=f"u{n}")),
                st.sampled_from(["acme", "beta"]),
                st.integers(0, 4),
            ),
            st.builds(lambda n, c: Reassign("acme", f"u{n}", "x", c), st.integers(0, 4), st.just("y")),
            st.builds(lambda b, n: Trim(b, 10**9, n, 10**8), st.integers(0, 12), st.integers(1, 5)),
            st.builds(lambda n: Trim(0, n, 5, 10**8), st.integers(0, 1000)),
        ),
        max_size=40,
    ),
    st.integers(1, 40),
)
@example(
    [
        AppendEvent("acme", entry("e2", at=2)),
        resolve("u1", "x", at=1),
        resolve("u0", "x", at=0),
        Trim(0, 10**9, 1, 10**8),
    ],
    1,
)
def test_both_stores_give_the_same_answers(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Any], together: int
) -> None:
    """Whether writes are committed one by one, or several together."""
    memory = MemoryStore()
    sqlite = SqliteStore(tmp_path_factory.mktemp("store") / "cluster.db")
    for begin in range(0, len(writes), together):
        some = writes[begin : begin + together]
        assert [one(memory, write) for write in some] == sqlite.commit(some)
    for tenant in ("acme", "beta"):
        assert memory.events(tenant, 0, 99, 99, 10**6) == sqlite.events(tenant, 0, 99, 99, 10**6)
        assert memory.oldest(tenant) == sqlite.oldest(tenant)
        for number in range(5):
            assert memory.resolution(tenant, f"u{number}") == sqlite.resolution(tenant, f"u{number}")
    sqlite.close()


# ---- trails


def test_a_trail_has_the_message_its_resolution_and_its_replies(store: ClusterStore) -> None:
    assert store.trails("u1", 9) == []
    store.commit([resolve("u1", "ci", at=1000), resolve("u2", "ci")])
    store.commit([AppendReply("acme", entry("r1", "REPLY", 3000, reference="u1", event="SUCCES"))])
    store.commit([AppendReply("acme", entry("p1", "REPLY", 2000, reference="u1", event="HALF"))])
    store.commit([AppendReply("acme", entry("r2", "REPLY", reference="u2"))])
    store.commit([AppendEvent("acme", entry("e1", "EVENT", reference="u1"))])
    (trail,) = store.trails("u1", 9)
    assert (trail.tenant, trail.target, trail.resolved_at) == ("acme", "ci", 1000)
    assert [line.entry.uuid for line in trail.lines if line.entry] == ["u1", "p1", "r1"]
    assert [line.entry.uuid for line in store.trails("u1", 2)[0].lines if line.entry] == ["u1", "p1"]
    (of_reply,) = store.trails("r1", 9)
    assert [line.entry.uuid for line in of_reply.lines if line.entry] == ["r1"]
    assert of_reply.target == ""
    (of_event,) = store.trails("e1", 9)
    assert [line.entry for line in of_event.lines] == [entry("e1", "EVENT", reference="u1")]
    assert store.trails("", 9) == []


def test_each_tenant_has_its_own_trail(store: ClusterStore) -> None:
    store.commit([resolve("u1", "ci", tenant="beta"), resolve("u1", "git", tenant="acme")])
    store.commit([AppendReply("beta", entry("r1", "REPLY", reference="u1"))])
    acme, beta = store.trails("u1", 9)
    assert (acme.tenant, acme.target, len(acme.lines)) == ("acme", "git", 1)
    assert (beta.tenant, beta.target, len(beta.lines)) == ("beta", "ci", 2)


def test_a_trail_goes_with_its_journal(store: ClusterStore) -> None:
    store.commit([resolve("u1", "ci", at=1000)])
    store.commit([AppendReply("acme", entry("r1", "REPLY", 5000, reference="u1"))])
    store.commit([Trim(before=2000, max_bytes=1 << 30, limit=10, settled=0)])
    (trail,) = store.trails("u1", 9)
    assert [line.entry.uuid for line in trail.lines if line.entry] == ["r1"]


def test_sqlite_a_store_of_the_first_schema_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    first = Database(path, MIGRATIONS[:1])
    header = seal(orjson.dumps({"uuid": "u1", "command": "DO"}), b"u1" + b"p")
    row = ("acme", 1, 1, "COMMAND", "u1", 1000, 100, header, b"p")
    with first.transaction() as transaction:
        transaction.execute(
            "INSERT INTO journal (tenant, stream, seq, kind, uuid, timestamp, size, header, payload) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        transaction.execute("INSERT INTO streams VALUES ('acme', 1, 1, 100)")
        transaction.execute("INSERT INTO resolutions VALUES ('acme', 'u1', 'd', 'ci', 1000)")
    first.close()
    store = SqliteStore(path)
    store.commit([AppendReply("acme", entry("r1", "REPLY", 2000, reference="u1"))])
    (trail,) = store.trails("u1", 9)
    assert (trail.target, [line.seq for line in trail.lines]) == ("ci", [1, 2])
    store.close()


def test_sqlite_a_damaged_line_is_told_as_such(tmp_path: Path) -> None:
    path = tmp_path / "cluster.db"
    store = SqliteStore(path)
    store.commit([resolve("u1", "ci")])
    store.close()
    database = Database(path, MIGRATIONS)
    with database.transaction() as transaction:
        transaction.execute("UPDATE journal SET payload = ?", (b"changed",))
    database.close()
    store = SqliteStore(path)
    (line,) = store.trails("u1", 9)[0].lines
    assert line.entry is None
    assert "damaged" in line.damage
    store.close()
