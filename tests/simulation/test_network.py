"""The simulated network behaves as ZeroMQ over TCP does: order, loss, refusals."""

from __future__ import annotations

import random

from tests.simulation.network import HANDSHAKE, HIGH_WATER, Connection, Network, Pipe
from tests.simulation.scheduler import MS, SECOND, Scheduler

UP, DOWN = ("up", "down"), ("down", "up")


class Peer:
    """A process that only notes what it is told."""

    def __init__(self, node: str, network: Network) -> None:
        self.node = node
        self.key = node
        self.alive = True
        self.frozen = False
        self.got: list[bytes] = []
        self.links: list[Connection] = []
        self.losses: list[str] = []
        self.unread: list[Pipe] = []
        self._network = network

    def arrived(self, pipe: Pipe, frames: list[bytes]) -> None:
        if self.frozen:
            self.unread.append(pipe)
            return
        pipe.held -= 1
        self.got += frames

    def opened(self, connection: Connection) -> None:
        self.links.append(connection)

    def lost(self, connection: Connection, why: str) -> None:
        self.losses.append(why)


class Wire:
    """One DEALER and one ROUTER."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, random.Random(seed))
        self.dealer = Peer("up", self.network)
        self.router = Peer("down", self.network)
        self.network.listen("sim://down", self.router)

    def connect(self, key: str = "down") -> Connection:
        connection = self.network.open(self.dealer, 1, "sim://down", key)
        self.passes(10 * MS)
        return connection

    def passes(self, duration: int) -> None:
        self.scheduler.run_until(self.scheduler.now + duration)


def test_transmissions_arrive_in_order_both_ways() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.jitter = 50 * MS
    for number in range(50):
        assert wire.network.send_up(link, [b"%d" % number])
        assert wire.network.send_down(link, [b"%d" % number])
    wire.passes(SECOND)
    assert wire.router.got == wire.dealer.got == [b"%d" % number for number in range(50)]


def test_nobody_there_or_another_key_is_a_loss() -> None:
    wire = Wire()
    wire.network.open(wire.dealer, 1, "sim://nowhere", "down")
    wire.passes(10 * MS)
    wire.connect(key="other")
    assert [why.split(":")[0] for why in wire.dealer.losses] == ["connection refused", "handshake failed"]


def test_a_handshake_over_a_blocked_way_times_out() -> None:
    wire = Wire()
    wire.network.block(DOWN)
    wire.connect()
    assert wire.dealer.losses == []
    wire.passes(HANDSHAKE)
    assert wire.dealer.losses == ["handshake timed out"]


def test_what_waits_for_a_blocked_way_goes_on_in_order() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.block(UP)
    assert wire.network.send_up(link, [b"1"])
    assert wire.network.send_up(link, [b"2"])
    wire.passes(SECOND)
    assert wire.router.got == []
    assert wire.network.send_down(link, [b"other way"])
    wire.passes(SECOND)
    assert wire.dealer.got == [b"other way"], "one way only"
    wire.network.unblock(UP)
    assert wire.network.send_up(link, [b"3"])
    wire.passes(SECOND)
    assert wire.router.got == [b"1", b"2", b"3"]


def test_two_faults_on_one_way_must_both_end() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.block(UP)
    wire.network.block(UP)
    wire.network.send_up(link, [b"1"])
    wire.network.unblock(UP)
    wire.passes(SECOND)
    assert wire.router.got == []
    wire.network.unblock(UP)
    wire.passes(SECOND)
    assert wire.router.got == [b"1"]


def test_a_link_to_a_frozen_process_fills_and_then_refuses() -> None:
    wire = Wire()
    link = wire.connect()
    wire.router.frozen = True
    taken = [wire.network.send_up(link, [b"x"]) for _ in range(HIGH_WATER + 3)]
    assert taken == [True] * HIGH_WATER + [False] * 3
    assert wire.network.refused == 3


def test_a_cut_loses_what_is_under_way_and_tells_both_ends() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.send_up(link, [b"lost"])
    wire.network.cut(link, noticed=True)
    wire.passes(SECOND)
    assert wire.router.got == []
    assert wire.dealer.losses == ["connection lost"]
    assert not wire.network.send_down(link, [b"no route"])
    assert not wire.network.send_up(link, [b"closed"])


def test_a_cut_that_nobody_notices_swallows() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.cut(link, noticed=False)
    assert wire.network.send_up(link, [b"swallowed"])
    wire.passes(SECOND)
    assert not wire.router.got
    assert not wire.dealer.losses


def test_a_closed_dealer_is_no_route_soon() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.close(link)
    assert wire.network.send_down(link, [b"not known yet"])
    wire.passes(SECOND)
    assert wire.dealer.got == []
    assert not wire.network.send_down(link, [b"no route"])


def test_the_news_of_a_close_waits_for_the_way_too() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.block(UP)
    wire.network.close(link)
    wire.passes(10 * SECOND)
    assert wire.network.send_down(link, [b"x"]), "the ROUTER has not heard of it"
    wire.network.unblock(UP)
    wire.passes(SECOND)
    assert not wire.network.send_down(link, [b"x"])


def test_last_words_of_an_end_in_good_order_arrive() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.send_down(link, [b"GOAWAY"])
    wire.router.alive = False
    wire.network.ended(wire.router, lingers=True)
    wire.passes(SECOND)
    assert wire.dealer.got == [b"GOAWAY"]
    assert wire.dealer.losses == ["connection closed"]


def test_duplicates_come_right_after_their_original() -> None:
    wire = Wire()
    link = wire.connect()
    wire.network.duplicates = 1.0
    wire.network.send_up(link, [b"1"])
    wire.network.send_up(link, [b"2"])
    wire.passes(SECOND)
    assert wire.router.got == [b"1", b"1", b"2", b"2"]


def test_all_that_was_taken_is_read_or_given_up() -> None:
    """No pipe counts what is not there any more."""
    wire = Wire()
    link = wire.connect()
    for _ in range(10):
        wire.network.send_up(link, [b"x"])
        wire.network.send_down(link, [b"x"])
    wire.passes(SECOND)
    assert wire.network.fullest() == 0
