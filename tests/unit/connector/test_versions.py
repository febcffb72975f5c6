"""Versions at a connector: which are active, what steers their traffic, and what `explain` says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tests.support.connector import PIVOTS, Connector, command
from tests.support.operator import control
from zconnector.configuration.pivot import Version

V10, V11 = Version(1, 0), Version(1, 1)


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.up()
    (pivot,) = PIVOTS["pivots"]
    con.answer_requests(pivots={**PIVOTS, "pivots": [pivot, {**pivot, "minor": 1}]})
    con.clear()
    return con


def register(con: Connector, worker: str, minor: int = 0, *commands: str) -> bool:
    names = commands or ("PULL", "CLONE")
    call = con.call("register", worker=worker, major=1, minor=minor, commands=list(names))
    return bool(con.result(call)["valid"])


def beat(con: Connector, worker: str, minor: int = 0) -> bool:
    return bool(con.result(con.call("beat", worker=worker, major=1, minor=minor))["valid"])


def steer(
    con: Connector,
    shares: Mapping[Version, int] | None = None,
    pins: Mapping[str, Version] | None = None,
    held: Iterable[str] = (),
    drained: Iterable[str] = (),
    aims: Mapping[str, str] | None = None,
    beside: Iterable[str] = (),
) -> None:
    con.do(con.router.versions.steer(shares or {}, pins or {}, held, drained, con.now, aims or {}, beside))


def offer(con: Connector, *uuids: str, name: str = "PULL", **fields: Any) -> None:
    accept_until = con.now.wall + 10_000
    con.hear("a", *(command(uuid, name, accept_until=accept_until, **fields) for uuid in uuids))


def got(con: Connector, call: int) -> str | None:
    return con.result(call)["uuid"] if call in con.responses else None


def traffic(con: Connector) -> dict[str, Any]:
    status = con.router.status(con.now)["traffic"]
    assert isinstance(status, dict)
    return status


def waits_for(con: Connector, uuid: str) -> str:
    answer = control(con, "explain", uuid=uuid)
    assert isinstance(answer, dict), answer
    return str(answer["waits_for"])


def alive(con: Connector, seconds: int, *workers: tuple[str, int]) -> None:
    for _ in range(seconds):
        con.wait(1)
        for worker, minor in workers:
            beat(con, worker, minor)


# ---- which are active


def test_a_version_is_active_while_one_of_its_workers_is(con: Connector) -> None:
    assert traffic(con)["active"] == []
    register(con, "w1")
    register(con, "w2")
    register(con, "n1", 1)
    assert traffic(con)["active"] == ["1.0", "1.1"]
    alive(con, 5, ("w1", 0))
    assert traffic(con)["active"] == ["1.0"]
    assert beat(con, "n1", 1), "it was stopped for a while"
    assert traffic(con)["active"] == ["1.0", "1.1"]
    con.do(con.router.silence.ended("w1", con.now))
    assert traffic(con)["active"] == ["1.1"], "w2 is silent"
    assert not beat(con, "w1")


def test_commands_go_to_the_newest_and_to_the_old_one_when_that_falls_silent(con: Connector) -> None:
    register(con, "w1")
    register(con, "n1", 1)
    old = con.wait_command("PULL", worker="w1", major=1)
    offer(con, "c1")
    assert got(con, old) is None
    alive(con, 5, ("w1", 0))
    assert got(con, old) == "c1"


def test_what_a_silent_worker_had_goes_to_another_version_and_not_to_its_own_wait(con: Connector) -> None:
    register(con, "w1")
    register(con, "n1", 1)
    new = con.wait_command("PULL", worker="n1", major=1)
    offer(con, "c1")
    assert got(con, new) == "c1"
    again = con.wait_command("CLONE", worker="n1", major=1)
    old = con.wait_command("PULL", worker="w1", major=1)
    alive(con, 5, ("w1", 0))
    assert got(con, old) == "c1"
    assert again not in con.responses


def test_the_end_of_a_process_frees_what_it_had_at_once(con: Connector) -> None:
    register(con, "w1")
    register(con, "n1", 1)
    new, old = (con.wait_command("PULL", worker=worker, major=1) for worker in ("n1", "w1"))
    offer(con, "c1")
    assert (got(con, new), got(con, old)) == ("c1", None)
    con.do(con.router.silence.ended("n1", con.now))
    assert got(con, old) == "c1"


def test_another_worker_of_a_version_changes_nothing(con: Connector) -> None:
    register(con, "w1")
    before = con.queue.routing
    register(con, "w2")
    register(con, "w1")
    beat(con, "w1")
    assert con.queue.routing is before


# ---- what steers


def test_shares_and_pins(con: Connector) -> None:
    register(con, "w1")
    register(con, "n1", 1)
    steer(con, shares={V11: 0}, pins={"app": V11})
    old, new = (con.wait_command("PULL", worker=worker, major=1) for worker in ("w1", "n1"))
    offer(con, "c1")
    assert (got(con, old), got(con, new)) == ("c1", None)
    offer(con, "c2", context="app")
    assert got(con, new) == "c2"


def test_a_new_version_is_held_back_and_gets_its_canary_first(con: Connector) -> None:
    register(con, "w1")
    steer(con, pins={"canary": V11}, held=["n1"])
    waits = con.wait_command("PULL", worker="n1", major=1)
    assert register(con, "n1", 1)
    assert (traffic(con)["active"], traffic(con)["gated"]) == (["1.0"], ["1.1"])
    con.cancel(waits)
    new = con.wait_command("PULL", worker="n1", major=1)
    offer(con, "c1")
    assert new not in con.responses
    offer(con, "c2", context="canary")
    assert got(con, new) == "c2"
    new = con.wait_command("PULL", worker="n1", major=1)
    steer(con)
    assert traffic(con)["active"] == ["1.0", "1.1"]
    assert got(con, new) == "c1"


def test_an_edition_held_back_gets_its_canary_and_nothing_else_while_another_serves(con: Connector) -> None:
    """Whatever was pinned to its version went to the one that serves that in earnest."""
    register(con, "w1")
    steer(con, held=["w1~1"])
    register(con, "w1~1")
    new = con.wait_command("PULL", worker="w1~1", major=1)
    offer(con, "c1")
    old = con.wait_command("PULL", worker="w1", major=1)
    assert (got(con, new), got(con, old)) == (None, "c1")
    steer(con, held=["w1~1"], aims={"canary": "w1~1"})
    offer(con, "c2", name="PULL")
    offer(con, "c3", context="canary", major=1)
    assert got(con, new) == "c3"
    more = con.wait_command("PULL", worker="w1~1", major=1)
    assert got(con, con.wait_command("PULL", worker="w1", major=1)) == "c2"
    offer(con, "c4", context="canary")
    assert got(con, more) == "c4"
    more = con.wait_command("PULL", worker="w1~1", major=1)
    assert traffic(con)["aims"] == {"canary": "w1~1"}
    waits = con.wait_command("PULL", worker="w1", major=1)
    steer(con, drained=["w1"])  # the shift: in one step
    offer(con, "c5")
    assert (got(con, more), got(con, waits)) == ("c5", None)


def test_a_pin_to_a_version_whose_edition_is_gone_does_not_pass_the_gate_of_its_new_one(
    con: Connector,
) -> None:
    """A simulated world found it: the edition that served crashed while its new keys were in their gate."""
    register(con, "w1")
    register(con, "w1~1")
    register(con, "n1", 1)
    steer(con, pins={"app": V10}, held=["w1~1"], beside=["w1~1"])
    held = con.wait_command("PULL", worker="w1~1", major=1)
    con.do(con.router.silence.ended("w1", con.now))
    offer(con, "c1", context="app")
    assert got(con, held) is None
    assert got(con, con.wait_command("PULL", worker="n1", major=1)) == "c1"  # as if it were not pinned


def test_one_that_is_aimed_at_gets_nothing_else_also_when_nobody_serves(con: Connector) -> None:
    """Found by a simulated world: without any active version there was no rule, so it got all that came."""
    register(con, "w1~1")
    steer(con, held=["w1~1"], beside=["w1~1"], aims={"canary": "w1~1"})
    held = con.wait_command("PULL", worker="w1~1", major=1)
    offer(con, "c1", context="app")
    assert got(con, held) is None
    offer(con, "c2", context="canary")
    assert got(con, held) == "c2"


def test_explain_names_the_worker_that_a_canary_is_aimed_at(con: Connector) -> None:
    register(con, "w1")
    steer(con, held=["w1~1"], aims={"canary": "w1~1"})
    con.wait_command("PULL", worker="w1", major=1)
    offer(con, "c1", context="canary")
    assert "w1" in control(con, "explain", uuid="c1")["waits_for"]


def test_a_worker_held_back_before_it_registers_gets_nothing(con: Connector) -> None:
    steer(con, held=["n1"])
    waits = con.wait_command("PULL", worker="n1", major=1)
    offer(con, "c1")
    assert waits not in con.responses


def test_a_drained_worker_finishes_what_it_has_and_is_told_to_leave(con: Connector) -> None:
    register(con, "w1")
    mine = con.wait_command("PULL", worker="w1", major=1)
    offer(con, "c1")
    assert got(con, mine) == "c1"
    waits = con.wait_command("PULL", worker="w1", major=1)
    steer(con, drained=["w1"])
    assert not beat(con, "w1")
    offer(con, "c2")
    for _ in range(6):
        con.wait(1)
        beat(con, "w1")
    assert waits not in con.responses
    leased = con.queue.find_command("c1")
    assert leased is not None
    assert leased.lease is not None, "it beats, so it keeps what it has"
    register(con, "n1", 1)
    assert got(con, con.wait_command("PULL", worker="n1", major=1)) == "c2"
    assert traffic(con) | {"pins": 0} == {
        "active": ["1.1"],
        "gated": [],
        "shares": {},
        "pins": 0,
        "held": [],
        "drained": ["w1"],
        "aims": {},
    }


# ---- workers that cannot be told apart


def test_unnamed_workers_of_two_versions_get_what_is_either_s(con: Connector) -> None:
    """On a shared socket a wait does not say of which version it is: nothing may be stranded by that."""
    register(con, "", 0)
    register(con, "", 1)
    steer(con, shares={V11: 50})
    offer(con, *(f"c{number}" for number in range(8)))
    for number in range(8):
        assert got(con, con.wait_command("PULL", worker="gandalf", major=1)) == f"c{number}"


def test_a_wait_stands_for_the_version_of_its_major_that_declares_its_name(con: Connector) -> None:
    workers = con.router.workers
    for worker in ("", "w"):
        workers.register(worker, 1, 0, ["A", "B"], con.now)
        workers.register(worker, 1, 1, ["A"], con.now)
        workers.register(worker, 2, 0, ["C"], con.now)
        assert workers.serves(worker, 1, "A") == (V10, V11)
        assert workers.serves(worker, 1, "B") == (V10,)
        assert workers.serves(worker, 2, "C") == (Version(2, 0),)
        assert workers.serves(worker, 0, "C") == (Version(2, 0),)
        assert workers.serving(worker, 1) == V11
    assert workers.serves("w", 3, "X") == (V10, V11, Version(2, 0)), "what it registered, all the same"


# ---- explain


def test_why_a_command_waits(con: Connector) -> None:
    register(con, "w1", 0)
    offer(con, "c1", "c2")
    offer(con, "other", name="CLONE", major=2)
    assert waits_for(con, "c1") == (
        "no worker is free: w1 registered PULL in major 1 and asks for none, 0 are leased"
    )
    register(con, "n1", 1)
    free = con.wait_command("PULL", worker="w1", major=1)
    assert waits_for(con, "c2") == (
        "no worker of version 1.1, which it goes to, is free: n1 registered PULL in major 1 and asks for "
        "none, 0 are leased; 1 are before it"
    )
    assert free not in con.responses
    steer(con, drained=["n1", "w1"])
    assert waits_for(con, "c1") == (
        "no active version of major 1 declares PULL: "
        "n1 of version 1.1 is drained, w1 of version 1.0 is drained"
    )
    steer(con, held=["n1"], drained=["w1"])
    assert waits_for(con, "c1") == (
        "no active version of major 1 declares PULL: "
        "n1 of version 1.1 is held back, w1 of version 1.0 is drained"
    )


def test_no_active_version_declares_it(con: Connector) -> None:
    offer(con, "c1")
    con.router.workers.register("w1", 1, 0, ["CLONE"], con.now)
    con.do(con.router.versions.follow(con.now))
    con.wait_command("PULL", worker="w1", major=1)
    assert waits_for(con, "c1") == "no active version of major 1 declares PULL (active: 1.0)"
