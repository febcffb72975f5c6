"""A pivot and a product connector brought to the cluster: asked until it is answered, then in force here."""

from __future__ import annotations

from typing import Any

import orjson

from tests.support.connector import PIVOTS, Connector, answer
from zconnector.actions import Actions, Note
from zconnector.clock import Instant
from zconnector.configuration.catalogue import Catalogue
from zconnector.configuration.pivot import Pivot, ProductConnector
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message

NEW: dict[str, Any] = {"name": "Git", "major": 1, "minor": 1, "commandtypes": [{"name": "FORK"}]}
PIVOT, PRODUCT = Pivot.from_dict(NEW), ProductConnector.from_dict({**NEW, "product": "GitLab"})
IN_FORCE = {"pivots": [*PIVOTS["pivots"], NEW], "products": []}


class Ends:
    """What `done` was told, in its order."""

    def __init__(self) -> None:
        self.told: list[Catalogue | Refusal] = []

    def __call__(self, now: Instant, outcome: Catalogue | Refusal) -> Actions:
        self.told.append(outcome)
        return [Note("info", "brought")]


def bring(
    con: Connector, ends: Ends, pivot: Pivot | None = PIVOT, product: ProductConnector | None = None
) -> None:
    con.do(con.router.setup.bring(pivot, product, ends, con.now))


def asked(con: Connector) -> list[tuple[str, Message]]:
    return [(to, m) for to, m in con.log if m.text("command") == "PUT_ABSENT" and not m.is_answer]


def ready(*names: str) -> Connector:
    con = Connector(names or ["a"])
    con.ready()
    return con


def test_what_is_brought_is_in_force_when_done_is_told_and_after_a_restart() -> None:
    con, ends = ready(), Ends()
    bring(con, ends, PIVOT, PRODUCT)
    ((_, put),) = asked(con)
    assert put.kind is Kind.CONFIG
    assert orjson.loads(put.payload) == {"pivot": PIVOT.to_dict(), "product": PRODUCT.to_dict()}
    assert ends.told == []
    con.hear("a", answer(put, IN_FORCE))
    (catalogue,) = ends.told
    assert isinstance(catalogue, Catalogue)
    assert catalogue.pivots[-1] == PIVOT
    assert [note.event for note in con.notes] == ["brought"]
    assert con.machine.status(con.now)["versions"] == ["1.0", "1.1"]
    assert con.restart().machine.status(con.now)["versions"] == ["1.0", "1.1"]


def test_one_of_them_alone_is_brought_alone() -> None:
    con, ends = ready(), Ends()
    bring(con, ends, None, PRODUCT)
    assert orjson.loads(asked(con)[0][1].payload) == {"product": PRODUCT.to_dict()}


def test_a_definite_refusal_ends_it_and_changes_nothing() -> None:
    con, ends = ready(), Ends()
    bring(con, ends)
    con.hear("a", answer(asked(con)[0][1], reason="BAD_ARGUMENT", detail="pivot.name: must be"))
    (refusal,) = ends.told
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (Reason.BAD_ARGUMENT, "pivot.name: must be")
    con.clear()
    con.wait(60.0)
    assert asked(con) == []
    assert con.machine.status(con.now)["versions"] == ["1.0"]


def test_while_no_member_answers_it_is_asked_again() -> None:
    con, ends = ready("a", "b"), Ends()
    bring(con, ends)
    asked_of = set()
    for _ in range(6):
        to, put = asked(con)[-1]
        asked_of.add(to)
        con.clear()
        con.hear(to, answer(put, reason="NO_CLUSTER", detail="none"))
        while not asked(con):  # the other instance at once, else after a pause
            con.wait(0.1)
    assert (ends.told, asked_of) == ([], {"a", "b"})
    to, put = asked(con)[-1]
    con.hear(to, answer(put, IN_FORCE))
    assert len(ends.told) == 1


def test_the_same_documents_are_one_request_and_everybody_is_told() -> None:
    con, one, two = ready(), Ends(), Ends()
    bring(con, one)
    bring(con, two)
    bring(con, other := Ends(), None, PRODUCT)
    first, second = (put for _, put in asked(con))
    con.hear("a", answer(first, IN_FORCE))
    assert (len(one.told), len(two.told), len(other.told)) == (1, 1, 0)
    con.hear("a", answer(second, IN_FORCE))
    assert len(other.told) == 1


def test_an_answer_that_cannot_be_read_is_told_and_changes_nothing() -> None:
    con, ends = ready(), Ends()
    bring(con, ends)
    con.hear("a", answer(asked(con)[0][1], {"pivots": 5}))
    (refusal,) = ends.told
    assert isinstance(refusal, Refusal)
    assert "not readable: pivots: must be a list, not int" in refusal.detail
    assert con.machine.status(con.now)["versions"] == ["1.0"]


def test_how_many_wait_is_bounded() -> None:
    con = ready()
    ends = [Ends() for _ in range(101)]
    for number, each in enumerate(ends):
        bring(con, each, Pivot.from_dict({**NEW, "minor": number}))
    assert [each.told for each in ends[:100]] == [[]] * 100
    (refusal,) = ends[100].told
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.BUSY
