"""The connector's router: sessions, what it does with any message, and time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.connector import Connector, command, event
from tests.support.samples import messages, minimal
from tests.support.transcript import START
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def ready() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


# ---- sessions


def test_a_connector_has_nobody_below() -> None:
    con = ready()
    hello = minimal(Kind.HELLO, versions=[1], tenant="t1", name="x", instance="0")
    assert con.router.admit(hello, "key", con.now) is not None


@pytest.mark.parametrize("kind", [Kind.SECRET, Kind.CALL, Kind.CANCEL, Kind.RESULT])
def test_a_kind_that_has_no_place_here_is_noted(kind: Kind) -> None:
    con = ready()
    con.hear("a", minimal(kind))
    assert [n.fields["kind"] for n in con.notes if n.event == "unexpected kind"] == [kind.name]


# ---- time


def test_nothing_that_waits_wakes_the_process_again_and_again() -> None:
    """`wait` fails on a deadline that its tick does not move; this holds one of everything."""
    con = ready()
    con.hear("a", command(), event("e9", seq=9))
    con.wait_command()
    con.call("send_command", uuid="out", type="Ci", command="B", timeout=1500)
    con.call("send_event", uuid="e1", topic="T", event="E")
    con.call("send_event", uuid="r1", topic="CLONE", event="SUCCES", reference="c1", worker="w1")
    con.wait_event("T", reference="x")
    con.call("register", worker="w1", major=1, minor=0, commands=["CLONE", "PULL"])
    con.call("beat", worker="w1", major=1, minor=0)
    con.wait(90.0)
    con.down("a")
    con.down("b")
    con.wait(90.0)
    assert con.now.mono == START.mono + 180.0


def test_a_full_disk_wakes_nobody_again_and_again() -> None:
    con = ready()
    con.hear("a", command(), event("e9", seq=9))
    con.wait_command()
    con.full = True
    con.call("send_event", uuid="e1", topic="T", event="E")
    con.hear("a", event("e10", seq=10))
    con.wait(60.0)
    con.full = False
    con.wait(60.0)
    assert con.machine.status(con.now)["healthy"] is True


# ---- whatever comes


@settings(max_examples=150, deadline=None)
@given(st.lists(messages(), max_size=6), st.booleans())
def test_no_well_formed_message_breaks_the_core(batch: list[Message], full: bool) -> None:
    con = ready()
    con.full = full
    for message in batch:
        live = con.router.shoset.peers()
        if live and con.stopped is None:
            con.hear(live[0].instance, message)
    if con.stopped is None:
        con.full = False
        con.wait(3.0)


def test_a_second_welcome_has_it_ask_again_for_what_it_may_have_missed() -> None:
    """A push while the instance had no session with a member reached nobody (seed 31114)."""
    con = Connector(["a"])
    con.ready()
    con.clear()
    (peer,) = con.router.shoset.peers()
    con.hear("a", con.welcome("a", peer.session))
    assert [(m.kind, m.text("command")) for m in con.said(Kind.CONFIGURATION) + con.said(Kind.CONFIG)] == [
        (Kind.CONFIGURATION, "SAVE"),
        (Kind.CONFIG, "GET"),
    ]
