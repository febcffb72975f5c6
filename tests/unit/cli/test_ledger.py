"""The ledger must see each way in which a promise can be broken."""

from __future__ import annotations

from zconnector.cli.ledger import Ledger

BOTH = frozenset({"git", "ci"})


def told_in_full() -> Ledger:
    ledger = Ledger()
    ledger.sent("c1", "ci")
    ledger.receipted("c1")
    ledger.executed("c1")
    ledger.answered("c1")
    ledger.final("c1", "r1")
    ledger.published("e1", BOTH)
    ledger.saw("e1", "git")
    ledger.saw("e1", "ci")
    return ledger


def test_a_full_story_is_good() -> None:
    verdict = told_in_full().verdict()
    assert verdict.good
    assert (verdict.commands, verdict.receipts, verdict.replies, verdict.events, verdict.arrivals) == (
        1,
        1,
        1,
        1,
        2,
    )
    assert (verdict.lost, verdict.flagged) == (0, 0)


def test_a_receipted_command_without_reply_is_lost() -> None:
    ledger = told_in_full()
    ledger.sent("c2", "ci")
    ledger.receipted("c2")
    assert ledger.open_commands == 1
    assert ledger.verdict().lost_commands == ("c2",)
    assert not ledger.verdict().good


def test_a_command_without_receipt_is_not_lost() -> None:
    ledger = told_in_full()
    ledger.sent("c2", "ci")
    assert ledger.verdict().good


def test_an_event_that_one_of_the_connectors_missed_is_lost() -> None:
    ledger = told_in_full()
    ledger.published("e2", BOTH)
    ledger.saw("e2", "git")
    assert ledger.open_events == 1
    assert ledger.verdict().lost_events == ("e2",)
    assert not ledger.verdict().good


def test_what_a_worker_writes_first_counts_too() -> None:
    ledger = Ledger()
    assert ledger.executed("c1")
    assert ledger.saw("e1", "ci")
    ledger.sent("c1", "ci")
    ledger.published("e1", frozenset({"ci"}))
    assert ledger.commands["c1"].executions == 1
    assert ledger.open_events == 0


def test_a_second_execution_is_flagged_and_allowed() -> None:
    ledger = told_in_full()
    assert not ledger.executed("c1")
    assert ledger.verdict().executed_again == 1
    assert ledger.verdict().flagged == 1
    assert ledger.verdict().good


def test_a_second_reply_is_not_allowed() -> None:
    ledger = told_in_full()
    ledger.final("c1", "r1")  # the same one, shown again
    assert ledger.verdict().good
    ledger.final("c1", "r2")
    assert ledger.verdict().extra_replies == ("c1",)
    assert not ledger.verdict().good


def test_an_event_seen_twice_is_flagged() -> None:
    ledger = told_in_full()
    assert not ledger.saw("e1", "ci")
    assert ledger.verdict().events_again == 1


def test_a_refused_command_that_ran_is_not_allowed() -> None:
    ledger = told_in_full()
    ledger.sent("c2", "ci")
    ledger.refused("c2", "NO_AGGREGATOR")
    assert ledger.verdict().good
    ledger.executed("c2")
    assert ledger.verdict().executed_unsent == ("c2",)
    assert not ledger.verdict().good
