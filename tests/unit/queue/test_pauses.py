"""Paused command names: stored and receipted, handed to nobody, over restarts, until resumed."""

from __future__ import annotations

from tests.unit.queue.conftest import Bench
from zconnector.errors import Reason, Refusal
from zconnector.queue import pauses
from zconnector.queue.lines import ADMIN_WORKER


def pause(bench: Bench, name: str) -> Refusal | str | None:
    before = len(bench.heard)
    bench.do(bench.queue.operators.pause(name, bench.now, bench.hear()))
    return bench.heard[-1] if len(bench.heard) > before else "nothing"


def resume(bench: Bench, name: str) -> Refusal | str | None:
    before = len(bench.heard)
    bench.do(bench.queue.operators.resume(name, bench.now, bench.hear()))
    return bench.heard[before] if len(bench.heard) > before else "nothing"


def test_a_paused_name_is_stored_and_handed_to_nobody_until_it_is_resumed(bench: Bench) -> None:
    waiting = bench.wait(bench.iterator())
    assert pause(bench, "BUILD") is None
    offered = bench.offer(bench.command("c1"))
    assert offered is not None
    assert offered.outcome == "STORED"
    later = bench.wait(bench.iterator())
    other = bench.wait(bench.iterator(), "TEST")
    bench.offer(bench.command("t1", "TEST"))
    assert (bench.got(waiting), bench.got(later), bench.got(other)) == (None, None, "t1")
    assert bench.state() == {"READY": 1}

    bench.offer(bench.command("c2"))
    assert resume(bench, "BUILD") is None
    assert (bench.got(waiting), bench.got(later)) == ("c1", "c2"), "in their order, to whoever waits longest"


def test_a_pause_outlives_a_restart_and_so_does_its_end(bench: Bench) -> None:
    pause(bench, "BUILD")
    at = bench.wall
    bench.offer(bench.command("c1"))
    bench.restart(5)
    assert bench.queue.operators.pauses.since("BUILD") == at
    assert bench.queue.depths()["paused"] == ["BUILD"]
    waiting = bench.wait(bench.iterator())
    assert bench.got(waiting) is None
    bench.cancel(waiting)
    resume(bench, "BUILD")
    bench.restart()
    assert bench.got(bench.wait(bench.iterator())) == "c1"
    assert bench.queue.depths()["paused"] == []


def test_a_command_that_is_leased_goes_on_and_comes_back_to_a_paused_name(bench: Bench) -> None:
    taken = bench.wait(bench.iterator())
    bench.offer(bench.command("c1"))
    assert bench.got(taken) == "c1"
    pause(bench, "BUILD")
    bench.cancel(taken)
    waiting = bench.wait(bench.iterator())
    assert bench.got(waiting) is None
    done = bench.complete("c1")
    assert done is not None
    assert done.outcome == "COMPLETED", "a worker that had it may still complete it"


def test_everything_is_paused_but_admin_commands(bench: Bench) -> None:
    pause(bench, pauses.ALL)
    build, admin = bench.wait(bench.iterator()), bench.wait(bench.iterator(), worker=ADMIN_WORKER)
    bench.offer(bench.command("c1"))
    bench.offer(bench.command("a1", admin=True))
    assert (bench.got(build), bench.got(admin)) == (None, "a1")
    pause(bench, "BUILD")
    assert resume(bench, "BUILD") is None
    assert bench.got(build) is None, "all of it is still paused"
    pause(bench, "BUILD")
    assert resume(bench, pauses.ALL) is None
    assert bench.got(build) == "c1", "also what was paused by its name"
    assert bench.queue.depths()["paused"] == []


def test_a_pause_that_is_not_stored_holds_nothing(bench: Bench) -> None:
    waiting = bench.wait(bench.iterator())
    bench.full = True
    refusal = pause(bench, "BUILD")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.STORAGE_FAILED
    bench.full = False
    bench.offer(bench.command("c1"))
    assert bench.got(waiting) == "c1"


def test_a_resumption_that_is_not_stored_resumes_nothing(bench: Bench) -> None:
    pause(bench, "BUILD")
    waiting = bench.wait(bench.iterator())
    bench.offer(bench.command("c1"))
    bench.full = True
    refusal = resume(bench, "BUILD")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.STORAGE_FAILED
    assert bench.got(waiting) is None
    bench.full = False
    assert resume(bench, "BUILD") is None
    assert bench.got(waiting) == "c1"


def test_what_was_handed_out_before_the_pause_was_stored_is_still_its_workers(bench: Bench) -> None:
    bench.held = True
    assert pause(bench, "BUILD") == "nothing"
    assert isinstance(pause(bench, "BUILD"), Refusal), "nobody is told that it is paused before it is"
    waiting = bench.wait("no")  # refused: iterators are made by a commit
    assert bench.got(waiting) == "NOT_FOUND"
    bench.held = False
    bench.settle()
    assert pause(bench, "BUILD") is None, "paused already: as asked"
    assert resume(bench, "OTHER") is None, "not paused: as asked"


def test_so_many_names_and_no_more(bench: Bench) -> None:
    for number in range(pauses.MAX_PAUSES):
        bench.queue.operators.pauses.restore(f"N{number}", bench.wall)
    refusal = pause(bench, "ONE_MORE")
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.BUSY
    assert pause(bench, "N7") is None
