"""Dead letters: what is kept of them, which are meant, what may be done to them, and what goes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.queue.conftest import Bench
from zconnector.errors import Reason, Refusal
from zconnector.messages import Message
from zconnector.queue.letters import Letter, LetterFilter
from zconnector.queue.store import DEAD, Put

NOT_UTF8 = b"\xff\xfe"


def kill(bench: Bench, *uuids: str, name: str = "BUILD", payload: bytes = NOT_UTF8, **fields: object) -> None:
    """Commands that no waiter can be handed."""
    caller = bench.wait(bench.iterator(), name)
    for uuid in uuids:
        bench.offer(bench.command(uuid, name, payload, **fields))
    bench.cancel(caller)


def listed(bench: Bench, limit: int = 100, after: int = 0, **wanted: object) -> list[str]:
    page = bench.queue.operators.letters(LetterFilter.read(wanted, bench.wall), limit, after)
    return [letter.uuid for letter in page.letters]


def one(bench: Bench, uuid: str) -> Letter:
    letter = bench.queue.operators.letter(uuid)
    assert letter is not None
    return letter


def edit(bench: Bench, uuid: str, payload: bytes) -> Refusal | None:
    before = len(bench.heard)
    bench.do(bench.queue.operators.edit(one(bench, uuid), payload, bench.now, bench.hear()))
    return bench.heard[-1] if len(bench.heard) > before else None


def purge(bench: Bench, *uuids: str) -> Refusal | None:
    letters = [one(bench, uuid) for uuid in uuids]
    before = len(bench.heard)
    bench.do(bench.queue.operators.purge_letters(letters, bench.now, bench.hear()))
    return bench.heard[-1] if len(bench.heard) > before else None


def test_a_letter_keeps_what_it_was_and_why_over_a_restart(bench: Bench) -> None:
    kill(bench, "c1", context="app", source="git")
    died = bench.wall
    for _ in range(2):
        letter = one(bench, "c1")
        assert (letter.name, letter.reason, letter.source) == ("BUILD", "INVALID_PAYLOAD", "git")
        assert (letter.kind, letter.attempts, letter.at, letter.edited) == ("COMMAND", 0, died, 0)
        assert "UTF-8" in letter.detail
        message = bench.queue.operators.read(letter)
        assert (message.payload, message.header["context"], message.uuid) == (NOT_UTF8, "app", "c1")
        bench.restart(60)


def test_letters_are_listed_oldest_first_in_pages(bench: Bench) -> None:
    kill(bench, *"abcde")
    first = bench.queue.operators.letters(LetterFilter(), 2)
    assert [letter.uuid for letter in first.letters] == ["a", "b"]
    second = bench.queue.operators.letters(LetterFilter(), 2, first.after)
    third = bench.queue.operators.letters(LetterFilter(), 2, second.after)
    assert [letter.uuid for letter in [*second.letters, *third.letters]] == ["c", "d", "e"]
    assert third.after == 0
    purge(bench, "c")
    assert listed(bench, 2, first.after) == ["d", "e"], "a page goes on where the last letter has gone"


def test_a_filter_takes_what_meets_all_of_it(bench: Bench) -> None:
    kill(bench, "ab-1", "ab-2", source="git")
    bench.passes(10)
    kill(bench, "cd-1", name="TEST", source="mail")
    assert listed(bench) == ["ab-1", "ab-2", "cd-1"]
    assert listed(bench, command="TEST") == ["cd-1"]
    assert listed(bench, source="git", uuid="ab-2") == ["ab-2"]
    assert listed(bench, uuid="ab") == ["ab-1", "ab-2"]
    assert listed(bench, source="git", command="TEST") == []
    assert listed(bench, reason="EXPIRED") == []
    assert listed(bench, reason="INVALID_PAYLOAD", older_ms=10_000) == ["ab-1", "ab-2"]
    assert listed(bench, older_ms=10_001) == []


@pytest.mark.parametrize(
    "args",
    [{"reason": 7}, {"command": None}, {"source": []}, {"uuid": {}}, {"older_ms": -1}, {"older_ms": "1"}],
    ids=str,
)
def test_a_filter_that_is_none_is_refused_by_its_field(args: dict[str, object]) -> None:
    with pytest.raises(Refusal, match=next(iter(args))) as refused:
        LetterFilter.read(args, 0)
    assert refused.value.reason is Reason.BAD_ARGUMENT


def test_an_edited_payload_is_there_after_a_restart_and_the_header_stays(bench: Bench) -> None:
    kill(bench, "c1", context="app")
    bench.passes(5)
    assert edit(bench, "c1", b'{"fixed": 1}') is None
    bench.restart()
    message = bench.queue.operators.read(one(bench, "c1"))
    assert (message.payload, message.header["context"]) == (b'{"fixed": 1}', "app")
    assert one(bench, "c1").edited == bench.wall
    assert one(bench, "c1").size == bench.queue.depths()["dead"]["bytes"] - 256


def test_an_edit_that_is_not_stored_has_changed_nothing(bench: Bench) -> None:
    kill(bench, "c1")
    bench.full = True
    refusal = edit(bench, "c1", b"{}")
    assert refusal is not None
    assert refusal.reason is Reason.STORAGE_FAILED
    assert bench.queue.operators.read(one(bench, "c1")).payload == NOT_UTF8
    assert one(bench, "c1").edited == 0
    bench.full = False
    assert edit(bench, "c1", b"{}") is None


def test_letters_are_purged_in_one_commit_all_or_none(bench: Bench) -> None:
    kill(bench, "a", "b", "c")
    bench.full = True
    refusal = purge(bench, "a", "b")
    assert refusal is not None
    assert refusal.reason is Reason.STORAGE_FAILED
    assert listed(bench) == ["a", "b", "c"]
    bench.full = False
    before = bench.commits
    assert purge(bench, "a", "b") is None
    assert bench.commits == before + 1
    assert listed(bench) == ["c"]
    bench.restart()
    assert listed(bench) == ["c"]


def test_of_two_changes_at_once_the_second_is_refused(bench: Bench) -> None:
    kill(bench, "a", "b")
    bench.held = True
    assert edit(bench, "a", b"{}") is None
    second = purge(bench, "b", "a")
    assert second is not None
    assert second.reason is Reason.BUSY
    bench.held = False
    bench.settle()
    assert listed(bench) == ["a", "b"], "a purge of several removes all or none"
    assert purge(bench, "b", "a") is None


def test_what_is_not_stored_yet_is_not_touched(bench: Bench) -> None:
    caller = bench.wait(bench.iterator())
    bench.offer(bench.command("c1", payload=b"{}"))
    bench.complete("c1")
    bench.wait(bench.iterator())
    bench.held = True
    bench.offer(bench.command("c2", payload=NOT_UTF8))
    bench.settle(1)  # stored; its burial is under way
    refusal = purge(bench, "c2")
    assert refusal is not None
    assert refusal.reason is Reason.BUSY
    bench.full = True
    bench.settle(1)
    assert bench.queue.operators.letter("c2") is None, "its burial failed: it is none"
    assert bench.got(caller) == "c1"


def test_beyond_the_count_the_oldest_go_counted(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_dead=3)
    kill(bench, *"abcde")
    bench.passes(1)
    assert listed(bench) == ["c", "d", "e"]
    assert bench.queue.depths()["dead"]["dropped"] == 2
    bench.restart()
    assert listed(bench) == ["c", "d", "e"]


def test_beyond_the_bytes_the_oldest_go(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_dead_bytes=10_000)
    kill(bench, *"abc", payload=NOT_UTF8 * 2_000)
    bench.passes(1)
    assert listed(bench) == ["b", "c"]
    assert bench.queue.depths()["dead"]["bytes"] <= 10_000
    bench.restart()
    assert bench.queue.depths()["dead"] == {
        "count": 2,
        "bytes": bench.queue.depths()["dead"]["bytes"],
        "dropped": 0,
        "by_reason": {"INVALID_PAYLOAD": 2},
    }
    assert 8_000 < bench.queue.depths()["dead"]["bytes"] <= 10_000


def test_a_letter_that_is_not_stored_costs_no_older_one(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_dead=1)
    kill(bench, "a")
    bench.wait(bench.iterator())
    bench.held = True
    bench.offer(bench.command("b", payload=NOT_UTF8))
    bench.settle(1)
    bench.full = True
    bench.do(bench.queue.tick(bench.now))
    bench.settle()
    bench.full = bench.held = False
    assert listed(bench) == ["a"]


def test_a_letter_of_before_letters_said_more_is_still_one(bench: Bench) -> None:
    old = {"reason": "INVALID_PAYLOAD", "uuid": "old", "name": "BUILD", "at": bench.wall}
    bench.store.commit([Put(DEAD, 1, old, b"no message")])
    bench.restart()
    letter = one(bench, "old")
    assert (letter.kind, letter.detail, letter.attempts, letter.source) == ("COMMAND", "", 0, "")
    assert bench.queue.operators.read(letter).payload == b"no message", "what is left of a damaged one"


def test_a_reply_that_nobody_confirms_and_an_event_that_nobody_can_have_are_events(
    bench_with: Callable[..., Bench],
) -> None:
    bench = bench_with(reply_retention=60.0)
    bench.wait(bench.iterator())
    bench.offer(bench.command("c1"))
    bench.complete("c1", uuid="r1")
    for entry in bench.queue.outbox_due(bench.now):
        bench.queue.outbox_sent(entry.key, bench.now)
    bench.passes(61)
    reply = one(bench, "r1")
    assert (reply.kind, reply.reason, reply.name, reply.attempts) == ("EVENT", "SOURCE_GONE", "BUILD", 1)
    assert "ci" in reply.detail
    assert isinstance(bench.queue.operators.read(reply), Message)
