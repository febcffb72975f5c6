from __future__ import annotations

from tests.unit.cluster.bench import topology
from zconnector.messages.kinds import Kind


def test_a_reply_is_passed_on_at_once_and_confirmed_after_its_commit() -> None:
    bench, (a, b) = topology()
    bench.held = True
    bench.log.clear()
    a.reply("r1", "u1", "ci", "git")
    (reply,) = a.take()
    assert (reply.reference, reply.text("recipient"), reply.text("event")) == ("u1", "git", "SUCCES")
    assert bench.log[-1] == "member.reply_before_commit"
    b.confirm("r1", "git", "ci")
    assert a.take() == b.take() == []
    bench.release()
    (confirm,) = b.take()
    assert confirm.kind is Kind.CONFIRM
    assert confirm.header["entries"] == [["r1", 0]]
    assert confirm.text("recipient") == "ci"
    assert confirm.text("source") == "git"


def test_a_failed_commit_holds_the_confirmation_back_for_good() -> None:
    bench, (a, b) = topology()
    bench.held = True
    a.reply("r1", "u1", "ci", "git")
    b.confirm("r1", "git", "ci")
    bench.failing = True
    bench.release()
    bench.held = bench.failing = False
    a.take()
    assert b.take() == []
    a.reply("r1", "u1", "ci", "git")
    b.confirm("r1", "git", "ci")
    assert [m.kind for m in b.take()] == [Kind.CONFIRM]


def test_after_a_crash_before_the_commit_a_confirmation_waits_for_the_reply_to_come_again() -> None:
    bench, (a, _) = topology()
    bench.held = True
    a.reply("r1", "u1", "ci", "git")
    bench.boot()
    bench.held = False
    a.begin("git", "ci")
    a.confirm("r1", "git", "ci")
    assert a.take() == []
    a.reply("r1", "u1", "ci", "git")
    a.take()
    a.confirm("r1", "git", "ci")
    assert [m.kind for m in a.take()] == [Kind.CONFIRM]


def test_after_a_crash_behind_the_commit_a_confirmation_passes() -> None:
    bench, (a, _) = topology()
    a.reply("r1", "u1", "ci", "git")
    bench.boot()
    a.begin("git", "ci")
    a.confirm("r1", "git", "ci")
    assert [m.kind for m in a.take()] == [Kind.CONFIRM]


def test_a_copy_is_passed_on_again_but_journalled_once() -> None:
    bench, (a, b) = topology()
    a.reply("r1", "u1", "ci", "git")
    bench.log.clear()
    b.reply("r1", "u1", "ci", "git")
    assert [m.uuid for m in b.take()] == ["r1"]
    assert "committed" not in bench.log


def test_a_reply_goes_to_an_instance_that_has_its_recipient() -> None:
    _, (a, b) = topology()
    a.full("ci")
    a.take()
    a.reply("r1", "u1", "ci", "git")
    assert a.take() == []
    assert [m.uuid for m in b.take()] == ["r1"]


def test_a_reply_to_somebody_away_is_journalled_and_asked_for_when_he_returns() -> None:
    bench, (a, b) = topology()
    for instance in (a, b):
        instance.full("ci")
        instance.take()
    a.reply("r1", "u1", "ci", "git")
    assert a.take() == b.take() == []
    assert bench.store.has_reply("acme", "r1")
    b.delta(["git"], [])
    assert [m.header["entries"] for m in a.take(Kind.PRESENCE)] == [["git"]]


def test_confirmations_with_entries_that_are_none_are_passed_over() -> None:
    _, (a, _) = topology()
    a.reply("r1", "u1", "ci", "git")
    a.take()
    from zconnector.messages.message import Message

    entries = ["r1", [1, 2], ["r1"], ["r1", 0], [], None]
    a.give(Message(Kind.CONFIRM, {"entries": entries, "source": "git", "recipient": "ci"}))
    (confirm,) = a.take()
    assert confirm.header["entries"] == [["r1", 0]]
