"""What each write of the cluster store does in SQLite, but for the appends (`sqlite_journal.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from zconnector.cluster.sqlite_journal import COMMANDS
from zconnector.cluster.sqlite_rows import COMPONENT, document_of, layers_of
from zconnector.cluster.store import (
    Bind,
    ComponentId,
    Declare,
    Learn,
    PutConfiguration,
    PutPivot,
    PutProduct,
    Reassign,
    Rebind,
    Resolved,
    Revoke,
    Trim,
    Trimmed,
)
from zconnector.configuration.logical import Layers, same_values
from zconnector.configuration.pivot import Pivot, ProductConnector, put_beside
from zconnector.storage.seal import seal
from zconnector.storage.sqlite import Transaction

_ONE = "tenant = ? AND kind = ? AND name = ? AND instance = ?"


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
        f"INSERT OR REPLACE INTO components ({COMPONENT}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        pivot = put_beside(document_of(Pivot, rows[0][0], "pivot"), pivot)
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
        return document_of(ProductConnector, rows[0][0], "product connector")
    transaction.execute(
        "INSERT OR REPLACE INTO products (tenant, name, product, major, minor, document) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (*place, seal(orjson.dumps(product.to_dict()))),
    )
    return product


def _put_configuration(transaction: Transaction, write: PutConfiguration) -> Layers | None:
    sql = "SELECT version, saved, operator FROM configurations WHERE tenant = ? AND name = ?"
    known = layers_of(transaction.execute(sql, (write.tenant, write.name)))
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


WRITES: Mapping[type, Callable[[Transaction, Any], Any]] = {
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
"""By the kind of write: what performs it, and gives its result."""
