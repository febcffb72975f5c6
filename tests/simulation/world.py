"""A world: machines, network, workers, clients, faults, and the model that judges it. One seed, one story."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from tests.simulation.clients import TOPIC, Client, Manners, OwnClient, Publisher, Subscriber
from tests.simulation.faults import FAULTS, Injector
from tests.simulation.holders import Holder
from tests.simulation.model import Model, Violation
from tests.simulation.model_versions import VersionRules
from tests.simulation.network import HIGH_WATER, Network
from tests.simulation.nodes import (
    IN_FLIGHT,
    QUEUE,
    ConnectorNode,
    InstanceNode,
    MemberNode,
    Node,
    Surroundings,
)
from tests.simulation.onlookers import Onlooker
from tests.simulation.operators import Operator
from tests.simulation.pollers import Poller
from tests.simulation.repositories import GOOD, Repository, worker_of
from tests.simulation.scheduler import MS, SECOND, Scheduler
from tests.simulation.streams import StreamWorker, Ways
from tests.simulation.topology import RETRIES, TWO_TENANTS, Topology, declare, instance_node
from tests.simulation.trace import Trace
from tests.simulation.variant import REAL, Variant
from tests.simulation.version_host import AdminHost, Versioned, defects_heard
from tests.simulation.version_people import Chief, VersionClient
from tests.simulation.workers import AdminWorker, Habits, Worker
from zconnector.actions import Machine
from zconnector.aggregator.machine import AggregatorMachine
from zconnector.cluster.memory import MemoryStore
from zconnector.cluster.router import ClusterRouter
from zconnector.connector.machine import ConnectorMachine
from zconnector.connector.outgoing import _MAX_IN_FLIGHT
from zconnector.connector.own import CANARIES
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.awaiting import MAX_AWAITING
from zconnector.queue.history import MAX_STEPS
from zconnector.queue.overflow import DROP_OLDEST
from zconnector.queue.room import REMEMBERED_PER_ROOM
from zconnector.queue.subscriptions import MAX_SUBSCRIPTIONS
from zconnector.settings import QueueSettings
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT

WARM_UP = 5 * SECOND
"""Faults begin after this: every connector has its first cursor by then, and may miss nothing from there."""
DRAIN = 120 * SECOND
"""Virtual time in which everything must come to its end once faults have stopped: a reply is sent again after
at most 30 s, an unknown outcome ends 30 s after `accept_until`, a lease 45 s after it began."""
SETTLE = 100 * SECOND
"""In which a rollout comes to an end: a version that never registers has five tries of eight seconds."""
PROBE = 5 * SECOND
LEASE_ENDS = 8 * SECOND
"""A dead worker's lease has ended by then: it is silent for 4 s at most, and beats each second."""
STREAM_ENDS = 12 * SECOND
"""The same of a stream: one whose end crossed an answer has 10 s to ask again."""
MAX_PER_SECOND = 600
"""Messages that one world of this size may send in a second; beyond it something retries without bound."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world is to be like; all the rest is the seed's."""

    seed: int
    minutes: float = 10.0
    topology: Topology = TWO_TENANTS
    faults: tuple[str, ...] = tuple(FAULTS)
    """Kinds that may happen. A world knows a random part of them, unless `all_faults`."""
    all_faults: bool = False
    fault_pause: float | None = None
    """Mean seconds between two faults; None: as the seed says."""
    command_pause: float | None = None
    """Mean seconds between two commands of a whole tenant; None: as the seed says."""
    event_pause: float | None = None
    impatient: bool = False
    """End at the first broken promise."""
    calm: bool = False
    """No odd clients and workers: what speed is measured on."""
    operator: bool = False
    """Somebody asks all that operators can ask, all the time, and pauses and resumes command names."""


@dataclass(slots=True)
class Outcome:
    """How a world ended."""

    seed: int
    trace: str
    violations: list[Violation]
    injected: Counter[str]
    checked: Counter[str]
    counts: Counter[str]
    virtual_seconds: float
    messages: int
    transmissions: int
    steps: int
    transcript: list[str] = field(default_factory=list)


class _EnoughError(Exception):
    """A promise is broken, and nobody wants to see more."""


class World:
    """Everything of one run."""

    def __init__(self, plan: Plan, variant: Variant = REAL, watch: Iterable[str] = ()) -> None:
        self.plan = plan
        self.scheduler = Scheduler()
        self.trace = Trace(watch)
        self.network = Network(self.scheduler, random.Random(f"{plan.seed}/network"))
        self._rng = random.Random(f"{plan.seed}/world")
        queue = self._settings()
        self.model = Model(
            lease_limit=queue.lease_limit,
            dedupe_window=queue.dedupe_window,
            adopt_within=queue.adopt_within,
            policy=RetryPolicy(queue.retry_attempts),
            retries=RETRIES,
            drops=queue.overflow == DROP_OLDEST,
        )
        if queue.event_retention < 3_600.0:
            self.model.retention = int(queue.event_retention * SECOND)
        self._around = Surroundings(
            str(plan.seed), self.scheduler, self.network, self.trace, variant, self._defect, queue
        )
        self.nodes: dict[str, Node] = {}
        self._make_nodes()
        self.workers: list[Worker | StreamWorker | Poller | Versioned] = []
        self.holders: list[Holder] = []
        self.operators: list[Operator] = []
        self.versions = VersionRules(self.model, worker_of)
        self.hosts: list[AdminHost] = []
        self.chiefs: list[Chief] = []
        self.clients: list[Client] = []
        self.publishers: list[Publisher] = []
        self.subscribers: list[Subscriber] = []
        self._make_agents()
        pause = plan.fault_pause or self._rng.choice((2.0, 4.0, 8.0, 16.0))
        self.injector = Injector(self, self._kinds(), pause)
        self._messages_before = 0
        self._peak = 0

    # ---- making it

    def _settings(self) -> QueueSettings:
        """Mostly the usual ones; in some worlds little room that drops, in some events that are soon lost."""
        draw = 1.0 if self.plan.calm else random.Random(f"{self.plan.seed}/settings").random()
        if any(spec.versioned for spec in self.plan.topology.connectors):
            return QUEUE  # admin commands and all the versions' traffic would not fit into little room
        if draw < 0.12:
            return replace(QUEUE, overflow=DROP_OLDEST, max_commands=8)
        if draw < 0.24:
            return replace(QUEUE, event_retention=60.0)
        return QUEUE

    def _drift(self) -> float:
        return 0.0 if self.plan.calm else self._rng.uniform(-5e-4, 5e-4)

    def _make_nodes(self) -> None:
        plan = self.plan
        store = MemoryStore()
        declare(store, plan.topology)
        self._add(MemberNode("member", self._around, self._drift(), store))
        instances: dict[str, list[InstanceNode]] = {}
        for tenant, instance in plan.topology.instances:
            name = instance_node(tenant, instance)
            node = InstanceNode(tenant, instance, name, self._around, self._drift())
            instances.setdefault(tenant, []).append(node)
            self._add(node)
        for spec in plan.topology.connectors:
            connector = ConnectorNode(spec, self._around, self._drift(), instances[spec.tenant])
            connector.on_end = self._connector_ended
            connector.on_begin = self._connector_begins
            self._add(connector)
            self._watch_disk(connector)

    def _add(self, node: Node) -> None:
        self.nodes[node.name] = node

    def _watch_disk(self, node: ConnectorNode) -> None:
        assert node.disk is not None
        wrote, scheduler, name = self.model.wrote, self.scheduler, node.name

        def seen(writes: Sequence[Any]) -> None:
            wrote(scheduler.now, name, writes)

        node.disk.seen = seen

    @property
    def connectors(self) -> list[ConnectorNode]:
        return [node for node in self.nodes.values() if isinstance(node, ConnectorNode)]

    def _make_agents(self) -> None:
        plan = self.plan
        manners = Manners(0, 0, 0, 0, 0, wishes=0, awaits=0, admin=0) if plan.calm else Manners()
        habits = Habits(0, 0, 0, 0) if plan.calm else Habits(slow=self._rng.choice((0.02, 0.05)))
        command_pause = plan.command_pause or self._rng.choice((1.0, 2.0, 4.0))
        event_pause = plan.event_pause or self._rng.choice((2.0, 4.0, 6.0))
        used: dict[str, list[str]] = {tenant: [] for tenant in plan.topology.tenants}
        rng = random.Random(f"{plan.seed}/operator")
        member = self.nodes["member"]
        self.operator = Onlooker(self.scheduler, self.connectors, member, used, self.model, rng)
        for node in self.connectors:
            spec = node.spec
            fellows = plan.topology.of_tenant(spec.tenant)
            share = len(fellows) * (1 if spec.tenant == "t1" else 4)
            types = sorted({fellow.type for fellow in fellows})
            others = [uuid for tenant in used if tenant != spec.tenant for uuid in [tenant]]
            borrowed = used[others[0]] if others else []
            mine = manners if spec.tenant == "t1" else replace(manners, borrowed=0.3)
            self.clients.append(
                Client(
                    node,
                    self.model,
                    mine,
                    types,
                    used[spec.tenant],
                    borrowed,
                    pause=command_pause * share,
                )
            )
            own = OwnClient(node, self.model, mine, types, [], [], pause=command_pause * share * 2)
            self.clients.append(own)
            if spec.versioned:
                self._make_versions(node)
            else:
                node.on_serve = AdminWorker(node, self.model).start
            self.publishers.append(Publisher(node, self.model, pause=event_pause * share))
            for number, named in enumerate(spec.workers):
                name = f"worker {node.name} {number}"
                self.workers.append(Worker(node, name, self.model, named=named, habits=habits))
            self._make_v1(node)
            self.subscribers.append(Subscriber(node, self.model, f"reader {node.name}"))
        if not plan.calm:
            one, other = self.connectors[0], self.connectors[1]
            self.subscribers.append(Subscriber(one, self.model, f"nobody {one.name}", named=False))
            self.subscribers.append(Subscriber(other, self.model, f"careful {other.name}", careful=True))

    def _make_versions(self, node: ConnectorNode) -> None:
        plan, rng = self.plan, random.Random(f"{self.plan.seed}/versions")
        repository = Repository(GOOD[1])
        host = AdminHost(node, self.model, self.versions, repository)
        node.on_serve = host.serve
        self.model.versioned.add(node.name)
        self.hosts.append(host)
        self.workers.append(Versioned(host, rng))
        self.chiefs.append(Chief(host, self.nodes["member"]))
        pause = plan.command_pause or rng.choice((0.5, 1.0, 2.0))
        for sender in self.connectors:
            if sender.spec.tenant == node.spec.tenant and not sender.spec.versioned:
                self.clients.append(VersionClient(sender, self.model, [], pause=pause))
                break

    def _make_v1(self, node: ConnectorNode) -> None:
        spec, model = node.spec, self.model
        for number, concurrency in enumerate(spec.streams):
            name = f"stream {node.name} {number}"
            self.workers.append(StreamWorker(node, name, model, ways=Ways(), concurrency=concurrency))
        for number in range(spec.pollers):
            self.workers.append(Poller(node, f"poller {node.name} {number}", model))
        for subscription, count in spec.subscriptions:
            lazy = model.retention > 0 and subscription == "audit"
            for number in range(count):
                name = f"{subscription} {node.name} {number}"
                self.holders.append(Holder(node, name, model, subscription, lazy=lazy))
        self.operators.append(Operator(node, model))

    def _kinds(self) -> list[str]:
        """Which faults this world knows: a part of them, so that no common one hides the rest."""
        plan = self.plan
        if plan.all_faults:
            return list(plan.faults)
        wanted = self._rng.choice((0.15, 0.4, 0.8))
        chosen = [kind for kind in plan.faults if self._rng.random() < wanted]
        if self.model.retention:  # by the wall clock, which drops everything that a reader has not seen yet
            chosen = [kind for kind in chosen if kind != "wall jump"]
        if plan.operator:  # who resumes what the fault of that name has paused
            chosen = [kind for kind in chosen if kind != "paused"]
        return chosen or [self._rng.choice(plan.faults)] if plan.faults else []

    # ---- what parts of it tell

    def _defect(self, node: str, what: str) -> None:
        self.model.defect(self.scheduler.now, node, what)

    def _connector_ended(self, node: ConnectorNode) -> None:
        self.model.ended(self.scheduler.now, node.name)
        for host in self.hosts:
            if host.node is node:
                host.ended()

    def _connector_begins(self, node: ConnectorNode) -> None:
        self.model.started(self.scheduler.now, node.name)
        if node.spec.versioned:
            self.versions.router_started(self.scheduler.now, node.name)

    def trouble(self, node: Node, *, begins: bool) -> None:
        """A machine's disk is not well, or well again."""
        node.trouble()
        if isinstance(node, ConnectorNode):
            self.model.trouble(self.scheduler.now, node.name, begins)

    def jumped(self, node: Node) -> None:
        """A machine's wall clock was set."""
        self.model.jumped(self.scheduler.now, node.name)

    def operate(self, op: str, args: Mapping[str, Any]) -> None:
        """An operator asks the member for something, if it is there; a refusal is the operator's affair."""
        process = self.nodes["member"].process
        if process is not None and process.alive:
            process.control(op, args, lambda _: None)

    def failover_begins(self, silent: InstanceNode) -> Callable[[], None]:
        """All is well, but for one instance that says nothing from now on; returns what ends that.

        Only where all really is well: else nothing can be said about the commands of that time.
        """
        tenant, begin = silent.tenant, self.scheduler.now
        mine = [n for n in self.connectors if n.spec.tenant == tenant]
        if not all(self._settled(node) for node in (self.nodes["member"], *mine)):
            return lambda: None

        def ends() -> None:
            names = [node.name for node in mine]
            count = sum(1 for of, _ in self.plan.topology.instances if of == tenant)
            self.model.one_silent(begin, self.scheduler.now, names, count)

        return ends

    def _settled(self, node: Node) -> bool:
        """Whether a node runs, has all its sessions, and nothing under way."""
        if not node.well or node.process is None:
            return False
        status = node.process.machine.status(node.clock.now())
        return not any(count for _, count in _left(node.role, status)[:2])

    # ---- running it

    def run(self) -> Outcome:
        """Warm up, torment, let everything drain, judge."""
        with defects_heard(self._defect) if self.hosts else nullcontext():
            try:
                self._run()
            except _EnoughError:
                return self._outcome()
            finally:
                for host in self.hosts:
                    host.over()
            self._judge()
        return self._outcome()

    def _run(self) -> None:
        plan, scheduler = self.plan, self.scheduler
        for node in self.nodes.values():
            scheduler.after(int(self._rng.random() * 200 * MS), node.start)
        for agent in (*self.workers, *self.holders, *self.subscribers):
            scheduler.after(SECOND, agent.start)
        if plan.operator:
            scheduler.after(SECOND, self.operator.start)
        for sender in (*self.chiefs, *self.clients, *self.publishers):
            scheduler.after(2 * SECOND, sender.start)
        scheduler.at(PROBE, self._probe)
        end = int(plan.minutes * 60 * SECOND)
        if self.injector_kinds:
            scheduler.at(WARM_UP, self.injector.start)
            scheduler.run_until(max(WARM_UP, end - self._drain))
            self.injector.stop()
            self.heal()
        else:
            scheduler.run_until(max(WARM_UP, end - self._drain))
        restless: list[Any] = [*self.clients, *self.publishers, *self.holders, self.operator]
        for each in restless:
            each.quiet = True
        if self.hosts:
            self._settle_versions()
        scheduler.run_until(max(end, WARM_UP + self._drain))

    @property
    def _drain(self) -> int:
        return DRAIN + SETTLE if self.hosts else DRAIN

    def _settle_versions(self) -> None:
        """Every rollout comes to one of its ends by itself; where nothing good is left, somebody says so."""
        scheduler = self.scheduler
        for chief in self.chiefs:
            chief.rest()
        scheduler.run_until(scheduler.now + SETTLE)
        for host, chief in zip(self.hosts, self.chiefs, strict=True):
            if host.admin is None:
                self.model.broken(scheduler.now, "old or new", host.node.name, "no admin worker runs")
            else:
                self.versions.settled(scheduler.now, host.node.name, host.admin.view())
                self.versions.lying(scheduler.now, host.node.name, host.disk)
            chief.rescue()
        for client in self.clients:
            if isinstance(client, VersionClient):
                client.send(admin=False)

    @property
    def injector_kinds(self) -> bool:
        return bool(self.plan.faults)

    def heal(self) -> None:
        """Whatever faults have left behind."""
        for host in self.hosts:
            host.fuse, host.repository.away = "", False
        for node in self.nodes.values():
            if node.process is not None:
                node.process.fuse = -1
                node.process.crash_at = ""
            node.thaw()
            node.start()

    def _outcome(self) -> Outcome:
        network = self.network
        return Outcome(
            seed=self.plan.seed,
            trace=self.trace.hexdigest(),
            violations=self.model.violations,
            injected=self.injector.injected,
            checked=self.model.checked,
            counts=self.model.counts,
            virtual_seconds=self.scheduler.now / SECOND,
            messages=network.messages,
            transmissions=network.transmissions,
            steps=self.scheduler.steps,
            transcript=self.trace.transcript(),
        )

    # ---- looking

    def _probe(self) -> None:
        """Queues within their bounds, no message storm, no lease of somebody who is gone."""
        now = self.scheduler.now
        self.scheduler.after(PROBE, self._probe)
        model = self.model
        model.checked["unbounded"] += 1
        if self.plan.impatient and model.violations:
            raise _EnoughError
        if self.network.fullest() > HIGH_WATER + 1:
            model.broken(now, "unbounded", "network", "a pipe holds more than its high-water mark")
        sent = self.network.messages - self._messages_before
        self._messages_before = self.network.messages
        self._peak = max(self._peak, sent)
        for host in self.hosts:
            if host.node.well and host.node.machine is not None and host.admin is not None:
                active = host.node.machine.router.queue.routing.active
                self.versions.table(now, host.node.name, active)
        for node in self.connectors:
            self._probe_leases(node)
        for each in self.nodes.values():
            self._probe_bounds(each)
        if sent > MAX_PER_SECOND * PROBE // SECOND:
            model.broken(now, "unbounded", "network", f"{sent} messages in {PROBE // SECOND} s")

    def _probe_bounds(self, node: Node) -> None:
        """No queue of this process holds more than its bound."""
        process = node.process
        if process is None or not process.alive:
            return
        for what, count, bound in bounded(process.machine):
            self.model.checked["unbounded"] += 1
            if count > bound:
                text = f"{node.name} has {count} {what}, bound {bound}"
                self.model.broken(self.scheduler.now, "unbounded", node.name, text)

    def _probe_leases(self, node: ConnectorNode) -> None:
        """No lease of a worker that is long dead; where the connector itself was in trouble, it has time."""
        now = self.scheduler.now
        if not node.well or node.machine is None or now - node.troubled_at < 2 * LEASE_ENDS:
            return
        gone = {
            identity
            for worker in self.workers
            if worker.node is node and not isinstance(worker, Poller)
            for identity, ended in worker.ended.items()
            if now - ended > (STREAM_ENDS if isinstance(worker, StreamWorker) else LEASE_ENDS)
        }
        self.model.checked["lease kept"] += 1
        for command in node.machine.router.queue._register.leased():
            lease = command.lease
            if lease is not None and (lease.holder or lease.worker) in gone:
                text = f"{command.uuid} is leased to {lease.holder or lease.worker}, which ended long ago"
                self.model.broken(now, "lease kept", command.uuid, text)

    def _judge(self) -> None:
        now, model = self.scheduler.now, self.model
        model.finish(now, [node.name for node in self.connectors])
        self._judge_journal(now)
        self._judge_drained(now)
        self._judge_configuration(now)
        refused = self.network.refused
        told = sum(
            node.told + (node.process.told if node.running and node.process else 0)
            for node in self.nodes.values()
        )
        model.checked["silent drop"] += refused
        if told != refused:
            text = f"{refused} transmissions were not taken, and the cores were told of {told}"
            model.broken(now, "silent drop", "network", text)

    def _judge_configuration(self, now: int) -> None:
        member = self.nodes["member"].process
        if member is None or not isinstance(member.machine, ClusterRouter):
            return
        catalogues = member.machine._context.catalogues
        for node in self.connectors:
            if node.machine is None:
                continue
            self.model.checked["stale configuration"] += 1
            declared = catalogues.of(node.spec.tenant, node.spec.type).to_dict()
            if node.machine.router.incoming.catalogue.to_dict() != declared:
                text = f"{node.name} does not have the pivots of {node.spec.type} in force"
                self.model.broken(now, "stale configuration", node.name, text)

    def _judge_journal(self, now: int) -> None:
        """What connectors sent to themselves has a line, and the connector as its resolution."""
        (member,) = (node for node in self.nodes.values() if isinstance(node, MemberNode))
        for client in self.clients:
            for uuid in sorted(client.kept):
                self.model.checked["not journalled"] += 1
                resolved = member.store.resolution(client.node.spec.tenant, uuid)
                if resolved is None or resolved.target != client.node.spec.name:
                    text = f"{uuid} was taken by {client.node.name}; the cluster says {resolved}"
                    self.model.broken(now, "not journalled", uuid, text)

    def _judge_drained(self, now: int) -> None:
        model = self.model
        for client in self.clients:
            for job in client.open:
                model.checked["not drained"] += 1
                if model.hopeless(client.node.name, job.uuid):
                    continue
                model.broken(now, "not drained", job.uuid, f"{client.name} still waits about {job.uuid}")
        for operator in self.operators:
            if operator.open:
                model.broken(now, "not drained", operator.node.name, f"{operator.name} could not resume")
        for publisher in self.publishers:
            for uuid in publisher.open:
                model.broken(now, "not drained", uuid, f"{publisher.name} could not publish {uuid}")
        for node in self.nodes.values():
            model.checked["not drained"] += 1
            process = node.process
            if process is None or not process.alive:
                model.broken(now, "not drained", node.name, f"{node.name} does not run")
                continue
            status = process.machine.status(node.clock.now())
            for what, count in _left(node.role, status):
                model.checked["not drained"] += 1
                if count:
                    model.broken(now, "not drained", node.name, f"{node.name} still has {count} {what}")


def bounded(machine: Machine) -> Iterator[tuple[str, int, int]]:
    """Everything in a core that has a bound: what it is, how much there is, how much there may be."""
    if isinstance(machine, ConnectorMachine):
        router, queue = machine.router, machine.router.queue
        shoset = router.shoset
        most = queue._register._settings.max_commands
        canaries = CANARIES if router.steering.watched else 0
        yield "commands", queue._register.room.count, most + canaries
        yield "ended commands", len(queue._register._ended), (REMEMBERED_PER_ROOM + 1) * most
        yield "dead letters", len(queue._dead), QUEUE.max_dead
        yield "subscriptions", len(queue.subscriptions._index), MAX_SUBSCRIPTIONS
        for each in queue.subscriptions._index:
            yield f"unacknowledged events of {each.name}", len(each.open), each.terms.max_unacked
        for command in queue._register.live():
            yield f"bytes of the history of {command.uuid}", len(command.history), 8 * MAX_STEPS
        yield "outbox entries", queue._outbox.depths()["count"], QUEUE.max_outbox
        yield "records for the journal", len(queue.journal), QUEUE.max_outbox
        yield "calls that await a reply", len(queue.awaiting), MAX_AWAITING
        yield "events", queue._events.depths()["count"], QUEUE.max_events
        yield "iterators", len(queue._iterators), QUEUE.max_iterators
        yield "unknown outcomes", len(queue._unknowns), QUEUE.max_unknown
        yield "commands in flight", len(router.outgoing), _MAX_IN_FLIGHT
    elif isinstance(machine, AggregatorMachine):
        shoset = machine.router.shoset
        yield "commands in flight", len(machine.router._tries), IN_FLIGHT
        for peer, count in machine.router._under_way.items():
            yield f"commands in flight of {peer}", count, COMMANDS_IN_FLIGHT
    else:
        assert isinstance(machine, ClusterRouter)
        shoset = machine._shoset
        yield "commands in flight", len(machine._commands), IN_FLIGHT
    for peer in shoset.peers():
        yield f"messages on the way to {peer}", peer.sent - peer.acknowledged, peer.credit


def _left(role: str, status: dict[str, Any]) -> list[tuple[str, int]]:
    """What must be empty when all is quiet."""
    left = [("commands in flight", status["in_flight"])]
    up, down = status["sessions"]["up"], status["sessions"]["down"]
    left.append(("sessions that are not live", sum(s["state"] != "LIVE" for s in (*up, *down))))
    if role != "connector":
        return left
    queue = status["queue"]
    states = queue["commands"]["states"]
    live = ("STORING", "READY", "DELAYED", "LEASED", "COMPLETING")
    left += [(f"commands {state}", states[state]) for state in live]
    left += [
        ("outbox entries", queue["outbox"]["count"]),
        ("unknown outcomes", queue["unknown"]),
        ("records for the journal", queue["journal"]["count"]),
        ("events to catch up with", (status["latest"] or 0) - (status["cursor"] or 0)),
    ]
    return left


__all__ = ["TOPIC", "Outcome", "Plan", "World"]
