from __future__ import annotations

from typing import Any

from tests.unit.cluster.bench import Bench, Instance, topology
from zconnector.cluster.settled import SETTLING
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def confirms(instance: Instance) -> list[list[Any]]:
    return [entry for m in instance.take(Kind.CONFIRM) for entry in m.header["entries"]]


def numbered(messages: list[Message]) -> list[tuple[str, int]]:
    return [(m.uuid, m.number("seq")) for m in messages if m.kind is Kind.EVENT]


def test_an_event_is_committed_then_confirmed_to_its_giver_and_relayed_to_the_others() -> None:
    bench, (a, b) = topology()
    bench.log.clear()
    a.event("e1", "git", payload=b"\xff\x00")
    assert bench.log[:3] == ["member.event_before_commit", "committed", "member.event_after_commit"]
    assert confirms(a) == [["e1", 1]]
    (relayed,) = b.take()
    assert (relayed.uuid, relayed.number("seq"), relayed.payload) == ("e1", 1, b"\xff\x00")
    assert relayed.text("source") == "git"
    assert not relayed.text("recipient")


def test_nothing_is_confirmed_or_relayed_before_the_commit() -> None:
    bench, (a, b) = topology()
    bench.held = True
    a.event("e1", "git")
    assert a.take() == b.take() == []
    bench.release()
    assert confirms(a) == [["e1", 1]]


def test_copies_get_one_number_and_each_giver_its_confirmation() -> None:
    bench, (a, b) = topology()
    bench.held = True
    a.event("e1", "git")
    b.event("e1", "git")
    bench.release()
    assert confirms(a) == confirms(b) == [["e1", 1]]
    b.event("e1", "git")
    assert confirms(b) == [["e1", 1]]
    assert a.take() == []
    bench.boot()
    a.begin()
    b.begin()
    a.event("e1", "git")
    bench.release()
    assert confirms(a) == [["e1", 1]]
    assert b.take() == []  # numbered before: who misses it sees that by `latest`
    assert bench.store.latest("acme") == 1


def test_events_of_one_transmission_are_one_commit_and_one_confirmation() -> None:
    bench, (a, _) = topology()
    bench.held = True
    a.give(*(a.event_message(f"e{n}", "git") for n in range(20)))
    (commit,) = bench.commits
    assert len(commit.writes) == 20
    bench.release()
    (confirm,) = a.take()
    assert confirm.header["entries"] == [[f"e{n}", n + 1] for n in range(20)]


def test_a_failed_commit_confirms_nothing_and_the_next_copy_is_taken() -> None:
    bench, (a, b) = topology()
    bench.failing = True
    a.event("e1", "git")
    assert a.take() == b.take() == []
    bench.failing = False
    a.event("e1", "git")
    assert confirms(a) == [["e1", 1]]


def test_a_seq_written_by_a_peer_means_nothing() -> None:
    _, (a, b) = topology()
    a.give(a.event_message("e1", "git").with_fields(seq=99))
    assert confirms(a) == [["e1", 1]]
    assert numbered(b.take()) == [("e1", 1)]


def test_the_latest_number_goes_along_with_welcome_and_beats() -> None:
    bench, (a, _) = topology()
    a.event("e1", "git")
    a.take()
    bench.pass_time(1.0)
    assert a.take(Kind.HEARTBEAT)[-1].number("latest") == 1
    bench.boot()
    a.hello()
    assert a.take(Kind.WELCOME)[-1].number("latest") == 1


def published(count: int, payload: bytes = b"x", **settings: Any) -> tuple[Bench, Instance]:
    bench, (a, _) = topology(**settings)
    for number in range(1, count + 1):
        a.event(f"e{number}", "git", payload=payload)
    a.beat(count)
    a.take()
    return bench, a


def test_fetch_gives_the_span_to_who_asked_then_the_answer() -> None:
    _, a = published(10)
    a.fetch(3, 6, "ci")
    *events, answer = a.take()
    assert numbered(events) == [("e4", 4), ("e5", 5), ("e6", 6)]
    assert {m.text("recipient") for m in events} == {"ci"}
    fields = ("reference", "recipient", "upto", "latest", "missed")
    assert [answer.header[name] for name in fields] == ["f1", "ci", 6, 10, 0]
    assert answer.is_answer


def test_fetch_is_bounded_by_count_and_bytes_and_says_how_far_it_came() -> None:
    bench, a = published(8, payload=bytes(900_000))
    a.fetch(0, 8, "ci")
    *events, answer = a.take()
    assert numbered(events) == [(f"e{n}", n) for n in range(1, 5)]
    assert answer.number("upto") == 4
    bench, a = published(700)
    a.drop()
    a.hello(credit=2048)
    a.full()
    a.take()
    a.fetch(0, 700, "ci")
    *events, answer = a.take()
    assert len(events) == 500
    assert answer.number("upto") == 500
    a.beat(501)
    a.fetch(500, 700, "ci")
    *events, answer = a.take()
    assert [len(events), answer.number("upto")] == [200, 700]
    assert bench.router.status(bench.now)["tenants"]["acme"]["latest"] == 700


def test_a_fetch_leaves_the_room_that_others_need() -> None:
    """Else a connector that catches up would cost all others of its instance their receipts."""
    bench, a = published(20)
    a.drop()
    a.hello(credit=20)
    a.full()
    a.take()
    a.fetch(0, 20, "ci")
    *events, answer = a.take()
    assert answer.number("upto") == len(events) == 5
    a.fetch(5, 20, "ci")
    assert a.take() == []
    assert bench.router.status(bench.now)["counters"]["fetch_busy"] == 1


def test_fetch_beyond_the_end_and_of_nothing() -> None:
    _, a = published(2)
    a.fetch(2, 9, "ci")
    (answer,) = a.take()
    assert (answer.number("upto"), answer.number("latest"), answer.number("missed")) == (2, 2, 0)
    a.fetch(5, 4, "ci")
    (error,) = a.take()
    assert error.kind is Kind.ERROR


def test_what_retention_dropped_is_told_as_missed() -> None:
    bench, a = published(10, journal_days=1.0)
    bench.mono += 86_400 * 2
    bench.pass_time(0.1)
    bench.mono += SETTLING
    bench.pass_time(0.6)
    a.begin("git")
    a.event("e11", "git")
    a.take()
    a.fetch(2, 11, "ci")
    *events, answer = a.take()
    assert numbered(events) == [("e11", 11)]
    assert (answer.number("upto"), answer.number("missed")) == (11, 8)


def test_the_journal_is_trimmed_to_its_bytes_in_small_steps() -> None:
    bench, a = published(1200, payload=bytes(1000), journal_bytes=200_000)
    bench.pass_time(31.0)
    status = bench.router.status(bench.now)["journal"]
    assert status["bytes"] <= 200_000
    assert status["deleted"] > 1000
    assert bench.store.latest("acme") == 1200
    assert bench.store.oldest("acme") > 1000
    assert a.tenant == "acme"


def test_a_member_that_drains_waits_for_its_commits() -> None:
    bench, (a, _) = topology()
    bench.held = True
    a.event("e1", "git")
    bench.perform(bench.router.drain(bench.now))
    assert not bench.stopped
    assert Kind.GOAWAY in {m.kind for m in a.take()}
    bench.release()
    assert bench.stopped


def test_a_member_with_nothing_to_commit_stops_at_once_and_one_that_hangs_in_time() -> None:
    bench, _ = topology()
    bench.perform(bench.router.drain(bench.now))
    assert bench.stopped
    bench, (a, _) = topology()
    bench.held = True
    a.event("e1", "git")
    bench.perform(bench.router.drain(bench.now))
    bench.pass_time(3.5)
    assert bench.stopped


def small(bench: Bench, instance: Instance, credit: int) -> None:
    """Begin its session anew, with this credit."""
    instance.drop()
    instance.hello(credit=credit)
    instance.full("git", "ci")
    instance.take()


def test_relays_leave_an_instance_room_for_what_somebody_waits_for() -> None:
    bench, (a, b) = topology()
    small(bench, b, 200)
    for number in range(100):
        a.event(f"e{number}", "git")
    assert [m.uuid for m in b.take(Kind.EVENT)] == [f"e{number}" for number in range(51)]
    assert bench.router.status(bench.now)["counters"]["relay_dropped"] == 49
    assert len(confirms(a)) == 100, "the journal has them all: who misses one FETCHes it"
    b.reply("r1", "c1", "ci", "git")
    a.reply("r2", "c2", "ci", "git")
    b.command("u1", "git", "Ci", "DO")
    assert [m.uuid for m in b.take(Kind.COMMAND)] == ["u1"]
    b.beat(40)
    a.event("later", "git")
    assert [m.uuid for m in b.take(Kind.EVENT)] == ["later"]


def test_relays_of_one_commit_leave_that_room_too() -> None:
    bench, (a, b) = topology()
    small(bench, b, 200)
    a.give(*(a.event_message(f"e{number}", "git") for number in range(150)))
    assert [m.uuid for m in b.take(Kind.EVENT)] == [f"e{number}" for number in range(51)]
    assert bench.router.status(bench.now)["counters"]["relay_dropped"] == 99


def test_an_instance_without_room_for_relays_keeps_them_from_no_other() -> None:
    bench, (a, b, c) = topology(instances="abc")
    small(bench, b, 4)
    for number in range(20):
        a.event(f"e{number}", "git")
    assert len(b.take(Kind.EVENT)) == 2
    assert len(c.take(Kind.EVENT)) == 20
