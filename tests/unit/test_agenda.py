"""An agenda is never later than the parts, and asks them when it has to."""

from __future__ import annotations

from math import inf

from zconnector.agenda import Agenda


class Parts:
    """Says when it is due, and how often it was asked."""

    def __init__(self, at: float | None) -> None:
        self.at = at
        self.asked = 0

    def deadline(self) -> float | None:
        self.asked += 1
        return self.at


def test_a_fresh_one_asks_the_parts_once() -> None:
    agenda, parts = Agenda(), Parts(5.0)
    assert agenda.soon(parts.deadline) == 5.0
    assert agenda.soon(parts.deadline) == 5.0
    assert parts.asked == 1


def test_an_earlier_time_counts_and_a_later_one_does_not() -> None:
    agenda, parts = Agenda(), Parts(5.0)
    agenda.learn(5.0)
    agenda.by(7.0)
    assert agenda.soon(parts.deadline) == 5.0
    agenda.by(3.0)
    assert agenda.soon(parts.deadline) == 3.0
    assert parts.asked == 0


def test_parts_that_wait_for_nothing() -> None:
    agenda, parts = Agenda(), Parts(None)
    assert agenda.soon(parts.deadline) == inf
    agenda.by(9.0)
    assert agenda.soon(parts.deadline) == 9.0


def test_a_time_that_has_come_is_asked_about() -> None:
    agenda, parts = Agenda(), Parts(8.0)
    agenda.learn(5.0)
    assert not agenda.due(4.9, parts.deadline)
    assert parts.asked == 0, "nothing can be due before"
    assert not agenda.due(5.0, parts.deadline), "what was due then has moved on"
    assert agenda.soon(parts.deadline) == 8.0
    assert agenda.due(8.0, parts.deadline)


def test_in_doubt_the_parts_are_asked() -> None:
    agenda, parts = Agenda(), Parts(4.0)
    agenda.learn(9.0)
    agenda.doubt()
    agenda.by(6.0)
    assert agenda.soon(parts.deadline) == 4.0


def test_what_is_overdue_is_asked_about_until_it_is_done() -> None:
    agenda, parts = Agenda(), Parts(0.0)
    assert agenda.due(1.0, parts.deadline)
    parts.at = 2.0
    assert not agenda.due(1.0, parts.deadline)
    assert agenda.soon(parts.deadline) == 2.0
