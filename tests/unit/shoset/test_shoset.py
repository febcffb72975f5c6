"""The end of a session that bound: each row of the second table of WIRE.md section 4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.sessions import (
    BEAT,
    EVENT,
    GOAWAY,
    SECRET,
    SETTINGS,
    Upper,
    every_kind,
    hello,
    reasons,
)
from tests.support.transcript import START, Recorder, kinds, of, sent
from zconnector.actions import Actions, Note, Transmit
from zconnector.clock import Instant
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import VERSION, Kind
from zconnector.messages.message import Message

# ---- none


def test_a_hello_is_welcomed_and_not_yet_validated() -> None:
    upper = Upper(role=Recorder(beats={"latest": 5, "instances": [1]}))
    actions = upper.hear(hello())
    assert actions == [Transmit(b"r1", (actions[0].messages[0],))]  # type: ignore[union-attr]
    assert sent(actions) == [
        Message(
            Kind.WELCOME,
            {
                "boot": "boot-agg",
                "name": "agg1",
                "instance": "a",
                "session": "s1",
                "validated": False,
                "credit": SETTINGS.credit,
                "heartbeat": 750,
                "packs": True,
            },
        )
    ], "a stranger is told nothing that only a validated peer may know"
    assert upper.sessions() == [("git", "PENDING")]
    assert upper.shoset.peers() == []
    assert upper.role.heard == []


@pytest.mark.parametrize(
    "versions",
    [[], [0], [VERSION + 1], [VERSION + 1, 99], ["1"], [None], [[1]], [{}], [1.0], [True]],
    ids=str,
)
def test_no_version_in_common(versions: list[Any]) -> None:
    upper = Upper()
    actions = upper.hear(hello(versions=versions))
    assert reasons(actions) == ["UNSUPPORTED_VERSION"]
    (error,) = sent(actions)
    assert str(versions) in error.text("detail")
    assert f"[{VERSION}]" in error.text("detail")
    assert upper.sessions() == []


def test_one_version_in_common_is_enough() -> None:
    upper = Upper()
    upper.hear(hello(versions=[99, VERSION]))
    assert upper.sessions() == [("git", "PENDING")]


@pytest.mark.parametrize("reason", [Reason.UNDECLARED, Reason.WRONG_TENANT, Reason.WRONG_KEY])
def test_a_hello_that_the_role_does_not_admit(reason: Reason) -> None:
    upper = Upper(role=Recorder(admits=lambda hello, key: Refusal(reason, f"no {key}")))
    actions = upper.hear(hello())
    assert reasons(actions) == [reason]
    assert of(actions, Note)[0].fields["reason"] == reason
    assert upper.sessions() == []
    assert upper.shoset.counters[f"refused.{reason}"] == 1


def test_what_follows_a_refused_hello_in_its_transmission_is_not_looked_at() -> None:
    upper = Upper(role=Recorder(admits=lambda hello, key: Refusal(Reason.UNDECLARED, "")))
    assert reasons(upper.hear(hello(), SECRET)) == ["UNDECLARED", "NO_SESSION"]
    assert upper.role.heard == []


@pytest.mark.parametrize("kind", [k for k in Kind if k not in (Kind.HELLO, Kind.ERROR)])
def test_anything_but_hello_from_a_link_without_session(kind: Kind) -> None:
    upper = Upper()
    message = next(m for m in every_kind() if m.kind is kind)
    actions = upper.hear(message)
    assert reasons(actions) == ["NO_SESSION"]
    assert sent(actions)[0].reference == message.uuid
    assert upper.shoset.counters["no_session"] == 1
    assert upper.role.heard == []
    assert upper.sessions() == []


def test_an_error_from_a_link_without_session_is_not_answered() -> None:
    """Two ends that answered errors with errors would never stop."""
    upper = Upper()
    assert upper.hear(Message(Kind.ERROR, {"reason": "BAD_FRAME", "detail": ""})) == []
    assert upper.shoset.counters["no_session"] == 1


# ---- PENDING


def test_a_secret_is_the_role_s_to_validate() -> None:
    upper = Upper()
    upper.hear(hello())
    assert upper.hear(SECRET) == []
    (heard,) = upper.role.heard
    assert heard[0] == "secret"
    assert heard[2] == SECRET
    assert (heard[1].name, heard[1].tenant, heard[1].key) == ("git", "t1", "key-git")


def test_valid() -> None:
    upper = Upper(role=Recorder(beats={"latest": 5, "instances": [1]}))
    peer = upper.pending()
    actions = upper.shoset.validate(peer, START, {"extra": 1})
    (welcome,) = sent(actions, b"r1")
    assert welcome.kind is Kind.WELCOME
    assert welcome.header["validated"] is True
    assert (welcome.header["latest"], welcome.header["instances"], welcome.header["extra"]) == (5, [1], 1)
    assert upper.role.names() == ["secret", "peer_up"]
    assert upper.shoset.peers() == [peer]
    assert upper.shoset.peers(kind="connector", upward=False) == [peer]
    assert upper.shoset.peers(kind="member") == upper.shoset.peers(upward=True) == []


def test_valid_said_twice_is_said_once() -> None:
    upper = Upper()
    peer = upper.live()
    assert upper.shoset.validate(peer, START) == []
    assert upper.role.names().count("peer_up") == 1


def test_refused() -> None:
    upper = Upper()
    peer = upper.pending()
    actions = upper.shoset.refuse(peer, Reason.WRONG_SECRET, "does not match", START, "s")
    (answer,) = sent(actions)
    assert (answer.kind, answer.is_answer, answer.reference) == (Kind.SECRET, True, "s")
    assert answer.header["valid"] is False
    assert answer.text("reason") == "WRONG_SECRET"
    assert upper.sessions() == []
    assert upper.role.names() == ["secret"], "what never was live is not lost"
    assert upper.shoset.counters["refused.WRONG_SECRET"] == 1
    assert reasons(upper.hear(EVENT)) == ["NO_SESSION"]


def test_a_verdict_about_a_session_that_has_gone_changes_nothing() -> None:
    upper = Upper()
    peer = upper.pending()
    upper.wait(10)
    assert upper.sessions() == []
    assert upper.shoset.validate(peer, upper.now) == []
    assert "peer_up" not in upper.role.names()


@pytest.mark.parametrize(
    "kind", [k for k in Kind if k not in (Kind.SECRET, Kind.HEARTBEAT, Kind.HELLO, Kind.GOAWAY)]
)
def test_a_pending_peer_may_send_nothing_else(kind: Kind) -> None:
    upper = Upper()
    upper.pending()
    message = next(m for m in every_kind() if m.kind is kind)
    actions = upper.hear(message)
    assert reasons(actions) == ["NOT_VALIDATED"]
    assert sent(actions)[0].reference == message.uuid
    assert upper.shoset.counters["not_validated"] == 1
    assert upper.role.names() == ["secret"]
    assert upper.sessions() == [("git", "PENDING")]


def test_a_pending_peer_may_beat() -> None:
    upper = Upper()
    upper.pending()
    for _ in range(6):
        upper.wait(1)
        assert upper.hear(BEAT) == []
    assert upper.sessions() == [("git", "PENDING")]
    assert upper.role.names() == ["secret"]


def test_a_pending_peer_that_goes_is_forgotten() -> None:
    upper = Upper()
    upper.pending()
    assert upper.hear(GOAWAY) == []
    assert upper.sessions() == []


@pytest.mark.parametrize("state", ["pending", "live"])
def test_a_second_hello_on_one_session_is_refused(state: str) -> None:
    upper = Upper()
    getattr(upper, state)()
    assert reasons(upper.hear(hello(name="other"))) == ["BAD_HEADER"]
    assert [name for name, _ in upper.sessions()] == ["git"]


def test_complaints_are_logged_once_a_second_and_counted_always() -> None:
    upper = Upper()
    upper.pending()
    noted = [len(of(upper.hear(EVENT), Note)) for _ in range(5)]
    assert noted == [1, 0, 0, 0, 0]
    upper.wait(1.0)
    assert len(of(upper.hear(EVENT), Note)) == 1
    assert upper.shoset.counters["not_validated"] == 6


# ---- LIVE: another HELLO of the same component


def test_a_newer_process_replaces_the_older_once_it_is_validated() -> None:
    upper = Upper()
    older = upper.live(boot="boot-1")
    newer = upper.pending(link=b"r2", boot="boot-2")
    assert upper.shoset.is_live(older), "a stranger who knows a name replaces nobody"
    actions = upper.shoset.validate(newer, START)
    assert kinds(sent(actions, b"r1")) == [Kind.REPLACED]
    assert kinds(sent(actions, b"r2")) == [Kind.WELCOME]
    assert upper.shoset.peers() == [newer]
    assert upper.role.names()[-2:] == ["peer_down", "peer_up"]
    assert upper.role.heard[-2][1:] == (older, "replaced")


def test_a_stranger_who_is_refused_replaces_nobody() -> None:
    upper = Upper()
    older = upper.live(boot="boot-1")
    stranger = upper.pending(link=b"r2", boot="boot-9", key="other key")
    upper.shoset.refuse(stranger, Reason.WRONG_KEY, "", START)
    assert upper.shoset.peers() == [older]


def test_an_older_process_does_not_replace_a_newer_one() -> None:
    """A frozen process that wakes up connects again: it is the one that is done."""
    upper = Upper()
    newer = upper.live(boot="boot-2")
    older = upper.pending(link=b"r2", boot="boot-1")
    actions = upper.shoset.validate(older, START)
    assert kinds(sent(actions)) == [Kind.REPLACED]
    assert [t.link for t in of(actions, Transmit)] == [b"r2"]
    assert upper.shoset.peers() == [newer]
    assert "peer_down" not in upper.role.names()


def test_the_same_process_renews_its_session_in_silence() -> None:
    upper = Upper()
    older = upper.live(boot="boot-1", session="s1")
    newer = upper.pending(link=b"r2", boot="boot-1", session="s2")
    actions = upper.shoset.validate(newer, START)
    assert kinds(sent(actions)) == [Kind.WELCOME]
    assert upper.shoset.peers() == [newer]
    assert upper.role.heard[-2] == ("peer_down", older, "session renewed")
    assert upper.role.heard[-1] == ("peer_up", newer)
    assert reasons(upper.hear(EVENT, link=b"r1")) == ["NO_SESSION"]


@pytest.mark.parametrize(
    "other", [{"name": "ci"}, {"instance": "1"}, {"tenant": "t2"}, {"kind": "aggregator"}], ids=str
)
def test_another_component_replaces_nobody(other: dict[str, str]) -> None:
    upper = Upper()
    upper.live(boot="boot-1")
    upper.live(link=b"r2", **{"boot": "boot-2", **other})
    assert len(upper.shoset.peers()) == 2


# ---- LIVE: endings


def test_silence_for_2500_ms() -> None:
    upper = Upper()
    peer = upper.live()
    upper.wait(2.499)
    assert upper.shoset.is_live(peer)
    upper.wait(0.001)
    assert not upper.shoset.is_live(peer)
    assert upper.role.heard[-1] == ("peer_down", peer, "silent")


@pytest.mark.parametrize("message", [BEAT, EVENT])
def test_anything_from_a_peer_breaks_the_silence(message: Message) -> None:
    upper = Upper()
    peer = upper.live()
    for _ in range(4):
        upper.wait(2.4)
        upper.hear(message)
    assert upper.shoset.is_live(peer)


def test_a_frozen_process_drops_dead_sessions_before_it_reads_their_frames() -> None:
    upper = Upper()
    upper.live()
    upper.wait(5)  # the shell ticks first, then hands on what waited in the socket
    assert upper.sessions() == []
    assert reasons(upper.hear(EVENT, EVENT)) == ["NO_SESSION", "NO_SESSION"]
    assert upper.role.received_messages() == []


def test_goaway() -> None:
    upper = Upper()
    peer = upper.live()
    upper.hear(GOAWAY, EVENT)
    assert upper.role.heard[-1] == ("peer_down", peer, "GOAWAY")
    assert upper.role.received_messages() == []


def test_revoked() -> None:
    upper = Upper()
    peer = upper.live()
    actions = upper.shoset.drop(peer, Reason.REVOKED, "revoked", START)
    assert reasons(actions) == ["REVOKED"]
    assert upper.role.heard[-1] == ("peer_down", peer, "REVOKED")
    assert upper.sessions() == []


@pytest.mark.parametrize("by", ["send", "beat"])
def test_a_peer_that_the_socket_does_not_know_is_gone(by: str) -> None:
    """EHOSTUNREACH of a ROUTER, whether on a message or on a beat."""
    upper = Upper()
    peer = upper.live()
    told: list[Instant] = []

    def refused(now: Instant) -> Actions:
        told.append(now)
        return []

    actions = upper.shoset.send(peer, [EVENT], START, refused) if by == "send" else upper.wait(0.75)
    (transmit,) = [t for t in of(actions, Transmit) if t.link == b"r1"]
    assert transmit.refused is not None
    transmit.refused(START)
    assert upper.role.heard[-1] == ("peer_down", peer, "unreachable")
    assert told == ([START] if by == "send" else [])
    assert upper.sessions() == []


def test_what_a_live_peer_sends_reaches_the_role_in_order() -> None:
    upper = Upper()
    peer = upper.live()
    batch = [EVENT.with_fields(uuid=f"e{n}") for n in range(4)]
    upper.hear(*batch)
    assert [(e[1], e[2]) for e in upper.role.heard if e[0] == "received"] == [(peer, m) for m in batch]


def test_an_error_of_a_live_peer_is_noted_and_counted() -> None:
    upper = Upper()
    peer = upper.live()
    (note,) = upper.hear(Message(Kind.ERROR, {"reason": "BAD_HEADER", "detail": "x"}))
    assert isinstance(note, Note)
    assert upper.shoset.counters["error_heard.BAD_HEADER"] == 1
    assert upper.shoset.is_live(peer)


def test_a_secret_of_a_live_peer_is_the_role_s() -> None:
    """An aggregator passes on the secrets of its connectors over its own live session."""
    upper = Upper()
    upper.live()
    upper.hear(SECRET.with_fields(uuid="of a connector"))
    assert upper.role.heard[-1][0] == "secret"


# ---- limits on sessions


def test_sessions_are_bounded() -> None:
    upper = Upper(replace(SETTINGS, max_sessions=3))
    for number in range(3):
        upper.live(link=b"r%d" % number, name=f"c{number}")
    actions = upper.hear(hello(name="one-more"), link=b"r9")
    assert reasons(actions) == ["BUSY"]
    assert len(upper.sessions()) == 3


def test_sessions_that_are_not_validated_are_bounded_by_themselves() -> None:
    upper = Upper(replace(SETTINGS, max_unvalidated=2))
    upper.live(link=b"r0", name="c0")
    pending = [upper.pending(link=b"p%d" % n, name=f"p{n}") for n in range(2)]
    assert reasons(upper.hear(hello(name="one-more"), link=b"r9")) == ["BUSY"]
    upper.shoset.validate(pending[0], START)
    assert reasons(upper.hear(hello(name="one-more"), link=b"r9")) == []


def test_who_says_hello_and_shows_no_secret_gives_way_to_who_comes_next() -> None:
    """Else anybody who knows an endpoint shuts everybody out, by beating on in silence."""
    upper = Upper(replace(SETTINGS, max_unvalidated=2))
    for number in range(2):
        upper.hear(hello(name=f"stranger-{number}"), link=b"s%d" % number)
    actions = upper.hear(hello(), SECRET, link=b"r1")
    assert [(m.kind, m.text("reason")) for m in sent(actions, b"s0")] == [(Kind.ERROR, "BUSY")]
    assert kinds(sent(actions, b"r1")) == [Kind.WELCOME]
    assert [name for name, _ in upper.sessions()] == ["stranger-1", "git"]


def test_a_session_that_ends_makes_room() -> None:
    upper = Upper(replace(SETTINGS, max_sessions=1))
    upper.live()
    upper.hear(GOAWAY)
    upper.live(link=b"r2", name="ci")


# ---- leaving


def test_leave() -> None:
    upper = Upper()
    upper.live()
    upper.pending(link=b"r2", name="ci")
    actions = upper.shoset.leave(START)
    assert kinds(sent(actions, b"r1")) == [Kind.GOAWAY]
    assert reasons(upper.hear(hello(name="late"), link=b"r3")) == ["DRAINING"]


def test_welcome_anew() -> None:
    beats: dict[str, Any] = {"instances": ["one"]}
    upper = Upper(role=Recorder(beats=beats))
    peer = upper.live()
    beats["instances"] = ["one", "two"]
    (welcome,) = sent(upper.shoset.welcome(peer, START))
    assert welcome.header["instances"] == ["one", "two"]
    assert welcome.header["validated"] is True
    pending = upper.pending(link=b"r2", name="ci")
    assert upper.shoset.welcome(pending, START) == []
