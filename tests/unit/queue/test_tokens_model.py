"""Leases with tokens against a model: takes, settlements, delays, order keys, bad disks, crashes.

The disk is slow, as in `test_leases_model.py`, and a crash may come between any two commits. What must hold:

- no command is with two holders at once, and none is handed out before its time or after its end;
- only the token of the lease that lasts has any effect, also after a crash;
- a command is handed out no more often than it has attempts, but for leases given back unseen;
- of one name and order key only the first that has not ended is handed out, and of what fits the first by
  priority and arrival;
- what was told as stored or settled is so after any crash, and in the end everything has come to an end, with
  one reply each, and one dead letter for each that is dead.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.queue.conftest import Bench
from tests.unit.queue.test_leases_model import FOREVER, Told
from zconnector.actions import Actions, Caller, Respond
from zconnector.clock import Instant
from zconnector.configuration.pivot import Version
from zconnector.errors import Refusal
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.leases import Command
from zconnector.queue.local import Offered
from zconnector.queue.settling import Settlement
from zconnector.queue.states import ENDED, State

NAMES = ("A", "B")
ATTEMPTS = 3
LEASE = 10.0
POLICY = RetryPolicy(attempts=ATTEMPTS, first=1_000, factor=2, limit=2_000)


class Tokens(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench = Told(self.responded)
        self.bench.held = True
        self.sent: list[str] = []
        self.stored: dict[str, None] = {}
        self.held: dict[str, tuple[str, float]] = {}  # uuid -> token, when that lease ends
        self.tokens: list[tuple[str, str]] = []  # every (uuid, token) that was ever handed out
        self.counted: dict[str, int] = {}  # uuid -> attempts that count
        self.ended: dict[str, str] = {}
        self.waiting: dict[Caller, tuple[str, ...]] = {}
        self.at_once = False  # several things happen at one moment: in which order is not told

    def find(self, uuid: str) -> Command:
        command = self.bench.queue.find_command(uuid)
        assert command is not None, f"{uuid} is lost"
        return command

    # --- what the queue says ---

    def responded(self, respond: Respond) -> None:
        assert respond.error is None
        names = self.waiting.pop(respond.caller)
        for entry in respond.args["commands"]:
            self.handed(entry, names)

    def handed(self, entry: dict[str, Any], names: tuple[str, ...]) -> None:
        uuid = entry["uuid"]
        command = self.find(uuid)
        assert uuid in self.stored, "handed out before it was stored"
        assert uuid not in self.held, "with two holders at once"
        assert uuid not in self.ended, "handed out after its end"
        assert command.name in names
        assert (uuid, entry["token"]) not in self.tokens, "a token that was there before"
        for other in self.stored:
            self.not_before(uuid, other, names)
        self.counted[uuid] = self.counted.get(uuid, 0) + 1
        assert entry["attempt"] == self.counted[uuid]
        assert self.counted[uuid] <= ATTEMPTS, "more attempts than it has"
        self.held[uuid] = (entry["token"], self.bench.mono + LEASE)
        self.tokens.append((uuid, entry["token"]))

    def not_before(self, uuid: str, other: str, names: tuple[str, ...]) -> None:
        """Nothing of the same order key is before it, and nothing that could go is better."""
        mine, theirs = self.find(uuid), self.find(other)
        if other == uuid or theirs.state in ENDED:
            return
        if mine.order_key and (mine.name, mine.order_key) == (theirs.name, theirs.order_key):
            assert theirs.key > mine.key, f"{uuid} overtook {other} of its order key"
        could = theirs.state is State.READY and theirs.before is None and theirs.name in names
        if could and theirs.attempt < ATTEMPTS and not self.at_once:
            better = (-theirs.priority, theirs.key) < (-mine.priority, mine.key)
            assert not better, f"{other} goes before {uuid}"

    def offered(self, uuid: str) -> Any:
        def done(now: Instant, offered: Offered) -> Actions:
            if offered.outcome == "STORED":
                self.stored[uuid] = None
            else:
                assert uuid not in self.stored
            return []

        return done

    def settled(self, uuid: str, token: str, outcome: str, *, valid: bool) -> Any:
        def done(now: Instant, outcomes: list[Refusal | None]) -> Actions:
            (refusal,) = outcomes
            if refusal is not None:
                assert str(refusal.reason) in ("FENCED", "STORAGE_FAILED")
                return []
            assert valid, f"{uuid}: the token of no lease that lasts had an effect"
            assert uuid not in self.ended, "settled twice"
            if outcome == "progress":
                if self.held.get(uuid, ("", 0.0))[0] != token:  # only its worker itself has ended it
                    state = self.find(uuid).state
                    assert state not in (State.READY, State.LEASED), "told that a lease lasts which is over"
                return []
            self.held.pop(uuid, None)
            if outcome != "nak" or self.counted[uuid] >= ATTEMPTS:
                self.ended[uuid] = "DONE" if outcome == "ack" else "DEAD"
            return []

        return done

    # --- what others do ---

    @rule(
        name=st.sampled_from(NAMES),
        priority=st.sampled_from([0, 0, 5, 9]),
        order_key=st.sampled_from(["", "", "k", "l"]),
        delay=st.sampled_from([0, 0, 0, 1_500]),
    )
    def offer(self, name: str, priority: int, order_key: str, delay: int) -> None:
        uuid = f"u{len(self.sent)}"
        self.sent.append(uuid)
        wishes: dict[str, Any] = {"priority": priority, "order_key": order_key, "delay": delay}
        message = self.bench.command(uuid, name, accept_until=FOREVER, **wishes)
        self.bench.do(self.bench.queue.offer(message, self.bench.now, self.offered(uuid), POLICY))

    @rule(names=st.sampled_from([("A",), ("B",), ("A", "B")]), limit=st.integers(1, 3), stream=st.booleans())
    def take(self, names: tuple[str, ...], limit: int, stream: bool) -> None:
        caller = self.bench.caller()
        self.waiting[caller] = names
        actions = self.bench.queue.take_commands(
            caller,
            names,
            "w",
            Version(0, 0),
            self.bench.now,
            holder="s" if stream else "",
            limit=limit,
            lease_ms=int(LEASE * 1000),
        )
        self.bench.do(actions)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        caller = data.draw(st.sampled_from(sorted(self.waiting, key=lambda caller: caller.call)))
        del self.waiting[caller]
        self.bench.cancel(caller)

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), outcome=st.sampled_from(["ack", "fail", "nak", "nak", "progress"]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        uuid, token = data.draw(st.sampled_from(self.tokens[-8:]))
        valid = self.held.get(uuid, ("", 0.0))[0] == token
        delay = data.draw(st.sampled_from([None, 0, 1_000])) if outcome == "nak" else None
        settlement = Settlement(uuid, token, outcome, delay)  # type: ignore[arg-type]
        if valid and outcome == "progress" and self.find(uuid).state is State.LEASED:
            self.held[uuid] = (token, self.bench.mono + LEASE)
        done = self.settled(uuid, token, outcome, valid=valid)
        self.bench.do(self.bench.queue.settle([settlement], self.bench.now, done))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), unseen=st.booleans())
    def give_back(self, data: st.DataObject, unseen: bool) -> None:
        uuid = data.draw(st.sampled_from(sorted(self.held)))
        token, _ = self.held.pop(uuid)
        if unseen:
            self.counted[uuid] -= 1
        leases = [(uuid, token)]
        count, actions = self.bench.queue.give_back(leases, "back", self.bench.now, unseen=unseen)
        assert count == 1
        self.bench.do(actions)

    @rule(seconds=st.sampled_from([0.5, 1.0, 6.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.bench._to(self.bench.mono + seconds)
        for uuid, (_, end) in list(self.held.items()):
            if end <= self.bench.mono:
                del self.held[uuid]
        self.at_once = True
        self.bench.do(self.bench.queue.tick(self.bench.now))
        self.at_once = False

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
        for uuid in self.sent:
            command = self.bench.queue.find_command(uuid)
            if command is not None:
                self.stored[uuid] = None
        self.held.clear()
        for uuid in self.stored:
            self.after_the_crash(self.find(uuid))

    def after_the_crash(self, command: Command) -> None:
        uuid = command.uuid
        if uuid in self.ended:
            assert command.state == self.ended[uuid], "it was told that it had ended so"
        elif command.state in ENDED:
            self.ended[uuid] = str(command.state)
        assert command.attempt <= ATTEMPTS
        self.counted[uuid] = command.attempt
        if command.lease is not None:
            assert (uuid, command.lease.token) in self.tokens
            self.held[uuid] = (command.lease.token, self.bench.mono + LEASE)

    # --- what must hold ---

    def what_is_dead_by_itself_is_known(self) -> None:
        for uuid in self.stored:
            command = self.find(uuid)
            if command.state is State.DEAD and uuid not in self.ended:
                assert self.counted[uuid] >= ATTEMPTS
                self.ended[uuid] = "DEAD"
                self.held.pop(uuid, None)

    @invariant()
    def each_end_has_its_reply_and_each_dead_its_letter(self) -> None:
        self.what_is_dead_by_itself_is_known()
        if self.bench.pending:
            return
        outbox = [entry.message for entry in self.bench.queue.outbox_due(self.bench.now, limit=1000)]
        told = sorted(message.reference for message in outbox)
        assert told == sorted(self.ended), f"replies to {told}, ended: {self.ended}"
        dead = sorted(uuid for uuid, state in self.ended.items() if state == "DEAD")
        assert sorted(letter["uuid"] for letter in self.bench.letters()) == dead

    @invariant()
    def counts_are_those_of_the_commands(self) -> None:
        counted: dict[tuple[str, int, State], int] = {}
        for uuid in self.sent:
            command = self.bench.queue.find_command(uuid)
            if command is not None:
                key = (command.name, command.major, command.state)
                counted[key] = counted.get(key, 0) + 1
        assert self.bench.queue.tally.states == counted

    def teardown(self) -> None:
        """All faults are over, workers do what they are given: everything comes to its end."""
        self.bench.settle()
        self.bench.held = False
        for _ in range(12):
            for caller in list(self.waiting):
                del self.waiting[caller]
                self.bench.cancel(caller)
            self.time_goes_by(6.0)
            while self.give_and_ack():
                pass
        live = [command for command in map(self.find, self.stored) if command.state not in ENDED]
        assert not live, f"{live} never came to an end"
        self.each_end_has_its_reply_and_each_dead_its_letter()

    def give_and_ack(self) -> bool:
        before = len(self.tokens)
        self.take(NAMES, 64, False)
        for uuid, token in self.tokens[before:]:
            done = self.settled(uuid, token, "ack", valid=True)
            self.bench.do(self.bench.queue.settle([Settlement(uuid, token, "ack")], self.bench.now, done))
        return len(self.tokens) > before


Tokens.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestTokens = Tokens.TestCase
