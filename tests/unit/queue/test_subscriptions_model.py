"""Subscriptions against a model: any interleaving of takers, bad disks, lost holders and crashes.

What must hold:

- two holders of one subscription never have the same event at once;
- what was told as acknowledged is never handed out again, also after a crash;
- the floor never passes an event that is retained and not acknowledged;
- in the end every event that was told as stored, and that nobody acknowledged, is handed out.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.subscribers import Subscribers
from tests.unit.queue.test_leases_model import Told
from zconnector.actions import Actions, Caller, Respond
from zconnector.clock import Instant
from zconnector.queue.local import Published
from zconnector.queue.subscriptions import Acknowledgement

NAMES = {"all": ("A", "B"), "done": ("A/DONE",), "b": ("B",)}
HOLDERS = ("x", "y", "")
LEASE = 60.0

Place = tuple[str, int]
"""A subscription and the key of an event."""


def matches(name: str, topic: str, event: str) -> bool:
    return any(t in (topic, f"{topic}/{event}") for t in NAMES[name])


class Subscribed(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Told(self.responded)
        self.subs = Subscribers(self.bench)
        self.events: dict[str, tuple[str, str]] = {}  # uuid -> topic, event
        self.stored: set[str] = set()
        self.uuids: dict[int, str] = {}  # key -> uuid
        self.taking: dict[Caller, tuple[str, str]] = {}
        self.handed: dict[Caller, list[Place]] = {}
        self.held: dict[Place, str] = {}
        self.attempts: dict[Place, int] = {}
        self.acknowledging: dict[Caller, list[Place]] = {}
        self.asked: set[Place] = set()  # somebody said ok=true
        self.done: set[Place] = set()  # and was told so

    @initialize()
    def begin(self) -> None:
        for name, topics in NAMES.items():
            self.subs.subscribe(name, *topics, oldest=True, max_unacked=3, lease=int(LEASE * 1000))
        self.bench.held = True

    # --- what the queue says

    def responded(self, respond: Respond) -> None:
        caller = respond.caller
        if caller in self.acknowledging:
            self.answered(respond)
        elif caller in self.taking:
            self.took(respond)

    def answered(self, respond: Respond) -> None:
        places = self.acknowledging.pop(respond.caller)
        if respond.error is not None:
            return
        for place, result in zip(places, respond.args["results"], strict=True):
            if "error" not in result:
                self.done.add(place)
                self.held.pop(place, None)

    def took(self, respond: Respond) -> None:
        assert respond.error is None
        name, holder = self.taking.pop(respond.caller)
        assert respond.args["missed"] == 0
        places = self.handed[respond.caller] = []
        for item in respond.args["events"]:
            place = (name, item["id"])
            uuid = self.uuids.setdefault(item["id"], item["uuid"])
            assert uuid == item["uuid"], "an id is of one event"
            assert matches(name, item["topic"], item["event"])
            assert place not in self.held, f"{place} is with {self.held[place]} too"
            assert place not in self.done, "handed out after its acknowledgement"
            assert item["attempt"] > self.attempts.get(place, 0), "attempts grow"
            self.attempts[place] = item["attempt"]
            self.held[place] = holder
            places.append(place)

    # --- what others do

    @rule(topic=st.sampled_from("AB"), event=st.sampled_from(["DONE", "STARTED"]))
    def publish(self, topic: str, event: str) -> None:
        uuid = f"e{len(self.events)}"
        self.events[uuid] = (topic, event)

        def done(now: Instant, published: Published) -> Actions:
            if published.outcome == "STORED":
                self.stored.add(uuid)
            return []

        message = self.bench.event(uuid, topic, event)
        self.bench.do(self.bench.queue.publish(message, self.bench.now, outbox=False, done=done))

    @rule(
        name=st.sampled_from(sorted(NAMES)),
        holder=st.sampled_from(HOLDERS),
        limit=st.integers(1, 4),
        wait=st.sampled_from([None, 0.0, 7.0]),
    )
    def take(self, name: str, holder: str, limit: int, wait: float | None) -> None:
        caller = self.bench.caller()
        self.taking[caller] = (name, holder)
        subscriptions = self.bench.queue.subscriptions
        self.bench.do(subscriptions.take(caller, name, holder, limit, wait, self.bench.now))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), ok=st.booleans(), count=st.integers(1, 3))
    def acknowledge(self, data: st.DataObject, ok: bool, count: int) -> None:
        name, key = data.draw(st.sampled_from(sorted(self.held)))
        holder = self.held[name, key]
        keys = [k for (n, k), h in sorted(self.held.items()) if (n, h) == (name, holder)][:count] or [key]
        caller = self.bench.caller()
        if ok:
            self.acknowledging[caller] = [(name, k) for k in keys]
            self.asked.update((name, k) for k in keys)
        else:
            for k in keys:
                if (name, k) not in self.in_commit():
                    self.held.pop((name, k), None)
        events = [Acknowledgement(k, ok) for k in keys]
        subscriptions = self.bench.queue.subscriptions
        self.bench.do(subscriptions.acknowledge(caller, name, holder, events, self.bench.now))

    def in_commit(self) -> set[Place]:
        return {place for places in self.acknowledging.values() for place in places}

    @precondition(lambda self: self.taking)
    @rule(data=st.data())
    def cancel_a_wait(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.taking, key=lambda caller: caller.call)))
        del self.taking[caller]
        self.bench.cancel(caller)

    @precondition(lambda self: self.handed)
    @rule(data=st.data())
    def cancel_crosses_the_answer(self, data: st.DataObject) -> None:
        caller = max(self.handed, key=lambda caller: caller.call)
        for place in self.handed.pop(caller):
            if place in self.held:
                del self.held[place]
                self.attempts[place] -= 1
        self.bench.cancel(caller)

    @rule(holder=st.sampled_from(HOLDERS[:2]))
    def holder_is_gone(self, holder: str) -> None:
        self.held = {place: h for place, h in self.held.items() if h != holder}
        self.handed.clear()
        self.bench.do(self.bench.queue.subscriptions.release_holder(holder, self.bench.now))

    @rule()
    def leases_run_out(self) -> None:
        self.held.clear()
        self.handed.clear()
        self.bench.mono += LEASE
        self.bench.do(self.bench.queue.tick(self.bench.now))

    @precondition(lambda self: self.bench.pending)
    @rule(count=st.integers(1, 3))
    def disk(self, count: int) -> None:
        self.bench.settle(count)

    @precondition(lambda self: self.bench.pending)
    @rule()
    def disk_fails(self) -> None:
        self.bench.full = True
        self.bench.settle(1)
        self.bench.full = False

    @rule(unheard=st.booleans())
    def crash(self, unheard: bool) -> None:
        """A SIGKILL; with `unheard`, right after one more commit reached the disk."""
        if unheard and self.bench.pending:
            self.bench.store.commit(self.bench.pending[0].writes)
        self.bench.restart()
        for memory in (self.taking, self.handed, self.held, self.acknowledging):
            memory.clear()
        # What was handed out right before may not be on the disk: it is counted anew. A key of an event that
        # was not stored may be another's now.
        self.attempts.clear()
        self.uuids = {key: uuid for key, uuid in self.uuids.items() if uuid in self.stored}

    # --- what must hold

    @invariant()
    def the_floor_passes_nothing(self) -> None:
        subscriptions: Any = self.bench.queue.subscriptions
        for name in NAMES:
            subscription = subscriptions.find(name)
            if subscription is None:
                continue
            for key, uuid in self.uuids.items():
                place = (name, key)
                if place not in self.done | self.asked and matches(name, *self.events[uuid]):
                    assert key > subscription.floor

    def teardown(self) -> None:
        """Everything comes out in the end."""
        self.bench.held = False
        self.bench.settle()
        self.bench.do(self.bench.queue.tick(self.bench.now))
        for caller in list(self.taking):  # or what comes back would be leased to one of them
            del self.taking[caller]
            self.bench.cancel(caller)
        self.leases_run_out()
        self.bench.passes(5)
        seen: dict[str, set[str]] = {}
        for name in NAMES:
            for _ in range(200):
                caller = self.bench.caller()
                self.taking[caller] = (name, "last")
                subscriptions = self.bench.queue.subscriptions
                self.bench.do(subscriptions.take(caller, name, "last", 64, 0.0, self.bench.now))
                respond = self.bench.responses[caller]
                if not respond.args["events"]:
                    break
                seen.setdefault(name, set()).update(item["uuid"] for item in respond.args["events"])
                self.subs.acknowledge(*self.subs.ids(caller), name=name, holder="last")
            else:
                raise AssertionError("what was acknowledged comes again and again")
        acknowledged = {(name, self.uuids.get(key)) for name, key in self.asked}
        for name in NAMES:
            for uuid in self.stored:
                if matches(name, *self.events[uuid]) and (name, uuid) not in acknowledged:
                    assert uuid in seen.get(name, set()), f"{uuid} never came to {name}"


Subscribed.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSubscribed = Subscribed.TestCase
