"""Which components a development topology has, with which ports and arguments.

The plan is made once and kept in `dev.json`, so that a second start on the same state directory
has the same endpoints and goes on from the stored state.
"""

from __future__ import annotations

import re
import socket
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zconnector.errors import ConfigError

TENANT = "dev"
AGGREGATOR = "agg1"
DEFAULT_AGGREGATORS = 3
DEFAULT_CONNECTORS = ("git:Git", "ci:Ci")
PLAN_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Component:
    """One process of the topology."""

    role: str
    """cluster, aggregator or connector."""
    name: str
    instance: str = "0"
    type: str = ""
    """Of a connector."""
    endpoint: str = ""
    """Where a cluster member or an aggregator listens; chosen once."""
    enrolled: bool = False
    """Its enrolment is kept in its own state directory: it needs no secret any more."""

    @property
    def label(self) -> str:
        """What people call it: agg1/a, git, cluster/1."""
        return self.name if self.role == "connector" else f"{self.name}/{self.instance}"

    @property
    def directory(self) -> Path:
        """Its state directory, relative to the topology's."""
        leaf = f"{self.name}-{self.instance}" if self.role == "aggregator" else self.name
        return Path(self.role) / (self.instance if self.role == "cluster" else leaf)

    @property
    def log(self) -> Path:
        """Its log file, relative to the topology's state directory."""
        return Path("logs") / ("-".join(self.directory.parts) + ".log")

    def arguments(self, state_dir: Path, *, strict: bool) -> list[str]:
        """What follows `zconnector` on its command line (never a secret)."""
        argv = [self.role, "--state-dir", str(state_dir / self.directory)]
        if self.role == "cluster":
            argv += ["--bind", self.endpoint, "--member", self.instance]
        if self.role == "aggregator":
            argv += ["--bind", self.endpoint]
        if self.role != "aggregator":
            argv.append("--strict" if strict else "--no-strict")
        return argv

    def declaration(self) -> dict[str, Any]:
        """Arguments of the cluster's `secret_create` for it."""
        return {
            "kind": self.role,
            "tenant": TENANT,
            "name": self.name,
            "instance": self.instance,
            "type": self.type,
            "permissions": ["*", "ADMIN"],
            "aggregator": AGGREGATOR if self.role == "connector" else "",
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """All components, in the order in which they start.

    Invariant: (role, name, instance) is unique, and so is every endpoint.
    """

    components: tuple[Component, ...]
    asleep: tuple[Component, ...] = ()
    """Stored ones that were not asked for this time; they come back with what they had."""

    def of(self, role: str) -> tuple[Component, ...]:
        return tuple(component for component in self.components if component.role == role)

    def enrolled(self, component: Component) -> Plan:
        """The same plan, with one component's enrolment done."""
        done = replace(component, enrolled=True)
        return Plan(
            tuple(done if other.directory == component.directory else other for other in self.components),
            self.asleep,
        )

    def document(self) -> dict[str, Any]:
        """What is kept in dev.json."""
        fields = ("role", "name", "instance", "type", "endpoint", "enrolled")

        def rows(components: Sequence[Component]) -> list[dict[str, Any]]:
            return [{name: getattr(component, name) for name in fields} for component in components]

        return {"version": PLAN_VERSION, "components": rows(self.components), "asleep": rows(self.asleep)}


def read_plan(document: Mapping[str, Any]) -> Plan:
    """The plan kept in dev.json. Raises ConfigError where it is not one of this version."""
    if document.get("version") != PLAN_VERSION:
        raise ConfigError(f"dev.json has version {document.get('version')!r}, known is {PLAN_VERSION}")
    try:
        return Plan(
            tuple(Component(**row) for row in document["components"]),
            tuple(Component(**row) for row in document["asleep"]),
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(f"dev.json is not a plan of zconnector dev: {error}") from error


def free_endpoint() -> str:
    """An endpoint on a port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def parse_connector(text: str) -> tuple[str, str]:
    """`NAME:TYPE` of the command line. Raises ConfigError naming the rule it breaks."""
    name, separator, type_ = text.partition(":")
    if not separator or not _NAME.match(name) or not _NAME.match(type_):
        raise ConfigError(f"--connector {text!r} is not NAME:TYPE (letters, digits and _ . - in both)")
    return name, type_


def make_plan(
    stored: Plan | None,
    aggregators: int | None,
    connectors: Sequence[str] | None,
    free_endpoint: Callable[[], str],
) -> Plan:
    """The plan asked for; what is stored keeps its endpoints and enrolments.

    `None` means: as stored, or the default.
    Raises ConfigError: a name twice, a connector stored with another type.
    """
    kept = (*stored.components, *stored.asleep) if stored else ()
    known = {component.directory: component for component in kept}
    if connectors is None and stored:
        wanted = [(component.name, component.type) for component in stored.of("connector")]
    else:
        wanted = [parse_connector(text) for text in connectors or DEFAULT_CONNECTORS]
    if len({name for name, _ in wanted}) < len(wanted):
        raise ConfigError(f"two connectors have one name: {', '.join(name for name, _ in wanted)}")
    count = aggregators or (len(stored.of("aggregator")) if stored else DEFAULT_AGGREGATORS)
    if count > len(string.ascii_lowercase):
        raise ConfigError(f"--aggregators {count}: at most {len(string.ascii_lowercase)} instances")
    asked = [
        Component("cluster", "cluster", "1"),
        *(Component("aggregator", AGGREGATOR, letter) for letter in string.ascii_lowercase[:count]),
        *(Component("connector", name, type=type_) for name, type_ in wanted),
    ]
    components = tuple(_as_known(component, known, free_endpoint) for component in asked)
    awake = {component.directory for component in components}
    return Plan(components, tuple(component for component in kept if component.directory not in awake))


def _as_known(
    component: Component, known: Mapping[Path, Component], free_endpoint: Callable[[], str]
) -> Component:
    stored = known.get(component.directory)
    if stored is None:
        return component if component.role == "connector" else replace(component, endpoint=free_endpoint())
    if stored.type != component.type:
        raise ConfigError(
            f"connector {component.name!r} is stored with type {stored.type!r}, not {component.type!r}"
        )
    return stored


def topology_document(
    plan: Plan, pids: Mapping[Path, int], grpc: Mapping[Path, str]
) -> dict[str, list[dict[str, Any]]]:
    """What `topology.json` says; pids and gRPC addresses by component directory."""
    return {
        "clusters": [{"pid": pids[c.directory], "endpoint": c.endpoint} for c in plan.of("cluster")],
        "aggregators": [
            {"name": c.name, "instance": c.instance, "pid": pids[c.directory], "endpoint": c.endpoint}
            for c in plan.of("aggregator")
        ],
        "connectors": [
            {"name": c.name, "type": c.type, "pid": pids[c.directory], "grpc": grpc[c.directory]}
            for c in plan.of("connector")
        ],
    }
