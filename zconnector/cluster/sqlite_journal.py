"""Appending to the journal in SQLite: what one transaction brings, in a few statements.

A statement for each line would cost more than the line: the writer's thread gives Python's lock away for each
step of SQLite, and has to get it back from a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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

_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""Rows of one statement: a few sizes, so that each is prepared once."""


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


@dataclass(slots=True)
class _Line:
    """One entry on its way into a stream."""

    place: int
    """Of its write."""
    tenant: str
    stream: int
    entry: Entry


def append(transaction: Transaction, writes: Sequence[Append]) -> list[Resolved | Appended]:
    """One result for each write, as if they were executed one after the other."""
    results: list[Any] = [None] * len(writes)
    _resolve(transaction, writes, results)
    lines: list[_Line] = []
    for place, write in enumerate(writes):
        if not isinstance(write, Resolve):
            stream = EVENTS if isinstance(write, AppendEvent) else COMMANDS
            lines.append(_Line(place, write.tenant, stream, write.entry))
        elif results[place].fresh:
            lines.append(_Line(place, write.tenant, COMMANDS, write.entry))
    appended = _append(transaction, lines)
    for place, write in enumerate(writes):
        if not isinstance(write, Resolve):
            results[place] = appended[place]
    return results


def _resolve(transaction: Transaction, writes: Sequence[Append], results: list[Any]) -> None:
    """Put down what becomes of each Resolve, and store the fresh ones."""
    asked: dict[str, list[str]] = {}
    for write in writes:
        if isinstance(write, Resolve):
            asked.setdefault(write.tenant, []).append(write.uuid)
    known: dict[tuple[str, str], Resolved] = {}
    for tenant, uuids in asked.items():
        for part in parts(uuids, _AT_ONCE):
            for uuid, target, digest in transaction.execute(_RESOLVED[len(part)], (tenant, *part)):
                known[tenant, uuid] = Resolved(target, digest, fresh=False)
    rows: list[tuple[Any, ...]] = []
    for place, write in enumerate(writes):
        if not isinstance(write, Resolve):
            continue
        resolved = known.get((write.tenant, write.uuid))
        if resolved is None:
            known[write.tenant, write.uuid] = Resolved(write.candidate, write.digest, fresh=False)
            resolved = Resolved(write.candidate, write.digest, fresh=True)
            rows.append((write.tenant, write.uuid, write.digest, write.candidate, write.entry.timestamp))
        results[place] = resolved
    _insert(transaction, _RESOLUTIONS, rows)


def _append(transaction: Transaction, lines: list[_Line]) -> dict[int, Appended]:
    """By the places of their writes, where the lines stand: numbered in their order, each uuid once."""
    known = _known(transaction, lines)
    fresh: dict[tuple[str, int], list[tuple[_Line, bytes]]] = {}
    coming: set[tuple[str, int, str, str]] = set()
    for line in lines:
        identity = (line.tenant, line.stream, line.entry.kind, line.entry.uuid)
        if identity not in known and identity not in coming:
            coming.add(identity)
            header = orjson.dumps(line.entry.header)
            fresh.setdefault((line.tenant, line.stream), []).append((line, header))
    rows: list[tuple[_Line, tuple[Any, ...]]] = []
    appended: dict[int, Appended] = {}
    for (tenant, stream), some in fresh.items():
        sizes = [size_of(line.entry, header) for line, header in some]
        seq = _number(transaction, tenant, stream, len(some), sum(sizes))
        for (line, header), size in zip(some, sizes, strict=True):
            entry = line.entry
            known[tenant, stream, entry.kind, entry.uuid] = seq
            appended[line.place] = Appended(seq, fresh=True)
            sealed = seal(header, entry.uuid.encode() + entry.payload)
            row = (tenant, stream, seq, entry.kind, entry.uuid, entry.timestamp, size, sealed)
            rows.append((line, (*row, entry.payload, reference_of(entry))))
            seq += 1
    rows.sort(key=lambda row: row[0].place)
    _insert(transaction, _LINES, [row for line, row in rows if len(line.entry.payload) <= LARGE])
    for line, row in rows:
        if len(line.entry.payload) > LARGE:
            transaction.execute(_LINES[1], row)
    for line in lines:
        if line.place not in appended:
            identity = (line.tenant, line.stream, line.entry.kind, line.entry.uuid)
            appended[line.place] = Appended(known[identity], fresh=False)
    return appended


def _known(transaction: Transaction, lines: Iterable[_Line]) -> dict[tuple[str, int, str, str], int]:
    """The numbers of those that are in the journal."""
    asked: dict[tuple[str, int, str], list[str]] = {}
    for line in lines:
        asked.setdefault((line.tenant, line.stream, line.entry.kind), []).append(line.entry.uuid)
    known: dict[tuple[str, int, str, str], int] = {}
    for (tenant, stream, kind), uuids in asked.items():
        for part in parts(uuids, _AT_ONCE):
            bindings = (tenant, stream, kind, *part)
            for uuid, seq in transaction.execute(_KNOWN[len(part)], bindings):
                known[tenant, stream, kind, uuid] = seq
    return known


def _number(transaction: Transaction, tenant: str, stream: int, count: int, size: int) -> int:
    """The first of so many fresh numbers of a stream, which has so many bytes more."""
    rows = transaction.execute(
        "INSERT INTO streams (tenant, stream, last, bytes) VALUES (?1, ?2, ?3, ?4) "
        "ON CONFLICT DO UPDATE SET last = last + ?3, bytes = bytes + ?4 RETURNING last",
        (tenant, stream, count, size),
    )
    return int(rows[0][0]) - count + 1


def _insert(transaction: Transaction, statements: dict[int, str], rows: list[tuple[Any, ...]]) -> None:
    for part in parts(rows, _AT_ONCE):
        transaction.execute(statements[len(part)], [value for row in part for value in row])
