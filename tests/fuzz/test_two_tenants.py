"""Two tenants on one member, with the same names and uuids in both: nothing of one is seen by the other.

The real cores, wired together as in the simulation. Everything that a tenant says carries its mark; every
frame that reaches a process of a tenant, every answer at a door and every status is searched for the mark
of the other. Workers say anything; connectors and aggregator instances also say what no honest one would.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from tests.fuzz.hostile import PAYLOADS
from tests.fuzz.profile import LONG, seeds
from tests.simulation.network import Network, Pipe
from tests.simulation.nodes import ConnectorNode, InstanceNode, MemberNode, Node, Surroundings
from tests.simulation.process import Process
from tests.simulation.scheduler import MS, SECOND, Scheduler
from tests.simulation.topology import COMMANDS, ConnectorSpec, Topology, declare, instance_node
from tests.simulation.trace import Trace
from tests.simulation.variant import Variant
from zconnector.actions import Transmit
from zconnector.cluster.catalogues import Catalogues
from zconnector.cluster.context import Context
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.presence import Presence
from zconnector.cluster.router import ClusterRouter
from zconnector.errors import Refusal
from zconnector.messages.codec import decode
from zconnector.messages.fields import REQUIRED
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message, body_digest

TENANTS = ("t1", "t2")
UUIDS = [f"u{number}" for number in range(4)]
EVENTS = ["SUCCES", "FAIL", "PROGRESS", "E", "ON_GOING"]
TOPOLOGY = Topology(
    instances=tuple((tenant, instance) for tenant in TENANTS for instance in "ab"),
    connectors=tuple(
        ConnectorSpec(tenant, name, type_)
        for tenant in TENANTS
        for name, type_ in (("git", "Git"), ("ci", "Ci"), (f"only-{tenant}", "Git"))
    ),
)


class Seen(Exception):
    """Something of one tenant was seen by the other."""


def mark(tenant: str) -> str:
    return f"<<{tenant}>>"


def other(tenant: str) -> str:
    return TENANTS[1 - TENANTS.index(tenant)]


class Watch:
    """What each tenant has seen; raises `Seen` at the first thing that is not its own."""

    def __init__(self) -> None:
        self.router: ClusterRouter | None = None
        self.things = 0
        self._commands: dict[str, set[str]] = defaultdict(set)
        self._receipts: dict[str, set[str]] = defaultdict(set)

    def text(self, tenant: str, what: bytes, where: str) -> None:
        self.things += 1
        strange = other(tenant)
        for foreign in (mark(strange).encode(), f"only-{strange}".encode()):
            if foreign in what:
                raise Seen(f"{where}: {what[:400]!r}")

    def frames(self, tenant: str, frames: list[bytes], where: str) -> None:
        for frame in frames:
            self.text(tenant, frame, where)
        for message in decode(frames):
            # Within a tenant a liar may write what it likes; the member is none.
            if where.endswith("from member") and message.text("tenant") not in ("", tenant):
                raise Seen(f"{where}: {message}")
            if message.kind is Kind.COMMAND:
                self._commands[tenant].add(body_digest(message))
            elif message.is_receipt and message.text("digest"):
                self._receipts[tenant].add(message.text("digest"))
            known = self.router._events.latest(tenant) if self.router is not None else 0
            if message.kind in (Kind.HEARTBEAT, Kind.WELCOME) and message.number("latest") > known:
                raise Seen(f"{where}: a number of the other's sequence: {message}")

    def done(self) -> None:
        for tenant in TENANTS:
            if self._receipts[tenant] & (self._commands[other(tenant)] - self._commands[tenant]):
                raise Seen(f"{tenant} got a receipt of the other's command")


class Pair:
    """One member, two instances and three connectors of each tenant."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.watch = Watch()
        self.scheduler = Scheduler()
        self.defects: list[str] = []
        network = Network(self.scheduler, random.Random(seed))
        variant = Variant()
        variant.process = self._spied()
        variant.member = self._watched  # type: ignore[method-assign]
        around = Surroundings(
            str(seed),
            self.scheduler,
            network,
            Trace(),
            variant,
            lambda node, what: self.defects.append(f"{node}: {what}"),
        )
        store = MemoryStore()
        declare(store, TOPOLOGY)
        self.member = MemberNode("member", around, 0.0, store)
        instances = {tenant: list[InstanceNode]() for tenant in TENANTS}
        for tenant, instance in TOPOLOGY.instances:
            node = InstanceNode(tenant, instance, instance_node(tenant, instance), around, 0.0)
            instances[tenant].append(node)
        self.instances = [node for nodes in instances.values() for node in nodes]
        self.connectors = [
            ConnectorNode(spec, around, 0.0, instances[spec.tenant]) for spec in TOPOLOGY.connectors
        ]
        self._iterators: dict[tuple[str, str], str] = {}
        nodes: list[Node] = [self.member, *self.instances, *self.connectors]
        for each in nodes:
            each.start()
        self.run(2 * SECOND)

    def _spied(self) -> type[Process]:
        watch = self.watch

        class Spied(Process):
            def arrived(self, pipe: Pipe, frames: list[bytes]) -> None:
                tenant = self.node.split("/")[0]
                if tenant in TENANTS:
                    watch.frames(tenant, frames, f"{self.node} from {pipe.source.node}")
                super().arrived(pipe, frames)

        return Spied

    def _watched(self, router: ClusterRouter) -> None:
        self.watch.router = router

    def run(self, time: int) -> None:
        self.scheduler.run_until(self.scheduler.now + time)

    # ---- what is done

    def step(self) -> None:
        rng = self.rng
        does: list[Callable[[], None]] = [
            *[self.send_command] * 4,
            *[self.send_event] * 3,
            *[self.wait_command] * 3,
            *[self.wait_event] * 3,
            self.register,
            self.operate,
            *[self.lie_of_a_connector] * 3,
            *[self.lie_of_an_instance] * 3,
            self.restart,
        ]
        rng.choice(does)()
        self.run(rng.choice((0, 1 * MS, 20 * MS, 400 * MS)))

    def call(self, node: ConnectorNode, op: str, args: Mapping[str, Any], payload: bytes = b"") -> None:
        tenant = node.spec.tenant

        def answered(result: Mapping[str, Any], body: bytes, error: Refusal | None) -> None:
            said = orjson.dumps([dict(result), str(error)]) + body
            self.watch.text(tenant, said, f"door of {node.name}, {op}")
            if op == "create_iterator" and error is None:
                self._iterators[node.name, str(args["kind"])] = str(result["iterator"])

        if node.door is not None:
            node.door.call(op, args, payload, answered)

    def _fields(self, node: ConnectorNode) -> dict[str, Any]:
        sign = mark(node.spec.tenant)
        return {"uuid": self.rng.choice(UUIDS), "token": sign, "worker": sign, "timeout": 1000}

    def _payload(self, tenant: str) -> bytes:
        return orjson.dumps({"n": self.rng.randrange(3), "of": mark(tenant)})

    def send_command(self) -> None:
        node = self.rng.choice(self.connectors)
        wanted = self.rng.choice(["Git", "Ci"])
        sign = mark(node.spec.tenant)
        args = {**self._fields(node), "type": wanted, "command": COMMANDS[wanted][0], "context": sign}
        self.call(node, "send_command", {**args, "definite": True}, self._payload(node.spec.tenant))

    def send_event(self) -> None:
        node = self.rng.choice(self.connectors)
        args = {**self._fields(node), "topic": self.rng.choice(["T", "BUILD", "CLONE"])}
        args["event"] = self.rng.choice(EVENTS)
        if self.rng.random() < 0.6:
            args["uuid"] = f"e-{args['uuid']}"
            args["reference"] = self.rng.choice(UUIDS)
        self.call(node, "send_event", args, self._payload(node.spec.tenant))

    def _iterator(self, node: ConnectorNode, kind: str) -> str:
        if (node.name, kind) not in self._iterators:
            self.call(node, "create_iterator", {"kind": kind})
            self.run(20 * MS)
        return self._iterators.get((node.name, kind), "none")

    def wait_command(self) -> None:
        node = self.rng.choice(self.connectors)
        iterator = self._iterator(node, "command")
        name = self.rng.choice(COMMANDS[node.spec.type])
        self.call(node, "wait_command", {"iterator": iterator, "command": name, "seen": ""})

    def wait_event(self) -> None:
        node = self.rng.choice(self.connectors)
        args: dict[str, Any] = {"iterator": self._iterator(node, "event"), "seen": ""}
        args["topic"] = self.rng.choice(["T", "BUILD", "CLONE", "ERROR"])
        if self.rng.random() < 0.5:
            args["reference"] = self.rng.choice(UUIDS)
        self.call(node, "wait_event", args)

    def register(self) -> None:
        node = self.rng.choice(self.connectors)
        args = {"worker": mark(node.spec.tenant), "major": 1, "minor": 0}
        self.call(node, "register", {**args, "commands": list(COMMANDS[node.spec.type])})

    def operate(self) -> None:
        """An operator changes a pivot or a configuration of one tenant."""
        tenant = self.rng.choice(TENANTS)
        process = self.member.process
        assert process is not None
        if self.rng.random() < 0.5:
            commands = [*COMMANDS["Ci"], mark(tenant)]
            document = {"name": "Ci", "major": 1, "minor": self.rng.randrange(2), "commandtypes": commands}
            op, args = "pivot_put", {"tenant": tenant, "json": document}
        else:
            op, args = "config_set", {"tenant": tenant, "name": "git", "values": {"colour": mark(tenant)}}
        process.feed(process.machine.control(op, args, self.member.clock.now(), lambda _: None))

    def restart(self) -> None:
        node = self.rng.choice([self.member, *self.instances, *self.connectors])
        self._iterators = {place: it for place, it in self._iterators.items() if place[0] != node.name}
        node.kill()
        node.start()
        self.run(SECOND)

    def _lie(self, tenant: str) -> Message:
        """A message that passes the codec, with every field that could lead astray."""
        rng = self.rng
        kind = rng.choice([k for k in Kind if k not in (Kind.HELLO, Kind.CALL, Kind.RESULT, Kind.CANCEL)])
        names = ["git", "ci", "ghost", f"only-{tenant}"]
        header: dict[str, Any] = {
            **{name: rng.choice(names) for name in ("source", "target", "recipient", "name")},
            "uuid": rng.choice(UUIDS),
            "tenant": rng.choice([*TENANTS, tenant, tenant]),
            "reference": rng.choice(UUIDS),
            "kind": rng.choice(["connector", "aggregator"]),
            "instance": rng.choice("ab0"),
            "type": rng.choice(["Git", "Ci"]),
            "command": rng.choice(
                ["CLONE", "BUILD", "GET", "SAVE", "PUT_IMPLICIT", "PUT_ABSENT", "VALIDATE"]
            ),
            "topic": rng.choice(["T", "CLONE", "BUILD"]),
            "event": rng.choice([*EVENTS, "REJECTED", "NO_ROUTE"]),
            "context": mark(tenant),
            "timeout": 1000,
            "accept_until": self.member.clock.now().wall + 1000,
            "after": 0,
            "upto": 50,
            "number": rng.randrange(3),
            "key": "k" * 40,
            "boot": "0",
            "session": "s",
            "credit": 100,
            "heartbeat": 750,
            "validated": True,
            "received": 0,
            "reason": rng.choice(["DRAINING", "REVOKED", "UNDECLARED", "BUSY"]),
            "detail": mark(tenant),
            "entries": [[rng.choice(UUIDS), rng.randrange(4)]] if kind is Kind.CONFIRM else ["git", "ci"],
            "down": rng.choice([[], ["git"]]),
            "permissions": ["*"],
            "valid": True,
        }
        kept = {name for name in header if rng.random() < 0.8} | set(REQUIRED[kind]) | {"reference"}
        payload = self._payload(tenant) if rng.random() < 0.6 else rng.choice(PAYLOADS)
        flags = Flag(rng.choice((0, 0, 1, 2, 4)))
        return Message(kind, {name: header[name] for name in header if name in kept}, payload, flags)

    def _say(self, node: Node, tenant: str, *, up: bool) -> None:
        process = node.process
        if process is None or not process.alive:
            return
        peers = process.machine.router.shoset.peers(upward=up)  # type: ignore[attr-defined]
        if peers:
            peer = self.rng.choice(peers)
            messages = tuple(self._lie(tenant) for _ in range(self.rng.randrange(1, 4)))
            process.feed([Transmit(peer.link, messages)])

    def lie_of_a_connector(self) -> None:
        node = self.rng.choice(self.connectors)
        self._say(node, node.spec.tenant, up=True)

    def lie_of_an_instance(self) -> None:
        node = self.rng.choice(self.instances)
        self._say(node, node.tenant, up=self.rng.random() < 0.8)

    # ---- the end

    def judge(self) -> None:
        self.run(5 * SECOND)
        for node in (*self.instances, *self.connectors):
            if node.process is not None and node.process.alive:
                tenant = node.name.split("/")[0]
                status = node.process.machine.status(node.clock.now())
                self.watch.text(tenant, repr(status).encode(), f"status of {node.name}")
        self.watch.done()
        # A lying instance may well stop its own tenant's connectors ("revoked"), but break nobody.
        broken = [defect for defect in self.defects if " raised:" in defect]
        assert not broken, broken[0]


def play(seed: int, steps: int) -> Pair:
    pair = Pair(seed)
    for _ in range(steps):
        pair.step()
    pair.judge()
    return pair


@pytest.mark.parametrize("seed", seeds(12))
def test_nothing_of_a_tenant_is_seen_by_the_other(seed: int) -> None:
    assert play(seed, 200 if LONG else 120).watch.things > 500


def _everybody(self: Context, _: str) -> Any:
    return self.sessions.peers(kind="aggregator")


def _any_route(self: Presence, _: str, name: str, rng: random.Random, first: Any = None) -> Any:
    routes = [peer for tenant in TENANTS for peer in self._by_name.get((tenant, name), ())]
    return rng.choice(routes) if routes else None


def _any_catalogue(self: Catalogues, _: str, connector_type: str) -> Any:
    return self._all["t1", connector_type]


LEAKS = {
    "an event for all instances": (Context, "instances", _everybody),
    "a route by name only": (Presence, "route", _any_route),
    "a catalogue by type only": (Catalogues, "of", _any_catalogue),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_seen(leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*LEAKS[leak])
    with pytest.raises(Seen):
        _ = [play(seed, 120) for seed in range(5)]
