"""Transcripts of the outbox: what must be confirmed by somebody else is sent until it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.queue.conftest import Bench
from zconnector.errors import Reason
from zconnector.queue.store import DEAD, OUTBOX, scan_all


def send_all(bench: Bench) -> list[str]:
    sent = []
    for entry in bench.queue.outbox_due(bench.now):
        bench.queue.outbox_sent(entry.key, bench.now)
        sent.append(entry.message.uuid)
    return sent


def a_reply(bench: Bench, uuid: str, source: str = "ci") -> str:
    bench.offer(bench.command(uuid, source=source))
    bench.complete(uuid)
    return f"reply-{uuid}-SUCCES"


def test_due_marks_nothing_and_sent_waits_longer_each_time(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    assert bench.outbox() == bench.outbox() == ["e1"]
    pauses = []
    for _ in range(7):
        assert send_all(bench) == ["e1"]
        assert bench.outbox() == []
        due = bench.queue.deadline()
        assert due is not None
        pauses.append(due - bench.mono)
        bench.passes(due - bench.mono)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_the_oldest_are_sent_first_and_a_batch_is_bounded(bench: Bench) -> None:
    for number in range(5):
        bench.publish(bench.event(f"e{number}"), outbox=True)
    assert [entry.message.uuid for entry in bench.queue.outbox_due(bench.now, limit=2)] == ["e0", "e1"]
    for entry in bench.queue.outbox_due(bench.now, limit=2):
        bench.queue.outbox_sent(entry.key, bench.now)
    assert bench.outbox() == ["e2", "e3", "e4"]


def test_confirmed_leaves_the_store(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    bench.publish(bench.event("e2"), outbox=True)
    bench.do(bench.queue.outbox_confirm(["e1", "unknown"], bench.now))
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    assert bench.outbox() == ["e2"]
    bench.restart()
    assert bench.outbox() == ["e2"]
    assert bench.queue.knows_event("e1"), "local waiters may still see it"


def test_a_confirm_whose_commit_fails_is_stored_later(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    bench.full = True
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    assert not bench.queue.healthy
    bench.full = False
    bench.passes(1.5)
    assert bench.queue.healthy
    assert OUTBOX not in [row.space for row in scan_all(bench.store)]


def test_wake(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    ci, git = a_reply(bench, "u1", "ci"), a_reply(bench, "u2", "git")
    send_all(bench)
    bench.queue.outbox_wake("git")
    assert bench.outbox() == [git]
    send_all(bench)
    bench.queue.outbox_wake()
    assert bench.outbox() == [ci, git, "e1"]
    send_all(bench)
    bench.passes(1)
    assert set(bench.outbox()) == {"e1", ci, git}, "after a wake the pauses begin anew"


def replies_only(bench: Bench, **args: int) -> list[str]:
    return [entry.message.uuid for entry in bench.queue.outbox_due(bench.now, broadcast=0, **args)]


def test_replies_come_first_and_without_broadcasts_they_come_alone(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    first = a_reply(bench, "u1")
    bench.publish(bench.event("e2"), outbox=True)
    second = a_reply(bench, "u2")
    assert bench.outbox() == [first, second, "e1", "e2"]
    assert replies_only(bench) == [first, second]
    assert bench.outbox() == [first, second, "e1", "e2"], "it marks nothing"


def test_a_batch_without_broadcasts_is_full_of_replies(bench: Bench) -> None:
    for number in range(5):
        bench.publish(bench.event(f"e{number}"), outbox=True)
    replies = [a_reply(bench, f"u{number}") for number in range(3)]
    assert replies_only(bench, limit=2) == replies[:2]
    assert [entry.message.uuid for entry in bench.queue.outbox_due(bench.now, limit=4)] == [*replies, "e0"]


def test_a_reply_that_becomes_due_again_goes_before_events_that_waited_longer(bench: Bench) -> None:
    reply = a_reply(bench, "u1")
    assert send_all(bench) == [reply]
    bench.publish(bench.event("e1"), outbox=True)
    assert replies_only(bench) == []
    bench.passes(1)
    assert replies_only(bench) == [reply]
    assert bench.outbox() == [reply, "e1"]


def test_events_that_are_held_back_stay_due_and_wake_nobody(bench: Bench) -> None:
    bench.publish(bench.event("e1"), outbox=True)
    assert bench.queue.deadline() == 0.0
    assert replies_only(bench) == []
    after = bench.queue.deadline()
    assert after is None or after > bench.mono, "who holds them back knows when they go on"
    bench.passes(10)
    assert bench.queue.depths()["outbox"]["due"] == 1
    assert bench.outbox() == ["e1"]


def test_everything_is_due_after_a_restart(bench: Bench) -> None:
    bench.publish(bench.event("e1", payload=b"body"), outbox=True)
    reply = a_reply(bench, "u1")
    send_all(bench)
    bench.restart()
    second, first = bench.queue.outbox_due(bench.now)
    assert (first.message.uuid, first.message.payload, first.recipient) == ("e1", b"body", "")
    assert (second.message.uuid, second.recipient) == (reply, "ci")


def test_a_tenth_is_for_replies(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_outbox=10)
    outcomes = [bench.publish(bench.event(f"e{n}"), outbox=True) for n in range(10)]
    assert [told.outcome for told in outcomes if told] == ["STORED"] * 9 + ["REFUSED"]
    assert bench.heard[-1].refusal.reason is Reason.QUEUE_FULL
    assert not bench.queue.knows_event("e9"), "refused means not stored either"
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    assert bench.complete("u1").outcome == "COMPLETED"  # type: ignore[union-attr]
    told = bench.complete("u2")
    assert told is not None
    assert told.outcome == "FAILED"
    assert told.refusal is not None
    assert told.refusal.reason is Reason.QUEUE_FULL
    assert bench.state() == {"READY": 1, "DONE": 1}
    bench.do(bench.queue.outbox_confirm(["e0"], bench.now))
    assert bench.complete("u2").outcome == "COMPLETED"  # type: ignore[union-attr]


def test_bounded_by_bytes(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_outbox_bytes=10_000)
    assert bench.publish(bench.event("e1", payload=b"x" * 8_000), outbox=True).outcome == "STORED"  # type: ignore[union-attr]
    assert bench.publish(bench.event("e2", payload=b"x" * 1_500), outbox=True).outcome == "REFUSED"  # type: ignore[union-attr]
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    assert bench.publish(bench.event("e2", payload=b"x" * 1_500), outbox=True).outcome == "STORED"  # type: ignore[union-attr]


def test_a_reply_past_its_retention_is_a_dead_letter(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(reply_retention=100.0, event_retention=1000.0, dedupe_window=5000.0)
    reply = a_reply(bench, "u1")
    bench.publish(bench.event("e1"), outbox=True)
    bench.passes(50)
    bench.restart(wall_passes=30)
    bench.passes(19)
    assert reply in bench.outbox()
    bench.passes(2)
    assert bench.outbox() == ["e1"]
    assert bench.queue.depths()["dead"]["by_reason"] == {"SOURCE_GONE": 1}
    (letter,) = [row for row in scan_all(bench.store) if row.space == DEAD]
    assert letter.meta["uuid"] == reply
    bench.passes(1000)
    assert bench.outbox() == []
    assert bench.queue.depths()["outbox"]["expired"] == 1


@pytest.mark.parametrize("restarted", [False, True])
def test_what_is_damaged_is_given_up_at_once_and_holds_up_nothing(bench: Bench, restarted: bool) -> None:
    big = b"x" * 3_000_000  # larger than the cache keeps
    bench.offer(bench.command("u1"))
    reply = bench.event("r1", "BUILD", "SUCCES", reference="u1", payload=big)
    bench.do(bench.queue.complete(reply, bench.now, bench.hear()))
    bench.publish(bench.event("e1", payload=big), outbox=True)
    bench.disk.damaging = True
    if restarted:
        bench.restart()
    assert bench.outbox() == []
    bench.passes(0.1)
    assert bench.queue.depths()["dead"]["by_reason"] == {"STORAGE_FAILED": 1}
    depths = bench.queue.depths()["outbox"]
    assert (depths["count"], depths["expired"], depths["source_gone"]) == (0, 1, 1)
    assert bench.queue.healthy
    bench.disk.damaging = False
    bench.publish(bench.event("e2"), outbox=True)
    assert bench.outbox() == ["e2"]
    bench.restart()
    assert bench.outbox() == ["e2"]


def test_what_is_damaged_is_given_up_once_however_long_its_dead_letter_takes(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    reply = bench.event("r1", "BUILD", "SUCCES", reference="u1", payload=b"x" * 3_000_000)
    bench.do(bench.queue.complete(reply, bench.now, bench.hear()))
    bench.disk.damaging = True
    assert bench.outbox() == []
    bench.held = True
    bench.passes(0.1)  # its dead letter is on its way to the disk
    bench.passes(1.5)
    assert bench.outbox() == []  # it was due again, and read again
    bench.held = False
    bench.settle()
    assert bench.queue.depths()["dead"]["by_reason"] == {"STORAGE_FAILED": 1}
    assert bench.queue.depths()["outbox"]["count"] == 0


def test_a_dead_letter_that_cannot_be_stored_stays_in_the_outbox(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(reply_retention=100.0)
    reply = a_reply(bench, "u1")
    bench.full = True
    bench.passes(103)
    assert bench.outbox() == [reply]
    assert bench.queue.depths()["dead"]["count"] == 0
    bench.full = False
    bench.passes(3)
    assert bench.outbox() == []
    assert bench.queue.depths()["dead"]["by_reason"] == {"SOURCE_GONE": 1}


def test_a_reply_to_an_event_may_expire_counted(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0, reply_retention=100.0)
    bench.publish(bench.event("r1", reference="their-event", recipient="git"), outbox=True)
    assert bench.queue.outbox_due(bench.now)[0].recipient == "git"
    bench.passes(101)
    assert bench.outbox() == []
    assert bench.queue.depths()["outbox"]["expired"] == 1
    assert bench.queue.depths()["dead"]["count"] == 0


def test_an_event_dropped_locally_and_published_again_is_sent_once(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_events=1)
    bench.publish(bench.event("e1"), outbox=True)
    bench.publish(bench.event("e2"), outbox=True)
    bench.publish(bench.event("e1"), outbox=True)
    assert bench.outbox() == ["e1", "e2"]


def test_an_entry_that_cannot_be_read_is_tried_again(bench: Bench) -> None:
    bench.publish(bench.event("e1", payload=b"x" * 3_000_000), outbox=True)
    bench.publish(bench.event("e2"), outbox=True)
    bench.disk.broken = True
    assert bench.outbox() == ["e2"]
    assert not bench.queue.healthy
    bench.disk.broken = False
    bench.passes(1)
    assert set(bench.outbox()) == {"e1", "e2"}


def test_dead_letters_are_bounded(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(reply_retention=10.0, max_dead=2)
    for number in range(4):
        a_reply(bench, f"u{number}")
    bench.passes(11)
    dead = bench.queue.depths()["dead"]
    assert (dead["count"], dead["dropped"]) == (2, 2)
    bench.passes(1)
    assert [row.meta["uuid"] for row in scan_all(bench.store) if row.space == DEAD] == [
        "reply-u2-SUCCES",
        "reply-u3-SUCCES",
    ]
    bench.restart()
    assert bench.queue.depths()["dead"]["count"] == 2


def test_what_has_become_due_by_itself_makes_the_caller_ask(bench: Bench) -> None:
    command = bench.command("u1")
    bench.offer(command)
    bench.complete("u1")
    bench.outbox()
    bench.do(bench.queue.outbox_confirm(["reply-u1-SUCCES"], bench.now))
    before = bench.queue.deadline()
    assert before is None or before > bench.mono
    bench.offer(command)
    assert bench.queue.deadline() == 0.0
    assert bench.outbox() == ["reply-u1-SUCCES"]
    after = bench.queue.deadline()
    assert after is None or after > bench.mono, "shown: with no session to send over, nothing is awaited"


def test_what_was_confirmed_is_not_hurried_by_an_event_that_arrives(bench: Bench) -> None:
    for uuid in ("e1", "e2"):
        bench.publish(bench.event(uuid), outbox=True)
    bench.held = True
    bench.publish(bench.event("e3"))
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    bench.do(bench.queue.outbox_confirm(["e2"], bench.now))
    assert [commit.lazy for commit in bench.pending] == [False, True]
    bench.settle(1)
    assert [commit.lazy for commit in bench.pending] == [True], "it changed nothing of its own"
    bench.settle()
    bench.restart()
    assert bench.outbox() == []


def test_what_was_confirmed_is_not_hurried_by_time_either(bench: Bench) -> None:
    for uuid in ("e1", "e2"):
        bench.publish(bench.event(uuid), outbox=True)
    bench.held = True
    bench.do(bench.queue.outbox_confirm(["e1"], bench.now))
    bench.do(bench.queue.outbox_confirm(["e2"], bench.now))
    bench.do(bench.queue.tick(bench.now))
    assert [commit.lazy for commit in bench.pending] == [True]
