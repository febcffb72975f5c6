"""What a member keeps, and the port to it (WIRE.md sections 6 to 9).

Writes are values; a store executes a sequence of them in one durable transaction and gives one
result for each. Where two members could disagree (which target, which number, whose key), the store
decides and the result says what it decided: several members may share one store.

| write | result |
|---|---|
| Resolve | Resolved |
| Reassign | Resolved |
| AppendEvent | Appended |
| AppendReply | Appended |
| Declare | bool: False when that component is there, bound to a key and not revoked |
| Bind | str: the key that is bound now ("" when there is no such live component) |
| Rebind, Revoke | bool: whether there is such a live component |
| Learn | None |
| PutPivot | Pivot in force |
| PutProduct | ProductConnector in force |
| PutConfiguration | Layers in force; None: the operator's layer is not `over` |
| Trim | Trimmed |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.messages.message import Message
from zconnector.storage.port import Store


@dataclass(slots=True)
class Entry:
    """One line of the journal, before it has a number.

    Nobody changes it, nor what appends it. They are not frozen all the same: each would take three times as
    long to make, and every command makes four.
    """

    kind: str
    """COMMAND, REPLY or EVENT."""
    uuid: str
    timestamp: int
    """When the member took it; wall clock, ms."""
    header: Mapping[str, Any]
    payload: bytes


def entry_of(message: Message, kind: str, wall: int) -> Entry:
    """The journal entry of a message as it is now."""
    header = message.header
    return Entry(kind, header.get("uuid", ""), wall, header, message.payload)


class Recorded(NamedTuple):
    """One line of the journal with its number in its tenant's stream."""

    seq: int
    entry: Entry | None
    """None: what is stored of it is damaged."""
    damage: str = ""


@dataclass(slots=True)
class Resolve:
    """Which connector a command goes to: `candidate`, unless the uuid is known already.

    Fresh: the entry is journalled in the same transaction.
    """

    tenant: str
    uuid: str
    digest: str
    candidate: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Reassign:
    """Move a command that its target certainly never saw to another one, if it still is `from_`'s."""

    tenant: str
    uuid: str
    from_: str
    to: str


class Resolved(NamedTuple):
    """The resolution in force."""

    target: str
    digest: str
    fresh: bool
    """Made (or moved) by this write."""


@dataclass(slots=True)
class AppendEvent:
    """A broadcast event: the next number of the tenant's sequence, unless its uuid has one."""

    tenant: str
    entry: Entry


@dataclass(slots=True)
class AppendReply:
    """A reply, journalled beside the commands; once for each uuid."""

    tenant: str
    entry: Entry


class Appended(NamedTuple):
    """Where an entry stands."""

    seq: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Component:
    """A declared process. Its secret is known as an argon2id hash only."""

    tenant: str
    kind: str
    """connector or aggregator."""
    name: str
    instance: str
    type: str = ""
    """Connector type."""
    permissions: tuple[str, ...] = ()
    hashed: str = field(default="", repr=False)
    key: str = ""
    """CURVE public key it is bound to; "" until its first validated HELLO."""
    revoked: bool = False
    endpoint: str = ""
    """Of an aggregator: where connectors reach it, as last learnt."""
    server_key: str = ""

    @property
    def identity(self) -> ComponentId:
        return ComponentId(self.tenant, self.kind, self.name, self.instance)


class ComponentId(NamedTuple):
    """What tells components apart."""

    tenant: str
    kind: str
    name: str
    instance: str

    def __str__(self) -> str:
        return f"{self.kind} {self.tenant}/{self.name}/{self.instance}"


@dataclass(frozen=True, slots=True)
class Declare:
    component: Component


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind a component to a key, unless it is bound."""

    component: ComponentId
    key: str


@dataclass(frozen=True, slots=True)
class Rebind:
    """Forget the key: the next validated HELLO binds anew."""

    component: ComponentId


@dataclass(frozen=True, slots=True)
class Revoke:
    component: ComponentId


@dataclass(frozen=True, slots=True)
class Learn:
    """Where an aggregator instance is reached."""

    component: ComponentId
    endpoint: str
    server_key: str


@dataclass(frozen=True, slots=True)
class PutPivot:
    """A pivot for (tenant, name, version).

    One made by an operator replaces; an implicit one adds its commands to an implicit one and
    leaves one made by an operator as it is. With `absent` one replaces an implicit one only.
    """

    tenant: str
    pivot: Pivot
    absent: bool = False


@dataclass(frozen=True, slots=True)
class PutProduct:
    """A product connector for (tenant, name, product, version); with `absent` only where there is none."""

    tenant: str
    product: ProductConnector
    absent: bool = False


@dataclass(frozen=True, slots=True)
class PutConfiguration:
    """One layer of a connector's logical configuration.

    With `over` nothing is changed where the operator's layer is another by now.
    """

    tenant: str
    name: str
    values: Mapping[str, Any]
    operator: bool
    over: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Trim:
    """Delete at most `limit` of the oldest lines that are older than `before` or beyond `max_bytes`.

    A resolution is kept as long as the journal reaches back to its time, and at least until `settled`.
    """

    before: int
    """Wall clock, ms."""
    max_bytes: int
    limit: int
    settled: int
    """Wall clock, ms: no copy of a command that was resolved before this can still come (`Settled`)."""


class Trimmed(NamedTuple):
    rows: int
    """Lines and resolutions deleted."""
    bytes: int
    """What the journal holds now."""


Write = (
    Resolve
    | Reassign
    | AppendEvent
    | AppendReply
    | Declare
    | Bind
    | Rebind
    | Revoke
    | Learn
    | PutPivot
    | PutProduct
    | PutConfiguration
    | Trim
)


@dataclass(frozen=True, slots=True)
class Trail:
    """What a tenant's journal has of one uuid."""

    tenant: str
    target: str
    """The connector that the command was resolved to; "" for what is no command."""
    resolved_at: int
    """Wall clock, ms; 0 with no target."""
    lines: tuple[Recorded, ...]
    """The message itself, and the replies that refer to it, by time. (Replies that a version before this
    store's second schema journalled are not found by what they refer to.)"""


class Reads(Protocol):
    """What a router reads; sees what is committed. Everything raises StorageError."""

    def events(self, tenant: str, after: int, upto: int, limit: int, max_bytes: int) -> list[Recorded]:
        """Events with after < seq <= upto in order: at most `limit`, and `max_bytes` (at least one)."""

    def latest(self, tenant: str) -> int:
        """Last number of the tenant's sequence, kept or not; 0: none yet."""

    def oldest(self, tenant: str) -> int:
        """First number that is still kept; `latest` + 1 when none is."""

    def resolution(self, tenant: str, uuid: str) -> Resolved | None:
        """The target of a command, if it has one."""

    def has_reply(self, tenant: str, uuid: str) -> bool:
        """Whether a reply is in the journal."""

    def trails(self, uuid: str, limit: int) -> list[Trail]:
        """Every tenant that knows a uuid, with at most `limit` lines of each journal."""

    def components(self) -> list[Component]:
        """All components, revoked ones too."""

    def pivots(self) -> list[tuple[str, Pivot]]:
        """All pivots with their tenants."""

    def products(self) -> list[tuple[str, ProductConnector]]:
        """All product connectors with their tenants."""

    def configuration(self, tenant: str, name: str) -> Layers:
        """A connector's logical configuration."""

    def latest_of_all(self) -> dict[str, int]:
        """`latest` of every tenant that has events."""


class ClusterStore(Store, Reads, Protocol):
    """The whole store of a member."""


def size_of(entry: Entry, header: bytes) -> int:
    """Bytes that an entry counts for; `header` is its encoded header."""
    return len(header) + len(entry.payload) + len(entry.uuid) + 64


def reference_of(entry: Entry) -> str:
    """What a reply refers to; "" for all else."""
    reference = entry.header.get("reference", "") if entry.kind == "REPLY" else ""
    return reference if isinstance(reference, str) else ""
