"""Requests to the cluster: tried over the instances like commands, asked again until they are answered."""

from __future__ import annotations

from tests.support.connector import PIVOTS, Connector, answer
from tests.support.transcript import START
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def step(con: Connector) -> str:
    return str(con.machine.status(con.now)["initialisation"]["step"])


def requests(con: Connector, kind: Kind) -> list[tuple[str, Message]]:
    return [(to, m) for to, m in con.log if m.kind is kind and not m.is_answer]


def test_a_request_that_is_not_answered_is_asked_of_the_next_instance() -> None:
    con = Connector(["a", "b"])
    con.up("a")
    con.up("b")
    con.log.clear()
    con.down("a")
    assert sorted(m.text("command") for _, m in con.log if m.kind in (Kind.CONFIG, Kind.CONFIGURATION)) == []
    con.wait(20.0)
    to_b = {m.text("command") for m in con.said(Kind.CONFIG, "b") + con.said(Kind.CONFIGURATION, "b")}
    assert to_b == {"GET", "SAVE"}


def test_a_refusal_that_another_way_may_mend_moves_on_at_once() -> None:
    con = Connector(["a", "b"])
    for name in ("a", "b"):
        con.up(name)
    con.answer_requests()
    con.down("b")
    con.down("a")
    con.wait(0.0)
    con.clear()
    con.up("a")
    con.up("b")
    con.clear()
    # A fresh round over both instances, begun by a push of time: the first has no cluster.
    con.router.requests._waiting.clear()
    con.do(con.router.setup.validated(con.now))
    (first, get) = requests(con, Kind.CONFIG)[0]
    con.hear(first, answer(get, reason="NO_CLUSTER", detail="none"))
    assert [to for to, _ in requests(con, Kind.CONFIG)] == [first, "b" if first == "a" else "a"]
    assert con.now == START


def test_a_request_that_nobody_takes_is_asked_again_after_a_while() -> None:
    con = Connector(["a"])
    con.up()
    ((_, get),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(get, reason="NO_CLUSTER", detail="none"))
    assert [n.fields["reason"] for n in con.notes if n.event == "request failed"] == ["NO_CLUSTER"]
    con.clear()
    con.wait(0.24)
    assert requests(con, Kind.CONFIG) == []
    con.wait(0.3)
    ((_, again),) = requests(con, Kind.CONFIG)
    assert again.uuid != get.uuid
    con.hear("a", answer(again, PIVOTS))
    assert step(con) == "CONFIGURATION"


def test_a_late_answer_to_an_earlier_try_has_no_effect() -> None:
    con = Connector(["a"])
    con.up()
    ((_, get),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(get, reason="NO_CLUSTER", detail="none"))
    con.hear("a", answer(get, PIVOTS))
    assert step(con) == "CONFIGURATION"
    assert con.router.incoming.catalogue.versions == ()
