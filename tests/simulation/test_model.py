"""The model sees each broken promise, and only those."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.simulation.model import RULES, Attempt, Model
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.messages.message import derived_uuid

A, B = "t1/git", "t1/ci"
BODY = orjson.dumps({"tenant": "t1"})


class Story:
    """What happens, told to a model; times in seconds."""

    def __init__(self) -> None:
        self.model = Model(lease_limit=45.0, dedupe_window=110.0)
        self.now = 0

    def at(self, seconds: float) -> Story:
        self.now = int(seconds * SECOND)
        return self

    def send(self, outcome: str = "", *, node: str = A, uuid: str = "u1", body: bytes = BODY) -> Attempt:
        attempt = self.model.sending(self.now, node, uuid, body, 1_000)
        if outcome:
            self.model.outcome(self.now, attempt, outcome, uuid)
        return attempt

    def hand(self, *, node: str = B, uuid: str = "u1", worker: str = "w1", body: bytes = BODY) -> None:
        self.model.handed(self.now, node, uuid, body, worker, f"iterator of {worker}", {})
        self.model.executed(self.now, node, uuid, worker)

    def complete(self, uuid: str = "u1", node: str = B) -> None:
        self.model.completed(self.now, node, uuid)

    def store(self, node: str, uuid: str, **meta: Any) -> None:
        known = {
            "uuid": uuid,
            "topic": "NEWS",
            "event": "SAID",
            "reference": "",
            "source": "x",
            "directed": False,
        }
        self.model.event_stored(self.now, node, {**known, **meta})

    def reply(self, uuid: str = "r1", to: str = "u1", node: str = A, event: str = "SUCCES") -> None:
        self.store(node, uuid, topic="BUILD", event=event, reference=to, directed=True)

    def finish(self) -> list[str]:
        self.model.finish(self.now, [A, B])
        return self.broken()

    def broken(self) -> list[str]:
        found = [violation.rule for violation in self.model.violations]
        assert set(found) <= set(RULES)
        return found


def whole() -> Story:
    """A command that went as it should."""
    story = Story().at(1)
    story.send("ACCEPTED")
    story.at(2).hand()
    story.at(3).complete()
    story.reply()
    return story


def test_a_command_that_went_well_breaks_nothing() -> None:
    assert whole().at(100).finish() == []


def test_receipted_and_never_executed_is_lost_as_is_its_reply() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    assert story.finish() == ["lost command", "lost command"]


def test_a_reply_that_never_comes_is_lost() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    story.hand()
    story.complete()
    assert story.finish() == ["lost command"]


@pytest.mark.parametrize(("hand_outs", "broken"), [(4, ["lost command"]), (5, [])])
def test_a_dead_letter_is_an_end_only_after_all_attempts(hand_outs: int, broken: list[str]) -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    for number in range(hand_outs):
        story.at(50 * number).hand()
    story.at(300).reply(derived_uuid("u1", "FAIL"), event="FAIL")
    assert story.finish() == broken


def test_a_dead_letter_is_not_handed_out_again() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    for number in range(5):
        story.at(50 * number).hand()
    story.at(300).reply(derived_uuid("u1", "FAIL"), event="FAIL")
    story.at(301).hand()
    assert story.finish() == ["redelivery"]


def test_a_refused_command_must_not_run() -> None:
    story = Story().at(1)
    story.send("TARGET_AWAY")
    story.hand()
    assert "unexpected execution" in story.finish()


def test_but_one_that_was_sent_again_may() -> None:
    story = Story().at(1)
    story.send("TARGET_AWAY")
    story.send("ACCEPTED")
    story.hand()
    story.complete()
    story.reply()
    assert story.finish() == []


def test_two_connectors_must_not_run_one_command() -> None:
    story = whole()
    story.hand(node="t1/git2")
    assert story.broken() == ["redelivery", "unexpected execution"]


def test_handed_out_after_its_completion() -> None:
    story = whole().at(20)
    story.hand(worker="w2")
    assert "redelivery" in story.broken()


def test_handed_out_while_somebody_has_it() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    story.hand()
    story.at(3).hand(worker="w2")
    assert story.broken() == ["overlapping leases"]


def test_handed_out_again_after_its_holder_died_or_the_limit() -> None:
    for happens in (("w1", ""), ("", "iterator of w1"), ("", "")):
        story = Story().at(1)
        story.send("ACCEPTED")
        story.hand()
        story.model.lease_may_end(2 * SECOND, B, *happens)
        story.at(3).hand(worker="w2")
        story.at(50).hand(worker="w3")
        assert story.broken() == []


def test_somebody_else_s_death_ends_no_lease() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    story.hand()
    story.model.lease_may_end(2 * SECOND, B, "w9", "")
    story.at(3).hand(worker="w2")
    assert story.broken() == ["overlapping leases"]


def test_two_final_replies() -> None:
    story = whole()
    story.reply("r1")
    assert story.broken() == [], "the same one again is none"
    story.reply("r2", event="FAIL")
    assert story.broken() == ["accepted twice"]


def test_two_bodies_for_one_uuid() -> None:
    story = whole()
    story.send("CONFLICT", body=b'{"other":1}')
    assert story.broken() == []
    story.send("ACCEPTED", body=b'{"other":1}')
    assert story.broken() == ["accepted twice"]


def test_an_answer_about_another_command() -> None:
    story = Story().at(1)
    story.model.outcome(story.now, story.send(), "ACCEPTED", "u2")
    assert story.broken() == ["wrong uuid"]
    story.model.reply_read(story.now, A, "u1", "u2", "SUCCES")
    story.reply("r9", node=B)
    assert story.broken() == ["wrong uuid"] * 3


def test_a_body_that_nobody_sent() -> None:
    story = Story().at(1)
    story.send("ACCEPTED")
    story.hand(body=b'{"tenant":"t1","forged":1}')
    assert story.broken() == ["wrong uuid"]


def test_an_answer_after_the_deadline() -> None:
    story = Story().at(1)
    attempt = story.send()
    story.model.outcome(story.now + 1_100 * MS, attempt, "UNKNOWN", "u1")
    assert story.broken() == []
    story.model.outcome(story.now + 1_101 * MS, attempt, "UNKNOWN", "u1")
    assert story.broken() == ["unanswered"]


def test_a_frozen_connector_s_deadline_does_not_count() -> None:
    story = Story().at(1)
    attempt = story.send()
    story.model.trouble(story.now + MS, A, begins=True)
    story.model.trouble(story.now + 5 * SECOND, A, begins=False)
    story.model.outcome(story.now + 5 * SECOND, attempt, "UNKNOWN", "u1")
    assert story.broken() == []


def test_no_answer_at_all() -> None:
    story = Story().at(1)
    story.send()
    assert story.at(100).finish() == ["unanswered"]


def test_unknown_must_end_somehow() -> None:
    story = Story().at(1)
    story.send("UNKNOWN")
    assert story.at(100).finish() == ["unknown for ever"]
    story = Story().at(1)
    story.send("UNKNOWN")
    story.at(41).reply(derived_uuid("u1", Reason.UNRECEIPTED), event="FAIL")
    assert story.at(100).finish() == []


@pytest.mark.parametrize(("again", "broken"), [("ACCEPTED", []), ("UNKNOWN", ["unheard"])])
def test_what_nobody_knew_answers_for_no_later_copy_that_was_receipted(again: str, broken: list[str]) -> None:
    story = Story().at(1)
    story.send("UNKNOWN")
    story.at(41).reply(derived_uuid("u1", Reason.UNRECEIPTED), event="FAIL")
    story.at(42).send(again)
    awaiter = story.model.awaiting(story.now, A, "u1")
    story.model.heard(story.at(43).now, awaiter, "u1")
    assert story.broken() == broken


@pytest.mark.parametrize(
    ("full", "ends", "hopeless"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_who_was_told_unknown_waits_in_vain_only_if_it_could_not_be_stored(
    full: bool, ends: bool, hopeless: bool
) -> None:
    story = Story().at(1)
    attempt = story.send()
    if full:
        story.model.trouble(story.now, A, begins=True)
    story.model.outcome(story.now + 500 * MS, attempt, "UNKNOWN", "u1")
    if ends:
        story.model.ended(story.now + SECOND, A)
    assert story.model.hopeless(A, "u1") is hopeless
    assert story.at(100).finish() == ([] if hopeless else ["unknown for ever"])


def test_a_fail_for_want_of_a_receipt_after_the_receipt() -> None:
    story = whole()
    story.at(41).reply(derived_uuid("u1", Reason.UNRECEIPTED), event="FAIL")
    assert story.broken() == ["wrong uuid"]


def test_failover_within_its_share() -> None:
    story = Story().at(1)
    story.model.outcome(story.now + 530 * MS, story.send(), "ACCEPTED", "u1")
    story.model.one_silent(0, 10 * SECOND, [A], 3)
    assert story.broken() == []
    story.model.outcome(story.now + 540 * MS, story.send(uuid="u2"), "ACCEPTED", "u2")
    story.model.one_silent(0, 10 * SECOND, [A], 3)
    assert story.broken() == ["slow failover"]


def publish(story: Story, uuid: str = "e1") -> None:
    story.model.publishing(story.now, A, uuid)
    story.model.published(story.now, A, uuid)


def test_an_event_that_a_connector_never_had() -> None:
    story = Story().at(1)
    publish(story)
    story.store(A, "e1")
    assert story.finish() == ["missed event"]
    story = Story().at(1)
    publish(story)
    story.store(A, "e1")
    story.store(B, "e1")
    assert story.finish() == []


def test_an_event_that_an_iterator_never_showed_or_showed_twice() -> None:
    story = Story()
    story.model.subscribed(0, B, "i1")
    publish(story.at(1))
    story.store(A, "e1")
    story.store(B, "e1")
    assert story.finish() == ["missed event"]
    story.model.shown(story.now, B, "i1", "e1", BODY)
    story.model.shown(story.now, B, "i1", "e1", BODY)
    assert story.broken() == ["missed event", "event twice"]


def test_a_cancelled_hand_over_or_a_crash_right_after_may_show_it_again() -> None:
    story = Story().at(1)
    story.model.shown(story.now, B, "i1", "e1", BODY)
    story.model.taken_back(story.now, B, "i1", "e1")
    story.model.shown(story.now, B, "i1", "e1", BODY)
    story.model.ended(story.now + SECOND, B)
    story.model.shown(story.now + 2 * SECOND, B, "i1", "e1", BODY)
    assert story.broken() == []
    story.model.ended(story.now + 60 * SECOND, B)
    story.model.shown(story.now + 61 * SECOND, B, "i1", "e1", BODY)
    assert story.broken() == ["event twice"]


def test_a_careful_reader_is_never_shown_anything_twice() -> None:
    story = Story().at(1)
    story.model.seen(story.now, B, "i1", "e1", BODY)
    story.model.ended(story.now + SECOND, B)
    story.model.seen(story.now + 2 * SECOND, B, "i1", "e1", BODY)
    assert story.broken() == ["event twice"]


def test_what_belongs_to_another_tenant() -> None:
    story = Story().at(1)
    publish(story)
    story.store("t2/git", "e1")
    assert story.broken() == ["cross-tenant"]
    story.model.shown(story.now, "t2/git", "i1", "e1", BODY)
    assert story.broken() == ["cross-tenant"] * 2
