"""Whose frames they are, and what a bad one gets (WIRE.md section 11), at the end that bound."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.samples import messages, minimal
from tests.support.sessions import (
    EVENT,
    Lower,
    Upper,
    hello,
    reasons,
    welcome,
)
from tests.support.transcript import START, frames_of, of, sent
from zconnector.actions import Note, Transmit
from zconnector.messages.codec import decode, encode_one, encode_packed
from zconnector.messages.kinds import VERSION, Flag, Kind
from zconnector.messages.message import Message

# ---- identity: the key of every frame


def test_a_session_belongs_to_the_key_that_began_it() -> None:
    upper = Upper()
    upper.live()
    actions = upper.hear(EVENT, key="key-of-another")
    assert reasons(actions) == ["NO_SESSION"]
    assert upper.role.received_messages() == []
    assert upper.shoset.counters["wrong_key"] == 1
    upper.hear(EVENT)
    assert len(upper.role.received_messages()) == 1, "the session itself is not touched"


# ---- PACKs (section 1): to those who said that they read them


@pytest.mark.parametrize("says", [{}, {"packs": False}, {"packs": True}], ids=str)
def test_a_peer_below_gets_packs_if_its_hello_says_so(says: dict[str, Any]) -> None:
    upper = Upper()
    peer = upper.live(**says)
    (transmit,) = of(upper.shoset.send(peer, [EVENT], START), Transmit)
    assert transmit.packs is says.get("packs", False)
    assert sent(upper.hear(hello(), link=b"r2"), b"r2")[0].header["packs"] is True, "and is told that we do"


@pytest.mark.parametrize("says", [{}, {"packs": False}, {"packs": True}], ids=str)
def test_a_peer_above_gets_packs_if_its_welcome_says_so(says: dict[str, bool]) -> None:
    lower = Lower()
    (greeting, _) = lower.open()
    assert greeting.header["packs"] is True
    lower.hear(welcome(greeting.text("session"), validated=True, **says))
    (peer,) = lower.shoset.peers()
    (transmit,) = of(lower.shoset.send(peer, [EVENT], START), Transmit)
    assert transmit.packs is says.get("packs", False)


def test_a_pack_is_its_messages_in_their_order() -> None:
    upper = Upper()
    peer = upper.live()
    ((frames, _),) = encode_packed([EVENT.with_fields(uuid=f"e{n}") for n in range(5)])
    upper.shoset.frames(b"r1", "key-git", frames, START)
    assert [m.uuid for m in upper.role.received_messages()] == [f"e{n}" for n in range(5)]
    assert peer.received == 5


def test_no_message_of_a_pack_begins_a_session() -> None:
    upper = Upper()
    ((frames, _),) = encode_packed([EVENT, EVENT])
    assert reasons(upper.shoset.frames(b"r1", "key-git", frames, START)) == ["NO_SESSION"] * 2


# ---- a bad frame (section 11)


_BAD = {
    "BAD_FRAME": [b"rubbish"],
    "BAD_HEADER": [b"ZC\x01\x02\0\0\0\0", b'{"uuid":"e1","topic":"t"}', b""],
    "TOO_LARGE": [b"ZC\x01\x02\0\0\0\0", b" " * 70_000, b""],
}


@pytest.mark.parametrize("reason", _BAD)
@pytest.mark.parametrize("state", ["none", "pending", "live"])
def test_a_bad_frame_is_answered_and_the_session_stays(reason: str, state: str) -> None:
    upper = Upper()
    if state != "none":
        getattr(upper, state)()
    before = upper.sessions()
    actions = upper.shoset.frames(b"r1", "key-git", _BAD[reason], START)
    assert reasons(actions) == [reason]
    assert sent(actions)[0].reference == ("e1" if reason == "BAD_HEADER" else "")
    assert upper.shoset.counters[f"bad.{reason}"] == 1
    assert upper.sessions() == before
    assert of(upper.shoset.frames(b"r1", "key-git", _BAD[reason], START), Note) == [], "logged once a second"


def test_the_good_messages_beside_a_bad_one_are_refused_with_it_and_no_others() -> None:
    upper = Upper()
    upper.live()
    upper.hear(EVENT.with_fields(uuid="earlier"))
    upper.shoset.frames(b"r1", "key-git", [*frames_of(EVENT), *_BAD["BAD_HEADER"]], START)
    upper.hear(EVENT.with_fields(uuid="later"))
    assert [m.uuid for m in upper.role.received_messages()] == ["earlier", "later"]


@pytest.mark.parametrize("state", ["pending", "live"])
def test_another_version_drops_the_session(state: str) -> None:
    upper = Upper()
    peer = getattr(upper, state)()
    frames = frames_of(EVENT)
    actions = upper.shoset.frames(b"r1", "key-git", [b"ZC\x07" + frames[0][3:], *frames[1:]], START)
    (error,) = [m for m in sent(actions) if m.kind is Kind.ERROR]
    assert error.text("reason") == "UNSUPPORTED_VERSION"
    assert "7" in error.text("detail")
    assert str(VERSION) in error.text("detail")
    assert upper.sessions() == []
    if state == "live":
        assert upper.role.heard[-1] == ("peer_down", peer, "UNSUPPORTED_VERSION")


def test_a_strangers_hello_that_is_too_deep_to_be_told_of_is_refused() -> None:
    """Its versions were quoted in the refusal: a RecursionError, which ended the process."""
    upper = Upper()
    header = dict(minimal(Kind.HELLO).header)
    del header["versions"]
    deep = b"[" * 1000 + b"]" * 1000
    raw = orjson.dumps(header)[:-1] + b',"versions":[' + deep + b"]}"
    actions = upper.shoset.frames(b"r1", "key", [b"ZC\x01\x10\0\0\0\0", raw, b""], START)
    assert reasons(actions) == ["BAD_HEADER"]


@settings(max_examples=100, deadline=None)
@given(st.lists(messages(), max_size=5), st.sampled_from(["none", "pending", "live"]))
def test_no_well_formed_message_breaks_the_core(batch: list[Message], state: str) -> None:
    """An exception in a core ends its process: no peer, known or unknown, may bring one about."""
    upper = Upper()
    if state != "none":
        getattr(upper, state)()
    for message in batch:
        actions = upper.hear(message)
        for answer in sent(actions):
            assert decode(encode_one(answer))
        upper.wait(0.1)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("state", ["none", "pending", "live"])
def test_a_bare_answer_of_any_kind_breaks_nothing(kind: Kind, state: str) -> None:
    upper = Upper()
    if state != "none":
        getattr(upper, state)()
    frames = encode_one(Message(kind, {"reference": "r"}, b"", Flag.ANSWER))
    for answer in sent(upper.shoset.frames(b"r1", "key-git", frames, START)):
        assert decode(encode_one(answer))
