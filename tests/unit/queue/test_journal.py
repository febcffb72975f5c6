"""Records for the cluster's journal: with the commit they are of, in order, over restarts, bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zconnector.queue.journal import HELD_BYTES, MAX_RECORD
from zconnector.queue.store import Put

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def take(bench: Bench, uuid: str) -> None:
    bench.do(bench.queue.own.offer(bench.command(uuid, source="git"), bench.now, bench.hear()))


def records(bench: Bench, limit: int = 100) -> list[str]:
    found, notes = bench.queue.journal.first(limit)
    bench.do(notes)
    return [message.uuid for _, message in found]


def test_in_the_order_of_the_commands_over_a_restart(bench: Bench) -> None:
    for number in range(12):
        take(bench, f"c{number}")
    assert records(bench, 3) == ["c0", "c1", "c2"]
    bench.restart()
    assert records(bench) == [f"c{number}" for number in range(12)]
    take(bench, "c12")
    assert records(bench)[-1] == "c12"


def test_what_is_told_is_gone_for_good(bench: Bench) -> None:
    for number in range(3):
        take(bench, f"c{number}")
    found, _ = bench.queue.journal.first(2)
    bench.do(bench.queue.journal.told([key for key, _ in found], bench.now))
    assert records(bench) == ["c2"]
    bench.restart()
    assert records(bench) == ["c2"]
    assert bench.queue.depths()["journal"]["count"] == 1


def test_nothing_is_told_before_it_is_stored(bench: Bench) -> None:
    bench.held = True
    take(bench, "c1")
    assert records(bench) == []
    bench.settle()
    assert records(bench) == ["c1"]


def test_a_copy_makes_no_second_record(bench: Bench) -> None:
    take(bench, "c1")
    take(bench, "c1")
    assert [heard.outcome for heard in bench.heard] == ["STORED", "DUPLICATE"]
    assert records(bench) == ["c1"]


def test_a_command_that_is_refused_or_not_stored_leaves_none(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_commands=1)
    bench.full = True
    take(bench, "c0")
    bench.full = False
    bench.passes(3)
    take(bench, "c1")
    take(bench, "c2")
    assert [heard.outcome for heard in bench.heard] == ["FAILED", "STORED", "REFUSED"]
    assert records(bench) == ["c1"]
    bench.passes(3)
    bench.restart()
    assert records(bench) == ["c1"]


def test_a_payload_that_would_not_fit_is_left_out(bench: Bench) -> None:
    command = bench.command("c1", payload=b"x" * MAX_RECORD)
    bench.do(bench.queue.own.offer(command, bench.now, bench.hear()))
    ((_, record),), _ = bench.queue.journal.first(1)
    assert (record.header["cut"], record.payload) == (MAX_RECORD, b"")
    assert "cut" not in command.header


def test_a_damaged_record_holds_up_none(bench: Bench) -> None:
    for number in range(2):
        take(bench, f"c{number}")
    bench.restart()
    bench.disk.damaging = True
    assert records(bench, 1) == []
    bench.disk.damaging = False
    assert records(bench) == ["c1"]
    assert bench.queue.depths()["journal"]["untold"] == 1
    assert [note.event for note in bench.notes if note.level == "error"] == [
        "record for the journal is damaged"
    ]


def test_one_that_cannot_be_read_just_now_is_read_later(bench: Bench) -> None:
    take(bench, "c1")
    bench.restart()
    bench.disk.broken = True
    assert records(bench) == []
    assert not bench.queue.healthy
    bench.disk.broken = False
    assert records(bench) == ["c1"]


def test_no_more_messages_wait_in_memory_than_there_is_room_for(bench: Bench) -> None:
    size = HELD_BYTES // 4
    for number in range(6):
        command = bench.command(f"c{number}", payload=b"x" * size)
        bench.do(bench.queue.own.offer(command, bench.now, bench.hear()))
    bench.do(bench.queue.own.offer(bench.command("small"), bench.now, bench.hear()))
    bench.restart()  # all are on the disk; from here on the first to come are held
    for number in range(6, 12):
        command = bench.command(f"c{number}", payload=b"x" * size)
        bench.do(bench.queue.own.offer(command, bench.now, bench.hear()))
    found, _ = bench.queue.journal.first(7)
    bench.do(bench.queue.journal.told([key for key, _ in found], bench.now))
    bench.disk.broken = True
    assert records(bench) == ["c6", "c7", "c8"], "the next to be told are held, the rest is read"
    bench.disk.broken = False
    found, _ = bench.queue.journal.first(100)
    assert [(message.uuid, len(message.payload)) for _, message in found] == [
        (f"c{number}", size) for number in range(6, 12)
    ]
    bench.do(bench.queue.journal.told([key for key, _ in found], bench.now))
    take(bench, "held again")
    bench.disk.broken = True
    assert records(bench) == ["held again"]


def test_bounds_by_count_and_bytes(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_outbox=10)
    for number in range(10):
        take(bench, f"c{number}")
    assert [heard.outcome for heard in bench.heard] == ["STORED"] * 9 + ["REFUSED"]
    small = bench_with(max_outbox_bytes=5_000)
    for number in range(2):
        command = small.command(f"c{number}", payload=b"x" * 3_000)
        small.do(small.queue.own.offer(command, small.now, small.hear()))
    assert [heard.outcome for heard in small.heard] == ["STORED", "REFUSED"]


def names(write: object) -> str:
    return str(write.meta.get("uuid", "")) if isinstance(write, Put) else ""


def test_the_record_is_in_the_commit_of_its_command_also_when_that_makes_others_go(
    bench_with: Callable[..., Bench],
) -> None:
    bench = bench_with(max_commands=1, overflow="drop_oldest")
    take(bench, "c1")
    bench.held = True
    take(bench, "c2")  # c1 is to be buried, in a commit of its own
    (own,) = [commit for commit in bench.pending if any(names(write) == "c2" for write in commit.writes)]
    assert "journal/0000000000000002" in [write.key for write in own.writes]
