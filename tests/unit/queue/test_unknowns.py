"""Unknown outcomes, documents, health."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from zconnector.errors import Reason, Refusal
from zconnector.queue.store import DOCUMENTS, scan_all

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench


def remember(bench: Bench, uuid: str = "u1") -> None:
    bench.do(bench.queue.remember_unknown(bench.command(uuid), bench.now, bench.hear()))


def test_remembered_is_told_after_the_commit(bench: Bench) -> None:
    bench.held = True
    remember(bench)
    assert bench.heard == []
    bench.settle()
    assert bench.heard == [None]


def test_an_unreceipted_command_gets_a_fail_event(bench: Bench) -> None:
    remember(bench)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(10 + 29.9)
    assert bench.got(caller) is None
    bench.passes(0.2)
    respond = bench.responses[caller]
    assert respond.args["reason"] == "UNRECEIPTED"
    assert respond.args["reference"] == "u1"
    assert bench.queue.depths()["unknown"] == 0
    assert DOCUMENTS not in [row.space for row in scan_all(bench.store)]


def test_a_receipt_forgets_it(bench: Bench) -> None:
    remember(bench)
    bench.do(bench.queue.forget_unknown("u1", bench.now))
    bench.do(bench.queue.forget_unknown("never known", bench.now))
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(100)
    assert bench.got(caller) is None


def test_no_fail_follows_a_reply_that_is_here(bench: Bench) -> None:
    """Sent again under its uuid after the reply was stored: the second try may hear nothing at all."""
    bench.publish(bench.event("r1", "BUILD", "SUCCES", reference="u1", recipient="ci"))
    remember(bench)
    bench.restart()
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(100)
    assert bench.got(caller) is None
    assert bench.queue.depths()["unknown"] == 0


def test_no_fail_follows_a_receipt_that_was_heard(bench: Bench) -> None:
    """Its worker still runs it, and the reply is to come."""
    receipt = bench.event("o1", "BUILD", "ON_GOING", reference="u1")
    bench.do(bench.queue.announce(receipt, bench.now))
    remember(bench)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(100)
    assert bench.got(caller) is None
    assert bench.queue.depths()["unknown"] == 0


def test_a_refusal_by_one_route_is_no_receipt(bench: Bench) -> None:
    bench.do(bench.queue.announce(bench.event("n1", "BUILD", "NO_ROUTE", reference="u1"), bench.now))
    remember(bench)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(100)
    assert bench.got(caller) is not None


def test_it_survives_a_restart(bench: Bench) -> None:
    remember(bench)
    bench.restart(wall_passes=30)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(9.9)
    assert bench.got(caller) is None
    bench.passes(0.2)
    assert bench.got(caller) is not None


def test_what_was_heard_of_is_not_kept_until_its_time_comes(bench: Bench) -> None:
    remember(bench, "lasts")
    bench.passes(1)
    for number in range(1000):
        remember(bench, f"u{number}")
        bench.do(bench.queue.forget_unknown(f"u{number}", bench.now))
    assert len(bench.queue._unknowns._due) < 100
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "lasts")
    bench.passes(39.1)
    assert bench.got(caller) is not None


def test_a_clock_that_was_put_back_does_not_hold_it_up(bench: Bench) -> None:
    remember(bench)
    bench.restart(wall_passes=-3_600)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(39.9)
    assert bench.got(caller) is None
    bench.passes(0.2)
    assert bench.got(caller) is not None


def test_a_fail_event_that_cannot_be_stored_is_tried_again(bench: Bench) -> None:
    remember(bench)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.full = True
    bench.passes(45)
    assert bench.got(caller) is None
    bench.full = False
    bench.passes(1.1)
    assert bench.got(caller) is not None


def test_not_stored_is_told(bench: Bench) -> None:
    bench.full = True
    remember(bench)
    assert bench.heard[-1].reason is Reason.STORAGE_FAILED


def test_what_could_not_be_stored_is_stored_later_and_ends_in_its_fail(bench: Bench) -> None:
    """The sender was told UNKNOWN all the same, and waits."""
    bench.full = True
    remember(bench)
    bench.full = False
    bench.passes(1.1)
    bench.restart(wall_passes=1)
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(45)
    assert bench.got(caller) is not None


def test_what_could_not_be_stored_takes_the_place_of_nothing_later(bench: Bench) -> None:
    """Of a copy that was sent again since, and may be stored longer: else its FAIL comes while it runs."""
    bench.held = True
    remember(bench)
    bench.wall += 8_000
    bench.mono += 8
    remember(bench)
    bench.full = True
    bench.settle(1)
    bench.full = False
    bench.held = False
    bench.passes(1.1)
    bench.restart(wall_passes=0.9)  # 10 s since the first one
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(8 + 29.9)
    assert bench.got(caller) is None
    bench.passes(0.2)
    assert bench.got(caller) is not None


def test_a_receipt_forgets_what_was_not_stored_too(bench: Bench) -> None:
    bench.full = True
    remember(bench)
    bench.full = False
    bench.do(bench.queue.forget_unknown("u1", bench.now))
    bench.passes(1.1)
    bench.restart(wall_passes=1)
    assert bench.queue.depths()["unknown"] == 0


def test_bounded(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(max_unknown=3)
    remember(bench)
    bench.queue.check_unknown_room("u4", 1, lambda: ["u2"])
    bench.queue.check_unknown_room("u4", 2, lambda: ["u1", "u2"])  # u1, sent again, has its place
    with pytest.raises(Refusal, match="3 commands are under way, or of unknown outcome") as caught:
        bench.queue.check_unknown_room("u4", 2, lambda: ["u2", "u3"])
    assert (caught.value.reason, caught.value.uuid) == (Reason.BUSY, "u4")
    remember(bench, "u2")
    remember(bench, "u3")
    with pytest.raises(Refusal):
        bench.queue.check_unknown_room("u4", 3, lambda: ["u1", "u2", "u3"])


# ---- another copy of the same uuid


def fails_at(bench: Bench) -> float:
    """Seconds from now to the FAIL of u1."""
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    begun = bench.mono
    while bench.got(caller) is None:
        bench.passes(0.5)
        assert bench.mono - begun < 300, "no FAIL ever"
    return bench.mono - begun


def test_the_fail_waits_for_the_last_copy_that_is_in_doubt(bench: Bench) -> None:
    remember(bench)
    bench.passes(20)
    remember(bench)
    assert fails_at(bench) == 40.0


def test_it_waits_for_the_longest_not_for_the_last(bench: Bench) -> None:
    remember(bench)
    short = bench.command("u1", timeout=1, accept_until=bench.wall + 1)
    bench.do(bench.queue.remember_unknown(short, bench.now, bench.hear()))
    assert fails_at(bench) == 40.0


def test_it_waits_for_the_last_copy_after_a_restart_too(bench: Bench) -> None:
    remember(bench)
    bench.passes(20)
    remember(bench)
    bench.restart()
    assert fails_at(bench) == 40.0


@pytest.mark.parametrize("restart", [False, True])
def test_it_waits_for_a_copy_that_is_on_its_way(bench: Bench, restart: bool) -> None:
    """Which may be stored yet, and executed: the sender would hear FAIL, and then SUCCES."""
    remember(bench)
    bench.passes(20)
    remember(bench)
    if restart:
        bench.restart()
    assert fails_at(bench) == 40.0


def test_a_receipt_forgets_all_copies(bench: Bench) -> None:
    remember(bench)
    remember(bench)
    bench.do(bench.queue.forget_unknown("u1", bench.now))
    caller = bench.listen(bench.iterator("event"), "BUILD", "FAIL", "u1")
    bench.passes(100)
    assert bench.got(caller) is None
    assert DOCUMENTS not in [row.space for row in scan_all(bench.store)]


def test_a_fail_that_could_not_be_stored_waits_for_a_copy_sent_meanwhile(bench: Bench) -> None:
    remember(bench)
    bench.full = True
    bench.passes(41)
    bench.full = False
    remember(bench)
    assert fails_at(bench) == 40.0


def test_documents(bench: Bench) -> None:
    assert bench.queue.recall("pivots") is None
    bench.do(bench.queue.remember("pivots", {"a": [1]}, bench.now))
    bench.do(bench.queue.remember("pivots", {"a": [2]}, bench.now))
    assert bench.queue.recall("pivots") == {"a": [2]}
    bench.restart()
    assert bench.queue.recall("pivots") == {"a": [2]}


def test_a_document_that_could_not_be_stored_is_stored_later(bench: Bench) -> None:
    bench.full = True
    bench.do(bench.queue.remember("pivots", {"a": 1}, bench.now))
    assert not bench.queue.healthy
    bench.full = False
    bench.passes(1.5)
    assert bench.queue.healthy
    bench.restart()
    assert bench.queue.recall("pivots") == {"a": 1}
