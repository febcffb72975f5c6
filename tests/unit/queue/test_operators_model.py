"""Operators, workers, a failing disk and SIGKILLs, in any order: nothing vanishes, nothing is twice.

Whatever was receipted is live, done, or a letter; a replayed letter is one command and no letter; a paused
name hands out nothing.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.queue.conftest import Bench
from tests.unit.queue.test_replays import no_check, no_policy
from zconnector.actions import Caller
from zconnector.errors import Reason
from zconnector.queue.letters import LetterFilter
from zconnector.queue.replays import Replayed
from zconnector.queue.states import State
from zconnector.settings import QueueSettings

NAMES = ("BUILD", "TEST")
ATTEMPTS = 3


class Operated(RuleBasedStateMachine):
    """`expected` holds, for each command that was receipted, what must have become of it."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(QueueSettings(retry_attempts=ATTEMPTS))
        self.uuids: set[str] = set()
        self.done: set[str] = set()
        self.dead: set[str] = set()
        self.replayed: set[str] = set()
        self.purged: set[str] = set()
        self.paused: set[str] = set()
        self.waiting: list[tuple[str, Caller]] = []
        self.seen: set[Caller] = set()
        self.count = 0

    # ---- the world

    @rule(name=st.sampled_from(NAMES), delay=st.sampled_from([0, 0, 2_000]), good=st.booleans())
    def offer(self, name: str, delay: int, good: bool) -> None:
        self.count += 1
        uuid = f"c{self.count}"
        offered = self.bench.offer(self.bench.command(uuid, name, b"{}" if good else b"\xff", delay=delay))
        if offered is not None and offered.outcome == "STORED":
            self.uuids.add(uuid)

    @rule(name=st.sampled_from(NAMES))
    def wait(self, name: str) -> None:
        if self.bench.full:
            return  # no iterator can be made
        caller = self.bench.wait(self.bench.iterator(), name)
        self.waiting.append((name, caller))

    @rule(index=st.integers(0, 5))
    def give_up(self, index: int) -> None:
        """A worker goes, with or without a command."""
        if self.waiting:
            _, caller = self.waiting.pop(index % len(self.waiting))
            self.bench.cancel(caller)

    @rule(index=st.integers(0, 5), event=st.sampled_from(["SUCCES", "FAIL"]))
    def complete(self, index: int, event: str) -> None:
        taken = [caller for _, caller in self.waiting if self.bench.got(caller) in self.uuids]
        if taken:
            self.bench.complete(str(self.bench.got(taken[index % len(taken)])), event)

    @rule(seconds=st.sampled_from([0.5, 1.5, 5.0]))
    def passes(self, seconds: float) -> None:
        self.bench.passes(seconds)

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        self.bench.full = full

    @rule()
    def sigkill(self) -> None:
        self.bench.full = False
        self.bench.restart(1)
        self.waiting.clear()

    # ---- operators

    @rule(name=st.sampled_from([*NAMES, "*"]))
    def pause(self, name: str) -> None:
        self.bench.do(self.bench.queue.operators.pause(name, self.bench.now, self.bench.hear()))
        if self.bench.heard[-1] is None:
            self.paused.add(name)
        self.mark()

    @rule(name=st.sampled_from([*NAMES, "*"]))
    def resume(self, name: str) -> None:
        self.mark()
        self.bench.do(self.bench.queue.operators.resume(name, self.bench.now, self.bench.hear("resumed")))
        answers = [heard for heard in self.bench.heard if isinstance(heard, tuple)]
        if answers[-1] == ("resumed", None):
            self.paused -= self.paused if name == "*" else {name}
        self.mark()

    @rule(index=st.integers(0, 20))
    def cancel(self, index: int) -> None:
        known = sorted(self.uuids)
        if known:
            uuid, queue, now = known[index % len(known)], self.bench.queue, self.bench.now
            self.bench.do(queue.cancel_command(uuid, Reason.CANCELLED, "x", now, self.bench.hear()))

    @rule(state=st.sampled_from([None, State.READY, State.DELAYED]))
    def purge_queue(self, state: State | None) -> None:
        queue, now = self.bench.queue, self.bench.now
        self.bench.do(queue.operators.purge(None, state, now, lambda later, count, why: []))

    @rule()
    def replay(self) -> None:
        operators = self.bench.queue.operators
        letters = operators.letters(LetterFilter(), 1000).letters
        asked = operators.replay(letters, no_check, no_policy, self.bench.now, self.bench.hear("replay"))
        self.bench.do(asked)
        outcome = next(heard[1] for heard in reversed(self.bench.heard) if isinstance(heard, tuple))
        assert isinstance(outcome, Replayed)
        assert len(outcome.uuids) + len(outcome.refused) == len(letters), "each has its answer"
        for old, new in outcome.uuids:
            self.replayed.add(old)
            self.uuids.add(new)

    @rule()
    def edit_and_purge_letters(self) -> None:
        operators, now = self.bench.queue.operators, self.bench.now
        for letter in operators.letters(LetterFilter(), 1000).letters[:2]:
            self.bench.do(operators.edit(letter, b'{"fixed":1}', now, self.bench.hear()))
        meant = operators.letters(LetterFilter(), 1000).letters[2:4]
        self.bench.do(operators.purge_letters(meant, now, self.bench.hear()))
        if self.bench.heard[-1] is None:
            self.purged |= {letter.uuid for letter in meant}

    # ---- what must hold

    def mark(self) -> None:
        """Whoever has been answered until now was so while it was allowed."""
        self.seen |= set(self.bench.responses)

    @invariant()
    def nothing_of_a_paused_name_is_handed_out(self) -> None:
        if not hasattr(self, "bench"):
            return
        held = set(NAMES) if "*" in self.paused else self.paused
        fresh = [c for name, c in self.waiting if name in held and c in self.bench.responses]
        assert set(fresh) <= self.seen
        self.mark()

    @invariant()
    def everything_is_in_one_place(self) -> None:
        if not hasattr(self, "bench"):
            return
        queue = self.bench.queue
        letters = [letter.uuid for letter in queue.operators.letters(LetterFilter(), 10_000).letters]
        assert len(letters) == len(set(letters))
        for uuid in self.uuids:
            command = queue.find_command(uuid)
            assert command is not None, "receipted, and gone"
            dead = command.state is State.DEAD
            buried = uuid in letters or uuid in self.replayed or uuid in self.purged
            assert dead == buried, (uuid, command.state)
            assert not (uuid in letters and uuid in self.replayed), "a letter and a command"
        assert set(letters) <= self.uuids
        assert sum(queue.tally.states.values()) == len(self.uuids)

    @invariant()
    def pauses_are_as_they_were_told(self) -> None:
        if hasattr(self, "bench"):
            assert set(self.bench.queue.operators.pauses.names()) == self.paused


TestOperated = Operated.TestCase
TestOperated.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
