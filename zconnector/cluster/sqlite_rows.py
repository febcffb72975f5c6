"""What stands in the rows of the cluster store in SQLite: sealed JSON, read back into values."""

from __future__ import annotations

from typing import Any, TypeVar

import orjson

from zconnector.cluster.store import Component, Entry
from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import ConfigError, DamagedError, StorageError
from zconnector.storage.seal import unseal

COMPONENT = "tenant, kind, name, instance, type, permissions, hashed, key, revoked, endpoint, server_key"
"""Columns, in the order of `component_of`."""


def entry_of(
    tenant: str, seq: int, kind: str, uuid: str, timestamp: int, header: bytes, payload: bytes
) -> Entry:
    """A line of a journal. Raises DamagedError."""
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


def document_of(kind: type[ItemT], document: object, what: str) -> ItemT:
    """A pivot or a product connector. Raises StorageError."""
    try:
        return kind.from_dict(_json(document, f"stored {what}", dict))
    except ConfigError as error:
        raise StorageError(f"stored {what}: {error}") from error


def layers_of(rows: list[tuple[Any, ...]]) -> Layers:
    """A logical configuration, empty where there is no row. Raises DamagedError."""
    if not rows:
        return Layers()
    version, saved, operator = rows[0]
    what = "stored configuration"
    return Layers(version, _json(saved, what, dict), _json(operator, what, dict))


def component_of(row: tuple[Any, ...]) -> Component:
    """A row of the columns `COMPONENT`. Raises DamagedError."""
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
