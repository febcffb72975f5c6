"""Who registered, who still beats, and whose leases end when the beats do."""

from __future__ import annotations

import pytest

from tests.support.connector import Connector, command
from tests.support.transcript import at
from zconnector.configuration.pivot import Version
from zconnector.connector.workers import Gone, Workers
from zconnector.errors import Reason
from zconnector.queue.leases import Lease

ONE = Version(1, 0)


def lease(worker: str = "", version: Version | None = ONE, since: float = 2000.0) -> Lease:
    return Lease("i", worker, b"client", version, 1, "token", since)


class Table(Workers):
    """Ticked at each of its deadlines, as a shell does."""

    def passes(self, until: float) -> list[Gone]:
        gone: list[Gone] = []
        while (due := self.deadline()) is not None and due < at(until).mono:
            gone += self.tick(at(due - at(0).mono))
        return gone + self.tick(at(until))


def table() -> Table:
    return Table(4.0, at(0.0))


# ---- the table itself


def test_a_beat_is_true_only_for_what_was_registered_since_this_start() -> None:
    workers = table()
    assert not workers.beat("w1", 1, 0, at(0))
    workers.register("w1", 1, 0, ["A"], at(0))
    assert workers.beat("w1", 1, 0, at(1))
    for other in (("w2", 1, 0), ("w1", 1, 1), ("w1", 2, 0), ("", 1, 0)):
        assert not workers.beat(*other, at(1))


def test_one_that_beat_and_is_silent_is_gone_after_the_limit() -> None:
    workers = table()
    workers.passes(4.0)  # what was left of before the restart is over
    workers.register("w1", 1, 0, ["A"], at(5))
    workers.beat("w1", 1, 0, at(6))
    assert workers.passes(9.99) == []
    assert workers.deadline() == pytest.approx(at(10).mono)
    (gone,) = workers.tick(at(10.0))
    assert gone.who == "w1"
    assert gone.held(lease("w1"))
    assert not gone.held(lease("w2"))
    assert workers.serving("w1", 1) is None
    assert workers.deadline() is None


def test_one_that_was_silent_and_beats_again_goes_on() -> None:
    """It was stopped for a while, say: told to leave, it would end, and nobody would start it again."""
    workers = table()
    workers.passes(4.0)
    workers.register("w1", 1, 0, ["A"], at(5))
    (gone,) = workers.passes(20.0)
    assert gone.who == "w1"
    assert workers.beat("w1", 1, 0, at(20))
    assert workers.serving("w1", 1) == ONE
    assert workers.deadline() is not None, "its silence means something again"
    (gone,) = workers.passes(40.0)
    assert gone.who == "w1"


def test_those_who_never_come_back_are_forgotten_at_last() -> None:
    workers = table()
    workers.passes(4.0)
    for number in range(1_100):
        workers.register(f"w{number}", 1, 0, ["A"], at(5))
    assert len(workers.passes(20.0)) == 1_100
    assert not workers.beat("w99", 1, 0, at(20))
    assert workers.beat("w100", 1, 0, at(20))


@pytest.mark.parametrize("name", ["w1", ""])
def test_one_that_dies_before_its_first_beat_is_gone_too(name: str) -> None:
    """A command that kills its worker at once must not wait for the limit of its lease each time."""
    workers = table()
    workers.passes(5.0)
    workers.register(name, 1, 0, ["A"], at(5))
    assert workers.passes(8.99) == []
    (gone,) = workers.passes(9.0)
    assert gone.held(lease(name))


def test_nobody_was_silent_while_this_process_stood_still() -> None:
    """Its workers' beats of that time are unread: their commands must not run a second time."""
    workers = table()
    workers.passes(5.0)
    workers.register("alive", 1, 0, ["A"], at(5))
    workers.register("dead", 1, 0, ["A"], at(5))
    for now in (5.5, 6.5, 7.5):
        workers.passes(now)
        workers.beat("alive", 1, 0, at(now))
    assert workers.tick(at(20)) == [], "thawed: due times come before what there is to read"
    assert workers.beat("alive", 1, 0, at(20))
    (gone,) = workers.passes(23.9)
    assert gone.who == "dead"
    assert workers.passes(23.99) == []


def test_those_of_before_a_restart_have_their_time_although_this_process_stood_still() -> None:
    workers = table()
    assert workers.tick(at(10)) == []
    workers.register("back", 1, 0, ["A"], at(10))
    workers.passes(12.0)
    workers.beat("back", 1, 0, at(12))
    (gone,) = workers.passes(14.0)
    assert not gone.held(lease("back", since=at(0).mono))
    assert gone.held(lease("away", since=at(0).mono))


def test_unnamed_workers_of_a_version_are_one() -> None:
    workers = table()
    workers.passes(4.0)
    workers.register("", 1, 0, ["A"], at(5))
    workers.register("named", 1, 0, ["A"], at(5))
    for now in (6, 7, 8, 9, 10, 11):
        workers.beat("named", 1, 0, at(now))
    workers.beat("", 1, 0, at(7))
    (gone,) = workers.passes(11)
    assert gone.who == "version 1.0"
    assert gone.held(lease(""))
    assert gone.held(lease("somebody on the shared socket"))
    assert not gone.held(lease("named")), "it beats for itself"
    assert not gone.held(lease("", Version(2, 0)))
    assert not gone.held(lease("", None)), "a waiter that never registered is not known to beat"


def test_after_a_restart_leases_wait_for_their_holders_to_come_back() -> None:
    workers = table()
    workers.register("back", 1, 0, ["A"], at(1))
    workers.beat("back", 1, 0, at(3))
    assert workers.passes(3.5) == []
    assert workers.deadline() == pytest.approx(at(4).mono)
    (gone,) = workers.passes(4.0)
    from_before = at(0).mono
    assert gone.held(lease("away", since=from_before))
    assert not gone.held(lease("back", since=from_before))
    assert not gone.held(lease("away", since=at(2).mono)), "taken since the restart"
    assert workers.tick(at(5)) == [], "said once"


def test_after_a_restart_an_unnamed_version_that_is_back_keeps_its_leases() -> None:
    workers = table()
    workers.register("", 1, 0, ["A"], at(1))
    (gone,) = workers.passes(4.0)
    from_before = at(0).mono
    assert not gone.held(lease("", Version(1, 0), from_before))
    assert gone.held(lease("", Version(2, 0), from_before))


def test_which_version_a_waiter_serves() -> None:
    workers = table()
    assert workers.serving("w1", 1) is None
    workers.register("", 1, 0, [], at(0))
    workers.register("", 1, 2, [], at(0))
    workers.register("", 2, 0, [], at(0))
    workers.register("named", 1, 1, [], at(0))
    assert workers.serving("named", 0) == (1, 1)
    assert workers.serving("", 1) == (1, 2)
    assert workers.serving("", 0) == (2, 0)
    assert workers.serving("", 3) is None


# ---- with the queue


def ready() -> Connector:
    con = Connector(["a"])
    con.ready()
    con.call("register", worker="w1", major=1, minor=0, commands=["CLONE", "PULL"])
    con.call("register", worker="w2", major=1, minor=0, commands=["CLONE", "PULL"])
    return con


def beat(con: Connector, worker: str) -> bool:
    return bool(con.result(con.call("beat", worker=worker, major=1, minor=0))["valid"])


def test_a_worker_that_dies_holding_a_command_loses_it_to_another() -> None:
    con = ready()
    con.hear("a", command())
    assert beat(con, "w1")
    assert con.result(con.wait_command(worker="w1"))["uuid"] == "c1"
    other = con.wait_command(worker="w2")
    for _ in range(3):
        con.wait(1.0)
        beat(con, "w2")
        assert not con.answered(other)
    con.wait(1.0)
    assert con.result(other)["uuid"] == "c1"
    assert beat(con, "w2")
    assert beat(con, "w1"), "it was only stopped for a while: false would tell it to leave for good"


def silent(con: Connector, worker: str = "w1") -> None:
    """Time in which only w2 beats."""
    for _ in range(5):
        con.wait(1.0)
        beat(con, "w2")


def test_a_worker_taken_for_silent_is_handed_nothing_more() -> None:
    """Else its lease is watched by nobody, and lasts to its limit (seed 30114 of the simulation)."""
    con = ready()
    hung = con.wait_command(worker="w1")
    silent(con)
    con.hear("a", command())
    assert not con.answered(hung)
    assert not con.answered(con.wait_command(worker="w1"))
    assert con.result(con.wait_command(worker="w2"))["uuid"] == "c1"


@pytest.mark.parametrize("heard", ["beat", "register"])
def test_once_it_is_heard_again_it_goes_on_with_its_waits(heard: str) -> None:
    """It was stopped for a while. Its waits of before and of meanwhile are pending still."""
    con = ready()
    before = con.wait_command(worker="w1")
    silent(con)
    meanwhile = con.wait_command(worker="w1")
    con.hear("a", command(), command(uuid="c2"))
    if heard == "beat":
        assert beat(con, "w1")
    else:
        con.call("register", worker="w1", major=1, minor=0, commands=["CLONE", "PULL"])
    assert [con.result(call)["uuid"] for call in (before, meanwhile)] == ["c1", "c2"]


def test_a_wait_that_is_cancelled_while_its_worker_is_silent_takes_nothing() -> None:
    con = ready()
    before = con.wait_command(worker="w1")
    silent(con)
    meanwhile = con.wait_command(worker="w1")
    con.cancel(before)
    con.cancel(meanwhile)
    beat(con, "w1")
    con.hear("a", command())
    assert con.result(con.wait_command(worker="w2"))["uuid"] == "c1"


def test_what_a_silent_worker_held_does_not_go_back_to_it() -> None:
    con = ready()
    con.hear("a", command())
    assert con.result(con.wait_command(worker="w1"))["uuid"] == "c1"
    hung = con.wait_command(worker="w1")
    for _ in range(5):
        con.wait(1.0)
        beat(con, "w2")
    assert not con.answered(hung)
    assert con.result(con.wait_command(worker="w2"))["uuid"] == "c1"


def test_one_that_never_registered_here_and_dies_keeps_no_lease() -> None:
    """It registered with the router before this one, took a command, and died before it was told to leave
    (seed 41170 of the simulation): the lease lasted to its limit."""
    con = ready()
    silent(con)  # what was left of before the restart is over
    con.hear("a", command())
    assert con.result(con.wait_command(worker="old"))["uuid"] == "c1"
    other = con.wait_command(worker="w2")
    silent(con)
    assert con.result(other)["uuid"] == "c1"


def test_one_that_never_registered_here_and_beats_keeps_its_command_until_it_leaves() -> None:
    con = ready()
    silent(con)  # what was left of before the restart is over
    con.hear("a", command())
    assert con.result(con.wait_command(worker="old"))["uuid"] == "c1"
    other = con.wait_command(worker="w2")
    for _ in range(10):
        con.wait(1.0)
        beat(con, "w2")
        assert not beat(con, "old")
    assert not con.answered(other)


def test_one_that_names_itself_only_in_its_waits_is_watched_by_the_beats_of_its_version() -> None:
    """Gandalf on a shared socket: it was taken for a stranger, and lost its command and its waits for good
    (seed 42008 of the simulation)."""
    con = Connector(["a"])
    con.ready()
    con.call("register", worker="", major=1, minor=0, commands=["CLONE", "PULL"])
    con.wait(5.0)
    con.call("register", worker="", major=1, minor=0, commands=["CLONE", "PULL"])
    con.hear("a", command())
    assert con.result(con.wait_command(worker="git-worker", major=1))["uuid"] == "c1"
    other = con.wait_command(worker="git-worker", major=1)
    for _ in range(10):
        con.wait(1.0)
        assert beat(con, "")
        assert not con.answered(other), "the first one is still at it"
    con.hear("a", command(uuid="c2"))
    assert con.result(other)["uuid"] == "c2"


def test_unnamed_workers_that_were_silent_go_on_with_the_waits_of_that_time() -> None:
    """While their version was taken for silent they looked like strangers, and their beats name nobody:
    their waits were set aside for good (seed 43127 of the simulation)."""
    con = Connector(["a"])
    con.ready()
    con.wait(5.0)
    con.call("register", worker="", major=1, minor=0, commands=["CLONE", "PULL"])
    con.wait(6.0)  # nobody beats
    con.hear("a", command())
    assert con.result(con.wait_command(worker="git-worker", major=1))["uuid"] == "c1"
    waits = con.wait_command(worker="git-worker", major=1)
    con.wait(6.0)
    assert con.result(waits)["uuid"] == "c1", "nobody watched that lease"
    assert beat(con, "")
    again = con.wait_command(worker="git-worker", major=1)
    for _ in range(6):
        con.wait(1.0)
        assert beat(con, "")
    con.hear("a", command(uuid="c2"))
    assert con.answered(again)


def test_one_that_only_waits_and_never_registers_is_no_less_a_waiter_for_it() -> None:
    con = ready()
    silent(con)  # what was left of before the restart is over
    stranger = con.wait_command(worker="old")
    silent(con)
    con.hear("a", command())
    assert con.result(stranger)["uuid"] == "c1"


def test_a_worker_that_beats_keeps_its_command() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command(worker="w1")
    other = con.wait_command(worker="w2")
    for _ in range(60):
        con.wait(1.0)
        assert beat(con, "w1")
    assert not con.answered(other)


def test_but_no_longer_than_the_limit_of_a_lease() -> None:
    con = ready()
    con.hear("a", command())
    con.wait_command(worker="w1")
    other = con.wait_command(worker="w2")
    for _ in range(301):
        con.wait(1.0)
        beat(con, "w1")
        beat(con, "w2")
    assert con.result(other)["uuid"] == "c1"


def test_after_a_fast_restart_the_old_workers_are_told_to_leave() -> None:
    """Otherwise they would stay, deaf: their iterators' waits died with the old process."""
    again = ready().restart()
    assert not beat(again, "w1")


def test_a_draining_connector_tells_no_worker_to_leave() -> None:
    """It hears an error, which ends a Gandalf worker; one of ours goes on with the next router.

    After a false ours would leave for good: an orderly restart of the connector would cost it its workers.
    """
    con = ready()
    assert beat(con, "w1")
    con.router.incoming.draining = True
    assert con.refusal(con.call("beat", worker="w1", major=1, minor=0)).reason is Reason.DRAINING


def test_a_cancelled_wait_swallows_nothing() -> None:
    con = ready()
    call = con.wait_command(worker="w1")
    con.cancel(call)
    con.hear("a", command())
    assert not con.answered(call)
    assert con.result(con.wait_command(worker="w2"))["uuid"] == "c1"


@pytest.mark.parametrize("how", ["registers", "waits", "is silent and beats again"])
def test_when_to_look_is_known_as_soon_as_there_is_somebody_to_look_at(how: str) -> None:
    workers = Workers(4.0, at(0))
    if how == "is silent and beats again":
        workers.register("w", 1, 0, ["A"], at(0))
    workers.tick(at(0.9))
    for second in range(1, 10):
        workers.tick(at(second))
    workers.agenda.learn(workers.deadline())
    assert workers.deadline() is None
    if how == "registers":
        workers.register("w", 1, 0, ["A"], at(9.5))
    elif how == "waits":
        workers.waits("w", 1, at(9.5))
    else:
        assert workers.beat("w", 1, 0, at(9.5))
    deadline = workers.deadline()
    assert deadline is not None
    assert workers.agenda.at <= deadline


def test_one_that_is_drained_need_not_beat_while_it_finishes() -> None:
    """Existing workers beat no more once SendStop says false; what they had was run by another as well."""
    workers = table()
    workers.register("w1", 1, 0, ["A"], at(0))
    workers.drain(frozenset({"w1"}), at(0))
    assert not workers.beat("w1", 1, 0, at(1))
    assert workers.passes(30) == [Gone("workers of before the restart", workers._left_behind)]
    assert workers.forget("w1").held(lease("w1"))


def test_one_that_is_drained_no_more_has_to_beat_again() -> None:
    workers = table()
    workers.register("w1", 1, 0, ["A"], at(0))
    workers.drain(frozenset({"w1"}), at(0))
    workers.passes(10)
    workers.drain(frozenset(), at(10))
    assert [gone.worker for gone in workers.passes(12)] == ["w1"]
