"""The whole cores of shoset, aggregator, connector and member, fed with hostile frames in any state.

An exception in a core ends its process, so none may come out; a hostile peer may lose its own session and
no other; what a core keeps is bounded however long the peer goes on.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from tests.fuzz.hostile import transmission
from tests.fuzz.profile import seeds
from tests.support.aggregator import Aggregator, command, two
from tests.support.connector import Connector
from tests.support.sessions import Upper
from tests.support.transcript import of
from tests.unit.cluster.bench import Bench, topology
from zconnector.actions import Transmit
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.settings import SessionSettings

Frames = list[bytes]
SMALL = replace(SessionSettings(), max_sessions=16, max_unvalidated=8, dead_after=100_000.0)


def sendable(actions: Any) -> None:
    for transmit in of(actions, Transmit):
        for message in transmit.messages:
            encode_one(message)


@pytest.mark.parametrize("seed", seeds(20))
def test_strangers_break_nothing_at_the_end_that_bound(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        strangers([(rng.randrange(30), transmission(rng)) for _ in range(20)])


def strangers(batch: list[tuple[int, Frames]]) -> None:
    upper = Upper(SMALL)
    friend = upper.live(b"friend", "key-friend", name="friend")
    for number, frames in batch:
        link = b"stranger-%d" % number
        sendable(upper.shoset.frames(link, f"key-{number}", frames, upper.now))
        sendable(upper.shoset.frames(b"friend", f"key-{number}", frames, upper.now))  # in another's name
        sendable(upper.wait(0.05))
    assert upper.shoset.is_live(friend)
    shoset = upper.shoset
    assert len(shoset._below) <= SMALL.max_sessions
    assert len(shoset._paces) <= 2 * SMALL.max_sessions + 1
    assert len(shoset._sessions.complaints) <= SMALL.max_sessions


def test_a_stranger_that_goes_on_and_on_is_not_remembered() -> None:
    """Ten thousand links, each with a bad frame, a HELLO and nothing else."""
    upper = Upper(SMALL)
    friend = upper.live(b"friend", "key-friend", name="friend")
    frames = encode_one(
        Message(
            Kind.HELLO,
            {
                "versions": [1],
                "kind": "connector",
                "tenant": "t1",
                "name": "n",
                "instance": "0",
                "boot": "b",
                "session": "s",
                "credit": 1,
            },
        )
    )
    for number in range(10_000):
        upper.shoset.frames(b"%d" % number, "key", [b"rubbish"], upper.now)
        upper.shoset.frames(b"%d" % number, "key", frames, upper.now)
    shoset = upper.shoset
    kept = (
        len(shoset._below) + len(shoset._paces) + len(shoset._sessions.complaints) + len(shoset._paces.owing)
    )
    assert kept < 8 * SMALL.max_sessions
    assert len(shoset._busy) <= SMALL.max_sessions
    assert len(shoset.counters) < 50
    assert shoset.is_live(friend)


PEERS = ("git", "ci", "m1", "m2", "stranger")


@pytest.mark.parametrize("seed", seeds(20))
def test_an_aggregator_lives_on_and_so_do_the_sessions_of_others(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        hostile = rng.sample(PEERS, rng.randrange(1, 4))
        aggregator([(rng.choice(hostile), transmission(rng)) for _ in range(10)])


def aggregator(batch: list[tuple[str, Frames]]) -> None:
    agg = two()
    agg.links["stranger"] = b"stranger"
    hostile = {name for name, _ in batch}
    for name, frames in batch:
        if name not in agg.links:
            continue
        actions = agg.machine.frames(agg.links[name], f"key-{name}", frames, agg.now)
        agg.read(actions)
        for transmit in of(actions, Transmit):
            if transmit.refused is not None and name == "stranger":
                agg.read(transmit.refused(agg.now))
        agg.wait(0.2)
    agg.machine.status(agg.now)
    live = {peer.name for peer in agg.router.shoset.peers(upward=False)}
    if not hostile & {"m1", "m2"}:  # a member may end the session of a connector: it revokes
        assert {"git", "ci"} - hostile <= live
    router = agg.router
    assert len(router._came_from) <= 1000
    assert len(router._validations._asked) <= SessionSettings().max_unvalidated
    if {"git", "m1", "m2"}.isdisjoint(hostile):
        agg.clear()
        agg.hear("git", command("after-all"))
        assert any(m.kind is Kind.COMMAND for _, m in agg.log)


@pytest.mark.parametrize("seed", seeds(20))
def test_a_connector_lives_on(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(25):
        batch = [(rng.choice("abc"), transmission(rng)) for _ in range(8)]
        connector(batch, full=rng.random() < 0.3, early=rng.random() < 0.3)


def connector(batch: list[tuple[str, Frames]], *, full: bool, early: bool) -> None:
    con = Connector()
    if early:
        con.up("a")
    else:
        con.ready()
    con.full = full
    for name, frames in batch:
        if con.stopped is None:
            con.do(con.machine.frames(con._opened[name], f"key-{name}", frames, con.now))
    if con.stopped is None:
        con.full = False
        con.wait(3.0)
        con.machine.status(con.now)
        assert con.result(con.call("create_iterator", kind="event")), "its workers are served"


@pytest.mark.parametrize("seed", seeds(20))
def test_a_member_lives_on_and_so_do_the_sessions_of_others(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(30):
        hostile = rng.sample(("a", "z", "stranger"), rng.randrange(1, 3))
        member([(rng.choice(hostile), transmission(rng)) for _ in range(10)], failing=rng.random() < 0.3)


def member(batch: list[tuple[str, Frames]], *, failing: bool) -> None:
    bench = Bench(strict=False)
    (a,) = topology("acme", "a", bench)[1]
    (z,) = topology("beta", "z", bench)[1]
    known = {"a": (a.link, a.key), "z": (z.link, z.key), "stranger": (b"stranger", "k" * 40)}
    bench.failing = failing
    for name, frames in batch:
        link, key = known[name]
        bench.perform(bench.router.frames(link, key, frames, bench.now))
        bench.perform(bench.router.tick(bench.now))
    bench.failing = False
    bench.router.status(bench.now)
    hostile = {name for name, _ in batch}
    for name, instance in (("a", a), ("z", z)):
        if name in hostile:
            continue
        assert f"{instance.tenant}/{instance.name}/{instance.instance}" in bench.live()
        instance.take()
        instance.event("still", "git")
        assert [m.header["entries"][0][0] for m in instance.take(Kind.CONFIRM)] == ["still"]


def test_a_member_bounds_what_one_instance_makes_it_keep() -> None:
    bench = Bench(strict=False)
    (a,) = topology("acme", "a", bench)[1]
    bench.held = True
    for number in range(300):
        a.give(
            *[Message(Kind.EVENT, {"uuid": f"{number}-{n}", "topic": "t", "event": "e"}) for n in range(200)]
        )
    router = bench.router
    assert len(router._events._pending) <= router._settings.max_in_flight
    assert len(router._replies._pending) <= router._settings.max_in_flight


def test_a_core_that_raises_fails_these_tests() -> None:
    agg = Aggregator(1)
    agg.router.received = _raises  # type: ignore[method-assign, assignment]
    with pytest.raises(RuntimeError):
        agg.hear("m1", Message(Kind.CONFIRM, {"entries": []}))


def _raises(*_: Any) -> Any:
    raise RuntimeError
