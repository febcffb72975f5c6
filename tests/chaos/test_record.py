"""The judgement is able to fail: each broken promise that clients and workers can see is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.record import Record, tally

BOTH = frozenset({"git", "ci"})


class Story(Record):
    """A record whose sentences are short."""

    def __init__(self, path: Path) -> None:
        super().__init__(path / "record.jsonl")

    def tried(self, at: float, uuid: str, outcome: str, *, took: float = 0.1, body: str = "one") -> None:
        if uuid not in self.commands:
            self.sent(uuid, "ci")
        attempt = self.sending(at, "git", uuid, body, 3.0)
        self.outcome(at + took, attempt, outcome, uuid, 0.0)

    def ran(self, at: float, uuid: str, worker: str = "ci-1") -> None:
        self.worked(at, "ci", worker, uuid, "one")

    def replied(self, at: float, uuid: str, reply: str = "r1", event: str = "SUCCES") -> None:
        self.observed_reply(at, "git", reply, uuid, "BUILD", event)

    def happened(self, at: float, uuid: str) -> None:
        self.publishing(at, "git", uuid)
        self.event_taken(at + 0.1, "git", uuid, BOTH)

    def broken(self) -> set[str]:
        return set(tally(self.judge(1000.0, ["git", "ci"]).violations))


@pytest.fixture
def story(tmp_path: Path) -> Story:
    story = Story(tmp_path)
    for name in BOTH:
        story.observing(1.0, name, f"{name}-ear")
    return story


def test_what_its_sender_read_is_open_until_the_ear_was_shown_it(story: Story) -> None:
    """A run ended in between, and the reply that had been read was lost to the judge."""
    story.tried(2, "c", "ACCEPTED")
    story.answered("c")
    assert story.unheard == 1
    story.replied(3, "c", "on", "ON_GOING")
    assert story.unheard == 1
    story.replied(3, "c")
    assert story.unheard == 0


def test_all_is_well(story: Story) -> None:
    story.tried(2, "c", "NO_AGGREGATOR")
    story.tried(3, "c", "UNKNOWN", took=3.05)
    story.tried(8, "c", "ACCEPTED")
    story.replied(8.4, "c", "on", "ON_GOING")
    story.replied(9, "c")
    story.ran(8.5, "c")  # told late, through its pipe
    story.happened(10, "e")
    for name in BOTH:
        story.observed(11, name, f"{name}-ear", "e")
    story.worker_heard(11, "ci", "ci-1-5", "e")
    assert story.broken() == set()


def test_receipted_and_never_run(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    assert story.broken() == {"lost command"}


def test_receipted_and_its_reply_never_seen(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    assert story.broken() == {"lost command"}


def test_two_completions(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    story.replied(3, "c", "r1")
    story.replied(3.1, "c", "r2", "FAIL")
    assert story.broken() == {"accepted twice"}


def test_two_bodies(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.tried(3, "c", "ACCEPTED", body="another")
    story.ran(2.5, "c")
    story.replied(3, "c")
    assert "accepted twice" in story.broken()


def test_refused_and_run(story: Story) -> None:
    story.tried(2, "c", "final INVALID_PAYLOAD")
    story.ran(2.5, "c")
    assert story.broken() == {"unexpected execution"}


def test_run_after_its_reply(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    story.replied(3, "c")
    story.leases_may_end(4, "ci")
    story.ran(5, "c", "ci-2")
    assert story.broken() == {"redelivery"}


def test_but_what_a_frozen_worker_held_may_be_run_late(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    story.replied(3, "c")
    story.thawed(5, "ci")
    story.ran(5.1, "c", "ci-2")
    assert story.broken() == set()


@pytest.mark.parametrize("excused", [False, True])
def test_run_by_two_at_once(story: Story, excused: bool) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    if excused:
        story.leases_may_end(2.6, "ci")
    story.ran(2.7, "c", "ci-2")
    story.replied(3, "c")
    assert story.broken() == (set() if excused else {"overlapping leases"})


@pytest.mark.parametrize(("took", "stalled", "late"), [(3.09, 0, False), (3.2, 0, True), (3.2, 0.15, False)])
def test_heard_too_late(story: Story, took: float, stalled: float, late: bool) -> None:
    story.sent("c", "ci")
    attempt = story.sending(2, "git", "c", "one", 3.0)
    story.outcome(2 + took, attempt, "BUSY", "c", stalled)
    assert story.broken() == ({"unanswered"} if late else set())


def test_not_counted_while_its_connector_is_frozen(story: Story) -> None:
    story.trouble(3, "git", True)
    story.trouble(9, "git", False)
    story.tried(2, "c", "BUSY", took=7)
    assert story.broken() == set()


def test_never_answered(story: Story) -> None:
    story.sent("c", "ci")
    story.sending(2, "git", "c", "one", 3.0)
    assert story.broken() == {"unanswered"}


def test_an_answer_about_another(story: Story) -> None:
    story.sent("c", "ci")
    attempt = story.sending(2, "git", "c", "one", 3.0)
    story.outcome(2.1, attempt, "BUSY", "other", 0.0)
    story.reply_read(3, "git", "c", "other", True)
    assert story.broken() == {"wrong uuid"}


def test_a_reply_to_nobody(story: Story) -> None:
    story.tried(2, "c", "ACCEPTED")
    story.ran(2.5, "c")
    story.replied(3, "c")
    story.observed_reply(4, "ci", "r9", "c", "BUILD", "SUCCES")
    assert "wrong uuid" in story.broken()


def test_an_unknown_outcome_for_ever(story: Story) -> None:
    story.tried(2, "c", "UNKNOWN")
    assert story.broken() == {"unknown for ever"}


def test_an_event_that_one_never_saw(story: Story) -> None:
    story.happened(2, "e")
    story.observed(3, "git", "git-ear", "e")
    assert story.broken() == {"missed event"}
    assert story.verdict().lost_events == ("e",)


@pytest.mark.parametrize("killed", [False, True])
def test_an_event_shown_twice(story: Story, killed: bool) -> None:
    story.happened(2, "e")
    for name in BOTH:
        story.observed(3, name, f"{name}-ear", "e")
    if killed:
        story.ended(4, "git")
    story.observed(5, "git", "git-ear", "e")
    assert story.broken() == (set() if killed else {"event twice"})


def test_an_event_that_nobody_published(story: Story) -> None:
    story.observed(3, "git", "git-ear", "e")
    assert "cross-tenant" in story.broken()


def test_what_was_for_warming_up_does_not_count(story: Story) -> None:
    story.warm("w")
    story.ran(2, "w")
    story.replied(3, "w")
    story.observed(3, "git", "git-ear", "w")
    assert story.broken() == set()


def test_many_of_one_sort_do_not_hide_another(story: Story) -> None:
    """A run with 50 late answers said nothing of what else had been broken."""
    for number in range(60):
        story.tried(2, f"late-{number}", "UNKNOWN", took=3.5)
    story.tried(3, "lost", "ACCEPTED")
    found = tally(story.judge(1000.0, ["git", "ci"]).violations)
    assert found["unanswered"] == 50
    assert found["lost command"]
