"""CONFIRMs of a burst of replies."""

from __future__ import annotations

from tests.support.agendas import hold
from tests.support.transcript import START, at
from zconnector.actions import Actions, Note
from zconnector.agenda import Agenda
from zconnector.clock import Instant
from zconnector.connector.confirming import WINDOW, Confirms
from zconnector.messages.kinds import CONFIRMED_AT_ONCE
from zconnector.shoset.peers import Peer


def peer(name: str) -> Peer:
    return Peer(link=name.encode(), upward=True, kind="aggregator", tenant="t1", name="agg", instance=name)


A, B = peer("a"), peer("b")


class Sent:
    def __init__(self) -> None:
        self.said: list[tuple[str, str, list[str]]] = []
        self.agenda = Agenda()
        self.confirms = Confirms(self.send, self.agenda)

    def send(self, to: Peer, source: str, uuids: list[str], now: Instant) -> Actions:
        self.said.append((to.instance, source, uuids))
        return [Note("debug", "sent")]


def test_a_lone_one_goes_at_once() -> None:
    sent = Sent()
    assert sent.confirms.add(A, "ci", "r1", START)
    assert sent.confirms.deadline() is None
    assert sent.confirms.add(A, "ci", "r2", at(WINDOW))
    assert sent.said == [("a", "ci", ["r1"]), ("a", "ci", ["r2"])]


def test_those_behind_it_go_together_by_session_and_source() -> None:
    sent = Sent()
    for number, (to, source) in enumerate([(A, "ci"), (A, "ci"), (B, "ci"), (A, "git"), (A, "ci")]):
        hold(sent.agenda, sent.confirms.deadline)
        sent.confirms.add(to, source, f"r{number}", START)
        hold(sent.agenda, sent.confirms.deadline)
    assert sent.said == [("a", "ci", ["r0"])]
    assert sent.confirms.deadline() == START.mono + WINDOW
    assert not sent.confirms.tick(at(WINDOW / 2))
    sent.confirms.tick(at(WINDOW))
    assert sent.said[1:] == [("a", "ci", ["r1", "r4"]), ("b", "ci", ["r2"]), ("a", "git", ["r3"])]
    assert sent.confirms.deadline() is None


def test_one_that_comes_late_waits_for_no_more_than_those_before_it() -> None:
    sent = Sent()
    sent.confirms.add(A, "ci", "r1", START)
    sent.confirms.add(A, "ci", "r2", START)
    sent.confirms.add(A, "ci", "r3", at(2 * WINDOW))  # before the tick that is due
    sent.confirms.tick(at(2 * WINDOW))
    assert sent.said[1:] == [("a", "ci", ["r2", "r3"])]


def test_no_message_has_more_than_fit() -> None:
    sent = Sent()
    for number in range(CONFIRMED_AT_ONCE + 2):
        sent.confirms.add(A, "ci", f"r{number}", START)
    sent.confirms.flush(START)
    assert [len(uuids) for _, _, uuids in sent.said] == [1, CONFIRMED_AT_ONCE, 1]
