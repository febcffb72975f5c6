"""The end of a session that connects: each row of the first table of WIRE.md section 4."""

from __future__ import annotations

import random

import pytest

from tests.support.sessions import (
    BEAT,
    EVENT,
    GOAWAY,
    ONE,
    PASSWORD,
    REPLACED,
    SETTINGS,
    TWO,
    Lower,
    error,
    secret_refused,
    welcome,
)
from tests.support.transcript import START, Recorder, at, frames_of, sent
from zconnector.actions import Actions, Close, Note, Open, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason
from zconnector.messages.kinds import VERSION, Kind
from zconnector.messages.message import Message
from zconnector.shoset.identity import Identity
from zconnector.shoset.shoset import Shoset

# ---- WAITING


def test_every_target_is_opened_at_once() -> None:
    lower = Lower(TWO, ONE)
    assert lower.first == [Open(1, "tcp://one", "key-one"), Open(2, "tcp://two", "key-two")]


def test_hello_and_secret_go_in_one_transmission() -> None:
    lower = Lower(role=Recorder(beats={"cursor": 17, "instances": ["not for a HELLO"]}))
    actions = lower.shoset.link_opened(1, START)
    (transmit,) = actions
    assert isinstance(transmit, Transmit)
    hello, secret = transmit.messages
    session = hello.text("session")
    assert hello == Message(
        Kind.HELLO,
        {
            "versions": [VERSION],
            "kind": "connector",
            "tenant": "t1",
            "name": "git",
            "instance": "0",
            "boot": "boot-1",
            "session": session,
            "credit": SETTINGS.credit,
            "packs": True,
            "type": "Git",
            "cursor": 17,
        },
    )
    assert session
    assert (secret.kind, secret.text("command"), secret.payload) == (Kind.SECRET, "VALIDATE", PASSWORD)
    assert len(frames_of(*transmit.messages)) == 6
    assert lower.state() == "GREETING"


def test_each_session_has_an_id_of_its_own() -> None:
    lower = Lower(ONE, TWO)
    sessions = {lower.open(link)[0].text("session") for link in (1, 2)}
    lower.shoset.link_lost(1, "broken", START)
    lower.wait(1)
    sessions.add(lower.open(3)[0].text("session"))
    assert len(sessions) == 3


def test_an_aggregator_tells_its_endpoint_with_the_hello() -> None:
    me = Identity("aggregator", "t1", "agg1", "a", "b", endpoint="tcp://me", server_key="my-key")
    shoset = Shoset(me, Recorder(), SETTINGS, random.Random(1))
    shoset.aim([ONE], START)
    hello = sent(shoset.link_opened(1, START))[0]
    assert (hello.text("endpoint"), hello.text("server_key")) == ("tcp://me", "my-key")
    assert "type" not in hello.header


def test_a_link_that_was_not_asked_for_says_nothing() -> None:
    lower = Lower()
    assert lower.shoset.link_opened(99, START) == []
    assert lower.open(1)
    assert lower.shoset.link_opened(1, START) == [], "nor is a HELLO said twice"


# ---- GREETING, PENDING


def test_greeting_and_welcome_not_validated() -> None:
    lower = Lower()
    assert lower.reach("PENDING") == []
    assert lower.role.heard == []
    assert lower.shoset.peers() == []


@pytest.mark.parametrize("state", ["GREETING", "PENDING"])
def test_welcome_validated(state: str) -> None:
    lower = Lower()
    session = lower.open()[0].text("session")
    if state == "PENDING":
        lower.hear(welcome(session, validated=False))
    lower.hear(welcome(session, validated=True, latest=9))
    assert lower.state() == "LIVE"
    (peer,) = lower.shoset.peers(kind="aggregator", upward=True)
    assert lower.role.names() == ["peer_up", "heard_beat"]
    assert lower.role.heard[1][2]["latest"] == 9
    assert (peer.name, peer.instance, peer.boot, peer.credit) == ("agg1", "a", "their-boot", 10)
    assert lower.shoset.is_live(peer)


def test_a_later_welcome_is_news_and_no_second_session() -> None:
    lower = Lower()
    lower.reach("LIVE")
    (peer,) = lower.shoset.peers()
    lower.hear(welcome(peer.session, validated=True, instances=[1]))
    assert lower.role.names() == ["peer_up", "heard_beat", "heard_beat"]
    assert lower.role.heard[2][2]["instances"] == [1]


@pytest.mark.parametrize("validated", [True, False])
def test_a_welcome_of_another_session_means_nothing(validated: bool) -> None:
    lower = Lower()
    lower.reach("GREETING")
    assert lower.hear(welcome("another", validated=validated)) == []
    assert lower.state() == "GREETING"
    assert lower.role.heard == []


@pytest.mark.parametrize("state", ["GREETING", "PENDING"])
def test_a_refused_secret(state: str) -> None:
    lower = Lower()
    lower.reach(state)
    assert lower.hear(secret_refused()) == [Close(1)]
    assert [entry[0::2] for entry in lower.role.heard] == [("refused", Reason.WRONG_SECRET)]
    assert lower.state() == "WAITING"


@pytest.mark.parametrize("state", ["GREETING", "PENDING"])
@pytest.mark.parametrize("reason", [Reason.BUSY, Reason.STORAGE_FAILED])
def test_an_answer_that_found_nothing_out_about_the_secret_is_no_refusal(state: str, reason: Reason) -> None:
    """A connector that took this for a refusal would forget its cache and stop."""
    lower = Lower()
    lower.reach(state)
    assert lower.hear(secret_refused(reason)) == [Close(1)]
    assert lower.role.heard == []
    assert lower.state() == "WAITING"


def closed_and_waiting(lower: Lower, actions: Actions) -> None:
    assert Close(1) in actions
    assert lower.state() == "WAITING"
    assert lower.role.heard == [], "a session that never was cannot be lost"


def test_3_s_without_welcome() -> None:
    lower = Lower()
    lower.reach("GREETING")
    assert lower.wait(2.999) == []
    assert lower.state() == "GREETING"
    closed_and_waiting(lower, lower.wait(0.001))
    assert lower.shoset.status()["up"][0]["last_error"] == "no WELCOME"


def test_3_s_without_a_connection() -> None:
    lower = Lower()
    assert lower.wait(2.999) == []
    closed_and_waiting(lower, lower.wait(0.001))


@pytest.mark.parametrize("state", ["OPENING", "GREETING", "PENDING"])
def test_disconnect_before_the_session_is_live(state: str) -> None:
    lower = Lower()
    lower.reach(state)
    closed_and_waiting(lower, lower.shoset.link_lost(1, "connection refused", START))
    assert lower.shoset.status()["up"][0]["last_error"] == "connection refused"


@pytest.mark.parametrize("state", ["GREETING", "PENDING"])
@pytest.mark.parametrize(
    "reason", [Reason.BUSY, Reason.DRAINING, Reason.NO_SESSION, Reason.NOT_VALIDATED, Reason.BAD_FRAME]
)
def test_error_before_the_session_is_live(state: str, reason: Reason) -> None:
    lower = Lower()
    lower.reach(state)
    closed_and_waiting(lower, lower.hear(error(reason)))


@pytest.mark.parametrize("state", ["GREETING", "PENDING"])
@pytest.mark.parametrize(
    "reason",
    [
        Reason.REVOKED,
        Reason.UNSUPPORTED_VERSION,
        Reason.UNDECLARED,
        Reason.WRONG_TENANT,
        Reason.WRONG_KEY,
    ],
)
def test_an_error_that_trying_again_does_not_mend_is_told_to_the_role(state: str, reason: Reason) -> None:
    lower = Lower()
    lower.reach(state)
    assert lower.hear(error(reason)) == [Close(1)]
    assert [entry[0::2] for entry in lower.role.heard] == [("refused", reason)]
    assert lower.state() == "WAITING"


def test_a_pending_session_lives_on_beats() -> None:
    lower = Lower()
    lower.reach("PENDING")
    for _ in range(8):
        lower.wait(1)
        lower.hear(BEAT)
    assert lower.state() == "PENDING"
    assert lower.role.heard == [], "beats of a session that is not live mean nothing to the role"


def test_a_pending_session_falls_silent() -> None:
    lower = Lower()
    lower.reach("PENDING")
    lower.wait(2.4)
    assert lower.state() == "PENDING"
    closed_and_waiting(lower, lower.wait(0.2))


def test_a_message_before_the_session_is_live_does_not_reach_the_role() -> None:
    lower = Lower()
    lower.reach("PENDING")
    assert lower.hear(EVENT) == []
    assert lower.role.heard == []


# ---- LIVE


def lost(lower: Lower, actions: Actions, why: str) -> None:
    assert actions[0] == Close(1)
    assert lower.role.names()[-1] == "peer_down"
    assert lower.role.heard[-1][2] == why
    assert lower.shoset.peers() == []


def test_silence_for_2500_ms() -> None:
    lower = Lower()
    lower.reach("LIVE")
    lower.wait(2.499)
    assert lower.state() == "LIVE"
    lost(lower, lower.wait(0.001), "silent")


def test_silence_is_due_when_the_shoset_says_so() -> None:
    lower = Lower()
    lower.reach("LIVE")
    for _ in range(20):
        due = lower.shoset.deadline()
        assert due is not None
        lower.now = at(max(due, lower.now.mono) - START.mono)
        lower.shoset.tick(lower.now)
        if lower.role.names()[-1] == "peer_down":
            break
    assert lower.now.mono == pytest.approx(START.mono + 2.5)


@pytest.mark.parametrize("offset", [0.0, 0.1, 1.7, 123456.789, 1e6 / 3])
def test_no_tick_leaves_its_own_deadline_behind(offset: float) -> None:
    """Whatever rounding does to sums of times: a tick at the deadline moves the deadline."""
    lower = Lower(begin=Instant(offset, 0))
    lower.reach("LIVE")
    for _ in range(12):
        due = lower.shoset.deadline()
        assert due is not None
        lower.now = Instant(max(due, lower.now.mono), 0)
        lower.shoset.tick(lower.now)
        after = lower.shoset.deadline()
        assert after is not None
        assert after > lower.now.mono


def test_disconnect() -> None:
    lower = Lower()
    lower.reach("LIVE")
    lost(lower, lower.shoset.link_lost(1, "broken", START), "broken")


@pytest.mark.parametrize("reason", [Reason.NO_SESSION, Reason.DRAINING])
def test_error_that_ends_the_session(reason: Reason) -> None:
    lower = Lower()
    lower.reach("LIVE")
    lost(lower, lower.hear(error(reason)), reason)


def test_a_revoked_component_hears_the_refusal() -> None:
    lower = Lower()
    lower.reach("LIVE")
    assert lower.hear(error(Reason.REVOKED))[0] == Close(1)
    assert lower.role.names()[-2:] == ["peer_down", "refused"]


@pytest.mark.parametrize(
    "reason",
    [Reason.BAD_FRAME, Reason.BAD_HEADER, Reason.TOO_LARGE, Reason.WRONG_TENANT, Reason.NOT_VALIDATED],
)
def test_an_error_about_one_message_costs_no_session(reason: Reason) -> None:
    lower = Lower()
    lower.reach("LIVE")
    heard = len(lower.role.heard)
    (note,) = lower.hear(error(reason, reference="e"))
    assert isinstance(note, Note)
    assert note.fields["reason"] == reason
    assert lower.state() == "LIVE"
    assert len(lower.role.heard) == heard
    assert lower.shoset.counters[f"error_heard.{reason}"] == 1


def test_an_error_about_somebody_else_is_the_role_s() -> None:
    lower = Lower()
    lower.reach("LIVE")
    revoked = error(Reason.REVOKED, name="ci")
    lower.hear(revoked)
    assert lower.role.received_messages() == [revoked]
    assert lower.state() == "LIVE"


def test_goaway() -> None:
    lower = Lower()
    lower.reach("LIVE")
    (peer,) = lower.shoset.peers()
    lost(lower, lower.hear(GOAWAY), "GOAWAY")
    refused: list[Instant] = []

    def note(now: Instant) -> Actions:
        refused.append(now)
        return []

    assert lower.shoset.send(peer, [EVENT], START, note) == []
    assert refused == [START], "what was still meant for it moves on at once"


def test_messages_after_a_goaway_of_the_same_transmission_are_dropped() -> None:
    lower = Lower()
    lower.reach("LIVE")
    lower.hear(GOAWAY, EVENT)
    assert lower.role.received_messages() == []


@pytest.mark.parametrize("state", ["GREETING", "PENDING", "LIVE"])
def test_replaced(state: str) -> None:
    lower = Lower()
    lower.reach(state)
    assert Close(1) in lower.hear(REPLACED)
    assert lower.role.heard[-1][0::2] == ("refused", Reason.REPLACED)


def test_messages_reach_the_role_in_order() -> None:
    lower = Lower()
    lower.reach("LIVE")
    messages = [EVENT.with_fields(uuid=f"e{number}") for number in range(5)]
    lower.hear(*messages[:3])
    lower.hear(*messages[3:])
    assert lower.role.received_messages() == messages


def test_frames_of_a_link_that_was_closed_mean_nothing() -> None:
    lower = Lower()
    lower.reach("LIVE")
    lower.shoset.link_lost(1, "broken", START)
    heard = list(lower.role.heard)
    assert lower.hear(EVENT) == []
    assert lower.role.heard == heard


# ---- a bad frame from above


def test_a_bad_frame_is_answered_and_costs_nothing() -> None:
    lower = Lower()
    lower.reach("LIVE")
    answers = sent(lower.shoset.frames(1, "key-one", [b"x"], START))
    assert [(m.kind, m.text("reason")) for m in answers] == [(Kind.ERROR, "BAD_FRAME")]
    assert lower.state() == "LIVE"


def test_a_peer_of_another_version_is_left() -> None:
    lower = Lower()
    lower.reach("LIVE")
    frames = frames_of(EVENT)
    actions = lower.shoset.frames(1, "key-one", [b"ZC\x09" + frames[0][3:], *frames[1:]], START)
    assert [m.text("reason") for m in sent(actions)] == ["UNSUPPORTED_VERSION"]
    assert Close(1) in actions
    assert lower.role.names()[-1] == "peer_down"
