"""Transcripts of leases with tokens: take, ack, fail, nak, progress, give back, adopt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from zconnector.actions import Caller
from zconnector.errors import Reason
from zconnector.messages.retry import RetryPolicy

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench

OUTCOMES = ["ack", "fail", "nak", "progress"]


def test_a_take_gets_what_there_is_at_once_up_to_its_limit(bench: Bench) -> None:
    for number in range(5):
        bench.offer(bench.command(f"u{number}", payload=b"x" * number))
    taken = bench.taken(bench.take(limit=3))
    assert taken is not None
    assert [entry["uuid"] for entry in taken] == ["u0", "u1", "u2"]
    assert [entry["size"] for entry in taken] == [0, 1, 2]
    assert {entry["attempt"] for entry in taken} == {1}
    assert {entry["lease"] for entry in taken} == {300_000}
    assert len({entry["token"] for entry in taken}) == 3
    assert bench.state() == {"LEASED": 3, "READY": 2}


def test_a_take_of_several_names_takes_the_oldest_of_all(bench: Bench) -> None:
    for uuid, name in (("u1", "B"), ("u2", "A"), ("u3", "C"), ("u4", "B")):
        bench.offer(bench.command(uuid, name))
    taken = bench.taken(bench.take("A", "B", limit=64))
    assert taken is not None
    assert [entry["uuid"] for entry in taken] == ["u1", "u2", "u4"]


def test_a_take_waits_for_any_of_its_names(bench: Bench) -> None:
    waiting = bench.take("A", "B")
    bench.offer(bench.command("u1", "C"))
    assert bench.taken(waiting) is None
    bench.offer(bench.command("u2", "B"))
    assert bench.got_one(waiting) == "u2"
    bench.offer(bench.command("u3", "A"))
    assert bench.state("A") == {"READY": 1}, "it has its answer"


def test_a_take_that_waits_long_enough_gets_nothing(bench: Bench) -> None:
    assert bench.taken(bench.take(wait_ms=-1)) == []
    waiting = bench.take(wait_ms=500)
    bench.passes(0.499)
    assert bench.taken(waiting) is None
    bench.passes(0.001)
    assert bench.taken(waiting) == []
    bench.offer(bench.command("u1"))
    assert bench.state() == {"READY": 1}


def test_batches_are_bounded_in_bytes_of_payload_and_of_headers(bench: Bench) -> None:
    for number in range(4):
        bench.offer(bench.command(f"u{number}", payload=b"x" * 1_400_000))
    sizes = []
    while taken := bench.taken(bench.take(limit=64, wait_ms=-1)):
        sizes.append(len(taken))
    assert sizes == [2, 2]
    for number in range(20):
        bench.offer(bench.command(f"v{number}", "OTHER", context="c" * 4096, token="t" * 4096))
    first = bench.taken(bench.take("OTHER", limit=64, wait_ms=-1))
    assert first is not None
    assert [entry["uuid"] for entry in first] == [f"v{number}" for number in range(6)]
    assert first[0]["command_token"] == "t" * 4096
    assert first[0]["token"] != first[0]["command_token"]


def test_a_take_is_handed_bytes_that_gandalf_cannot_carry(bench: Bench) -> None:
    bench.offer(bench.command("u1", payload=b"\xff"))
    caller = bench.take()
    assert bench.responses[caller].payload == b"\xff"


def test_ack_is_the_reply_with_its_payload(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    lease = bench.took()
    assert bench.settles(lease, "ack", payload=b"result") == ""
    assert bench.state() == {"DONE": 1}
    (entry,) = bench.queue.outbox_due(bench.now)
    assert (entry.recipient, entry.message.payload) == ("ci", b"result")
    assert (entry.message.text("event"), entry.message.reference) == ("SUCCES", "u1")
    assert entry.message.text("worker") == "w"


def test_fail_is_a_dead_letter_and_a_fail_with_its_reason(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    assert bench.settles(bench.took(), "fail", error="no such repository", payload=b"log") == ""
    assert bench.state() == {"DEAD": 1}
    assert bench.replies() == [("FAIL", "u1", "FAILED")]
    (entry,) = bench.queue.outbox_due(bench.now)
    assert (entry.message.text("detail"), entry.message.payload) == ("no such repository", b"log")
    (letter,) = bench.letters()
    assert (letter["reason"], letter["detail"], letter["attempts"]) == ("FAILED", "no such repository", 1)


def test_nak_puts_it_off_and_the_next_attempt_comes_when_it_is_due(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    assert bench.settles(bench.took(), "nak", delay=5_000, error="busy") == ""
    assert bench.state() == {"DELAYED": 1}
    waiting = bench.take()
    bench.passes(4.999)
    assert bench.taken(waiting) is None
    bench.passes(0.001)
    (again,) = bench.taken(waiting) or []
    assert (again["uuid"], again["attempt"]) == ("u1", 2)


def test_nak_without_a_delay_waits_as_the_policy_says(bench: Bench) -> None:
    policy = RetryPolicy(attempts=3, first=10_000, factor=3, limit=20_000)
    bench.do(bench.queue.offer(bench.command("u1"), bench.now, bench.hear(), policy))
    for attempt, least, most in ((1, 5.0, 10.0), (2, 10.0, 20.0)):
        lease = bench.took()
        assert lease["attempt"] == attempt
        assert bench.settles(lease, "nak") == ""
        bench.passes(least - 0.01)
        assert bench.state() == {"DELAYED": 1}
        bench.passes(most - least + 0.01)
        assert bench.state() == {"READY": 1}
    assert bench.settles(bench.took(), "nak", error="still busy") == ""
    assert bench.state() == {"DEAD": 1}
    (letter,) = bench.letters()
    assert (letter["reason"], letter["attempts"]) == ("ATTEMPTS_EXHAUSTED", 3)
    assert letter["error"] == "still busy"
    assert bench.replies() == [("FAIL", "u1", "ATTEMPTS_EXHAUSTED")]


def test_nak_without_a_pause_is_another_attempt_at_once(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    waiting = None
    for attempt in range(1, 5):
        lease = bench.took() if waiting is None else (bench.taken(waiting) or [])[0]
        assert lease["attempt"] == attempt
        waiting = bench.take()
        assert bench.settles(lease, "nak", delay=0) == ""
        bench.passes(0)
    assert waiting is not None
    assert bench.taken(waiting) is not None


def test_progress_extends_the_lease_and_tells_the_source(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    lease = bench.took(lease_ms=10_000)
    bench.passes(9)
    assert bench.settles(lease, "progress", event="HALF", payload=b"50%") == ""
    assert bench.replies() == [("HALF", "u1", "")]
    bench.passes(9)
    assert bench.settles(lease, "progress", extend=100_000) == ""
    bench.passes(99)
    assert bench.state() == {"LEASED": 1}
    assert bench.settles(lease, "progress", extend=1_000) == ""
    bench.passes(1)
    assert bench.state() == {"READY": 1}, "the lease is over"
    assert bench.settles(lease, "progress") == "FENCED"


def test_progress_is_told_when_the_lease_is_stored(bench: Bench) -> None:
    """Else a worker hears that its lease lasts, and a restart does not know of it."""
    bench.offer(bench.command("u1"))
    bench.held = True
    lease = bench.took()
    assert bench.settles(lease, "progress") is None
    bench.settle()
    assert bench.heard_settled == [None]
    bench.restart()
    assert bench.state() == {"LEASED": 1}
    bench.full = True
    assert bench.settles(lease, "progress", extend=600_000) is None
    bench.settle()
    assert [str(refusal.reason) for refusal in bench.heard_settled] == ["STORAGE_FAILED"]


@pytest.mark.parametrize("event", ["", "HALF"])
def test_progress_is_not_told_by_a_commit_that_does_not_have_the_lease(bench: Bench, event: str) -> None:
    """The one that had it failed; one of nothing, behind it, succeeds even on a full disk."""
    bench.offer(bench.command("u1"))
    bench.held = True
    lease = bench.took()
    assert bench.settles(lease, "progress", event=event) is None
    bench.full = True
    bench.settle(1)
    bench.full = False
    bench.settle(1)
    assert bench.heard_settled == []
    bench.settle()
    assert bench.heard_settled == [None]
    bench.restart()
    assert bench.state() == {"LEASED": 1}


def test_progress_is_fenced_if_its_lease_is_over_before_it_is_stored(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.held = True
    lease = bench.took()
    assert bench.settles(lease, "progress") is None
    heard = bench.heard_settled
    _, actions = bench.queue.give_back([(lease["uuid"], lease["token"])], "back", bench.now, unseen=False)
    bench.do(actions)
    bench.settle()
    assert [str(refusal.reason) for refusal in heard] == ["FENCED"]


@pytest.mark.parametrize("outcome", ["ack", "fail", "nak"])
def test_progress_right_before_the_end_is_progress(bench: Bench, outcome: str) -> None:
    bench.offer(bench.command("u1"))
    bench.held = True
    lease = bench.took()
    assert bench.settles(lease, "progress") is None
    progress = bench.heard_settled
    assert bench.settles(lease, outcome) is None
    bench.settle()
    assert (progress, bench.heard_settled) == ([None], [None])


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_settlement_that_cannot_be_stored_is_refused_and_the_lease_lasts(
    bench: Bench, outcome: str
) -> None:
    bench.offer(bench.command("u1"))
    lease = bench.took()
    bench.full = True
    assert bench.settles(lease, outcome, event="STEP" if outcome == "progress" else "") == "STORAGE_FAILED"
    bench.full = False
    assert bench.state() == {"LEASED": 1}
    assert not bench.replies()
    assert not bench.letters()
    assert bench.settles(lease, "ack") == ""
    bench.restart()
    assert bench.state() == {"DONE": 1}


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_a_second_late_or_wrong_token_has_no_effect_and_is_told_the_state(bench: Bench, outcome: str) -> None:
    bench.offer(bench.command("u1"))
    old = bench.took(lease_ms=1_000)

    def fenced(lease: dict[str, Any]) -> str:
        assert bench.settles(lease, outcome) == "FENCED"
        return str(bench.heard_settled[0].detail)

    assert fenced({**old, "token": "wrong"}) == "leased, attempt 1"
    assert fenced({"uuid": "u9", "token": "any"}) == "unknown here"
    bench.passes(1)
    assert fenced(old) == "READY"
    lease = bench.took()
    assert fenced(old) == "leased again, attempt 2"
    bench.settles(lease, "nak", delay=1_000)
    assert fenced(lease) == "DELAYED"
    bench.passes(1)
    lease = bench.took()
    assert bench.settles(lease, "ack") == ""
    assert fenced(lease).startswith("DONE since 2023-11-14T22:")
    assert bench.replies() == [("SUCCES", "u1", "")]


def test_two_settlements_of_one_lease_at_once_are_one(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    lease = bench.took()
    bench.held = True
    assert bench.settles(lease, "nak", delay=1_000) is None
    first = bench.heard_settled
    assert bench.settles(lease, "ack") is None
    second = bench.heard_settled
    bench.settle()
    assert first == [None]
    assert [str(refusal.reason) for refusal in second] == ["FENCED"]
    assert bench.state() == {"DELAYED": 1}


def test_the_second_settlement_counts_when_the_first_could_not_be_stored(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    lease = bench.took()
    bench.held = True
    bench.settles(lease, "nak", delay=1_000)
    bench.settles(lease, "ack")
    second = bench.heard_settled
    bench.full = True
    bench.settle(1)
    bench.full = False
    bench.settle()
    assert second == [None]
    assert bench.state() == {"DONE": 1}


def test_a_completion_with_its_token_counts_after_a_restart(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    lease, other = bench.took(), bench.took(holder="stream")
    bench.restart()
    assert bench.state() == {"LEASED": 2}
    assert bench.settles({**lease, "token": "wrong"}, "ack") == "FENCED"
    assert bench.settles(lease, "ack") == ""
    assert bench.settles(other, "fail", error="no") == ""
    assert bench.state() == {"DONE": 1, "DEAD": 1}


def test_after_a_restart_a_stream_adopts_its_leases_or_loses_them(bench: Bench) -> None:
    for uuid in ("u1", "u2", "u3"):
        bench.offer(bench.command(uuid))
    first, second, unary = bench.took(holder="old"), bench.took(holder="old"), bench.took()
    bench.restart()
    leases = [(first["uuid"], first["token"]), (second["uuid"], "wrong"), ("u9", "t")]
    valid, actions = bench.queue.adopt(Caller(b"c", 1), leases, "new", "w", bench.now)
    bench.do(actions)
    assert valid == ["u1"]
    bench.passes(14.9)
    assert bench.state() == {"LEASED": 3}
    bench.passes(0.1)
    assert bench.state() == {"LEASED": 2, "READY": 1}
    assert bench.settles(second, "ack") == "FENCED"
    assert bench.settles(first, "ack") == ""
    bench.passes(280)
    assert bench.settles(unary, "ack") == "", "only time ends it: as long as at first"
    count, _ = bench.queue.give_back_all("new", "gone", bench.now, unseen=False)
    assert count == 0


def test_what_is_given_back_unseen_costs_no_attempt(bench: Bench) -> None:
    bench.offer(bench.command("u1"))
    for _ in range(20):
        lease = bench.took(holder="stream")
        assert lease["attempt"] == 1
        count, actions = bench.queue.give_back(
            [(lease["uuid"], lease["token"]), ("u9", "t")], "drain", bench.now, unseen=True
        )
        bench.do(actions)
        assert count == 1
    for attempt in range(1, 6):
        assert bench.took(holder="stream")["attempt"] == attempt
        count, actions = bench.queue.give_back_all("stream", "gone", bench.now, unseen=False)
        bench.do(actions)
        assert count == 1
    assert bench.state() == {"DEAD": 1}
    assert bench.replies() == [("FAIL", "u1", "ATTEMPTS_EXHAUSTED")]


def test_a_take_that_is_cancelled_swallows_nothing_and_costs_nothing(bench: Bench) -> None:
    waiting = bench.take(limit=2)
    bench.cancel(waiting)
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    crossed = bench.take(limit=2)
    assert bench.state() == {"LEASED": 2}
    bench.cancel(crossed)
    assert bench.state() == {"READY": 2}
    assert bench.took()["attempt"] == 1


def test_a_completion_by_uuid_ends_a_lease_of_a_stream_which_is_told(bench: Bench) -> None:
    told: list[tuple[str, str, str]] = []
    bench.queue.on_lost(lambda command, lease, why, now: told.append((command.uuid, lease.token, why)) or [])
    bench.offer(bench.command("u1"))
    lease = bench.took(holder="stream")
    bench.complete("u1")
    assert told == [("u1", lease["token"], "DONE")]
    assert bench.settles(lease, "ack") == "FENCED"
    for uuid in ("u2", "u3", "u4"):
        bench.offer(bench.command(uuid, ttl=5_000 if uuid == "u4" else 0))
    limit = bench.took(holder="stream", lease_ms=2_000)
    own, late = bench.took(holder="stream"), bench.took(holder="stream")
    bench.settles(own, "fail", error="no")
    bench.passes(5)
    assert told[1:] == [("u2", limit["token"], "FENCED"), ("u4", late["token"], "EXPIRED")]


def test_the_lease_is_the_worker_s_wish_over_the_command_s_over_the_setting(bench: Bench) -> None:
    for uuid in ("u1", "u2"):
        bench.offer(bench.command(uuid, lease=20_000))
    assert bench.took(lease_ms=7_000)["lease"] == 7_000
    assert bench.took()["lease"] == 20_000


def test_nothing_of_a_name_that_is_held_back_is_handed_out(bench: Bench) -> None:
    paused = {"BUILD"}
    bench.queue.hold_back(lambda name: name in paused)
    gandalf, taker = bench.wait(bench.iterator()), bench.take("BUILD", "TEST")
    bench.offer(bench.command("u1"))
    bench.offer(bench.command("u2"))
    assert bench.got(gandalf) is None
    bench.offer(bench.command("u3", "TEST"))
    assert bench.got_one(taker) == "u3"
    taker = bench.take()
    paused.clear()
    bench.do(bench.queue.wake("BUILD", bench.now))
    assert (bench.got(gandalf), bench.got_one(taker)) == ("u1", "u2")


@pytest.mark.parametrize("state", ["READY", "DELAYED", "LEASED"])
def test_an_operator_cancels_whatever_is_live(bench: Bench, state: str) -> None:
    heard: list[Any] = []

    def done(now: Any, refusal: Any) -> list[Any]:
        heard.append(refusal)
        return []

    bench.offer(bench.command("u1", delay=1_000 if state == "DELAYED" else 0))
    lease = bench.took(holder="stream") if state == "LEASED" else None
    assert bench.state() == {state: 1}
    bench.full = True
    bench.do(bench.queue.cancel_command("u1", Reason.CANCELLED, "by hand", bench.now, done))
    assert str(heard.pop().reason) == "STORAGE_FAILED"
    assert bench.state() == {state: 1}
    bench.full = False
    bench.do(bench.queue.cancel_command("u1", Reason.CANCELLED, "by hand", bench.now, done))
    assert heard.pop() is None
    assert bench.state() == {"DEAD": 1}
    assert bench.replies() == [("FAIL", "u1", "CANCELLED")]
    if lease is not None:
        assert bench.settles(lease, "ack") == "FENCED"
    bench.do(bench.queue.cancel_command("u1", Reason.CANCELLED, "", bench.now, done))
    bench.do(bench.queue.cancel_command("u2", Reason.CANCELLED, "", bench.now, done))
    assert [str(refusal.reason) for refusal in heard] == ["FENCED", "NOT_FOUND"]
    bench.passes(2)
    assert bench.state() == {"DEAD": 1}


def test_when_it_ended_is_known_after_a_restart(bench: Bench) -> None:
    for uuid in ("c1", "c2"):
        bench.offer(bench.command(uuid))
    bench.passes(60)
    done, dead = bench.took(), bench.took()
    bench.settles(done, "ack")
    bench.settles(dead, "fail")
    told = []
    for lease in (done, dead):
        bench.settles(lease, "ack")
        told.append(bench.heard_settled[0].detail)
    bench.restart()
    for lease, before in zip((done, dead), told, strict=True):
        bench.settles(lease, "ack")
        assert bench.heard_settled[0].detail == before
