"""Heartbeats and credit (WIRE.md section 5), and two shosets back to back."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sessions import (
    BEAT,
    EVENT,
    SECRET,
    SETTINGS,
    UPPER,
    Pair,
    Upper,
)
from tests.support.transcript import START, Recorder, kinds, of, sent
from zconnector.actions import Actions, Note, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.shoset import Shoset

# ---- heartbeats and credit


def beats_of(actions: Actions, link: bytes = b"r1") -> list[Message]:
    return [m for m in sent(actions, link) if m.kind is Kind.HEARTBEAT]


def test_a_beat_every_750_ms_with_what_the_role_says() -> None:
    upper = Upper(role=Recorder(beats={"latest": 7, "instances": ["not in beats"]}))
    upper.live()
    upper.wait(0.0)
    assert beats_of(upper.wait(0.749)) == []
    assert beats_of(upper.wait(0.001)) == [Message(Kind.HEARTBEAT, {"received": 0, "latest": 7})]


def test_received_counts_what_the_session_does_not_need_for_itself() -> None:
    upper = Upper()
    upper.live()
    upper.hear(EVENT, BEAT, EVENT, SECRET, Message(Kind.ERROR, {"reason": "x", "detail": ""}))
    (beat,) = beats_of(upper.wait(0.75))
    assert beat.header["received"] == 2


def test_a_beat_at_once_when_a_quarter_of_the_credit_was_taken() -> None:
    upper = Upper(replace(SETTINGS, credit=16))
    upper.live()
    assert beats_of(upper.hear(EVENT, EVENT, EVENT)) == []
    assert [b.header["received"] for b in beats_of(upper.hear(EVENT))] == [4]
    assert beats_of(upper.hear(EVENT, EVENT, EVENT)) == []
    assert [b.header["received"] for b in beats_of(upper.hear(EVENT))] == [8]


def test_a_very_small_credit_makes_no_storm_of_beats() -> None:
    upper = Upper(replace(SETTINGS, credit=2))
    upper.live()
    assert beats_of(upper.hear(BEAT)) == [], "two such ends would answer beats with beats for ever"
    assert len(beats_of(upper.hear(EVENT))) == 1


def test_busy_and_room_again() -> None:
    upper = Upper()
    peer = upper.live()
    refusals: list[Instant] = []

    def refused(now: Instant) -> Actions:
        refusals.append(now)
        return [Note("info", "moved on")]

    for _ in range(8):
        assert kinds(sent(upper.shoset.send(peer, [EVENT], START, refused))) == [Kind.EVENT]
    assert peer.room == 0
    assert upper.shoset.send(peer, [EVENT], START, refused) == [Note("info", "moved on")]
    assert upper.shoset.counters["busy"] == 1
    assert "room_again" not in upper.role.names()
    upper.hear(BEAT.with_fields(received=1))
    assert upper.role.heard[-1] == ("room_again", peer)
    assert peer.room == 1
    upper.hear(BEAT.with_fields(received=2))
    assert upper.role.names().count("room_again") == 1, "told once, to whoever was refused"


def test_a_batch_is_sent_whole_or_not_at_all() -> None:
    upper = Upper()
    peer = upper.live()
    assert upper.shoset.send(peer, [EVENT] * 9, START) == []
    assert len(sent(upper.shoset.send(peer, [EVENT] * 8, START))) == 8


def test_what_the_session_needs_is_sent_whatever_the_credit() -> None:
    upper = Upper()
    peer = upper.live()
    upper.shoset.send(peer, [EVENT] * 8, START)
    assert kinds(sent(upper.shoset.send(peer, [SECRET], START))) == [Kind.SECRET]
    assert len(beats_of(upper.wait(0.75))) == 1


def test_room_can_be_awaited_without_a_refusal() -> None:
    upper = Upper()
    peer = upper.live()
    upper.shoset.send(peer, [EVENT] * 8, START)
    upper.shoset.await_room(peer)
    upper.hear(BEAT.with_fields(received=8))
    assert upper.role.heard[-1] == ("room_again", peer)


def test_nothing_is_sent_to_who_is_not_live() -> None:
    upper = Upper()
    peer = upper.pending()
    assert upper.shoset.send(peer, [EVENT], START) == []
    assert upper.shoset.counters["busy"] == 0


@pytest.mark.parametrize("received", [-5, 9, 10**15])
def test_a_peer_cannot_talk_its_credit_up(received: int) -> None:
    upper = Upper()
    peer = upper.live()
    upper.shoset.send(peer, [EVENT] * 4, START)
    upper.hear(BEAT.with_fields(received=received))
    assert 0 <= peer.acknowledged <= peer.sent
    assert peer.room <= peer.credit


@pytest.mark.parametrize("credit", [0, -1, -(2**53)])
def test_a_peer_without_credit_is_busy(credit: int) -> None:
    upper = Upper()
    peer = upper.live(credit=credit)
    assert peer.room == 0
    assert upper.shoset.send(peer, [EVENT], START) == []


def test_what_the_socket_did_not_take_is_not_on_its_way() -> None:
    upper = Upper()
    peer = upper.live()
    (transmit,) = of(upper.shoset.send(peer, [EVENT] * 3, START), Transmit)
    assert peer.room == 5
    assert transmit.refused is not None
    transmit.refused(START)
    assert peer.room == 8
    assert upper.shoset.counters["not_taken"] == 3


# ---- two shosets back to back


def test_a_session_comes_up_in_one_round() -> None:
    pair = Pair()
    pair.net.settle()
    assert pair.net.kinds("lower", "upper") == [Kind.HELLO, Kind.SECRET]
    assert pair.net.kinds("upper", "lower") == [Kind.WELCOME, Kind.WELCOME]
    above, below = pair.ends()
    assert (above.session, below.session) == (above.session, above.session)
    assert below.key == "key-lower"


def test_an_idle_session_lives_on() -> None:
    pair = Pair()
    pair.net.run(60)
    assert pair.lower_role.names().count("peer_up") == 1
    assert "peer_down" not in pair.lower_role.names() + pair.upper_role.names()
    beats = pair.net.kinds("lower", "upper").count(Kind.HEARTBEAT)
    assert 79 <= beats <= 82, "one in 750 ms, and no more"


@pytest.mark.parametrize("victim", ["lower", "upper"])
def test_a_frozen_peer_is_noticed_within_3_s_and_comes_back(victim: str) -> None:
    pair = Pair()
    pair.net.run(5)
    other = pair.upper_role if victim == "lower" else pair.lower_role
    pair.net.freeze(victim)
    pair.net.run(3)
    assert other.heard[-1][0] == "peer_down"
    assert other.heard[-1][2] == "silent"
    pair.net.run(20)
    pair.net.thaw(victim)
    pair.net.run(5)
    pair.ends()
    assert pair.lower_role.names().count("peer_up") == 2


def test_what_a_dead_peer_had_sent_to_a_frozen_process_is_dropped_with_its_session() -> None:
    pair = Pair()
    pair.net.run(5)
    above, _ = pair.ends()
    pair.net.freeze("upper")
    pair.net.do("lower", pair.lower.send(above, [EVENT] * 5, pair.net.now))
    pair.net.kill("lower")
    pair.net.run(5)
    pair.net.thaw("upper")
    assert pair.upper_role.received_messages() == []
    assert pair.upper_role.names()[-1] == "peer_down"


def test_a_killed_and_restarted_upper_is_greeted_at_once() -> None:
    pair = Pair()
    pair.net.run(5)
    pair.net.kill("upper")
    assert pair.lower_role.names()[-1] == "peer_down"
    again = Shoset(replace(UPPER, boot="boot-agg-2"), pair.upper_role, SETTINGS, random.Random(3))
    pair.upper_role.on_secret = lambda peer, message, now: again.validate(peer, now)
    pair.net.add("upper", again, endpoint="tcp://upper")
    pair.net.run(0.2)
    assert [p.boot for p in pair.lower.peers()] == ["boot-agg-2"]


def test_an_upper_that_forgot_the_session_is_told_hello_again() -> None:
    pair = Pair()
    pair.net.run(1)
    _, below = pair.ends()
    pair.net.do("upper", pair.upper.drop(below, Reason.NO_SESSION, "forgotten", pair.net.now))
    pair.net.run(0.2)
    assert pair.lower_role.names().count("peer_up") == 2
    pair.ends()


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("down"), st.integers(1, 6)),
        st.tuples(st.just("up"), st.integers(1, 6)),
        st.tuples(st.just("hold"), st.sampled_from(["lower", "upper"])),
        st.tuples(st.just("release"), st.sampled_from(["lower", "upper"])),
        st.tuples(st.just("wait"), st.floats(0.0, 1.0)),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(_STEPS, st.integers(1, 12), st.integers(1, 12))
def test_credit_is_never_exceeded_and_nothing_is_lost(
    steps: list[tuple[str, Any]], lower_credit: int, upper_credit: int
) -> None:
    # Nobody is dead here, however long the test holds up its frames.
    patient = replace(SETTINGS, dead_after=10_000.0)
    pair = Pair(replace(patient, credit=lower_credit), replace(patient, credit=upper_credit))
    pair.net.settle()
    above, below = pair.ends()
    handed = {"up": 0, "down": 0}

    def check() -> None:
        for peer, role in ((above, pair.upper_role), (below, pair.lower_role)):
            unread = peer.sent - len(role.received_messages())
            assert 0 <= unread <= peer.sent - peer.acknowledged <= peer.credit

    for step, value in steps:
        if step in ("up", "down"):
            name, shoset, peer = (
                ("lower", pair.lower, above) if step == "up" else ("upper", pair.upper, below)
            )
            actions = shoset.send(peer, [EVENT] * value, pair.net.now)
            handed[step] += len(sent(actions))
            pair.net.do(name, actions)
        elif step == "hold":
            pair.net.freeze(value)
        elif step == "release":
            pair.net.thaw(value)
        else:
            pair.net.run(value)
        pair.net.settle()
        check()
    pair.net.thaw("lower")
    pair.net.thaw("upper")
    pair.net.run(3)
    check()
    assert len(pair.upper_role.received_messages()) == handed["up"]
    assert len(pair.lower_role.received_messages()) == handed["down"]
    assert (above.room, below.room) == (upper_credit, lower_credit), "all of it was acknowledged"


def test_a_beat_that_tells_nothing_new_leaves_every_deadline_as_it_was() -> None:
    upper = Upper(role=Recorder(nothing_new=True))
    peer = upper.live()
    before = upper.shoset.deadline()
    assert upper.hear(BEAT) == []
    assert upper.shoset.quiet
    assert upper.shoset.deadline() == before
    upper.hear(EVENT)
    assert not upper.shoset.quiet
    upper.hear(BEAT, BEAT)
    assert not upper.shoset.quiet, "only what is looked at closely is called quiet"
    upper.shoset.await_room(peer)
    upper.hear(BEAT)
    assert not upper.shoset.quiet, "room again: the role may have sent something"
    upper.role.nothing_new = False
    upper.hear(BEAT)
    assert not upper.shoset.quiet, "the role may wait for something else now"


def test_a_beat_of_a_peer_that_owes_is_not_quiet() -> None:
    upper = Upper(replace(SETTINGS, credit=1_000, burst=4), role=Recorder(nothing_new=True))
    upper.live()
    for _ in range(6):
        upper.hear(EVENT)
    upper.hear(BEAT)
    assert not upper.shoset.quiet
    upper.wait(1.0)
    upper.hear(BEAT)
    assert upper.shoset.quiet
