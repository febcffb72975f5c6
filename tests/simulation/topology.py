"""Which machines there are, and what is declared in the cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.store import Component, Declare, PutPivot
from zconnector.configuration.pivot import Pivot

MEMBER_KEY = "member".ljust(40, "k")


@dataclass(frozen=True, slots=True)
class ConnectorSpec:
    """A connector and who works at it."""

    tenant: str
    name: str
    type: str
    workers: tuple[bool, ...] = (True,)
    """One Gandalf worker each; True: it names itself, as our SDK does."""
    streams: tuple[int, ...] = ()
    """One worker of zconnector.v1 each, with so much in flight at most."""
    pollers: int = 0
    """Workers that poll and complete with single calls."""
    subscriptions: tuple[tuple[str, int], ...] = ()
    """Names of subscriptions to the events here, and how many compete for each."""

    versioned: bool = False
    """Its workers are versions of its type `Vcs`, which its admin worker runs (`version_host.py`)."""

    @property
    def node(self) -> str:
        return f"{self.tenant}/{self.name}"


@dataclass(frozen=True, slots=True)
class Topology:
    """One member, aggregator instances by tenant, connectors."""

    instances: tuple[tuple[str, str], ...]
    """(tenant, instance)."""
    connectors: tuple[ConnectorSpec, ...]

    def of_tenant(self, tenant: str) -> list[ConnectorSpec]:
        return [spec for spec in self.connectors if spec.tenant == tenant]

    @property
    def tenants(self) -> list[str]:
        return sorted({spec.tenant for spec in self.connectors})


STANDARD = Topology(
    instances=(("t1", "a"), ("t1", "b"), ("t1", "c")),
    connectors=(
        ConnectorSpec("t1", "git1", "Git"),
        ConnectorSpec("t1", "git2", "Git"),
        ConnectorSpec("t1", "ci", "Ci"),
    ),
)
"""What speed is measured on."""

TWO_TENANTS = Topology(
    instances=(*STANDARD.instances, ("t2", "a")),
    connectors=(
        ConnectorSpec("t1", "git1", "Git", (True,), (2,), subscriptions=(("audit", 2), ("bill", 1))),
        ConnectorSpec("t1", "git2", "Git", (), (3, 1)),
        ConnectorSpec("t1", "ci", "Ci", (False,), (1,), 1, (("audit", 1),)),
        ConnectorSpec("t2", "git1", "Git", (True,)),
    ),
)
"""Two connectors of one type, and a second tenant with names of the first; Gandalf workers alone (one that
does not name itself), v1 workers alone, and both."""

VCS = ConnectorSpec("t1", "vcs", "Vcs", (), versioned=True)
VERSIONS = Topology(
    instances=(("t1", "a"), ("t1", "b")),
    connectors=(ConnectorSpec("t1", "ci", "Ci", (True,)), VCS),
)
"""A connector with worker versions, and another one, which sends to it."""

WITH_VERSIONS = Topology(TWO_TENANTS.instances, (*TWO_TENANTS.connectors, VCS))

COMMANDS = {"Git": ("CLONE", "MERGE"), "Ci": ("BUILD",), "Vcs": ("PULL", "PUSH")}
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
RETRIES: dict[str, dict[str, Any]] = {"MERGE": {"attempts": 3, "first": 500, "limit": 3_000}}
"""What pivots say of how their commands are tried again."""
AGGREGATOR = "agg"


def instance_node(tenant: str, instance: str) -> str:
    return f"{tenant}/{AGGREGATOR}-{instance}"


def key_of(node: str) -> str:
    """The CURVE public key of a machine's process, as ZAP would see it."""
    return node.replace("/", "-").ljust(40, "k")


def secret_of(node: str) -> str:
    return f"secret of {node}"


def declare(store: MemoryStore, topology: Topology) -> None:
    """Everything that operators have told the cluster before the world begins."""
    for tenant, instance in topology.instances:
        node = instance_node(tenant, instance)
        hashed = f"hash of {secret_of(node)}"
        store.commit([Declare(Component(tenant, "aggregator", AGGREGATOR, instance, hashed=hashed))])
    for spec in topology.connectors:
        hashed = f"hash of {secret_of(spec.node)}"
        may = ("*", "ADMIN") if spec.tenant == "t1" else ("*",)
        component = Component(spec.tenant, "connector", spec.name, "0", spec.type, may, hashed)
        store.commit([Declare(component)])
    for tenant in topology.tenants:
        for connector_type in sorted({spec.type for spec in topology.of_tenant(tenant)}):
            document = pivot_of(connector_type, 0)
            store.commit([PutPivot(tenant, Pivot.from_dict(document))])


def _retry(name: str) -> dict[str, Any]:
    return {"retry": RETRIES[name]} if name in RETRIES else {}


def pivot_of(connector_type: str, minor: int, *more: str) -> dict[str, Any]:
    """A pivot of that type as an operator writes it; `more`: commands that no worker takes."""
    names = (*COMMANDS[connector_type], *more)
    commands = [{"name": name, "schema": SCHEMA, **_retry(name)} for name in names]
    return {"name": connector_type, "major": 1, "minor": minor, "commandtypes": commands}
