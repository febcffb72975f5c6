"""Tables of versions against a model: random commands, waiters, changes of the table, ended leases, crashes.

What must hold:

- each command that is handed out went to a waiter that may have it by the table of that moment, and of what
  that waiter may have it is the first;
- after each step nobody waits beside a ready command that it may have;
- nothing is lost: in the end everything that has not ended can be had.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Any
from zlib import crc32

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.queue.conftest import Bench
from zconnector.actions import Actions, Caller, Respond
from zconnector.configuration.pivot import Version
from zconnector.queue.leases import Command
from zconnector.queue.routing import Aim, Routing
from zconnector.queue.states import State
from zconnector.settings import QueueSettings

V10, V11, V20 = Version(1, 0), Version(1, 1), Version(2, 0)
VERSIONS = (V10, V11, V20)
NAMES = ("A", "B", "ADMIN_X")
MAJORS = (0, 1, 2)
WORKERS = ("w", "x", "y")
CONTEXTS = ("", "app", "web")
FOREVER = 10**15

some_names = st.one_of(st.just(frozenset(NAMES)), st.frozensets(st.sampled_from(NAMES)))
tables = st.builds(
    lambda of, shares, pins, held, drained, aims: Routing(
        {v: names for v, (kind, names) in of.items() if kind == "active"},
        {v: names for v, (kind, names) in of.items() if kind == "gated"},
        shares,
        pins,
        held,
        drained,
        {context: Aim(worker) for context, worker in aims.items()},
    ),
    st.dictionaries(
        st.sampled_from(VERSIONS), st.tuples(st.sampled_from(["active", "active", "gated"]), some_names)
    ),
    st.dictionaries(st.sampled_from(VERSIONS), st.integers(0, 100)),
    st.dictionaries(st.sampled_from(CONTEXTS[1:]), st.sampled_from(VERSIONS)),
    st.frozensets(st.sampled_from(WORKERS), max_size=1),
    st.frozensets(st.sampled_from(WORKERS), max_size=1),
    st.just({}) | st.dictionaries(st.sampled_from(CONTEXTS[1:]), st.sampled_from(WORKERS), max_size=1),
)


@dataclass
class Wait:
    """Somebody who waits."""

    names: tuple[str, ...]
    major: int
    worker: str
    serves: tuple[Version, ...]
    limit: int = 1


def meet(major: int, other: int) -> bool:
    return major == other or 0 in (major, other)


def goes_to(table: Routing, command: Command) -> Version | Aim | None:
    """docs/versions.md, in other words than `Rule`."""
    if command.context in table.aims:
        return table.aims[command.context]
    able = [v for v in VERSIONS if command.name in table.active.get(v, ()) and meet(command.major, v.major)]
    pin = table.pins.get(command.context)
    pinnable = {v for v in VERSIONS if command.name in table.gated.get(v, ()) or v in able}
    if pin in pinnable and meet(command.major, pin.major):
        return pin
    able.sort(reverse=True)
    named = [v for v in able if v in table.shares]
    rest = [v for v in able if v not in table.shares]
    total = sum(table.shares[v] for v in named)
    scale = 100 / total if total and (not rest or total > 100) else 1
    hashed = crc32((command.order_key or command.uuid).encode()) % 100
    for version, upto in zip(named, accumulate(table.shares[v] * scale for v in named), strict=True):
        if hashed < round(upto, 6):
            return version
    return next(iter(rest or able), None)


def barred(table: Routing, wait: Wait) -> bool:
    """Whether a waiter gets nothing."""
    if wait.worker in table.drained:
        return True
    if Aim(wait.worker) in table.aims.values():
        return False
    return wait.worker in table.held and not set(wait.serves) & set(table.gated)


def may(table: Routing, wait: Wait, command: Command) -> bool:
    """Whether a waiter may have a command."""
    if command.name not in wait.names or not meet(wait.major, command.major) or barred(table, wait):
        return False
    if command.name.startswith("ADMIN_") or not (table.active or table.gated or table.aims):
        return True
    if not (table.gated or table.aims) and [command.name in names for names in table.active.values()] == [
        True
    ]:
        return True  # one version, which declares it: as if there were none
    if Aim(wait.worker) in table.aims.values():
        return goes_to(table, command) == Aim(wait.worker)  # that, and nothing else
    known = set(wait.serves) & (set(table.active) | set(table.gated))
    goes = goes_to(table, command)
    return goes in known if known else goes is None


class Told(Bench):
    """A bench that tells the model of each answer at the moment it is given."""

    def __init__(self, on_respond: Callable[[Respond], None]) -> None:
        self.on_respond = on_respond
        limits = {"dedupe_window": 1e9, "iterator_idle": 1e9, "retry_attempts": 1_000_000}
        super().__init__(QueueSettings(max_commands=60, **limits))  # type: ignore[arg-type]

    def _take(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, Respond):
                self.on_respond(action)
        super()._take(actions)


class Tables(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Told(self.responded)
        self.table = Routing()
        self.sent: list[str] = []
        self.ended: set[str] = set()
        self.held: dict[str, str] = {}  # uuid -> token of a take, "" of a wait
        self.waiting: dict[Caller, Wait] = {}
        self.at_once = False  # several things happen at one moment: in which order is not told

    def find(self, uuid: str) -> Command:
        command = self.bench.queue.find_command(uuid)
        assert command is not None, f"{uuid} is lost"
        return command

    def available(self) -> list[Command]:
        """What could be handed out, as the model sees it."""
        keys: set[tuple[str, str]] = set()
        found: list[Command] = []
        for uuid in self.sent:
            if uuid in self.ended:
                continue
            command = self.find(uuid)
            chain = (command.name, command.order_key)
            if uuid not in self.held and (not command.order_key or chain not in keys):
                found.append(command)
            keys.add(chain)
        return found

    # --- what the queue says ---

    def responded(self, respond: Respond) -> None:
        assert respond.error is None
        order = list(self.waiting)
        wait = self.waiting.pop(respond.caller)
        entries = respond.args.get("commands", [respond.args])
        for entry in entries:
            uuid = str(entry["uuid"])
            assert uuid not in self.held, "with two workers at once"
            assert uuid not in self.ended, "handed out after its end"
            command = self.find(uuid)
            assert may(self.table, wait, command), f"{uuid} is not for {wait}"
            if not self.at_once:
                first = min(
                    (c for c in self.available() if may(self.table, wait, c)),
                    key=lambda c: (-c.priority, c.key),
                )
                assert first is command, f"{first.uuid} is before {uuid}"
                longer = itertools.takewhile(lambda caller: caller != respond.caller, order)
                waited = [caller for caller in longer if may(self.table, self.waiting[caller], command)]
                assert not waited, "somebody who may have it waits longer"
            self.held[uuid] = entry["token"] if "commands" in respond.args else ""

    # --- what others do ---

    @rule(
        name=st.sampled_from(NAMES),
        major=st.sampled_from(MAJORS),
        context=st.sampled_from(CONTEXTS),
        key=st.sampled_from(["", "", "k", "l"]),
        priority=st.integers(0, 1),
        salt=st.integers(0, 99),
        burst=st.sampled_from([1, 1, 8]),
    )
    def offer_some(self, burst: int, salt: int, **fields: Any) -> None:
        for number in range(burst):
            self.offer(salt=salt + number, **fields)

    def offer(self, name: str, major: int, context: str, key: str, priority: int, salt: int) -> None:
        uuid = f"u{len(self.sent)}-{salt}"
        self.sent.append(uuid)
        fields: dict[str, Any] = {
            "context": context,
            "order_key": key,
            "priority": priority,
            "accept_until": FOREVER,
        }
        message = self.bench.command(uuid, name, major=major, **fields)
        if len(self.sent) - len(self.ended) > 60:
            self.sent.pop()
            return
        offered = self.bench.offer(message)
        assert offered is not None
        assert offered.outcome == "STORED"

    @rule(
        name=st.sampled_from(NAMES),
        major=st.sampled_from(MAJORS),
        worker=st.sampled_from(WORKERS),
        serves=st.sampled_from([(), (V10,), (V11,), (V20,), (V10, V11)]),
    )
    def wait(self, name: str, major: int, worker: str, serves: tuple[Version, ...]) -> None:
        caller, iterator = self.bench.caller(), self.bench.iterator()
        self.waiting[caller] = Wait((name,), major, worker, serves)
        serving = serves[-1] if serves else None
        args: Any = (caller, iterator, name, major, worker, serving, self.bench.now)
        # Of one version the queue finds out by itself.
        more: dict[str, Any] = {"serves": serves} if len(serves) > 1 else {}
        self.bench.do(self.bench.queue.wait_command(*args, **more))

    @rule(
        names=st.sampled_from([("A",), ("B",), ("A", "B"), ("A", "B", "ADMIN_X")]),
        worker=st.sampled_from(WORKERS),
        version=st.sampled_from(VERSIONS),
        limit=st.integers(1, 3),
    )
    def take(self, names: tuple[str, ...], worker: str, version: Version, limit: int) -> None:
        caller = self.bench.caller()
        self.waiting[caller] = Wait(names, version.major, worker, (version,), limit)
        take = self.bench.queue.take_commands
        self.bench.do(take(caller, names, worker, version, self.bench.now, limit=limit))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.waiting, key=lambda caller: caller.call)))
        del self.waiting[caller]
        self.bench.cancel(caller)

    @rule(
        share=st.integers(30, 70),
        pins=st.dictionaries(st.sampled_from(CONTEXTS[1:]), st.sampled_from([V10, V11])),
        salt=st.integers(0, 99),
    )
    def sort_a_backlog(self, share: int, pins: dict[str, Version], salt: int) -> None:
        names = frozenset(NAMES)
        self.route(table=Routing({V10: names, V11: names}, shares={V11: share}, pins=pins))
        for number in range(10):
            context = CONTEXTS[(number + salt) % 3]
            self.offer("A", 1, context, "", 0, salt + number)
        self.take(names=("A",), worker="w", version=V11, limit=2)

    @rule(table=tables)
    def route(self, table: Routing) -> None:
        aimed = set(self.table.aims.values()), set(table.aims.values())
        for caller, wait in sorted(self.waiting.items(), key=lambda item: item[0].call):
            other = len({Aim(wait.worker) in aims for aims in aimed}) > 1
            if (barred(self.table, wait) or other) and not barred(table, wait):
                self.waiting[caller] = self.waiting.pop(caller)  # it stands at the end from now on
        self.table = table
        # Lines are served one after the other: who takes from several may be given what another one of its
        # lines has, before somebody who has waited longer for that.
        self.at_once = any(len(wait.names) > 1 for wait in self.waiting.values())
        self.bench.do(self.bench.queue.route(table, self.bench.now))
        self.at_once = False

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[uuid]
        self.ended.add(uuid)
        self.bench.complete(uuid)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.held)))
        token = self.held.pop(uuid)
        queue = self.bench.queue
        if token:
            _, actions = queue.give_back([(uuid, token)], "given back", self.bench.now, unseen=False)
        else:
            lease = self.find(uuid).lease
            actions = queue.release(lambda other: other is lease, "gone", self.bench.now)
        self.bench.do(actions)

    @rule()
    def leases_run_out(self) -> None:
        self.held.clear()
        self.at_once = True
        self.bench.mono += self.bench.settings.lease_limit
        self.bench.do(self.bench.queue.tick(self.bench.now))
        self.at_once = False

    @rule()
    def crash(self) -> None:
        """The new process knows of no version until somebody registers."""
        self.waiting.clear()
        self.bench.restart()
        self.table = Routing()

    # --- what must hold ---

    @invariant()
    def nobody_waits_beside_what_it_may_have(self) -> None:
        available = self.available()
        for command in available:
            assert command.state is State.READY
            for wait in self.waiting.values():
                assert not may(self.table, wait, command), f"{wait} waits beside {command.uuid}"

    @invariant()
    def everybody_waits_whom_the_queue_says(self) -> None:
        assert {waiter.caller for waiter in self.bench.queue.command_waiters()} == set(self.waiting)

    def teardown(self) -> None:
        self.bench.on_respond = lambda respond: None
        for caller in self.waiting:
            self.bench.cancel(caller)
        self.bench.do(self.bench.queue.route(Routing(), self.bench.now))
        had, before = set(self.held), -1
        while len(self.ended) > before:
            before = len(self.ended)
            for name in NAMES:
                taken = self.bench.taken(self.bench.take(name, limit=64, wait_ms=-1)) or ()
                had |= {str(entry["uuid"]) for entry in taken}
            for uuid in had - self.ended:
                self.bench.complete(uuid)
            self.ended |= had
        assert self.ended == set(self.sent), "something is lost"


Tables.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTables = Tables.TestCase
