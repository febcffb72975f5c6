"""The cluster store in SQLite: one member, one file (`storage/sqlite.py` says how it is opened)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import orjson

from zconnector.cluster.sqlite_journal import COMMANDS, EVENTS, Append, append
from zconnector.cluster.store import (
    Bind,
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
    Recorded,
    Resolved,
    Revoke,
    Trail,
    Trim,
    Trimmed,
)
from zconnector.configuration.logical import Layers, same_values
from zconnector.configuration.pivot import Pivot, ProductConnector, put_beside
from zconnector.errors import ConfigError, DamagedError, StorageError
from zconnector.storage.seal import seal, unseal
from zconnector.storage.sqlite import Database, Transaction

MIGRATIONS = (
    """
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    kind TEXT NOT NULL,
    uuid TEXT NOT NULL,
    timestamp INTEGER NOT NULL,
    size INTEGER NOT NULL,
    header BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE UNIQUE INDEX journal_seq ON journal (tenant, stream, seq);
CREATE UNIQUE INDEX journal_uuid ON journal (tenant, stream, kind, uuid);
CREATE TABLE streams (
    tenant TEXT NOT NULL,
    stream INTEGER NOT NULL,
    last INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, stream)
) WITHOUT ROWID;
CREATE TABLE resolutions (
    tenant TEXT NOT NULL,
    uuid TEXT NOT NULL,
    digest TEXT NOT NULL,
    target TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, uuid)
) WITHOUT ROWID;
CREATE INDEX resolutions_at ON resolutions (at);
CREATE TABLE components (
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    instance TEXT NOT NULL,
    type TEXT NOT NULL,
    permissions BLOB NOT NULL,
    hashed TEXT NOT NULL,
    key TEXT NOT NULL,
    revoked INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    server_key TEXT NOT NULL,
    PRIMARY KEY (tenant, kind, name, instance)
) WITHOUT ROWID;
CREATE TABLE pivots (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, name, major, minor)
);
CREATE TABLE products (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    product TEXT NOT NULL,
    major INTEGER NOT NULL,
    minor INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (tenant, name, product, major, minor)
);
CREATE TABLE configurations (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    saved BLOB NOT NULL,
    operator BLOB NOT NULL,
    PRIMARY KEY (tenant, name)
);
""",
    """
ALTER TABLE journal ADD COLUMN reference TEXT NOT NULL DEFAULT '';
CREATE INDEX journal_reference ON journal (reference, tenant) WHERE reference != '';
""",
)
"""Version 2: a reply is found by the command that it is about. Migrations are only ever added."""

_ONE = "tenant = ? AND kind = ? AND name = ? AND instance = ?"
_COMPONENT = "tenant, kind, name, instance, type, permissions, hashed, key, revoked, endpoint, server_key"


class SqliteStore:
    """A `ClusterStore` in one file. `commit` belongs to the writer's thread, the reads to the loop's."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            StorageError: as `storage.sqlite.Database`.
        """
        self._database = Database(path, MIGRATIONS)
        self._handlers: dict[type, Callable[[Transaction, Any], Any]] = {
            Reassign: _reassign,
            Declare: _declare,
            Bind: _bind,
            Rebind: lambda t, w: _change(t, w.component, "key = ''"),
            Revoke: lambda t, w: _change(t, w.component, "revoked = 1"),
            Learn: _learn,
            PutPivot: _put_pivot,
            PutProduct: _put_product,
            PutConfiguration: _put_configuration,
            Trim: _trim,
        }

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        """Execute the writes in one durable transaction. Raises StorageError."""
        with self._database.transaction() as transaction:
            try:
                results: list[Any] = []
                for appends, some in groupby(writes, lambda write: isinstance(write, Append)):
                    if appends:
                        results += append(transaction, list(some))
                    else:
                        results += [self._handlers[type(write)](transaction, write) for write in some]
                return results
            except orjson.JSONEncodeError as error:
                raise StorageError(f"cannot be stored: {error}") from error

    def close(self) -> None:
        """Release the file."""
        self._database.close()

    # ---- reads

    def events(self, tenant: str, after: int, upto: int, limit: int, max_bytes: int) -> list[Recorded]:
        found: list[Recorded] = []
        size = 0
        sql = (
            "SELECT seq, size, kind, uuid, timestamp, header, payload FROM journal "
            "WHERE tenant = ? AND stream = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
        )
        for seq, row_size, *rest in self._database.each(sql, (tenant, EVENTS, after, upto, limit)):
            size += row_size
            if found and size > max_bytes:
                break
            try:
                found.append(Recorded(seq, _entry(tenant, seq, *rest)))
            except DamagedError as error:
                found.append(Recorded(seq, None, str(error)))
        return found

    def latest(self, tenant: str) -> int:
        rows = self._database.read(
            "SELECT last FROM streams WHERE tenant = ? AND stream = ?", (tenant, EVENTS)
        )
        return int(rows[0][0]) if rows else 0

    def oldest(self, tenant: str) -> int:
        rows = self._database.read(
            "SELECT min(seq) FROM journal WHERE tenant = ? AND stream = ?", (tenant, EVENTS)
        )
        return self.latest(tenant) + 1 if rows[0][0] is None else int(rows[0][0])

    def resolution(self, tenant: str, uuid: str) -> Resolved | None:
        sql = "SELECT target, digest FROM resolutions WHERE tenant = ? AND uuid = ?"
        rows = self._database.read(sql, (tenant, uuid))
        return Resolved(rows[0][0], rows[0][1], fresh=False) if rows else None

    def has_reply(self, tenant: str, uuid: str) -> bool:
        sql = "SELECT 1 FROM journal WHERE tenant = ? AND stream = ? AND kind = 'REPLY' AND uuid = ?"
        return bool(self._database.read(sql, (tenant, COMMANDS, uuid)))

    def trails(self, uuid: str, limit: int) -> list[Trail]:
        found: list[Trail] = []
        columns = "SELECT seq, kind, uuid, timestamp, header, payload FROM journal WHERE "
        sql = (
            f"{columns} tenant = ?1 AND stream IN (?2, ?3) AND kind IN ('COMMAND', 'EVENT', 'REPLY') "
            f"AND uuid = ?4 UNION ALL {columns} reference = ?4 AND reference != '' AND tenant = ?1 "
            "ORDER BY timestamp LIMIT ?5"
        )
        resolved = "SELECT target, at FROM resolutions WHERE tenant = ? AND uuid = ?"
        for (tenant,) in self._database.read("SELECT DISTINCT tenant FROM streams ORDER BY tenant"):
            lines: list[Recorded] = []
            for seq, *rest in self._database.read(sql, (tenant, EVENTS, COMMANDS, uuid, limit)):
                try:
                    lines.append(Recorded(seq, _entry(tenant, seq, *rest)))
                except DamagedError as error:
                    lines.append(Recorded(seq, None, str(error)))
            known = self._database.read(resolved, (tenant, uuid))
            if lines or known:
                target, at = known[0] if known else ("", 0)
                found.append(Trail(tenant, target, at, tuple(lines)))
        return found

    def components(self) -> list[Component]:
        rows = self._database.read(f"SELECT {_COMPONENT} FROM components")
        return [_component(row) for row in rows]

    def pivots(self) -> list[tuple[str, Pivot]]:
        rows = self._database.read("SELECT tenant, document FROM pivots")
        return [(tenant, _read(Pivot, document, "pivot")) for tenant, document in rows]

    def products(self) -> list[tuple[str, ProductConnector]]:
        rows = self._database.read("SELECT tenant, document FROM products")
        return [(tenant, _read(ProductConnector, document, "product connector")) for tenant, document in rows]

    def configuration(self, tenant: str, name: str) -> Layers:
        sql = "SELECT version, saved, operator FROM configurations WHERE tenant = ? AND name = ?"
        return _layers(self._database.read(sql, (tenant, name)))

    def latest_of_all(self) -> dict[str, int]:
        return dict(self._database.read("SELECT tenant, last FROM streams WHERE stream = ?", (EVENTS,)))


def _reassign(transaction: Transaction, write: Reassign) -> Resolved:
    transaction.execute(
        "UPDATE resolutions SET target = ? WHERE tenant = ? AND uuid = ? AND target = ?",
        (write.to, write.tenant, write.uuid, write.from_),
    )
    moved = transaction.changed > 0
    known = _resolution(transaction, write.tenant, write.uuid)
    return Resolved("", "", fresh=False) if known is None else known._replace(fresh=moved)


def _resolution(transaction: Transaction, tenant: str, uuid: str) -> Resolved | None:
    rows = transaction.execute(
        "SELECT target, digest FROM resolutions WHERE tenant = ? AND uuid = ?", (tenant, uuid)
    )
    return Resolved(rows[0][0], rows[0][1], fresh=False) if rows else None


def _declare(transaction: Transaction, write: Declare) -> bool:
    c = write.component
    if transaction.execute(
        f"SELECT 1 FROM components WHERE {_ONE} AND revoked = 0 AND key != ''", c.identity
    ):
        return False
    transaction.execute(
        f"INSERT OR REPLACE INTO components ({_COMPONENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *c.identity,
            c.type,
            seal(orjson.dumps(c.permissions)),
            c.hashed,
            c.key,
            int(c.revoked),
            c.endpoint,
            c.server_key,
        ),
    )
    return True


def _bind(transaction: Transaction, write: Bind) -> str:
    transaction.execute(
        f"UPDATE components SET key = ? WHERE {_ONE} AND key = '' AND revoked = 0",
        (write.key, *write.component),
    )
    sql = f"SELECT key FROM components WHERE {_ONE} AND revoked = 0"
    rows = transaction.execute(sql, write.component)
    return str(rows[0][0]) if rows else ""


def _change(transaction: Transaction, component: ComponentId, change: str) -> bool:
    transaction.execute(f"UPDATE components SET {change} WHERE {_ONE} AND revoked = 0", component)
    return transaction.changed > 0


def _learn(transaction: Transaction, write: Learn) -> None:
    transaction.execute(
        f"UPDATE components SET endpoint = ?, server_key = ? WHERE {_ONE} AND revoked = 0",
        (write.endpoint, write.server_key, *write.component),
    )


def _put_pivot(transaction: Transaction, write: PutPivot) -> Pivot:
    pivot = write.pivot
    place = (write.tenant, pivot.name, pivot.major, pivot.minor)
    sql = "SELECT document FROM pivots WHERE tenant = ? AND name = ? AND major = ? AND minor = ?"
    rows = transaction.execute(sql, place) if pivot.implicit or write.absent else []
    if rows:
        pivot = put_beside(_read(Pivot, rows[0][0], "pivot"), pivot)
    transaction.execute(
        "INSERT OR REPLACE INTO pivots (tenant, name, major, minor, document) VALUES (?, ?, ?, ?, ?)",
        (*place, seal(orjson.dumps(pivot.to_dict()))),
    )
    return pivot


def _put_product(transaction: Transaction, write: PutProduct) -> ProductConnector:
    product = write.product
    place = (write.tenant, product.name, product.product, product.major, product.minor)
    sql = (
        "SELECT document FROM products "
        "WHERE tenant = ? AND name = ? AND product = ? AND major = ? AND minor = ?"
    )
    rows = transaction.execute(sql, place) if write.absent else []
    if rows:
        return _read(ProductConnector, rows[0][0], "product connector")
    transaction.execute(
        "INSERT OR REPLACE INTO products (tenant, name, product, major, minor, document) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*place, seal(orjson.dumps(product.to_dict()))),
    )
    return product


def _put_configuration(transaction: Transaction, write: PutConfiguration) -> Layers | None:
    sql = "SELECT version, saved, operator FROM configurations WHERE tenant = ? AND name = ?"
    known = _layers(transaction.execute(sql, (write.tenant, write.name)))
    if write.over is not None and not same_values(known.operator, write.over):
        return None
    layers = known.with_layer(write.values, operator=write.operator)
    transaction.execute(
        "INSERT OR REPLACE INTO configurations (tenant, name, version, saved, operator) "
        "VALUES (?, ?, ?, ?, ?)",
        (
            write.tenant,
            write.name,
            layers.version,
            seal(orjson.dumps(dict(layers.saved))),
            seal(orjson.dumps(dict(layers.operator))),
        ),
    )
    return layers


def _trim(transaction: Transaction, write: Trim) -> Trimmed:
    total = transaction.execute("SELECT coalesce(sum(bytes), 0) FROM streams")[0][0]
    oldest = transaction.execute(
        "SELECT id, tenant, stream, timestamp, size FROM journal ORDER BY id LIMIT ?", (write.limit,)
    )
    gone = 0
    for identity, tenant, stream, timestamp, size in oldest:
        if timestamp >= write.before and total <= write.max_bytes:
            break
        gone += 1
        total -= size
        transaction.execute("DELETE FROM journal WHERE id = ?", (identity,))
        transaction.execute(
            "UPDATE streams SET bytes = bytes - ? WHERE tenant = ? AND stream = ?", (size, tenant, stream)
        )
    first = transaction.execute("SELECT timestamp FROM journal ORDER BY id LIMIT 1")
    horizon = min(first[0][0] if first else write.settled, write.settled)
    stale = transaction.execute(
        # Not while its journal line is there: wall time that jumps back makes a new one look old.
        "SELECT tenant, uuid FROM resolutions AS r WHERE at < ? AND NOT EXISTS (SELECT 1 FROM journal "
        "WHERE tenant = r.tenant AND stream = ? AND kind = 'COMMAND' AND uuid = r.uuid) "
        "ORDER BY at LIMIT ?",
        (horizon, COMMANDS, write.limit),
    )
    transaction.execute_many("DELETE FROM resolutions WHERE tenant = ? AND uuid = ?", stale)
    return Trimmed(max(gone, len(stale)), total)


def _entry(
    tenant: str, seq: int, kind: str, uuid: str, timestamp: int, header: bytes, payload: bytes
) -> Entry:
    what = f"event {seq} of tenant {tenant}"
    try:
        about = uuid.encode() + payload
    except (AttributeError, TypeError) as error:
        raise DamagedError(f"{what} is damaged: {error}") from error
    return Entry(kind, uuid, timestamp, _json(header, what, dict, about), payload)


JsonT = TypeVar("JsonT", dict[str, Any], list[Any])


def _json(stored: object, what: str, kind: type[JsonT], about: bytes = b"") -> JsonT:
    """A sealed JSON value. Raises DamagedError."""
    try:
        value = orjson.loads(unseal(stored, what, about))
    except orjson.JSONDecodeError as error:
        raise DamagedError(f"{what} is damaged: {error}") from error
    if not isinstance(value, kind):
        raise DamagedError(f"{what} is damaged: {type(value).__name__} instead of {kind.__name__}")
    return value


ItemT = TypeVar("ItemT", Pivot, ProductConnector)


def _read(kind: type[ItemT], document: object, what: str) -> ItemT:
    try:
        return kind.from_dict(_json(document, f"stored {what}", dict))
    except ConfigError as error:
        raise StorageError(f"stored {what}: {error}") from error


def _layers(rows: list[tuple[Any, ...]]) -> Layers:
    if not rows:
        return Layers()
    version, saved, operator = rows[0]
    what = "stored configuration"
    return Layers(version, _json(saved, what, dict), _json(operator, what, dict))


def _component(row: tuple[Any, ...]) -> Component:
    tenant, kind, name, instance, type_, permissions, hashed, key, revoked, endpoint, server_key = row
    return Component(
        tenant=tenant,
        kind=kind,
        name=name,
        instance=instance,
        type=type_,
        permissions=tuple(_json(permissions, f"component {tenant}/{kind}/{name}/{instance}", list)),
        hashed=hashed,
        key=key,
        revoked=bool(revoked),
        endpoint=endpoint,
        server_key=server_key,
    )
