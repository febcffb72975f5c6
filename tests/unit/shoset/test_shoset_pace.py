"""What one peer sends is acknowledged at a pace (WIRE.md section 5).

Who keeps to its credit waits; who does not is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.sessions import BEAT, EVENT, GOAWAY, SETTINGS, Pair, Upper, hello, reasons
from tests.support.transcript import START, at, sent
from tests.support.transcript import of as only
from zconnector.actions import Actions, Note, Slow
from zconnector.errors import Reason
from zconnector.messages.codec import encode_packed
from zconnector.messages.kinds import Kind
from zconnector.shoset.peers import Peer

CREDIT, BURST, RATE = 16, 34, 100.0
PATIENT = replace(SETTINGS, dead_after=10_000.0, credit=CREDIT, burst=BURST, rate=RATE, heartbeat=1_000.0)
"""Nobody is dead here, and no beat comes but for the credit: what is seen is the pace alone."""
MAY_OWE = CREDIT * 5 // 4
GREETING = 2
"""Messages of HELLO and SECRET: of the burst, so many are left afterwards."""
GARBAGE = [b"x" * 8, b"{}", b"body"]


def upper(**changes: Any) -> Upper:
    made = Upper(replace(PATIENT, **changes))
    made.wait(0.0)  # the first beats are due at once
    return made


def acknowledged(actions: Actions, link: bytes = b"r1") -> list[int]:
    return [m.number("received") for m in sent(actions, link) if m.kind is Kind.HEARTBEAT]


def heard(up: Upper, peer: Peer) -> int:
    """Messages of a peer that reached the role."""
    return sum(1 for entry in up.role.heard if entry[0] == "received" and entry[1] is peer)


def flooded(up: Upper) -> int:
    return up.shoset.counters["flood_dropped"]


def at_deadline(up: Upper) -> Actions:
    """Time goes on to the deadline, and no further."""
    due = up.shoset.deadline()
    assert due is not None
    assert due > up.now.mono, "a deadline that its tick does not move"
    up.now = at(due - START.mono)
    assert up.now.mono == due
    return up.shoset.tick(up.now)


def owing(up: Upper, link: bytes = b"r1", key: str = "key-git", **fields: Any) -> Peer:
    """A live peer that has used its burst and all of its credit."""
    peer = up.live(link, key, **fields)
    up.hear(*[EVENT] * (BURST - GREETING), link=link, key=key)
    assert acknowledged(up.hear(*[EVENT] * CREDIT, link=link, key=key), link) == []
    return peer


# ---- who keeps to its credit


def test_within_the_burst_everything_is_acknowledged_as_before() -> None:
    up = upper()
    up.live()
    told = [acknowledged(up.hear(*[EVENT] * 4)) for _ in range(8)]
    assert told == [[4 * n] for n in range(1, 9)]


def test_who_owes_is_read_but_not_acknowledged() -> None:
    up = upper()
    peer = owing(up)
    assert heard(up, peer) == BURST - GREETING + CREDIT
    assert flooded(up) == 0


def test_the_credit_comes_back_at_the_deadline_when_nothing_is_owed_any_more() -> None:
    up = upper()
    owing(up)
    assert up.shoset.deadline() == pytest.approx(START.mono + CREDIT / RATE)
    assert acknowledged(up.wait(CREDIT / RATE - 0.001)) == []
    assert acknowledged(at_deadline(up)) == [BURST - GREETING + CREDIT]
    assert up.shoset.deadline() == pytest.approx(START.mono + PATIENT.heartbeat), "nothing else is due"


def test_the_messages_of_a_pack_count_as_many() -> None:
    up = upper()
    peer = up.live()
    ((frames, count),) = encode_packed([EVENT] * 20)
    assert (len(frames), count) == (3, 20)
    while heard(up, peer) < BURST - GREETING + CREDIT // 2:
        assert flooded(up) == 0
        up.shoset.frames(b"r1", "key-git", frames, up.now)
    for _ in range(3):
        actions = up.shoset.frames(b"r1", "key-git", frames, up.now)
    assert flooded(up) > 0
    assert Reason.NO_SESSION in reasons(actions) or up.sessions() == []


def test_a_beat_while_it_owes_tells_only_what_gives_no_credit() -> None:
    up = upper(heartbeat=0.1)
    owing(up)
    assert acknowledged(up.wait(0.1)) == [BURST - GREETING]
    assert acknowledged(up.wait(0.1)) == [BURST - GREETING + CREDIT, BURST - GREETING + CREDIT]


def test_what_comes_while_it_owes_puts_the_deadline_off() -> None:
    up = upper()
    peer = owing(up)
    up.hear(BEAT)
    assert up.shoset.deadline() == pytest.approx(START.mono + (CREDIT + 1) / RATE)
    assert acknowledged(at_deadline(up)) == [BURST - GREETING + CREDIT]
    assert heard(up, peer) == BURST - GREETING + CREDIT


def test_who_uses_all_its_credit_may_still_beat_and_show_its_secret() -> None:
    """They need no credit: dropped unread they would leave a peer without the room they tell of."""
    up = upper()
    peer = owing(up)
    up.shoset.send(peer, [EVENT] * 8, START)
    actions = up.hear(BEAT.with_fields(received=8))
    assert flooded(up) == 0
    assert (only(actions, Slow), only(actions, Note)) == ([], [])
    assert peer.room == 8


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.integers(1, CREDIT), st.floats(0.0, 0.5)), max_size=60))
def test_by_deadlines_alone_everybody_who_keeps_to_its_credit_gets_it_back(steps: list[int | float]) -> None:
    up = upper()
    peer = up.live(credit=1_000)
    told = said = 0
    for step in steps:
        if isinstance(step, float):
            end = up.now.mono + step
            while (due := up.shoset.deadline()) is not None and due <= end:
                told = max([told, *acknowledged(at_deadline(up))])
            up.now = at(end - START.mono)
            continue
        count = min(step, CREDIT - (said - told))
        if count:
            said += count
            told = max([told, *acknowledged(up.hear(*[EVENT] * count))])
    for _ in range(3):
        told = max([told, *acknowledged(at_deadline(up))])
    assert told == said == heard(up, peer)
    assert flooded(up) == 0


SLOW_PAIR = (
    replace(SETTINGS, dead_after=10_000.0, credit=64),
    replace(SETTINGS, dead_after=10_000.0, credit=32, rate=100.0, burst=32),
)
"""A real peer below, and one above that acknowledges slowly."""


def test_a_real_peer_that_sends_whenever_it_may_and_is_sent_much_meanwhile_is_never_dropped() -> None:
    pair = Pair(*SLOW_PAIR)
    pair.net.settle()
    above, below = pair.ends()
    handed = 0
    for _ in range(50):
        handed += above.room
        pair.net.do("lower", pair.lower.send(above, [EVENT] * above.room, pair.net.now))
        pair.net.do("upper", pair.upper.send(below, [EVENT] * 64, pair.net.now))
        due = pair.upper.deadline()
        assert due is not None
        pair.net.run(due - pair.net.now.mono + 1e-9)
    pair.net.run(1.0)
    assert handed > 500
    assert len(pair.upper_role.received_messages()) == handed
    assert above.room == 32
    assert pair.upper.counters["flood_dropped"] == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("up"), st.sampled_from([1, 7, 80])),
            st.tuples(st.just("down"), st.integers(1, 16)),
            st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 0.1, 0.5])),
            st.tuples(st.just("until credit is due"), st.none()),
        ),
        max_size=40,
    )
)
def test_a_real_peer_is_never_dropped_however_slow_the_pace(steps: list[tuple[str, Any]]) -> None:
    pair = Pair(*SLOW_PAIR)
    pair.net.settle()
    above, below = pair.ends()
    handed = 0
    for step, value in steps:
        if step == "wait":
            pair.net.run(value)
        elif step == "until credit is due":
            due = pair.upper.deadline()
            assert due is not None
            pair.net.run(max(0.0, due - pair.net.now.mono) + 1e-9)
        elif step == "up":
            count = min(value, above.room)
            actions = pair.lower.send(above, [EVENT] * count, pair.net.now) if count else []
            handed += len(sent(actions))
            pair.net.do("lower", actions)
        else:
            pair.net.do("upper", pair.upper.send(below, [EVENT] * value, pair.net.now))
    pair.net.run(3.0)
    assert pair.upper.counters["flood_dropped"] == 0
    assert len(pair.upper_role.received_messages()) == handed
    assert above.room == 32
    assert not [action for action in pair.net.asked["upper"] if isinstance(action, Slow)]


# ---- who does not


def test_who_sends_without_credit_loses_its_session_and_is_dropped_unread_counted_and_slowed() -> None:
    up = upper()
    peer = up.live()
    actions: Actions = []
    for _ in range(200):
        actions += up.hear(EVENT)
    assert heard(up, peer) == BURST - GREETING + MAY_OWE, "its credit, and a quarter for beats"
    assert flooded(up) == 200 - heard(up, peer)
    assert len(only(actions, Slow)) == flooded(up)
    assert {slow.seconds for slow in only(actions, Slow)} == {0.003}
    assert reasons(actions) == ["NO_SESSION"], "told once"
    assert not up.shoset.is_live(peer)


def test_a_transmission_is_dropped_whole_and_counted_by_its_messages() -> None:
    up = upper()
    peer = owing(up)
    before = heard(up, peer)
    up.hear(*[EVENT] * (CREDIT + 1))
    assert (heard(up, peer), flooded(up)) == (before, CREDIT + 1)


def test_who_flooded_may_begin_a_session_after_five_seconds_and_over_no_link_before() -> None:
    up = upper()
    owing(up)
    up.hear(*[EVENT] * (CREDIT + 1))
    for link in (b"r1", b"r2"):
        up.wait(2.4)
        assert sent(up.hear(hello("git", session="s2"), link=link), link) == []
        assert up.sessions() == []
    up.wait(0.3)
    assert up.shoset.is_live(up.live(b"r2", session="s2"))


def test_in_the_long_run_a_flood_is_read_for_a_moment_every_five_seconds() -> None:
    up = upper()
    for _ in range(400):
        up.wait(0.05)
        up.hear(hello("git"))
        for _ in range(50):
            up.hear(EVENT)
    read = 400 * 51 - flooded(up)
    assert read <= 4 * (BURST + MAY_OWE) + 4, "20 s"


def test_a_flood_is_logged_once_a_second() -> None:
    up = upper()
    up.live()
    notes = []
    for _ in range(45):
        for _ in range(100):
            notes += only(up.hear(EVENT), Note)
        notes += only(up.wait(0.1), Note)
    notes = [note for note in notes if note.event == "more messages than are read of one peer"]
    assert len(notes) == 5
    assert notes[0].fields == {"peer": "connector t1/git/0", "limit": RATE}


def stranger_s_garbage(up: Upper) -> Actions:
    return up.shoset.frames(b"r1", "key-git", GARBAGE, up.now)


def stranger_s_event(up: Upper) -> Actions:
    return up.hear(EVENT)


def event_before_it_is_validated(up: Upper) -> Actions:
    if not up.sessions():
        up.pending()
    return up.hear(EVENT)


def another_key_s_event(up: Upper) -> Actions:
    if not up.sessions():
        up.pending(key="key-of-another")
    return up.hear(EVENT)


def hello_of_no_version(up: Upper) -> Actions:
    return up.hear(hello(versions=[99]))


def hello_in_a_session(up: Upper) -> Actions:
    if not up.sessions():
        up.pending()
    return up.hear(hello())


@pytest.mark.parametrize(
    "refused",
    [
        stranger_s_garbage,
        stranger_s_event,
        event_before_it_is_validated,
        another_key_s_event,
        hello_of_no_version,
        hello_in_a_session,
    ],
)
def test_what_is_refused_counts_for_50(refused: Callable[[Upper], Actions]) -> None:
    up = upper(credit=256, burst=256, rate=1.0)
    answers = [reasons(refused(up)) for _ in range(100)]
    read = 1 + (256 + 320 - 1) // 51
    assert all(len(answer) == 1 for answer in answers[:read])
    assert answers[read] in ([], ["NO_SESSION"]), "that its session is over"
    assert answers[read + 1 :] == [[]] * (99 - read), "who is not read gets no answers either"
    assert flooded(up) >= 100 - read


def test_what_was_on_its_way_when_a_session_ended_is_no_flood() -> None:
    """It came late because the link, or this process, stood still; its sender kept to its credit."""
    up = Upper()
    up.live()
    up.wait(SETTINGS.dead_after + 0.1)
    assert up.sessions() == []
    answers = [reasons(up.hear(EVENT)) for _ in range(SETTINGS.credit)]
    assert answers == [["NO_SESSION"]] * SETTINGS.credit
    assert flooded(up) == 0
    assert up.shoset.is_live(up.live(b"r2", session="s2"))


def test_who_goes_on_without_a_session_is_read_no_longer_than_any_other() -> None:
    up = Upper()
    up.live()
    up.wait(SETTINGS.dead_after + 0.1)
    for _ in range(SETTINGS.credit * 5 // 4 + 10):
        up.hear(EVENT)
    assert flooded(up) > 0


def test_a_flood_leaves_nothing_that_counts_less() -> None:
    up = upper()
    owing(up)
    up.hear(*[EVENT] * (CREDIT + 1))
    up.wait(5.1)
    answers = [reasons(up.hear(EVENT)) for _ in range(4)]
    assert answers == [["NO_SESSION"], ["NO_SESSION"], [], []]


def test_garbage_of_a_live_peer_costs_it_its_credit() -> None:
    up = upper(credit=256, burst=256)
    up.live()
    assert reasons(up.shoset.frames(b"r1", "key-git", [*GARBAGE], up.now)) != []
    up.live()  # its session may have ended with it: it says HELLO again over the same link
    assert up.shoset.deadline() is not None
    up.hear(*[EVENT] * 202)
    assert up.shoset._paces.owing, "2 + 1 + 50 + 2 + 202 are more than 256"


def test_frames_that_are_no_messages_are_counted_by_their_number() -> None:
    up = upper(credit=16, burst=16)
    up.shoset.frames(b"r1", "key-git", [b""], up.now)
    for _ in range(10):
        up.shoset.frames(b"r1", "key-git", [b""] * 300, up.now)
    assert flooded(up) == 1_000


def test_another_peer_is_not_affected() -> None:
    up = upper()
    up.live(b"r1", "key-git", name="git")
    other = up.live(b"r2", "key-ci", name="ci", session="s2")
    for _ in range(500):
        up.hear(EVENT)
    assert flooded(up) > 400
    before = flooded(up)
    told = [acknowledged(up.hear(EVENT, link=b"r2", key="key-ci"), b"r2") for _ in range(4)]
    assert told == [[], [], [], [4]]
    assert heard(up, other) == 4
    assert flooded(up) == before
    up.hear(hello("new", session="s3"), link=b"r3", key="key-new")
    assert ("new", "PENDING") in up.sessions()


# ---- what is kept of whom


def flood(up: Upper, link: bytes) -> None:
    for _ in range(20):
        up.shoset.frames(link, f"key-{link!r}", GARBAGE, up.now)


def is_read(up: Upper, link: bytes) -> bool:
    return bool(reasons(up.shoset.frames(link, f"key-{link!r}", GARBAGE, up.now)))


def test_the_paces_kept_are_bounded_and_those_not_heard_of_for_longest_go() -> None:
    up = upper(max_sessions=4, rate=0.001)
    flood(up, b"first")
    flood(up, b"second")
    for number in range(6):
        flood(up, b"%d" % number)
    assert not is_read(up, b"first"), "eight are kept"
    flood(up, b"one more")
    assert is_read(up, b"second"), "it was heard of before all others: forgotten"
    assert not is_read(up, b"first"), "it was heard of since"
    assert len(up.shoset._paces) == 8


@pytest.mark.parametrize("how", ["GOAWAY", "silent", "dropped", "replaced", "unreachable"])
def test_an_owing_peer_that_leaves_is_forgotten(how: str) -> None:
    up = upper(heartbeat=0.75, dead_after=0.01)
    peer = owing(up)
    ready = START.mono + CREDIT / RATE
    if how == "GOAWAY":
        up.hear(GOAWAY)
    elif how == "silent":
        up.wait(0.02)
    elif how == "dropped":
        up.shoset.drop(peer, "REVOKED", "", up.now)  # type: ignore[arg-type]
    elif how == "unreachable":
        up.shoset._sessions.vanished(peer, up.now)
    else:
        up.live(b"r2", "key-git", boot="boot-2", session="s2")
    assert not up.shoset.is_live(peer)
    due = up.shoset.deadline()
    assert due is None or due != pytest.approx(ready, abs=1e-6)
    assert acknowledged(up.wait(1.0)) == []


def test_an_owing_peer_whose_pace_was_forgotten_gets_its_credit_with_the_next_beat() -> None:
    up = upper(max_sessions=2, heartbeat=0.75)
    owing(up)
    for number in range(4):
        flood(up, b"%d" % number)
    due = up.shoset.deadline()
    assert due == START.mono + 0.75
    assert BURST - GREETING + CREDIT in acknowledged(at_deadline(up))
