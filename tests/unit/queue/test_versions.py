"""Transcripts of versions in the queue: sorting, tables that change, retries, drains, gates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from zconnector.actions import Caller
from zconnector.configuration.pivot import Version
from zconnector.queue.leases import MAX_CONTEXT
from zconnector.queue.routing import Routing

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Bench

V10, V11, V20 = Version(1, 0), Version(1, 1), Version(2, 0)
BUILD = frozenset({"BUILD"})
BOTH = {V10: BUILD, V11: BUILD}


def route(bench: Bench, *of: Any, **more: Any) -> Routing:
    routing = Routing(*of, **more)
    bench.do(bench.queue.route(routing, bench.now))
    return routing


def take(bench: Bench, version: Version, *names: str, worker: str = "w", limit: int = 64) -> Caller:
    caller = bench.caller()
    names = names or ("BUILD",)
    bench.do(bench.queue.take_commands(caller, names, worker, version, bench.now, limit=limit))
    return caller


def uuids(bench: Bench, caller: Caller) -> list[str]:
    return [entry["uuid"] for entry in bench.taken(caller) or ()]


def offer(bench: Bench, *names: str, **fields: Any) -> None:
    for name in names:
        bench.offer(bench.command(name, **fields))


def split(routing: Routing, bench: Bench, version: Version) -> list[str]:
    """The live commands that the rule gives to a version, in order of arrival."""
    rule = routing.rule("BUILD")
    assert rule is not None
    return [c.uuid for c in bench.queue.live_commands("BUILD") if rule.goes_to(c) == version]


MANY = [f"u{number}" for number in range(40)]


def test_a_backlog_is_sorted_and_each_version_gets_its_own_in_order(bench: Bench) -> None:
    routing = route(bench, BOTH, shares={V11: 30})
    offer(bench, *MANY)
    new, old = split(routing, bench, V11), split(routing, bench, V10)
    assert 3 < len(new) < 25
    assert [uuids(bench, take(bench, V11, limit=1)) for _ in new[:3]] == [[uuid] for uuid in new[:3]]
    offer(bench, "urgent", priority=9)
    first = take(bench, V10, limit=1), take(bench, V11, limit=1)
    assert sorted(uuid for caller in first for uuid in uuids(bench, caller))[-1] == "urgent"
    rest = [*uuids(bench, first[0]), *uuids(bench, take(bench, V10))]
    assert [uuid for uuid in rest if uuid != "urgent"] == old
    assert bench.got(take(bench, V10)) is None


@pytest.mark.parametrize("change", ["pin", "unpin", "share", "one version", "no version"])
def test_a_sorted_backlog_goes_by_the_table_that_came_later(bench: Bench, change: str) -> None:
    pins = {"app": V10, "web": V11}
    route(bench, BOTH, shares={V11: 50}, pins=pins)
    offer(bench, *MANY[:20], context="app")
    offer(bench, *MANY[20:])
    sorted_out = uuids(bench, take(bench, V11, limit=1))  # what is before it is sorted
    more = uuids(bench, take(bench, V11, limit=1))
    assert sorted_out
    assert more
    left = [uuid for uuid in MANY if uuid not in (*sorted_out, *more)]
    if change == "pin":
        routing = route(bench, BOTH, shares={V11: 50}, pins={"app": V11})
    elif change == "unpin":
        routing = route(bench, BOTH, shares={V11: 50})
    elif change == "share":
        routing = route(bench, BOTH, shares={V11: 90}, pins=pins)
    else:
        route(bench, {V10: BUILD} if change == "one version" else {})
        assert uuids(bench, take(bench, V10)) == left
        return
    of_new = [uuid for uuid in split(routing, bench, V11) if uuid in left]
    of_old = [uuid for uuid in split(routing, bench, V10) if uuid in left]
    assert uuids(bench, take(bench, V11)) == of_new
    assert uuids(bench, take(bench, V10)) == of_old
    assert sorted(of_new + of_old) == sorted(left)


def test_who_waits_longest_gets_it_whatever_else_its_version_waits_for(bench: Bench) -> None:
    """Of two groups of waiters that may have a command, that with the older one."""
    route(bench, BOTH, shares={V11: 100})
    iterator = bench.iterator()
    calls = [bench.wait(iterator, major=major, serving=V11) for major in (1, 0, 1, 0)]
    for number, call in enumerate(calls):
        offer(bench, f"u{number}", major=1)
        assert bench.got(call) == f"u{number}"


def test_an_older_wait_of_another_version_is_passed_over(bench: Bench) -> None:
    route(bench, BOTH)
    old, new = take(bench, V10), take(bench, V11)
    offer(bench, "u1")
    assert bench.taken(old) is None
    assert uuids(bench, new) == ["u1"]


def test_a_change_of_the_table_serves_who_may_be_served_by_it(bench: Bench) -> None:
    """Also behind somebody of another version who may not."""
    route(bench, {version: frozenset({"OTHER"}) for version in BOTH})
    old, new = take(bench, V10), take(bench, V11)
    offer(bench, "u1", "u2")
    assert [bench.taken(wait) for wait in (old, new)] == [None, None]
    route(bench, BOTH)
    assert bench.taken(old) is None
    assert uuids(bench, new) == ["u1", "u2"]


def test_who_waited_before_there_were_versions_is_found_by_what_comes(bench: Bench) -> None:
    old, new = take(bench, V10), take(bench, V11)
    route(bench, BOTH)
    offer(bench, "u1")
    assert bench.taken(old) is None
    assert uuids(bench, new) == ["u1"]


def test_a_retry_goes_to_the_same_version(bench: Bench) -> None:
    routing = route(bench, BOTH, shares={V11: 50})
    offer(bench, *MANY)
    new = split(routing, bench, V11)
    for _ in range(3):
        call = take(bench, V11)
        assert uuids(bench, call) == new
        bench.cancel(call)


def test_a_version_that_ends_strands_nothing(bench: Bench) -> None:
    route(bench, BOTH, shares={V11: 50}, pins={"app": V11})
    offer(bench, *MANY[:20])
    offer(bench, *MANY[20:], context="app")
    taken = take(bench, V11, limit=5)
    waiting = take(bench, V11)
    bench.cancel(waiting)
    bench.cancel(taken)
    route(bench, {V10: BUILD}, shares={V11: 50}, pins={"app": V11})
    assert uuids(bench, take(bench, V10)) == MANY


def test_nothing_of_an_undeclared_name_goes_to_a_version_but_to_a_stranger(bench: Bench) -> None:
    route(bench, {V10: frozenset({"OTHER"})})
    offer(bench, "u1")
    mine = take(bench, V10)
    assert bench.taken(mine) is None
    stranger = bench.wait(bench.iterator())
    assert bench.got(stranger) == "u1"


def test_a_stranger_gets_nothing_that_a_version_may_have_where_there_are_two(bench: Bench) -> None:
    route(bench, BOTH)
    stranger = bench.wait(bench.iterator())
    offer(bench, "u1", "u3", major=1)
    offer(bench, "u2", major=2)
    assert bench.got(stranger) == "u2"
    assert uuids(bench, take(bench, V11)) == ["u1", "u3"]


def test_one_who_may_stand_for_two_versions_gets_what_is_either_s(bench: Bench) -> None:
    route(bench, BOTH, shares={V11: 50})
    offer(bench, *MANY[:6])
    iterator = bench.iterator()
    for uuid in MANY[:6]:
        caller = bench.caller()
        args: Any = (caller, iterator, "BUILD", 1, "w", V11, bench.now)
        bench.do(bench.queue.wait_command(*args, serves=(V10, V11)))
        assert bench.got(caller) == uuid


def test_a_gated_version_gets_its_pinned_context_only(bench: Bench) -> None:
    route(bench, {V10: BUILD}, {V11: BUILD}, pins={"canary": V11})
    new, old = take(bench, V11, worker="new"), take(bench, V10, limit=1)
    offer(bench, "u1")
    offer(bench, "c1", context="canary")
    offer(bench, "c2", context="canary")
    assert (uuids(bench, new), uuids(bench, old)) == (["c1"], ["u1"])
    assert bench.taken(take(bench, V10)) is None
    assert uuids(bench, take(bench, V11)) == ["c2"]


def test_a_drained_worker_gets_nothing_and_stands_at_the_end_when_it_is_drained_no_more(bench: Bench) -> None:
    iterator = bench.iterator()
    first = take(bench, V10, worker="d")
    gandalf = bench.wait(iterator, worker="d", serving=V10)
    route(bench, {V10: BUILD}, drained=frozenset({"d"}))
    offer(bench, "u1")
    assert bench.taken(first) is None
    assert bench.got(gandalf) is None
    later = take(bench, V10, worker="d")
    other = take(bench, V10, worker="w")
    assert uuids(bench, other) == ["u1"]
    other = take(bench, V10, worker="w")
    bench.cancel(later)  # it stands in no line, and can leave all the same
    route(bench, {V10: BUILD})
    offer(bench, "u2", "u3", "u4")
    assert uuids(bench, other) == ["u2"]
    assert uuids(bench, first) == ["u3"]
    assert bench.got(gandalf) == "u4"


def test_an_impatient_wait_of_a_drained_worker_ends_in_time(bench: Bench) -> None:
    route(bench, {V10: BUILD}, drained=frozenset({"w"}))
    call = bench.take(major=1, wait_ms=1_000)
    bench.passes(1.0)
    assert bench.taken(call) == []


def test_admin_commands_go_to_the_admin_worker_whatever_the_table_says(bench: Bench) -> None:
    route(bench, BOTH, drained=frozenset({"ADMIN"}))
    admin = bench.wait(bench.iterator(), "ADMIN_UPDATE", worker="ADMIN")
    offer(bench, "a1", name="ADMIN_UPDATE", admin=True)
    assert bench.got(admin) == "a1"


def test_a_context_is_known_after_a_restart_and_a_long_one_is_not_kept(bench: Bench) -> None:
    offer(bench, "short", context="c" * MAX_CONTEXT)
    offer(bench, "long", context="é" * (MAX_CONTEXT // 2 + 1))
    offer(bench, "none")
    bench.restart()
    contexts = [command.context for command in bench.queue.live_commands()]
    assert contexts == ["c" * MAX_CONTEXT, "", ""]
    route(bench, BOTH, pins={"c" * MAX_CONTEXT: V10})
    assert uuids(bench, take(bench, V10)) == ["short"]
    entry, _ = bench.taken(take(bench, V11)) or ({}, b"")
    assert entry["context"] == "é" * (MAX_CONTEXT // 2 + 1), "what is handed out has it all the same"


def test_what_cannot_be_read_is_tried_again_in_its_own_place(bench: Bench) -> None:
    routing = route(bench, BOTH, shares={V11: 50})
    offer(bench, *MANY)
    new = split(routing, bench, V11)
    bench.restart()
    bench.disk.broken = True
    route(bench, BOTH, shares={V11: 50})
    call = take(bench, V11)
    assert bench.taken(call) is None
    bench.disk.broken = False
    bench.passes(5.0)
    assert uuids(bench, call) == new
