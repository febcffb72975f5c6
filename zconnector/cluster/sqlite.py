"""The cluster store in SQLite: one member, one file (`storage/sqlite.py` says how it is opened)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson

from zconnector.cluster.sqlite_journal import COMMANDS, EVENTS, Append, append
from zconnector.cluster.sqlite_rows import COMPONENT, component_of, document_of, entry_of, layers_of
from zconnector.cluster.sqlite_schema import MIGRATIONS
from zconnector.cluster.sqlite_writes import WRITES
from zconnector.cluster.store import Component, Recorded, Resolved, Trail
from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import DamagedError, StorageError
from zconnector.storage.sqlite import Database


class SqliteStore:
    """A `ClusterStore` in one file. `commit` belongs to the writer's thread, the reads to the loop's."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            StorageError: as `storage.sqlite.Database`.
        """
        self._database = Database(path, MIGRATIONS)

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        """Execute the writes in one durable transaction. Raises StorageError."""
        with self._database.transaction() as transaction:
            try:
                results: list[Any] = []
                for appends, some in groupby(writes, lambda write: isinstance(write, Append)):
                    if appends:
                        results += append(transaction, list(some))
                    else:
                        results += [WRITES[type(write)](transaction, write) for write in some]
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
                found.append(Recorded(seq, entry_of(tenant, seq, *rest)))
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
                    lines.append(Recorded(seq, entry_of(tenant, seq, *rest)))
                except DamagedError as error:
                    lines.append(Recorded(seq, None, str(error)))
            known = self._database.read(resolved, (tenant, uuid))
            if lines or known:
                target, at = known[0] if known else ("", 0)
                found.append(Trail(tenant, target, at, tuple(lines)))
        return found

    def components(self) -> list[Component]:
        rows = self._database.read(f"SELECT {COMPONENT} FROM components")
        return [component_of(row) for row in rows]

    def pivots(self) -> list[tuple[str, Pivot]]:
        rows = self._database.read("SELECT tenant, document FROM pivots")
        return [(tenant, document_of(Pivot, document, "pivot")) for tenant, document in rows]

    def products(self) -> list[tuple[str, ProductConnector]]:
        rows = self._database.read("SELECT tenant, document FROM products")
        return [
            (tenant, document_of(ProductConnector, document, "product connector"))
            for tenant, document in rows
        ]

    def configuration(self, tenant: str, name: str) -> Layers:
        sql = "SELECT version, saved, operator FROM configurations WHERE tenant = ? AND name = ?"
        return layers_of(self._database.read(sql, (tenant, name)))

    def latest_of_all(self) -> dict[str, int]:
        return dict(self._database.read("SELECT tenant, last FROM streams WHERE stream = ?", (EVENTS,)))
