"""Transcripts of the command side: what comes in, what must go out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from zconnector.actions import Caller
from zconnector.configuration.pivot import Version
from zconnector.errors import Reason
from zconnector.messages import Message
from zconnector.queue.local import Offered
from zconnector.queue.store import COMMANDS, DEAD, scan_all

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def test_stored_only_after_the_commit(bench: Bench) -> None:
    bench.held = True
    assert bench.offer(bench.command("u1")) is None
    assert bench.reached == ["target.before_commit"]
    assert bench.state() == {"STORING": 1}
    bench.settle()
    assert bench.heard == [Offered("STORED")]
    assert bench.reached == ["target.before_commit", "target.after_commit"]
    assert bench.state() == {"READY": 1}


def test_a_failed_commit_is_told_and_nothing_stays(bench: Bench) -> None:
    bench.full = True
    told = bench.offer(bench.command("u1"))
    assert told is not None
    assert (told.outcome, told.reason) == ("FAILED", Reason.STORAGE_FAILED)
    assert not bench.queue.healthy
    assert bench.state() == {}
    bench.full = False
    assert bench.offer(bench.command("u1")) == Offered("STORED")
    assert bench.queue.healthy


def test_a_second_copy_is_answered_when_the_first_is_stored(bench: Bench) -> None:
    bench.held = True
    bench.offer(bench.command("u1"))
    assert bench.offer(bench.command("u1")) is None
    bench.settle()
    assert bench.heard == [Offered("STORED"), Offered("DUPLICATE")]
    bench.held = False
    assert bench.offer(bench.command("u1")) == Offered("DUPLICATE")
    assert bench.queue.depths()["commands"]["count"] == 1


def test_a_second_copy_fails_with_the_first(bench: Bench) -> None:
    bench.held = True
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u1"))
    bench.full = True
    bench.settle()
    assert [offered.outcome for offered in bench.heard] == ["FAILED", "FAILED"]


@pytest.mark.parametrize(
    "fields",
    [{"payload": b"other"}, {"name": "TEST"}, {"major": 2}, {"admin": True}, {"type": "Other"}],
    ids=["payload", "command", "major", "admin", "type"],
)
@pytest.mark.parametrize("when", ["STORING", "READY", "LEASED", "DONE"])
def test_the_same_uuid_with_another_body_is_a_conflict(
    bench: Bench, fields: dict[str, Any], when: str
) -> None:
    bench.held = when == "STORING"
    bench.offer(bench.command("u1"))
    if when in ("LEASED", "DONE"):
        bench.wait(bench.iterator())
    if when == "DONE":
        bench.complete("u1")
    assert bench.state() == {when: 1}
    told = bench.offer(bench.command("u1", **fields))
    assert told is not None
    assert (told.outcome, told.reason) == ("REFUSED", Reason.CONFLICT)


def test_a_copy_with_other_routing_fields_is_the_same(bench: Bench) -> None:
    bench.offer(bench.command("u1", budget=100))
    assert bench.offer(bench.command("u1", budget=50, timestamp=7)) == Offered("DUPLICATE")


def test_expired_unless_known(bench: Bench) -> None:
    first = bench.command("u1")
    late = bench.command("u2")
    bench.offer(first)
    bench.passes(10 + 30)
    assert bench.offer(bench.command("u3", accept_until=bench.wall - 30_000)) == Offered("STORED")
    bench.passes(0.001)
    told = bench.offer(late)
    assert told is not None
    assert (told.outcome, told.reason) == ("REFUSED", Reason.EXPIRED)
    assert bench.offer(first) == Offered("DUPLICATE")


def test_the_queue_is_bounded_by_count_and_bytes(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=2)
    assert bench.offer(bench.command("u1")) == Offered("STORED")
    assert bench.offer(bench.command("u2")) == Offered("STORED")
    told = bench.offer(bench.command("u3"))
    assert told is not None
    assert (told.outcome, told.reason) == ("REFUSED", Reason.QUEUE_FULL)
    bench.complete("u1")
    assert bench.offer(bench.command("u3")) == Offered("STORED"), "a completed one makes room"

    bench = bench_with(max_command_bytes=3_000)
    assert bench.offer(bench.command("u1", payload=b"x" * 2_000)) == Offered("STORED")
    told = bench.offer(bench.command("u2", payload=b"x" * 2_000))
    assert told is not None
    assert (told.outcome, told.reason) == ("REFUSED", Reason.QUEUE_FULL)


def test_what_is_being_stored_counts_towards_the_bound(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=1)
    bench.held = True
    bench.offer(bench.command("u1"))
    told = bench.offer(bench.command("u2"))
    assert told is not None
    assert told.reason is Reason.QUEUE_FULL


def test_a_waiter_gets_what_is_there(bench: Bench) -> None:
    bench.offer(bench.command("u1", payload=b'{"a": 1}', context="app"))
    caller = bench.wait(bench.iterator())
    respond = bench.responses[caller]
    assert respond.payload == b'{"a": 1}'
    assert respond.args["context"] == "app"
    assert respond.args["command"] == "BUILD"
    assert bench.reached[-1] == "target.after_lease"
    assert bench.state() == {"LEASED": 1}


def test_a_waiter_is_woken_by_what_comes(bench: Bench) -> None:
    caller = bench.wait(bench.iterator())
    assert bench.got(caller) is None
    bench.offer(bench.command("u1"))
    assert bench.got(caller) == "u1"


def test_nobody_is_handed_what_is_not_committed(bench: Bench) -> None:
    caller = bench.wait(bench.iterator())
    bench.held = True
    bench.offer(bench.command("u1"))
    assert bench.got(caller) is None
    bench.settle()
    assert bench.got(caller) == "u1"


def test_each_command_goes_to_one_waiter_the_longest_waiting_first(bench: Bench) -> None:
    callers = [bench.wait(bench.iterator()) for _ in range(3)]
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    assert [bench.got(caller) for caller in callers] == ["u1", "u2", None]


def test_first_in_first_out_per_name(bench: Bench) -> None:
    for number in range(3):
        bench.offer(bench.command(f"b{number}", "BUILD"))
        bench.offer(bench.command(f"t{number}", "TEST"))
    iterator = bench.iterator()
    assert [bench.got(bench.wait(iterator, "TEST")) for _ in range(4)] == ["t0", "t1", "t2", None]
    assert [bench.got(bench.wait(iterator, "BUILD")) for _ in range(4)] == ["b0", "b1", "b2", None]


def test_versions(bench: Bench) -> None:
    bench.offer(bench.command("v2", major=2))
    bench.offer(bench.command("v1", major=1))
    bench.offer(bench.command("any", major=0))
    iterator = bench.iterator()
    assert bench.got(bench.wait(iterator, major=3)) == "any", "a command of major 0 goes to any waiter"
    assert bench.got(bench.wait(iterator, major=1)) == "v1"
    assert bench.got(bench.wait(iterator, major=1)) is None
    assert bench.got(bench.wait(iterator, major=0)) == "v2", "a waiter of major 0 takes any version"


def test_waiters_by_version_are_woken_by_the_version(bench: Bench) -> None:
    iterator = bench.iterator()
    one, two, anyone = (bench.wait(iterator, major=major) for major in (1, 2, 0))
    bench.offer(bench.command("v2", major=2))
    assert [bench.got(caller) for caller in (one, two, anyone)] == [None, "v2", None]
    bench.offer(bench.command("v2b", major=2))
    assert [bench.got(caller) for caller in (one, anyone)] == [None, "v2b"]
    bench.offer(bench.command("any", major=0))
    assert bench.got(one) == "any"


def test_admin_commands_go_to_the_admin_worker_only(bench: Bench) -> None:
    bench.offer(bench.command("u1", admin=True))
    iterator = bench.iterator()
    worker, admin = bench.wait(iterator), bench.wait(iterator, worker="ADMIN")
    assert (bench.got(worker), bench.got(admin)) == (None, "u1")
    bench.offer(bench.command("u2"))
    assert bench.got(worker) == "u2"


def test_an_unknown_iterator_or_one_of_the_other_kind(bench: Bench) -> None:
    assert bench.got(bench.wait("nonsense")) == "NOT_FOUND"
    assert bench.got(bench.wait(bench.iterator("event"))) == "NOT_FOUND"
    assert bench.got(bench.listen(bench.iterator("command"))) == "NOT_FOUND"


def test_a_call_that_is_pending_twice_is_refused(bench: Bench) -> None:
    iterator = bench.iterator()
    caller = bench.wait(iterator)
    bench.do(bench.queue.wait_command(caller, iterator, "TEST", 0, "w", None, bench.now))
    assert bench.got(caller) == "BAD_ARGUMENT"


def test_a_cancelled_wait_swallows_nothing(bench: Bench) -> None:
    gone, other = bench.wait(bench.iterator()), bench.wait(bench.iterator())
    bench.cancel(gone)
    bench.offer(bench.command("u1"))
    assert bench.got(gone) is None
    assert bench.got(other) == "u1"


def test_a_cancel_that_crosses_the_answer_gives_the_command_back(bench: Bench) -> None:
    gone = bench.wait(bench.iterator())
    bench.offer(bench.command("u1"))
    assert bench.got(gone) == "u1"
    bench.cancel(gone)
    assert bench.got(bench.wait(bench.iterator())) == "u1"


def test_a_cancelled_wait_frees_the_leases_of_its_iterator_and_no_others(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    dead, alive = bench.iterator(), bench.iterator()
    bench.wait(dead)
    bench.wait(alive)
    pending = bench.wait(dead)
    assert bench.state() == {"LEASED": 2}
    bench.cancel(pending)
    assert bench.state() == {"LEASED": 1, "READY": 1}
    assert bench.got(bench.wait(alive)) == "u1"


def test_cancel_of_an_unknown_call_is_nothing(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    bench.cancel(Caller(b"else", 99))
    assert bench.state() == {"LEASED": 1}


def test_release_gives_back_what_the_holder_had_at_its_old_place(bench: Bench) -> None:
    for number in range(3):
        bench.offer(bench.command(f"u{number}"))
    iterator = bench.iterator()
    bench.wait(iterator, serving=Version(1, 0))
    bench.wait(iterator, serving=Version(2, 0))
    bench.do(bench.queue.release(lambda lease: lease.version == Version(1, 0), "silent", bench.now))
    assert bench.state() == {"READY": 2, "LEASED": 1}
    assert bench.got(bench.wait(iterator)) == "u0"
    assert bench.got(bench.wait(iterator)) == "u2"


def test_a_lease_has_a_limit(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(lease_limit=300.0)
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    bench.passes(299.9)
    assert bench.state() == {"LEASED": 1}
    other = bench.wait(bench.iterator())
    bench.passes(0.1)
    assert bench.got(other) == "u1"
    bench.passes(299.9)
    assert bench.state() == {"LEASED": 1}, "a new lease has its own limit"


def test_completion_is_told_after_one_commit_of_end_and_reply(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    bench.held = True
    bench.reached.clear()
    assert bench.complete("u1") is None
    assert bench.reached == ["target.completion_before_commit"]
    assert bench.state() == {"COMPLETING": 1}
    assert bench.outbox() == []
    assert {write.space for write in bench.pending[-1].writes} == {"commands", "outbox"}
    bench.settle()
    assert bench.heard[-1].outcome == "COMPLETED"
    assert bench.reached[-1] == "target.completion_after_commit"
    assert bench.state() == {"DONE": 1}
    (entry,) = bench.queue.outbox_due(bench.now)
    assert entry.recipient == "ci"
    assert entry.message.header["tenant"] == "acme"
    assert entry.message.header["recipient"] == "ci"
    assert (entry.message.reference, entry.message.text("event")) == ("u1", "SUCCES")


def test_only_the_first_completion_counts(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    assert bench.complete("u1", "FAIL").outcome == "COMPLETED"  # type: ignore[union-attr]
    assert bench.complete("u1", "SUCCES").outcome == "LATE"  # type: ignore[union-attr]
    assert bench.outbox() == ["reply-u1-FAIL"]
    assert bench.queue.depths()["commands"]["late"] == 1


def test_a_second_completion_waits_for_the_fate_of_the_first(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.held = True
    bench.complete("u1", "FAIL")
    assert bench.complete("u1", "SUCCES") is None
    bench.settle()
    assert [heard.outcome for heard in bench.heard[-2:]] == ["COMPLETED", "LATE"]

    bench.held = False
    bench.offer(bench.command("u2"))
    bench.held = True
    bench.complete("u2", "FAIL")
    bench.complete("u2", "SUCCES")
    bench.full = True
    bench.settle(1)
    assert bench.heard[-1].outcome == "FAILED"
    bench.full = False
    bench.settle()
    assert bench.heard[-1].outcome == "COMPLETED"
    assert bench.outbox() == ["reply-u1-FAIL", "reply-u2-SUCCES"]


@pytest.mark.parametrize("held", [True, False], ids=["leased", "ready"])
def test_a_completion_that_cannot_be_stored_leaves_everything_as_before(bench: Bench, held: bool) -> None:
    bench.offer(bench.command("u1"))
    iterator = bench.iterator()
    if held:
        bench.wait(iterator)
    bench.full = True
    told = bench.complete("u1")
    assert told is not None
    assert told.outcome == "FAILED"
    assert told.refusal is not None
    assert told.refusal.reason is Reason.STORAGE_FAILED
    assert bench.state() == {"LEASED" if held else "READY": 1}
    bench.full = False
    if not held:
        assert bench.got(bench.wait(iterator)) == "u1"
    assert bench.complete("u1").outcome == "COMPLETED"  # type: ignore[union-attr]
    assert bench.outbox() == ["reply-u1-SUCCES"]


def test_a_lease_that_ends_while_completing_leads_back_to_ready(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    iterator = bench.iterator()
    bench.wait(iterator)
    waiting = bench.wait(bench.iterator())
    bench.held = True
    bench.complete("u1")
    bench.do(bench.queue.release(lambda lease: True, "gone", bench.now))
    assert bench.got(waiting) is None, "not handed out while its end is being stored"
    bench.full = True
    bench.settle(1)
    bench.full = False
    assert bench.got(waiting) == "u1"


def test_a_command_whose_lease_has_ended_may_still_be_completed(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    bench.do(bench.queue.release(lambda lease: True, "silent", bench.now))
    assert bench.complete("u1").outcome == "COMPLETED"  # type: ignore[union-attr]
    assert bench.got(bench.wait(bench.iterator())) is None


def test_progress_goes_to_the_source_and_ends_nothing(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    assert bench.complete("u1", "HALF").outcome == "PROGRESS"  # type: ignore[union-attr]
    assert bench.state() == {"LEASED": 1}
    assert bench.outbox() == ["reply-u1-HALF"]
    bench.complete("u1")
    assert bench.complete("u1", "MORE").outcome == "LATE"  # type: ignore[union-attr]


def test_a_reference_that_is_no_command_here(bench: Bench) -> None:
    assert bench.complete("elsewhere").outcome == "NOT_MINE"  # type: ignore[union-attr]


def test_a_reply_uuid_used_twice_loses_no_reply(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    bench.complete("u1", uuid="same")
    bench.complete("u2", uuid="same")
    uuids = bench.outbox()
    assert len(set(uuids)) == 2
    bench.do(bench.queue.outbox_confirm(uuids, bench.now))
    assert bench.outbox() == []


def test_a_copy_of_a_completed_command_sends_the_reply_again(bench: Bench) -> None:
    command = bench.command("u1")
    bench.offer(command)
    bench.complete("u1", "FAIL")
    (entry,) = bench.queue.outbox_due(bench.now)
    bench.queue.outbox_sent(entry.key, bench.now)
    assert bench.outbox() == []
    told = bench.offer(command)
    assert told is not None
    assert told.outcome == "DUPLICATE"
    assert bench.outbox() == ["reply-u1-FAIL"], "still in the outbox: due now"
    bench.do(bench.queue.outbox_confirm(["reply-u1-FAIL"], bench.now))
    assert bench.outbox() == []
    bench.offer(command)
    bench.offer(command)
    assert bench.outbox() == ["reply-u1-FAIL"], "confirmed before: there again, once"


def test_a_copy_of_a_completed_command_is_no_failure_when_its_reply_cannot_be_read(bench: Bench) -> None:
    """It is stored and was executed: a refusal could have its sender try it under another uuid."""
    command = bench.command("u1")
    bench.offer(command)
    large = bench.event("r1", "BUILD", "SUCCES", reference="u1", payload=b"x" * 3_000_000)
    bench.do(bench.queue.complete(large, bench.now, bench.hear()))
    bench.do(bench.queue.outbox_confirm(["r1"], bench.now))
    bench.disk.broken = True
    assert bench.offer(command) == Offered("DUPLICATE")
    assert (bench.outbox(), [note.event for note in bench.notes]) == (
        [],
        ["stored reply cannot be read: not sent again"],
    )
    bench.disk.broken = False
    assert bench.offer(command) == Offered("DUPLICATE")
    assert bench.outbox() == ["r1"]


def test_the_dedupe_window_begins_at_the_end(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(dedupe_window=720.0)
    command = bench.command("u1")
    bench.offer(command)
    bench.passes(1000)
    bench.complete("u1")
    bench.passes(719)
    told = bench.offer(command)
    assert told is not None
    assert told.outcome == "DUPLICATE"
    bench.passes(2)
    assert bench.state() == {}
    assert [row.key for row in scan_all(bench.store) if row.space == COMMANDS] == []


def test_no_clock_jump_lets_a_forgotten_command_run_again(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(dedupe_window=720.0)
    command = bench.command("u1")
    sent = bench.wall
    bench.offer(command)
    bench.complete("u1")
    bench.passes(721)
    bench.wall = sent  # the clock is set back: by it, the copy is in time
    for _ in range(2):
        told = bench.offer(command)
        assert told is not None
        assert (told.outcome, told.reason) == ("REFUSED", Reason.EXPIRED)
        bench.restart()
    assert bench.offer(bench.command("u2", accept_until=sent + 800_000)) == Offered("STORED")
    assert bench.offer(bench.command("u3", source="other")) == Offered("STORED")


@pytest.mark.parametrize("order", ["command first", "waiter first"])
def test_what_is_not_utf8_is_never_handed_out(bench: Bench, order: str) -> None:
    if order == "waiter first":
        caller = bench.wait(bench.iterator())
    bench.offer(bench.command("bad", payload=b"\xff\xfe"))
    bench.offer(bench.command("good"))
    if order == "command first":
        caller = bench.wait(bench.iterator())
    assert bench.got(caller) == "good"
    (entry,) = bench.queue.outbox_due(bench.now)
    assert (entry.message.text("event"), entry.message.text("reason")) == ("FAIL", "INVALID_PAYLOAD")
    assert (entry.recipient, entry.message.reference) == ("ci", "bad")
    assert bench.queue.depths()["dead"]["by_reason"] == {"INVALID_PAYLOAD": 1}
    (letter,) = [row for row in scan_all(bench.store) if row.space == DEAD]
    assert letter.meta["uuid"] == "bad"
    assert b"\xff\xfe" in bench.store.body(DEAD, letter.key)
    told = bench.offer(bench.command("bad", payload=b"\xff\xfe"))
    assert told is not None
    assert told.outcome == "DUPLICATE"
    assert bench.outbox() == [entry.message.uuid]


@pytest.mark.parametrize("order", ["command first", "waiter first"])
def test_what_fits_into_no_result_does_not_block_its_name(bench: Bench, order: str) -> None:
    if order == "waiter first":
        caller = bench.wait(bench.iterator())
    bench.offer(bench.command("bad", more="x" * 65_300))
    bench.offer(bench.command("good"))
    if order == "command first":
        caller = bench.wait(bench.iterator())
    assert bench.got(caller) == "good"
    (entry,) = bench.queue.outbox_due(bench.now)
    assert (entry.message.text("event"), entry.message.text("reason")) == ("FAIL", "TOO_LARGE")
    assert bench.queue.depths()["dead"]["by_reason"] == {"TOO_LARGE": 1}


def test_a_dead_letter_that_cannot_be_stored_is_tried_again_later(bench: Bench) -> None:
    iterator = bench.iterator()
    bench.offer(bench.command("bad", payload=b"\xff"))
    bench.full = True
    caller = bench.wait(iterator)
    assert bench.state() == {"READY": 1}
    assert bench.queue.depths()["dead"]["count"] == 0
    before = bench.commits
    bench.passes(3)
    assert bench.commits - before <= 8, "once a second, not in a hot loop"
    bench.full = False
    bench.passes(1.1)
    assert bench.state() == {"DEAD": 1}
    assert bench.got(caller) is None


def test_a_command_that_cannot_be_read_leaves_the_waiter_waiting(bench: Bench) -> None:
    bench.offer(bench.command("u1", payload=b"x" * 3_000_000))  # larger than the cache keeps
    bench.disk.broken = True
    caller = bench.wait(bench.iterator())
    assert bench.got(caller) is None
    assert not bench.queue.healthy
    bench.disk.broken = False
    bench.passes(1.1)
    assert bench.got(caller) == "u1"


def test_everything_is_back_after_a_restart(bench: Bench) -> None:
    message = bench.command("leased", payload=b"12345")
    iterator = bench.iterator()
    bench.offer(message)
    bench.wait(iterator, worker="alice", serving=Version(1, 2))
    bench.offer(bench.command("ready"))
    bench.offer(bench.command("done"))
    bench.complete("done")
    bench.restart()
    assert bench.state() == {"LEASED": 1, "READY": 1, "DONE": 1}
    leases: list[Any] = []
    bench.do(bench.queue.release(lambda lease: bool(leases.append(lease)), "look", bench.now))
    (lease,) = leases
    assert (lease.iterator, lease.worker, lease.version) == (iterator, "alice", Version(1, 2))
    assert (lease.client, lease.attempt) == (b"client", 1)
    assert bench.outbox() == ["reply-done-SUCCES"]
    assert bench.offer(message) == Offered("DUPLICATE")
    assert bench.got(bench.wait(iterator)) == "ready"
    bench.do(bench.queue.release(lambda lease: lease.worker == "alice", "gone", bench.now))
    again = bench.responses[bench.wait(iterator)]
    assert again.payload == b"12345"
    assert again.args == message.header


def test_a_lease_from_before_a_restart_lasts_its_limit_at_most(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(lease_limit=300.0)
    bench.offer(bench.command("u1"))
    bench.wait(bench.iterator())
    bench.passes(200)
    bench.restart(wall_passes=1000)
    bench.passes(299)
    assert bench.state() == {"LEASED": 1}
    bench.passes(2)
    assert bench.state() == {"READY": 1}


def test_a_crash_before_the_commit_loses_only_what_nobody_was_told(bench: Bench) -> None:
    bench.offer(bench.command("told"))
    bench.held = True
    bench.offer(bench.command("untold"))
    bench.complete("told")
    bench.restart()
    assert bench.state() == {"READY": 1}
    bench.held = False
    assert bench.offer(bench.command("untold")) == Offered("STORED")


def test_a_lease_writes_no_payload(bench: Bench) -> None:
    written: list[Any] = []
    commit = bench.store.commit
    bench.store.commit = lambda writes: written.extend(writes) or commit(writes)  # type: ignore[method-assign]
    bench.offer(bench.command("u1", payload=b"x" * 100_000))
    written.clear()
    bench.wait(bench.iterator())
    bench.do(bench.queue.release(lambda lease: True, "gone", bench.now))
    assert [write.body for write in written if write.space == COMMANDS] == [None, None]


def test_the_header_comes_back_as_it_was(bench: Bench) -> None:
    message = bench.command("u1", unknown_field={"kept": [1, None, "é"]})
    bench.offer(message)
    respond = bench.responses[bench.wait(bench.iterator())]
    assert Message(message.kind, respond.args, respond.payload) == message


def test_knows_command_from_the_offer_to_the_end_of_the_window(bench: Bench) -> None:
    assert not bench.queue.knows_command("u1")
    bench.held = True
    bench.offer(bench.command("u1"))
    assert bench.queue.knows_command("u1")
    bench.held = False
    bench.settle()
    bench.complete("u1")
    assert bench.queue.knows_command("u1")
    bench.passes(721)
    assert not bench.queue.knows_command("u1")
