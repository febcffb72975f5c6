"""Appending to the journal in SQLite: what one transaction brings, in a few statements.

A statement for each line would cost more than the line: the writer's thread gives Python's lock away for each
step of SQLite, and has to get it back from a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import orjson

from zconnector.cluster.store import (
    Appended,
    AppendEvent,
    AppendReply,
    Entry,
    Resolve,
    Resolved,
    reference_of,
    size_of,
)
from zconnector.storage.batches import LARGE, parts
from zconnector.storage.seal import seal
from zconnector.storage.sqlite import Transaction

EVENTS, COMMANDS = 0, 1
"""The streams of a tenant."""

Append = Resolve | AppendEvent | AppendReply

_AT_ONCE = (64, 32, *range(16, 0, -1))
"""Rows of one statement: few sizes, so that each stays prepared. Small numbers have their own, since a
transaction mostly brings some fifteen, and a statement costs as much as a row."""


def _inserts(table: str, columns: str) -> dict[int, str]:
    row = f"({', '.join('?' * (columns.count(',') + 1))})"
    return {size: f"INSERT INTO {table} ({columns}) VALUES {', '.join([row] * size)}" for size in _AT_ONCE}


_LINES = _inserts("journal", "tenant, stream, seq, kind, uuid, timestamp, size, header, payload, reference")
_RESOLUTIONS = _inserts("resolutions", "tenant, uuid, digest, target, at")
_RESOLVED = {
    size: "SELECT uuid, target, digest FROM resolutions "
    f"WHERE tenant = ? AND uuid IN ({', '.join('?' * size)})"
    for size in _AT_ONCE
}
_KNOWN = {
    size: "SELECT uuid, seq FROM journal "
    f"WHERE tenant = ? AND stream = ? AND kind = ? AND uuid IN ({', '.join('?' * size)})"
    for size in _AT_ONCE
}

_Line = tuple[int, Entry]
"""The place of a write, and what it appends."""
_Row = tuple[Any, ...]


def append(transaction: Transaction, writes: Sequence[Append]) -> list[Resolved | Appended]:
    """One result for each write, as if they were executed one after the other."""
    results: list[Any] = [None] * len(writes)
    _resolve(transaction, writes, results)
    streams: dict[tuple[str, int], list[_Line]] = {}
    for place, write in enumerate(writes):
        if type(write) is not Resolve or results[place].fresh:
            stream = EVENTS if type(write) is AppendEvent else COMMANDS
            streams.setdefault((write.tenant, stream), []).append((place, write.entry))
    rows: list[tuple[int, _Row]] = []
    for (tenant, stream), lines in streams.items():
        rows += _append(transaction, tenant, stream, lines, results)
    if len(streams) > 1:  # lines stand in the order of their writes, whatever stream they are of
        rows.sort(key=lambda row: row[0])
    _insert(transaction, _LINES, [row for _, row in rows if len(row[_PAYLOAD]) <= LARGE])
    for _, row in rows:
        if len(row[_PAYLOAD]) > LARGE:
            transaction.execute(_LINES[1], row)
    return results


_PAYLOAD = 8
"""Where it stands in a row of `_LINES`."""


def _resolve(transaction: Transaction, writes: Sequence[Append], results: list[Any]) -> None:
    """Put down what becomes of each Resolve, and store the fresh ones."""
    asked: dict[str, list[str]] = {}
    for write in writes:
        if type(write) is Resolve:
            asked.setdefault(write.tenant, []).append(write.uuid)
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for tenant, uuids in asked.items():
        for part in parts(uuids, _AT_ONCE):
            for uuid, target, digest in transaction.execute(_RESOLVED[len(part)], (tenant, *part)):
                known[tenant, uuid] = target, digest
    rows: list[_Row] = []
    for place, write in enumerate(writes):
        if type(write) is Resolve:
            tenant, uuid, candidate, digest = write.tenant, write.uuid, write.candidate, write.digest
            resolved = known.get((tenant, uuid))
            if resolved is None:
                known[tenant, uuid] = candidate, digest
                rows.append((tenant, uuid, digest, candidate, write.entry.timestamp))
                results[place] = Resolved(candidate, digest, True)
            else:
                results[place] = Resolved(*resolved, False)
    _insert(transaction, _RESOLUTIONS, rows)


def _append(
    transaction: Transaction, tenant: str, stream: int, lines: list[_Line], results: list[Any]
) -> list[tuple[int, _Row]]:
    """Rows of the lines of one stream by the places of their writes, numbered in their order, each uuid once.

    Puts down where each stands, but for a Resolve, which has its result.
    """
    known = _known(transaction, tenant, stream, lines)
    fresh: list[tuple[int, Entry, bytes, int]] = []
    coming: dict[tuple[str, str], int] = {}
    """Of the fresh ones, how many came before."""
    total = 0
    for place, entry in lines:
        identity = entry.kind, entry.uuid
        if identity not in known and identity not in coming:
            coming[identity] = len(fresh)
            header = orjson.dumps(entry.header)
            size = size_of(entry, header)
            total += size
            fresh.append((place, entry, header, size))
    first = _number(transaction, tenant, stream, len(fresh), total) if fresh else 0
    rows: list[tuple[int, _Row]] = []
    seq = first
    for place, entry, header, size in fresh:
        kind, uuid, payload = entry.kind, entry.uuid, entry.payload
        sealed = seal(header, uuid.encode() + payload)
        about = reference_of(entry)
        rows.append((place, (tenant, stream, seq, kind, uuid, entry.timestamp, size, sealed, payload, about)))
        if results[place] is None:
            results[place] = Appended(seq, True)
        seq += 1
    if len(fresh) < len(lines):
        for place, entry in lines:
            if results[place] is None:
                identity = entry.kind, entry.uuid
                seq = known[identity] if identity in known else first + coming[identity]
                results[place] = Appended(seq, False)
    return rows


def _known(
    transaction: Transaction, tenant: str, stream: int, lines: Iterable[_Line]
) -> dict[tuple[str, str], int]:
    """The numbers of those that are in the journal, by kind and uuid."""
    asked: dict[str, list[str]] = {}
    for _, entry in lines:
        asked.setdefault(entry.kind, []).append(entry.uuid)
    known: dict[tuple[str, str], int] = {}
    for kind, uuids in asked.items():
        for part in parts(uuids, _AT_ONCE):
            bindings = (tenant, stream, kind, *part)
            for uuid, seq in transaction.execute(_KNOWN[len(part)], bindings):
                known[kind, uuid] = seq
    return known


def _number(transaction: Transaction, tenant: str, stream: int, count: int, size: int) -> int:
    """The first of so many fresh numbers of a stream, which has so many bytes more."""
    rows = transaction.execute(
        "INSERT INTO streams (tenant, stream, last, bytes) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT DO UPDATE SET last = last + ?3, bytes = bytes + ?4 RETURNING last",
        (tenant, stream, count, size),
    )
    return int(rows[0][0]) - count + 1


def _insert(transaction: Transaction, statements: dict[int, str], rows: list[_Row]) -> None:
    for part in parts(rows, _AT_ONCE):
        transaction.execute(statements[len(part)], list(chain.from_iterable(part)))
