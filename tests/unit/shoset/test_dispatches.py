"""Many commands under way at once: receipts find their command, lost routes are left, time moves on."""

from __future__ import annotations

import random
import weakref
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import minimal
from tests.support.transcript import START, at
from zconnector.actions import Actions, Note, Then, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message, receipt
from zconnector.shoset.dispatch import BURST, Verdict
from zconnector.shoset.dispatches import Dispatch, Dispatches, Ending
from zconnector.shoset.peers import Peer


def peer(name: str) -> Peer:
    return Peer(link=name.encode(), upward=True, kind="aggregator", tenant="t1", name="agg", instance=name)


def command(uuid: str) -> Message:
    return minimal(Kind.COMMAND, uuid=uuid, command="CLONE", source="ci", timeout=3000)


class Table:
    """Dispatches with peers that take what they are given, or do not."""

    def __init__(self, limit: int = 1000, seed: int = 1) -> None:
        self.a, self.b, self.c = self.routes = [peer(name) for name in "abc"]
        self.refusing: set[Peer] = set()
        self.sent: list[tuple[Peer, Message]] = []
        self.ended: list[tuple[str, str, Ending]] = []
        self.tries: Dispatches[str] = Dispatches(limit, random.Random(seed), self.send, self.end)

    def send(
        self, peer: Peer, messages: Sequence[Message], now: Instant, refused: Then | None = None
    ) -> Actions:
        if peer in self.refusing:
            return refused(now) if refused else []
        self.sent += [(peer, message) for message in messages]
        return [Transmit(peer.link, tuple(messages), refused)]

    def end(self, dispatch: Dispatch[str], ending: Ending, now: Instant) -> Actions:
        self.ended.append((dispatch.key, dispatch.context, ending))
        return [Note("debug", f"ended {dispatch.key}")]

    def start(
        self,
        uuid: str = "c1",
        routes: Sequence[Peer] | None = None,
        budget: float = 3.0,
        now: Instant = START,
    ) -> Actions:
        routes = self.routes if routes is None else routes
        return self.tries.start(uuid, command(uuid), routes, budget, f"sender of {uuid}", now)

    def verdicts(self) -> list[Verdict]:
        return [ending.verdict for _, _, ending in self.ended]


# ---- sending


def test_a_copy_says_how_long_its_route_may_take() -> None:
    table = Table()
    table.start()
    ((_, message),) = table.sent
    assert message == command("c1").with_fields(budget=1000)


def test_no_routes() -> None:
    table = Table()
    actions = table.tries.start(
        "c1", command("c1"), [], 3.0, "me", START, without_routes=Reason.NO_AGGREGATOR
    )
    assert actions == [Note("debug", "ended c1")]
    assert table.ended == [
        ("c1", "me", Ending(Verdict.NOT_SENT, None, Reason.NO_AGGREGATOR, "no live session"))
    ]
    assert len(table.tries) == 0


def test_a_route_that_takes_nothing_is_passed_over_at_once() -> None:
    table = Table()
    table.refusing = {table.a, table.b}
    table.start()
    assert [to for to, _ in table.sent] == [table.c]


def test_routes_that_all_take_nothing() -> None:
    table = Table()
    table.refusing = set(table.routes)
    table.start()
    ((_, _, ending),) = table.ended
    assert (ending.verdict, ending.reason) == (Verdict.NOT_SENT, Reason.BUSY)


def test_a_socket_that_says_so_later() -> None:
    """`refused` of a Transmit runs when the socket would not take it, and only then."""
    table = Table()
    (transmit,) = table.start()
    assert isinstance(transmit, Transmit)
    assert transmit.refused is not None
    first = table.sent[0][0]
    (again,) = transmit.refused(START)
    assert isinstance(again, Transmit)
    assert table.sent[1][0] is not first
    assert table.ended == []


def test_a_socket_that_says_so_too_late_changes_nothing() -> None:
    table = Table()
    (transmit,) = table.start()
    assert isinstance(transmit, Transmit)
    table.tries.settle("c1", Verdict.ACCEPTED, receipt(command("c1"), "ON_GOING"), START)
    table.start()  # the same uuid, sent anew
    before = len(table.sent)
    assert transmit.refused is not None
    assert transmit.refused(START) == []
    assert len(table.sent) == before


def test_a_leading_route_leads() -> None:
    for seed in range(10):
        table = Table(seed=seed)
        table.tries.start("c1", command("c1"), table.routes, 3.0, "", START, first=table.b)
        assert table.sent[0][0] is table.b


def test_full() -> None:
    table = Table(limit=2)
    table.start("c1")
    assert not table.tries.full
    table.start("c2")
    assert table.tries.full
    table.tries.settle("c1", Verdict.ACCEPTED, receipt(command("c1"), "ON_GOING"), START)
    assert not table.tries.full


# ---- endings


def test_a_receipt_ends_it_with_its_answer() -> None:
    table = Table()
    table.start()
    answer = receipt(command("c1"), "REJECTED", reason="CONFLICT", detail="why")
    assert table.tries.settle("c1", Verdict.REJECTED, answer, START) == [Note("debug", "ended c1")]
    ((key, context, ending),) = table.ended
    assert (key, context, ending.verdict, ending.answer) == (
        "c1",
        "sender of c1",
        Verdict.REJECTED,
        answer,
    )
    assert table.tries.get("c1") is None


def test_a_second_receipt_has_no_effect() -> None:
    table = Table()
    table.start()
    answer = receipt(command("c1"), "ON_GOING")
    table.tries.settle("c1", Verdict.ACCEPTED, answer, START)
    assert table.tries.settle("c1", Verdict.ACCEPTED, answer, START) == []
    assert table.tries.decline("c1", table.a, Reason.TARGET_AWAY, "", START) == []
    table.tries.tick(at(100))
    assert len(table.ended) == 1


def test_a_receipt_of_an_earlier_route_counts() -> None:
    table = Table()
    table.start()
    table.tries.tick(at(1.0))
    table.tries.tick(at(2.0))
    assert len(table.sent) == 3
    table.tries.settle("c1", Verdict.ACCEPTED, receipt(command("c1"), "ON_GOING"), at(2.5))
    assert table.verdicts() == [Verdict.ACCEPTED]
    table.tries.tick(at(10))
    assert len(table.ended) == 1


def test_silence_of_all_routes_is_unknown_when_the_budget_is_over() -> None:
    table = Table()
    table.start()
    for moment in (0.999, 1.0, 1.999, 2.0, 2.999):
        table.tries.tick(at(moment))
    assert len(table.sent) == 3
    assert table.ended == []
    assert table.tries.deadline() == pytest.approx(START.mono + 3.0)
    table.tries.tick(at(3.0))
    assert table.verdicts() == [Verdict.UNKNOWN]
    assert len(table.tries) == 0


def test_declined_by_all_is_not_sent_with_the_last_reason() -> None:
    table = Table()
    table.start()
    for _ in range(3):
        table.tries.decline("c1", table.sent[-1][0], Reason.TARGET_AWAY, "away", START)
    ((_, _, ending),) = table.ended
    assert (ending.verdict, ending.reason, ending.detail) == (
        Verdict.NOT_SENT,
        Reason.TARGET_AWAY,
        "away",
    )


def test_a_burst_goes_one_way_and_the_next_one_its_own() -> None:
    ways: list[Peer] = []
    for seed in range(12):
        table = Table(seed=seed)
        for number in range(20):
            table.start(f"c{number}", now=at(number * BURST / 20))
        assert len({to for to, _ in table.sent}) == 1
        table.start("later", now=at(BURST))
        ways += [table.sent[0][0], table.sent[-1][0]]
    assert len({to.instance for to in ways}) == 3
    assert any(first is not later for first, later in zip(ways[::2], ways[1::2], strict=True))


def test_a_burst_takes_no_way_that_is_not_there_any_more() -> None:
    table = Table()
    table.start()
    left = [peer for peer in table.routes if peer is not table.sent[0][0]]
    table.start("c2", routes=left)
    assert table.sent[1][0] in left


def test_a_lost_route_moves_what_waits_on_it_at_once_and_nothing_else() -> None:
    table = Table()
    for number in range(30):
        table.start(f"c{number}", now=at(number * BURST))
    on_a = [m.uuid for to, m in table.sent if to is table.a]
    assert 0 < len(on_a) < 30
    table.sent.clear()
    table.tries.lost(table.a, START)
    assert sorted(m.uuid for _, m in table.sent) == sorted(on_a)
    assert table.a not in {to for to, _ in table.sent}
    for number in range(30):
        dispatch = table.tries.get(f"c{number}")
        assert dispatch is not None
        assert table.a not in dispatch.serial.routes


def test_what_the_end_of_one_begins_anew_is_not_moved_with_those_that_were_lost() -> None:
    class Role(Table):
        def end(self, dispatch: Dispatch[str], ending: Ending, now: Instant) -> Actions:
            if dispatch.key == "c1":
                self.start("c2", [self.b])
            return super().end(dispatch, ending, now)

    table = Role()
    table.start("c1", [table.a])
    table.start("c2", [table.a])
    table.tries.lost(table.a, START)
    assert [key for key, _, _ in table.ended] == ["c1"]
    assert [(to, message.uuid) for to, message in table.sent[2:]] == [(table.b, "c2")]
    assert table.tries.deadline() == START.mono + 3.0
    table.tries.tick(at(3.0))
    assert [key for key, _, _ in table.ended] == ["c1", "c2"]


def test_all_routes_lost_is_unknown_at_once() -> None:
    table = Table()
    table.start()
    for each in table.routes:
        table.tries.lost(each, START)
    assert table.verdicts() == [Verdict.UNKNOWN]


def test_with_two_of_three_silent_the_third_is_reached_within_two_thirds() -> None:
    for seed in range(12):
        table = Table(seed=seed)
        table.start()
        while table.sent[-1][0] is not table.c:
            due = table.tries.deadline()
            assert due is not None
            assert due <= START.mono + 2.0 + 1e-9
            table.tries.tick(at(due - START.mono))
        assert table.ended == []


def test_a_tick_at_the_deadline_moves_the_deadline() -> None:
    table = Table()
    for number, budget in enumerate((0.1, 1 / 3, 0.7, 3.0, 1e-6)):
        table.start(f"c{number}", budget=budget)
    moments = []
    while (due := table.tries.deadline()) is not None:
        moments.append(due)
        assert len(moments) <= 15, "three routes of five commands"
        table.tries.tick(at(max(due - START.mono, 0)))
        after = table.tries.deadline()
        assert after is None or after > due
    assert table.verdicts() == [Verdict.UNKNOWN] * 5


class Uuid(str):
    """A text of which can be told whether anybody still has it."""


def test_what_is_over_is_not_kept_until_its_time_is() -> None:
    """213 bytes for each: ten minutes of two thousand commands a second would be 250 MB."""
    tries: Dispatches[str] = Dispatches(1000, random.Random(1), lambda *_: [], lambda *_: [])
    seen = []
    tries.start("lasts", command("lasts"), [peer("a")], 500.0, "", START)
    for number in range(1000):
        uuid = Uuid(f"c{number}")
        seen.append(weakref.ref(uuid))
        tries.start(uuid, command("c"), [peer("a")], 600.0, "", START)
        tries.settle(uuid, Verdict.ACCEPTED, receipt(command("c"), "ON_GOING"), START)
    del uuid
    assert sum(kept() is not None for kept in seen) < 100
    assert tries.deadline() == START.mono + 500.0
    tries.tick(at(500.0))
    assert len(tries) == 0


def test_the_same_uuid_anew_is_timed_by_the_new_try() -> None:
    table = Table()
    table.start("c1", budget=0.3)
    table.start("c1", budget=30.0)
    table.tries.tick(at(5.0))
    assert table.ended == []
    assert len(table.sent) == 2
    table.tries.tick(at(10.0))
    assert len(table.sent) == 3


# ---- which receipt is whose


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 2**32))
def test_of_100_shuffled_and_late_receipts_none_goes_to_the_wrong_command(
    chance: random.Random, seed: int
) -> None:
    table = Table(seed=seed)
    uuids = [f"c{number}" for number in range(100)]
    for uuid in uuids:
        table.start(uuid, budget=chance.choice([0.3, 3.0, 30.0]))
    accepted = {uuid: chance.random() < 0.7 for uuid in uuids}
    answers = [
        receipt(command(uuid), "ON_GOING" if accepted[uuid] else "REJECTED", reason="CONFLICT")
        for uuid in uuids
        for _ in range(chance.randint(1, 3))  # several copies, several receipts
    ]
    chance.shuffle(answers)
    now = 0.0
    for answer in answers:
        now += chance.random() * 0.05
        table.tries.tick(at(now))
        verdict = Verdict.ACCEPTED if answer.text("event") == "ON_GOING" else Verdict.REJECTED
        table.tries.settle(answer.reference, verdict, answer, at(now))
    table.tries.tick(at(100.0))
    table.tries.tick(at(100.0))
    table.tries.tick(at(100.0))
    assert sorted(key for key, _, _ in table.ended) == sorted(uuids), "each ends once"
    for key, context, ending in table.ended:
        assert context == f"sender of {key}"
        if ending.answer is None:
            assert ending.verdict is Verdict.UNKNOWN
        else:
            assert ending.answer.reference == key
            assert ending.verdict is (Verdict.ACCEPTED if accepted[key] else Verdict.REJECTED)
