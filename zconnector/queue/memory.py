"""The local queue's store in memory, for tests and simulation: same promises but for the power cord."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from zconnector.errors import StorageError
from zconnector.queue.store import SPACES, Key, Put, Row, Write, encode_meta


class MemoryQueueStore:
    """A QueueStore that keeps rows in dicts, encoded as on the disk.

    `rows` survives `close`: give it to a new store and the "file" is opened again. `max_bytes`
    bounds metas and bodies together, as a full disk would; 0: no bound.
    """

    def __init__(
        self, rows: dict[str, dict[Key, tuple[bytes, bytes]]] | None = None, *, max_bytes: int = 0
    ) -> None:
        self.rows = {space: {} for space in SPACES} if rows is None else rows
        self.max_bytes = max_bytes

    def commit(self, writes: Sequence[Write]) -> list[Any]:
        before_all = self.used if self.max_bytes else 0
        undo: list[tuple[str, Key, tuple[bytes, bytes] | None]] = []
        try:
            for write in writes:
                table, key = self._table(write.space), write.key
                before = table.get(key)
                undo.append((write.space, key, before))
                if type(write) is Put:
                    body = write.body
                    if body is None:
                        body = b"" if before is None else before[1]
                    table[key] = (encode_meta(write.meta), body)
                elif before is not None:
                    del table[key]
            if self.max_bytes and self.used > max(self.max_bytes, before_all):
                raise StorageError(f"the store is full: {self.max_bytes} bytes")
        except StorageError:
            for space, key, before in reversed(undo):
                if before is None:
                    self.rows[space].pop(key, None)
                else:
                    self.rows[space][key] = before
            raise
        return [None] * len(writes)

    @property
    def used(self) -> int:
        """Bytes of all metas and bodies."""
        return sum(len(meta) + len(body) for table in self.rows.values() for meta, body in table.values())

    def body(self, space: str, key: Key) -> bytes:
        table = self._table(space)
        if key not in table:
            raise StorageError(f"no row {key!r} in {space}")
        return table[key][1]

    def bodies(self, space: str, first: int, last: int, most: int) -> list[tuple[int, bytes]]:
        table = self._table(space)
        rows = [(key, table[key][1]) for key in range(first, last + 1) if key in table]
        return [(key, body) for key, body in rows if 0 < len(body) <= most]

    def scan(self, space: str) -> Iterator[Row]:
        table = self._table(space)
        for key in sorted(table, key=lambda key: (isinstance(key, str), key)):
            meta, body = table[key]
            yield Row(space, key, orjson.loads(meta), len(body))

    def close(self) -> None:
        """Nothing to release."""

    def _table(self, space: str) -> dict[Key, tuple[bytes, bytes]]:
        try:
            return self.rows[space]
        except KeyError:
            raise StorageError(f"no such space: {space!r}") from None
