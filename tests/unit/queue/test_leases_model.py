"""Leases and ordering against a model: any interleaving of calls, slow and failing disks, and crashes.

The disk is slow: commits wait until the rule `disk` performs one, fails one, or a crash drops the rest. A
crash may come right after a commit, before anybody heard of it. What must hold:

- no command is with two workers at once;
- a worker gets the oldest command that it could take;
- only one completion of a command counts; then its reply is in the outbox, and it is never handed out again;
- what was told as stored or completed is so after any crash.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.queue.conftest import Bench
from zconnector.actions import Actions, Caller, Respond
from zconnector.clock import Instant
from zconnector.messages import Message
from zconnector.queue.local import Completed, Offered
from zconnector.settings import QueueSettings

NAMES = ("A", "B")
MAJORS = (0, 1, 2)
FOREVER = 10**15


def fits(waiter: int, command: int) -> bool:
    return 0 in (waiter, command) or waiter == command


def state_of(register: Any, uuid: str) -> str:
    """Of a command that is there."""
    return str(register.find(uuid).state)


class Told(Bench):
    """A bench that tells the model of each answer at the moment it is given."""

    def __init__(self, on_respond: Any) -> None:
        self.on_respond = on_respond
        # Leases run out by 300 s each: nothing may be forgotten meanwhile, that is tested elsewhere.
        super().__init__(QueueSettings(max_commands=20, dedupe_window=1e9, iterator_idle=1e9))

    def _take(self, actions: Actions) -> None:
        for action in actions:
            if isinstance(action, Respond):
                self.on_respond(action)
        super()._take(actions)


class Leases(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench = Told(self.responded)
        self.iterators = [self.bench.iterator() for _ in range(3)]
        self.bench.held = True
        self.sent: dict[str, Message] = {}  # in order of the first offer
        self.order: dict[str, int] = {}  # uuid -> place among the stored
        self.held: dict[str, Caller] = {}  # uuid -> the call it was handed to
        self.ending: set[str] = set()  # a completion is on its way to the disk
        self.ended: dict[str, str] = {}  # uuid -> uuid of the completion that counted
        self.waiting: dict[Caller, tuple[str, str, int]] = {}
        self.completions = 0

    # --- what the queue says ---

    def responded(self, respond: Respond) -> None:
        assert respond.error is None
        uuid = str(respond.args["uuid"])
        name, _, major = self.waiting.pop(respond.caller)
        command = self.sent[uuid]
        assert uuid in self.order, "handed out before it was stored"
        assert uuid not in self.held, "with two workers at once"
        assert uuid not in self.ended, "handed out after its completion"
        assert uuid not in self.ending, "handed out while it completes"
        assert command.text("command") == name
        assert fits(major, command.number("major"))
        for other, message in self.sent.items():
            if (
                other in self.order
                and other not in self.held
                and other not in self.ended | dict.fromkeys(self.ending)
                # A second completion begins anew when the commit of the first one fails.
                and state_of(self.bench.queue._register, other) != "COMPLETING"
            ):
                could = message.text("command") == name and fits(major, message.number("major"))
                older = could and self.order[other] < self.order[uuid]
                assert not older, f"{other} is older than {uuid}"
        self.held[uuid] = respond.caller

    def offered(self, uuid: str) -> Any:
        def done(now: Instant, offered: Offered) -> Actions:
            if offered.outcome == "STORED":
                assert uuid not in self.order, "stored twice"
                self.order[uuid] = len(self.order)
            elif offered.outcome == "DUPLICATE":
                assert uuid in self.order
            else:
                assert uuid not in self.order, "refused although stored"
            return []

        return done

    def completed(self, uuid: str, reply: str) -> Any:
        def done(now: Instant, completed: Completed) -> Actions:
            if completed.outcome == "COMPLETED":
                assert uuid not in self.ended, "two completions counted"
                self.ended[uuid] = reply
                self.ending.discard(uuid)
                self.held.pop(uuid, None)
            elif completed.outcome == "LATE":
                assert uuid in self.ended
            elif completed.outcome == "FAILED":
                assert uuid not in self.ended
                self.ending.discard(uuid)
            return []

        return done

    # --- what others do ---

    @rule(name=st.sampled_from(NAMES), major=st.sampled_from(MAJORS))
    def offer_new(self, name: str, major: int) -> None:
        uuid = f"u{len(self.sent)}"
        self.sent[uuid] = self.bench.command(uuid, name, major=major, accept_until=FOREVER)
        self.bench.do(self.bench.queue.offer(self.sent[uuid], self.bench.now, self.offered(uuid)))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def offer_again(self, data: st.DataObject) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.sent)))
        self.bench.do(self.bench.queue.offer(self.sent[uuid], self.bench.now, self.offered(uuid)))

    @rule(name=st.sampled_from(NAMES), major=st.sampled_from(MAJORS), which=st.integers(0, 2))
    def wait(self, name: str, major: int, which: int) -> None:
        caller = self.bench.caller()
        self.waiting[caller] = (name, self.iterators[which], major)
        self.bench.do(
            self.bench.queue.wait_command(
                caller, self.iterators[which], name, major, "w", None, self.bench.now
            )
        )

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.waiting, key=lambda caller: caller.call)))
        _, iterator, _ = self.waiting.pop(caller)
        self.freed(lambda lease_iterator: lease_iterator == iterator)
        self.bench.cancel(caller)

    def freed(self, which: Any) -> None:
        """The model's side of leases that end: known by the iterator of the call."""
        for uuid, caller in list(self.held.items()):
            if which(self.handed_iterator[caller]):
                del self.held[uuid]

    @property
    def handed_iterator(self) -> dict[Caller, str]:
        leases: dict[Caller, str] = {}
        register = self.bench.queue._register
        for caller in self.held.values():
            (command,) = register.handed_to(caller)
            assert command.lease is not None
            leases[caller] = command.lease.iterator
        return leases

    @rule()
    def release_all(self) -> None:
        self.held.clear()
        self.bench.do(self.bench.queue.release(lambda lease: True, "gone", self.bench.now))

    @rule()
    def leases_run_out(self) -> None:
        self.bench.mono += self.bench.settings.lease_limit
        self.held.clear()
        self.bench.do(self.bench.queue.tick(self.bench.now))

    @precondition(lambda self: self.order)
    @rule(data=st.data(), event=st.sampled_from(["SUCCES", "FAIL"]))
    def complete(self, data: st.DataObject, event: str) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.order)))
        self.completions += 1
        reply = f"r{self.completions}"
        if uuid not in self.ended:
            self.ending.add(uuid)
        message = self.bench.event(reply, "X", event, reference=uuid)
        self.bench.do(self.bench.queue.complete(message, self.bench.now, self.completed(uuid, reply)))
        if uuid not in self.ended and state_of(self.bench.queue._register, uuid) != "COMPLETING":
            self.ending.discard(uuid)

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
        self.waiting.clear()
        self.bench.restart()
        self.ending.clear()
        register = self.bench.queue._register
        for uuid in self.order:
            command = register.find(uuid)
            assert command is not None, f"{uuid} was told as stored, and is lost"
        for uuid in self.ended:
            assert state_of(register, uuid) == "DONE"
        for uuid in sorted(self.sent, key=lambda uuid: int(uuid[1:])):
            command = register.find(uuid)
            if command is not None and uuid not in self.order:
                self.order[uuid] = len(self.order)  # stored, though nobody was told
            if command is not None and command.state == "DONE":
                self.ended.setdefault(uuid, command.reply)
        self.held.clear()
        self.bench.held = False
        self.bench.do(self.bench.queue.release(lambda lease: True, "restart", self.bench.now))
        self.bench.held = True

    @invariant()
    def each_end_has_its_reply(self) -> None:
        if self.bench.pending:
            return
        outbox = [entry.message for entry in self.bench.queue.outbox_due(self.bench.now, limit=1000)]
        replies = {message.reference: message.uuid for message in outbox}
        assert len(outbox) == len(replies), "one reply for each command"
        assert replies == self.ended


Leases.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLeases = Leases.TestCase
