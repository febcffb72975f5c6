"""Transcripts of calls that wait for the final reply to a command."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from zconnector.actions import Caller
from zconnector.errors import Reason, Refusal
from zconnector.messages import Message
from zconnector.messages.late import GRACE_MS
from zconnector.queue.awaiting import REMEMBERED

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def ask(bench: Bench, uuid: str = "c1", timeout: float | None = None) -> Caller:
    caller = bench.caller()
    bench.do(bench.queue.awaiting.wait(caller, uuid, timeout, bench.now))
    return caller


def reply(bench: Bench, uuid: str, reference: str = "c1", event: str = "SUCCES") -> Message:
    return bench.event(uuid, "BUILD", event, reference=reference, recipient="ci", source="git")


def waiting(bench: Bench) -> int:
    return int(bench.queue.depths()["events"]["awaiting"])


def test_all_who_wait_are_answered_after_the_commit(bench: Bench) -> None:
    first, second, other = ask(bench), ask(bench), ask(bench, "c2")
    bench.held = True
    bench.publish(reply(bench, "r1").with_fields(context="x"))
    assert bench.got(first) is None
    bench.held = False
    bench.settle()
    assert [bench.got(caller) for caller in (first, second, other)] == ["r1", "r1", None]
    assert bench.responses[first].args["context"] == "x"
    assert bench.responses[first].payload == b"{}"
    assert waiting(bench) == 1


def test_one_that_is_retained_answers_at_once_and_after_a_restart(bench: Bench) -> None:
    ask(bench)
    bench.publish(reply(bench, "r1", event="FAIL"))
    assert bench.got(ask(bench)) == "r1"
    bench.restart()
    assert bench.got(ask(bench)) == "r1"


def test_who_waited_when_the_connector_died_asks_again(bench: Bench) -> None:
    ask(bench)
    bench.restart()
    again = ask(bench)
    bench.publish(reply(bench, "r1"))
    assert bench.got(again) == "r1"


def test_only_a_final_reply_for_this_connector_ends_it(bench: Bench) -> None:
    caller = ask(bench)
    bench.publish(reply(bench, "p1", event="HALF"))
    bench.publish(reply(bench, "b1").with_fields(seq=7), outbox=False)
    bench.publish(bench.event("local", "BUILD", "SUCCES", reference="c1"))
    assert bench.got(caller) is None
    bench.publish(reply(bench, "r1"))
    assert bench.got(caller) == "r1"


def test_payloads_are_bytes(bench: Bench) -> None:
    caller = ask(bench)
    message = reply(bench, "r1")
    bench.publish(Message(message.kind, message.header, b"\xff\x00"))
    assert bench.responses[caller].payload == b"\xff\x00"


def test_a_timeout(bench: Bench) -> None:
    soon, later, never = ask(bench, timeout=5.0), ask(bench, timeout=50.0), ask(bench)
    bench.passes(6)
    assert bench.got(soon) == Reason.TIMED_OUT
    assert bench.responses[soon].error.uuid == "c1"  # type: ignore[union-attr]
    bench.publish(reply(bench, "r1"))
    assert [bench.got(caller) for caller in (later, never)] == ["r1", "r1"]
    assert bench.queue.awaiting.deadline() is None


def test_a_cancel_frees_it(bench: Bench) -> None:
    caller = ask(bench, timeout=5.0)
    bench.cancel(caller)
    assert waiting(bench) == 0
    bench.passes(10)
    bench.publish(reply(bench, "r1"))
    assert bench.got(caller) is None


def test_unreceipted_is_the_final_reply(bench: Bench) -> None:
    command = bench.command("c1")
    bench.do(bench.queue.remember_unknown(command, bench.now, bench.hear()))
    caller = ask(bench)
    bench.passes(10 + GRACE_MS / 1000 + 1)
    assert bench.responses[caller].args["reason"] == Reason.UNRECEIPTED
    assert bench.responses[caller].args["event"] == "FAIL"


def unreceipted(bench: Bench) -> None:
    """c1 was sent, and its FAIL made here, as no receipt came."""
    bench.do(bench.queue.remember_unknown(bench.command("c1"), bench.now, bench.hear()))
    bench.passes(10 + GRACE_MS / 1000 + 1)


def test_unreceipted_does_not_answer_for_a_later_copy_that_was_receipted(bench: Bench) -> None:
    """It was told FAIL of a command that had just been receipted, and was being executed."""
    unreceipted(bench)
    bench.queue.awaiting.accepted("c1")
    caller = ask(bench)
    assert bench.got(caller) is None
    bench.publish(reply(bench, "r1"))
    assert bench.got(caller) == "r1"


@pytest.mark.parametrize("event", ["SUCCES", "FAIL"])
def test_the_reply_of_a_later_copy_answers_from_then_on(bench: Bench, event: str) -> None:
    unreceipted(bench)
    bench.publish(reply(bench, "r1", event=event))
    assert bench.got(ask(bench)) == "r1"
    bench.restart()
    assert bench.got(ask(bench)) == "r1"
    bench.publish(reply(bench, "r2"))
    assert bench.got(ask(bench)) == "r1"


def test_a_refusal_reaches_who_waits(bench: Bench) -> None:
    caller, other = ask(bench), ask(bench, "c2")
    bench.do(bench.queue.refused("BUILD", "c1", Refusal(Reason.INVALID_PAYLOAD, "no url", "c1")))
    assert bench.got(caller) == Reason.INVALID_PAYLOAD
    assert bench.got(other) is None


def test_a_refusal_of_a_further_copy_does_not(bench: Bench) -> None:
    caller = ask(bench)
    bench.do(bench.queue.refused("BUILD", "c1", Refusal(Reason.CONFLICT, "another body", "c1")))
    assert bench.got(caller) is None
    bench.queue.awaiting.accepted("c1")
    bench.do(bench.queue.refused("BUILD", "c1", Refusal(Reason.NO_AGGREGATOR, "none", "c1")))
    assert bench.got(caller) is None
    doubtful = ask(bench, "c2")
    bench.do(bench.queue.remember_unknown(bench.command("c2"), bench.now, bench.hear()))
    bench.do(bench.queue.refused("BUILD", "c2", Refusal(Reason.NO_AGGREGATOR, "none", "c2")))
    assert bench.got(doubtful) is None


def test_nor_when_the_call_came_after_the_receipt(bench: Bench) -> None:
    """Mostly it does: a sender asks for the reply once it has its receipt."""
    bench.queue.awaiting.accepted("c1")
    caller = ask(bench)
    bench.do(bench.queue.refused("BUILD", "c1", Refusal(Reason.NO_AGGREGATOR, "none", "c1")))
    assert bench.got(caller) is None
    bench.publish(reply(bench, "r1"))
    assert bench.got(caller) == "r1"


def test_accepted_ones_are_remembered_up_to_a_bound(bench: Bench) -> None:
    for number in range(REMEMBERED + 1):
        bench.queue.awaiting.accepted(f"c{number}")
    first, second = ask(bench, "c0"), ask(bench, "c1")
    for uuid in ("c0", "c1"):
        bench.do(bench.queue.refused("BUILD", uuid, Refusal(Reason.NO_AGGREGATOR, "none", uuid)))
    assert bench.got(first) == Reason.NO_AGGREGATOR
    assert bench.got(second) is None


def test_the_first_final_reply_counts_as_long_as_it_is_retained(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(event_retention=100.0)
    bench.publish(reply(bench, "r1", event="FAIL"))
    bench.passes(50)
    bench.publish(reply(bench, "r2", event="SUCCES"))
    assert bench.got(ask(bench)) == "r1"
    bench.passes(60)
    assert bench.got(ask(bench)) == "r2"
    bench.passes(60)
    assert bench.got(ask(bench)) is None


def test_a_reply_that_cannot_be_read_fails_the_call(bench: Bench) -> None:
    bench.publish(reply(bench, "r1"))
    bench.restart()
    bench.disk.broken = True
    assert bench.got(ask(bench)) == Reason.STORAGE_FAILED
    assert not bench.queue.healthy
    bench.disk.broken = False
    assert bench.got(ask(bench)) == "r1"


def test_bad_calls(bench: Bench) -> None:
    with pytest.raises(Refusal, match="uuid is missing"):
        ask(bench, "")
    caller = ask(bench)
    with pytest.raises(Refusal, match="pending already"):
        bench.queue.awaiting.wait(caller, "c1", None, bench.now)
