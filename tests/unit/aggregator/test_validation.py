"""Secrets on their way to the cluster: asked once, again without an answer or a member."""

from __future__ import annotations

import pytest

from tests.support.aggregator import Aggregator, Said, verdict
from tests.support.transcript import of
from zconnector.actions import Close, Stop
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def questions(agg: Aggregator) -> list[Said]:
    return [(to, m) for to, m in agg.said() if m.kind is Kind.SECRET]


def test_a_secret_goes_to_a_member_with_what_the_session_knows_of_the_peer() -> None:
    agg = Aggregator(2)
    agg.greet("git", "Git")
    ((to, question),) = questions(agg)
    assert to in ("m1", "m2")
    header = dict(question.header)
    assert header.pop("uuid") != "secret-of-git"
    assert header == {
        "command": "VALIDATE",
        "kind": "connector",
        "tenant": "t1",
        "name": "git",
        "instance": "0",
        "boot": "boot-git",
        "key": "key-git",
        "type": "Git",
    }
    assert question.payload == b"its secret"


def test_what_a_peer_says_of_itself_in_its_secret_does_not_count() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.clear()
    lie = {
        "uuid": "u",
        "command": "VALIDATE",
        "name": "ci",
        "tenant": "t2",
        "key": "key-ci",
        "kind": "member",
    }
    agg.hear("git", Message(Kind.SECRET, lie, b"x"))
    ((_, question),) = questions(agg)
    assert (question.text("name"), question.text("tenant"), question.text("key")) == ("git", "t1", "key-git")
    assert question.text("kind") == "connector"


def test_valid_with_permissions() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    agg.clear()
    agg.hear("m1", verdict(question, valid=True, permissions=["Ci:BUILD"]))
    welcome = agg.said_to("git")[0]
    assert (welcome.kind, welcome.header["validated"]) == (Kind.WELCOME, True)
    (peer,) = agg.router.shoset.peers(kind="connector")
    assert peer.permissions == ("Ci:BUILD",)


def test_refused() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    agg.clear()
    agg.hear("m1", verdict(question, valid=False, reason="WRONG_SECRET", detail="does not match"))
    (answer,) = agg.said_to("git")
    assert (answer.kind, answer.is_answer, answer.reference) == (Kind.SECRET, True, "secret-of-git")
    assert answer.header["valid"] is False
    assert (answer.text("reason"), answer.text("detail")) == ("WRONG_SECRET", "does not match")
    assert agg.router.shoset.status()["down"] == []


def test_an_answer_without_valid_is_a_refusal() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    agg.hear("m1", verdict(question, valid=True).without("valid"))
    assert agg.router.shoset.peers(kind="connector") == []


def test_without_a_member_the_question_waits_for_one() -> None:
    agg = Aggregator(1)
    agg.member_down("m1")
    agg.clear()
    agg.greet("git")
    assert questions(agg) == []
    agg.wait(1.0)
    agg.clear()
    agg.member_up("m1", 2)
    ((to, question),) = [q for q in questions(agg) if q[1].text("name") == "git"]
    assert to == "m1"
    agg.hear("m1", verdict(question, valid=True))
    assert agg.said_to("git")[-1].header["validated"] is True


def test_a_member_that_returns_is_asked_again() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.member_down("m1")
    agg.clear()
    agg.wait(0.0)
    agg.member_up("m1", 2)
    assert [q[1].text("name") for q in questions(agg) if q[1].text("name")] == ["git"]


def test_when_a_member_goes_another_is_asked_at_once() -> None:
    agg = Aggregator(2)
    agg.greet("git")
    ((asked, _),) = questions(agg)
    agg.clear()
    agg.member_down(asked)
    assert [to for to, _ in questions(agg)] == [{"m1": "m2", "m2": "m1"}[asked]]


def test_what_stays_unanswered_is_asked_again_after_3_s() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.clear()
    agg.wait(2.999)
    assert questions(agg) == []
    agg.wait(0.002)
    assert len(questions(agg)) == 1
    agg.wait(3.0)
    assert len(questions(agg)) == 2


def test_after_an_answer_nothing_is_asked_again() -> None:
    agg = Aggregator(1)
    agg.join("git")
    agg.wait(30)
    assert questions(agg) == []


def test_a_second_answer_has_no_effect() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    agg.hear("m1", verdict(question, valid=True))
    agg.clear()
    agg.hear("m1", verdict(question, valid=False, reason="WRONG_SECRET"))
    assert agg.said() == []
    assert len(agg.router.shoset.peers(kind="connector")) == 1


@pytest.mark.parametrize("valid", [True, False])
def test_an_answer_about_a_session_that_has_gone_has_no_effect(valid: bool) -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    agg.clear()
    agg.hear("m1", verdict(question, valid=valid))
    assert agg.said() == []


def test_what_is_asked_about_a_session_that_has_gone_is_forgotten() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.hear("git", Message(Kind.GOAWAY, {"reason": "DRAINING"}))
    agg.clear()
    agg.wait(10)
    assert questions(agg) == []


def test_a_secret_said_again_is_one_question_anew() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    ((_, first),) = questions(agg)
    agg.clear()
    agg.hear("git", Message(Kind.SECRET, {"uuid": "again", "command": "VALIDATE"}, b"other"))
    ((_, second),) = questions(agg)
    agg.clear()
    agg.hear("m1", verdict(first, valid=True))
    assert agg.router.shoset.peers(kind="connector") == [], "the answer to the first counts no more"
    agg.hear("m1", verdict(second, valid=True))
    assert len(agg.router.shoset.peers(kind="connector")) == 1


def test_a_live_connector_that_says_its_secret_again_changes_nothing() -> None:
    agg = Aggregator(1)
    agg.join("git")
    agg.hear("git", Message(Kind.SECRET, {"uuid": "again", "command": "VALIDATE"}, b"x"))
    assert questions(agg) == []


def test_two_connectors_are_two_questions() -> None:
    agg = Aggregator(1)
    agg.greet("git")
    agg.greet("ci")
    (_, of_git), (_, of_ci) = questions(agg)
    agg.clear()
    agg.hear("m1", verdict(of_ci, valid=True))
    agg.hear("m1", verdict(of_git, valid=False, reason="REVOKED"))
    assert agg.said_to("ci")[0].header["validated"] is True
    assert agg.said_to("git")[0].header["valid"] is False


def test_a_connector_with_a_wrong_secret_costs_the_aggregator_nothing() -> None:
    """The answer comes over the aggregator's own live session; it is not about the aggregator."""
    agg = Aggregator(1)
    agg.greet("git")
    ((_, question),) = questions(agg)
    actions = agg.hear("m1", verdict(question, valid=False, reason="WRONG_SECRET"))
    assert not of(actions, Stop)
    assert not of(actions, Close)
    assert len(agg.router.shoset.peers(kind="member")) == 1
