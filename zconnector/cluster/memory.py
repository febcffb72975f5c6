"""The cluster store in memory: what the port promises, but for surviving the process.

For simulations and for tests of the router; the contract suite holds it to the port.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from zconnector.cluster.store import (
    Appended,
    AppendEvent,
    AppendReply,
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
    Resolve,
    Resolved,
    Revoke,
    Trail,
    Trim,
    Trimmed,
    reference_of,
    size_of,
)
from zconnector.configuration.logical import Layers, same_values
from zconnector.configuration.pivot import Pivot, ProductConnector, put_beside

_EVENTS, _COMMANDS = "events", "commands"


@dataclass(slots=True)
class _Line:
    tenant: str
    stream: str
    seq: int
    entry: Entry
    size: int


@dataclass(slots=True)
class _Resolution:
    target: str
    digest: str
    at: int


@dataclass(slots=True)
class MemoryStore:
    """A `ClusterStore` of dictionaries."""

    _journal: list[_Line] = field(default_factory=list)
    _known: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    _last: dict[tuple[str, str], int] = field(default_factory=dict)
    _resolutions: dict[tuple[str, str], _Resolution] = field(default_factory=dict)
    _components: dict[ComponentId, Component] = field(default_factory=dict)
    _pivots: dict[tuple[str, str, int, int], Pivot] = field(default_factory=dict)
    _products: dict[tuple[str, str, str, int, int], ProductConnector] = field(default_factory=dict)
    _configurations: dict[tuple[str, str], Layers] = field(default_factory=dict)
    _bytes: int = 0

    def commit(self, writes: Sequence[Any]) -> list[Any]:
        """Execute the writes in order; none of ours can fail half way."""
        return [self._execute(write) for write in writes]

    def close(self) -> None:
        """Nothing to release."""

    def _execute(self, write: Any) -> Any:
        return _HANDLERS[type(write)](self, write)

    def _resolve(self, write: Resolve) -> Resolved:
        known = self._resolutions.get((write.tenant, write.uuid))
        if known is not None:
            return Resolved(known.target, known.digest, fresh=False)
        self._append(write.tenant, _COMMANDS, write.entry)
        made = _Resolution(write.candidate, write.digest, write.entry.timestamp)
        self._resolutions[write.tenant, write.uuid] = made
        return Resolved(made.target, made.digest, fresh=True)

    def _reassign(self, write: Reassign) -> Resolved:
        known = self._resolutions.get((write.tenant, write.uuid))
        if known is None:
            return Resolved("", "", fresh=False)
        moved = known.target == write.from_
        if moved:
            known.target = write.to
        return Resolved(known.target, known.digest, moved)

    def _append(self, tenant: str, stream: str, entry: Entry) -> Appended:
        identity = (tenant, stream, entry.kind, entry.uuid)
        known = self._known.get(identity)
        if known is not None:
            return Appended(known, fresh=False)
        seq = self._last.get((tenant, stream), 0) + 1
        self._last[tenant, stream] = seq
        self._known[identity] = seq
        size = size_of(entry, orjson.dumps(entry.header))
        self._journal.append(_Line(tenant, stream, seq, entry, size))
        self._bytes += size
        return Appended(seq, fresh=True)

    def _declare(self, write: Declare) -> bool:
        known = self._components.get(write.component.identity)
        if known is not None and known.key and not known.revoked:
            return False
        self._components[write.component.identity] = write.component
        return True

    def _bind(self, write: Bind) -> str:
        known = self._components.get(write.component)
        if known is None or known.revoked:
            return ""
        if not known.key:
            known = replace(known, key=write.key)
            self._components[write.component] = known
        return known.key

    def _change(self, identity: ComponentId, **changes: Any) -> bool:
        known = self._components.get(identity)
        if known is None or known.revoked:
            return False
        self._components[identity] = replace(known, **changes)
        return True

    def _learn(self, write: Learn) -> None:
        self._change(write.component, endpoint=write.endpoint, server_key=write.server_key)

    def _put_pivot(self, write: PutPivot) -> Pivot:
        pivot = write.pivot
        place = (write.tenant, pivot.name, pivot.major, pivot.minor)
        known = self._pivots.get(place)
        if known is not None and (pivot.implicit or write.absent):
            pivot = put_beside(known, pivot)
        self._pivots[place] = pivot
        return pivot

    def _put_product(self, write: PutProduct) -> ProductConnector:
        product = write.product
        place = (write.tenant, product.name, product.product, product.major, product.minor)
        if not write.absent or place not in self._products:
            self._products[place] = product
        return self._products[place]

    def _put_configuration(self, write: PutConfiguration) -> Layers | None:
        place = (write.tenant, write.name)
        known = self._configurations.get(place, Layers())
        if write.over is not None and not same_values(known.operator, write.over):
            return None
        layers = known.with_layer(write.values, operator=write.operator)
        self._configurations[place] = layers
        return layers

    def _trim(self, write: Trim) -> Trimmed:
        gone = 0
        for line in self._journal[: write.limit]:
            if line.entry.timestamp >= write.before and self._bytes <= write.max_bytes:
                break
            gone += 1
            self._bytes -= line.size
            del self._known[line.tenant, line.stream, line.entry.kind, line.entry.uuid]
        del self._journal[:gone]
        oldest = self._journal[0].entry.timestamp if self._journal else write.settled
        horizon = min(oldest, write.settled)
        old = sorted(
            (made.at, tenant, uuid)
            for (tenant, uuid), made in self._resolutions.items()
            if made.at < horizon and (tenant, _COMMANDS, "COMMAND", uuid) not in self._known
        )
        stale = [(tenant, uuid) for _, tenant, uuid in old[: write.limit]]
        for place in stale:
            del self._resolutions[place]
        return Trimmed(max(gone, len(stale)), self._bytes)

    # ---- reads

    def events(self, tenant: str, after: int, upto: int, limit: int, max_bytes: int) -> list[Recorded]:
        found: list[Recorded] = []
        size = 0
        for line in self._journal:
            if line.tenant == tenant and line.stream == _EVENTS and after < line.seq <= upto:
                size += line.size
                if found and (len(found) >= limit or size > max_bytes):
                    break
                found.append(Recorded(line.seq, line.entry))
        return found

    def latest(self, tenant: str) -> int:
        return self._last.get((tenant, _EVENTS), 0)

    def oldest(self, tenant: str) -> int:
        kept = (line.seq for line in self._journal if line.tenant == tenant and line.stream == _EVENTS)
        return next(kept, self.latest(tenant) + 1)

    def resolution(self, tenant: str, uuid: str) -> Resolved | None:
        known = self._resolutions.get((tenant, uuid))
        return None if known is None else Resolved(known.target, known.digest, fresh=False)

    def has_reply(self, tenant: str, uuid: str) -> bool:
        return (tenant, _COMMANDS, "REPLY", uuid) in self._known

    def trails(self, uuid: str, limit: int) -> list[Trail]:
        found: list[Trail] = []
        for tenant in sorted({line.tenant for line in self._journal} | {of for of, _ in self._resolutions}):
            lines = [
                Recorded(line.seq, line.entry)
                for line in self._journal
                if line.tenant == tenant and uuid and uuid in (line.entry.uuid, reference_of(line.entry))
            ]
            known = self._resolutions.get((tenant, uuid))
            if lines or known is not None:
                lines.sort(key=lambda line: line.entry.timestamp if line.entry else 0)
                target, at = (known.target, known.at) if known else ("", 0)
                found.append(Trail(tenant, target, at, tuple(lines[:limit])))
        return found

    def components(self) -> list[Component]:
        return list(self._components.values())

    def pivots(self) -> list[tuple[str, Pivot]]:
        return [(place[0], pivot) for place, pivot in self._pivots.items()]

    def products(self) -> list[tuple[str, ProductConnector]]:
        return [(place[0], product) for place, product in self._products.items()]

    def configuration(self, tenant: str, name: str) -> Layers:
        return self._configurations.get((tenant, name), Layers())

    def latest_of_all(self) -> dict[str, int]:
        return {tenant: last for (tenant, stream), last in self._last.items() if stream == _EVENTS}


_HANDLERS: dict[type, Callable[[MemoryStore, Any], Any]] = {
    Resolve: MemoryStore._resolve,
    Reassign: MemoryStore._reassign,
    AppendEvent: lambda store, w: store._append(w.tenant, _EVENTS, w.entry),
    AppendReply: lambda store, w: store._append(w.tenant, _COMMANDS, w.entry),
    Declare: MemoryStore._declare,
    Bind: MemoryStore._bind,
    Rebind: lambda store, w: store._change(w.component, key=""),
    Revoke: lambda store, w: store._change(w.component, revoked=True),
    Learn: MemoryStore._learn,
    PutPivot: MemoryStore._put_pivot,
    PutProduct: MemoryStore._put_product,
    PutConfiguration: MemoryStore._put_configuration,
    Trim: MemoryStore._trim,
}
