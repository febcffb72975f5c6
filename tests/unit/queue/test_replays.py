"""Dead letters that become commands again: a fresh uuid, attempts anew, one commit with the letter's end."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.queue.conftest import Bench
from tests.unit.queue.test_dead import NOT_UTF8, edit, kill, listed, one
from zconnector.errors import Reason, Refusal
from zconnector.messages import Message
from zconnector.messages.retry import RetryPolicy
from zconnector.queue.letters import LetterFilter
from zconnector.queue.replays import Replayed
from zconnector.queue.store import COMMANDS, DEAD, Put


def no_check(_: Message) -> Refusal | None:
    return None


def no_policy(_: Message) -> RetryPolicy | None:
    return None


def replay(
    bench: Bench, check: Callable[[Message], Refusal | None] = no_check, **wanted: object
) -> Replayed | None:
    operators = bench.queue.operators
    letters = operators.letters(LetterFilter.read(wanted, bench.wall), 100).letters
    before = len(bench.heard)
    bench.do(operators.replay(letters, check, no_policy, bench.now, bench.hear()))
    assert len(bench.heard) <= before + 1, "one answer for all of them"
    return bench.heard[-1] if len(bench.heard) > before else None


def test_a_replayed_letter_is_a_new_command_that_names_the_old_one(bench: Bench) -> None:
    kill(bench, "old", source="git", context="app")
    edit(bench, "old", b'{"fixed": 1}')
    bench.passes(100)  # long past its accept_until
    outcome = replay(bench)
    assert outcome is not None
    ((old, new),) = outcome.uuids
    assert (old, outcome.refused) == ("old", [])
    assert listed(bench) == []

    bench.restart()
    assert listed(bench) == []
    caller = bench.wait(bench.iterator())
    handed = bench.responses[caller]
    assert handed.args["uuid"] == new
    assert new != "old"
    assert handed.args["replay_of"] == "old"
    assert (handed.args["source"], handed.args["context"], handed.payload) == ("git", "app", b'{"fixed": 1}')
    assert bench.complete(new) is not None
    assert bench.state()["DONE"] == 1
    assert bench.state()["DEAD"] == 1, "the old uuid is remembered as it ended"


def test_the_letter_and_the_command_are_one_commit(bench: Bench) -> None:
    kill(bench, "old", payload=NOT_UTF8)
    edit(bench, "old", b"{}")
    bench.held = True
    assert replay(bench) is None
    spaces = {(type(write).__name__, write.space) for commit in bench.pending for write in commit.writes}
    assert {("Put", COMMANDS), ("Delete", DEAD)} <= spaces
    assert len(bench.pending) == 1
    assert listed(bench) == ["old"], "nothing has happened yet"
    bench.restart()
    assert listed(bench) == ["old"]
    assert bench.state().get("READY", 0) == 0


def test_what_is_not_stored_stays_a_letter(bench: Bench) -> None:
    kill(bench, "old")
    edit(bench, "old", b"{}")
    bench.full = True
    outcome = replay(bench)
    assert outcome is not None
    assert outcome.uuids == []
    assert [(refusal.reason, refusal.uuid) for refusal in outcome.refused] == [(Reason.STORAGE_FAILED, "old")]
    bench.full = False
    assert listed(bench) == ["old"]
    again = replay(bench)
    assert again is not None
    assert len(again.uuids) == 1


def test_a_letter_is_replayed_once_whoever_asks(bench: Bench) -> None:
    kill(bench, "old")
    edit(bench, "old", b"{}")
    bench.held = True
    assert replay(bench) is None
    second = replay(bench)
    assert second is not None
    assert [refusal.reason for refusal in second.refused] == [Reason.BUSY]
    bench.held = False
    bench.settle()
    assert bench.state().get("READY") == 1


def test_of_many_those_that_may_go_go_and_the_others_say_why(bench: Bench) -> None:
    kill(bench, "a", "b", "c")
    edit(bench, "a", b"{}")
    edit(bench, "b", b'{"bad": 1}')

    def check(message: Message) -> Refusal | None:
        bad = b"bad" in message.payload
        return Refusal(Reason.INVALID_PAYLOAD, "bad is not allowed", message.uuid) if bad else None

    outcome = replay(bench, check)
    assert outcome is not None
    assert [old for old, _ in outcome.uuids] == ["a"]
    assert [(refusal.uuid, refusal.reason) for refusal in outcome.refused] == [
        ("b", Reason.INVALID_PAYLOAD),
        ("c", Reason.INVALID_PAYLOAD),
    ]
    assert listed(bench) == ["b", "c"]


def test_an_event_is_not_replayed_and_a_damaged_one_neither(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(reply_retention=60.0)
    bench.wait(bench.iterator())
    bench.offer(bench.command("c1"))
    bench.complete("c1", uuid="r1")
    bench.passes(61)
    row = {"reason": "STORAGE_FAILED", "uuid": "damaged", "name": "BUILD", "at": bench.wall}
    bench.store.commit([Put(DEAD, 99, row, b"??")])
    bench.restart()
    outcome = replay(bench)
    assert outcome is not None
    assert outcome.uuids == []
    assert [(refusal.uuid, refusal.reason) for refusal in outcome.refused] == [
        ("r1", Reason.BAD_ARGUMENT),
        ("damaged", Reason.BAD_HEADER),
    ]
    assert listed(bench) == ["r1", "damaged"]


def test_a_full_queue_takes_no_letter(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=1)
    kill(bench, "old")
    edit(bench, "old", b"{}")
    bench.offer(bench.command("c1"))
    outcome = replay(bench)
    assert outcome is not None
    assert [(refusal.uuid, refusal.reason) for refusal in outcome.refused] == [("old", Reason.QUEUE_FULL)]
    assert one(bench, "old")


def test_none_is_no_error(bench: Bench) -> None:
    assert replay(bench) == Replayed()


def test_bytes_are_replayed_unless_they_were_what_it_died_of(bench: Bench) -> None:
    kill(bench, "read-as-text")
    bench.offer(bench.command("bytes", payload=NOT_UTF8))
    bench.settles(bench.took(), "fail")
    outcome = replay(bench)
    assert outcome is not None
    assert [old for old, _ in outcome.uuids] == ["bytes"]
    assert [(refusal.uuid, refusal.reason) for refusal in outcome.refused] == [
        ("read-as-text", Reason.INVALID_PAYLOAD)
    ]
    assert bench.took()["replay_of"] == "bytes"
