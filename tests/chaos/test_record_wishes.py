"""The judgement of commands with wishes is able to fail, too, and knows what excuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.test_record import Story
from zconnector.messages.message import derived_uuid

ASKED = {"ttl": 0.0, "delay": 0.0, "order_key": "", "attempts": 0, "self": False}


class Wished(Story):
    """Sentences about commands with wishes: `git` sends, `ci` works."""

    def wish(self, at: float, uuid: str, *outcomes: str, took: float = 0.1, **asked: object) -> None:
        """Sent at once after each other until it is accepted, unless other outcomes are said."""
        self.sent(uuid, "ci")
        self.wished(at, "git", "ci", "DEPLOY", uuid, {**ASKED, **asked})
        for number, outcome in enumerate(outcomes or ("ACCEPTED",)):
            attempt = self.sending(at + number * took, "git", uuid, "one", 3.0)
            self.outcome(at + number * took + took, attempt, outcome, uuid, 0.0)

    def began(self, at: float, uuid: str, worker: str = "ci-3", attempt: int = 1, of: str = "") -> None:
        self.worked(at, "ci", worker, uuid, "one", of or uuid, "DEPLOY", attempt)

    def did(self, at: float, uuid: str, how: str = "done", worker: str = "ci-3", **more: float) -> None:
        """A whole run, of a tenth of a second; `pause`, `attempt`."""
        self.began(at, uuid, worker, int(more.get("attempt", 1)))
        self.worked_off(at + 0.1, worker, uuid, how, more.get("pause", 0.0))

    def told(self, at: float, uuid: str, reason: str = "", ok: bool | None = None) -> None:
        """The ear and then the sender hear how it ended; SUCCES without a reason."""
        good = not reason if ok is None else ok
        name = derived_uuid(uuid, "SUCCES" if good else "FAIL")
        self.observed_reply(at, "git", name, uuid, "DEPLOY", "SUCCES" if good else "FAIL")
        self.ended_as(at + 0.1, uuid, good, reason)

    def whole(self, at: float, uuid: str, **asked: Any) -> None:
        self.wish(at, uuid, **asked)
        self.did(at + 0.2, uuid)
        self.told(at + 0.5, uuid)


@pytest.fixture
def wished(tmp_path: Path) -> Wished:
    return Wished(tmp_path)


def test_all_ends_that_wishes_may_have(wished: Wished) -> None:
    wished.whole(2, "plain", order_key="k")
    wished.wish(3, "failed", "NO_CLUSTER", "UNKNOWN", "ACCEPTED", order_key="k")
    wished.did(3.6, "failed", "fail")
    wished.told(4, "failed", "FAILED")
    wished.wish(5, "expired", ttl=1.0)
    wished.told(6.1, "expired", "EXPIRED")
    wished.wish(7, "never", attempts=2)
    wished.did(7.2, "never", "retry", pause=0.5)
    wished.did(8, "never", "retry", pause=0.5, attempt=2)
    wished.told(8.2, "never", "ATTEMPTS_EXHAUSTED")
    wished.whole(9, "late", delay=0.1)
    wished.replayed(10, 10.1, "ci", "again", "failed")
    wished.began(10.05, "again", of="failed")
    wished.worked_off(10.2, "ci-3", "again", "done", 0)
    wished.told(10.5, "again")
    wished.paused(11, 20, "ci", "DEPLOY")
    wished.whole(21, "resumed", order_key="k")
    assert wished.broken() == set()
    assert wished.open_replays == 0


@pytest.mark.parametrize("reason", ["", "FAILED", "EXPIRED", "ATTEMPTS_EXHAUSTED", "PURGED", "UNRECEIPTED"])
def test_an_end_without_a_cause(wished: Wished, reason: str) -> None:
    wished.wish(2, "c", ttl=5.0)
    wished.began(2.2, "c")
    wished.told(3, "c", reason)
    assert wished.broken() == {"end without cause"}


def test_attempts_may_be_lost_to_faults(wished: Wished) -> None:
    wished.wish(2, "c", attempts=2)
    wished.did(2.2, "c", "retry")
    wished.fault(2.4, "ci", True)
    wished.told(3, "c", "ATTEMPTS_EXHAUSTED")
    assert wished.broken() == set()


def test_a_wish_that_never_ends(wished: Wished) -> None:
    wished.wish(2, "c")
    assert wished.broken() == {"lost command"}


@pytest.mark.parametrize("outcome", ["NO_CLUSTER", "final INVALID_PAYLOAD"])
def test_refused_for_now_and_run(wished: Wished, outcome: str) -> None:
    wished.wish(2, "c", outcome, "ACCEPTED", took=1.0)
    wished.did(3.0 - 0.01 + 0.005, "c")
    wished.told(4, "c")
    assert wished.broken() == set()  # the first try was not answered yet, or the second was under way
    wished.wish(12, "d", outcome)
    wished.did(14, "d")
    attempt = wished.sending(15, "git", "d", "one", 3.0)
    wished.outcome(15.1, attempt, "ACCEPTED", "d", 0.0)
    wished.told(16, "d")
    assert wished.broken() == {"refused and run"}


def test_sender_and_ear_hear_two_ends(wished: Wished) -> None:
    wished.wish(2, "c")
    wished.did(2.2, "c", "fail")
    wished.did(2.4, "c", "done", attempt=2)
    wished.observed_reply(3, "git", "r1", "c", "DEPLOY", "FAIL")
    wished.ended_as(3.1, "c", True, "")
    assert wished.broken() == {"second end"}


def test_a_letter_that_is_done_twice(wished: Wished) -> None:
    wished.whole(2, "c")
    wished.replayed(4, 4.1, "ci", "d", "c")
    wished.began(4.2, "d", of="c")
    wished.observed_reply(5, "git", "r1", "d", "DEPLOY", "SUCCES")
    assert wished.broken() == {"second end"}


@pytest.mark.parametrize("answered", [True, False])
def test_a_replay_that_is_lost(wished: Wished, answered: bool) -> None:
    wished.wish(2, "c")
    wished.did(2.2, "c", "fail")
    wished.told(3, "c", "FAILED")
    if answered:
        wished.replayed(4, 4.1, "ci", "d", "c")
    else:
        wished.replay_in_doubt(4, "ci")
        wished.began(4.2, "d", of="c")
    assert wished.open_replays == 1
    assert wished.broken() == {"replay lost"}


def test_a_reply_to_a_replay_of_which_nobody_heard(wished: Wished) -> None:
    wished.observed_reply(4, "git", "r1", "d", "DEPLOY", "SUCCES")
    assert "wrong uuid" in wished.broken()
    wished.replay_in_doubt(3, "ci")
    assert wished.broken() == set()


@pytest.mark.parametrize("late", [False, True])
def test_two_of_one_key_at_once(wished: Wished, late: bool) -> None:
    wished.wish(2, "c", order_key="k")
    wished.began(2.2, "c")
    wished.wish(2.5, "d", order_key="k")
    if late:
        wished.thawed(2.6, "ci")
    wished.did(2.7, "d")
    wished.worked_off(2.9, "ci-3", "c", "done", 0)
    for uuid in "cd":
        wished.told(3, uuid)
    assert wished.broken() == (set() if late else {"order key"})


def test_one_of_a_key_before_an_earlier_one(wished: Wished) -> None:
    wished.wish(2, "c", order_key="k")
    wished.whole(3, "d", order_key="k")
    wished.did(4, "c")
    wished.told(5, "c")
    assert wished.broken() == {"order key"}


def test_who_arrived_first_is_known_only_from_a_receipt(wished: Wished) -> None:
    wished.wish(2, "c", order_key="k", took=2.0)
    wished.whole(3, "d", order_key="k")
    wished.did(4, "c")
    wished.told(5, "c")
    assert wished.broken() == set()


def test_begun_before_its_delay(wished: Wished) -> None:
    wished.whole(2, "c", delay=0.5)
    assert wished.broken() == {"delay"}


@pytest.mark.parametrize("excused", [False, True])
def test_begun_again_before_the_pause_it_asked_for(wished: Wished, excused: bool) -> None:
    wished.wish(2, "c")
    wished.did(2.2, "c", "retry", pause=1.0)
    if excused:
        wished.fault(2.3, "ci", True)
    wished.did(2.5, "c", attempt=2)
    wished.told(3, "c")
    assert wished.broken() == (set() if excused else {"delay"})


@pytest.mark.parametrize("excused", [False, True])
def test_begun_after_its_time_to_live(wished: Wished, excused: bool) -> None:
    wished.wish(2, "c", ttl=1.0)
    if excused:
        wished.thawed(5.5, "ci")
    wished.did(6, "c")
    wished.told(7, "c")
    assert wished.broken() == (set() if excused else {"ttl"})


def test_begun_while_its_name_is_paused(wished: Wished) -> None:
    wished.paused(2, 9, "ci", "DEPLOY")
    wished.whole(5, "c")
    assert wished.broken() == {"paused"}


@pytest.mark.parametrize("excused", [False, True])
def test_with_wishes_at_two_workers_at_once(wished: Wished, excused: bool) -> None:
    wished.wish(2, "c")
    wished.began(2.2, "c", "ci-1")
    if excused:
        wished.fault(2.25, "ci", True)
        wished.fault(2.26, "ci", False)
    wished.did(2.3, "c", attempt=2)
    wished.told(3, "c")
    assert wished.broken() == (set() if excused else {"two at once"})


def test_an_event_that_a_subscription_never_had(wished: Wished) -> None:
    wished.publishing(2, "git", "e")
    wished.event_taken(2.1, "git", "e", frozenset({"audit"}))
    wished.delivered(3, "ci", "audit", "reader", "e", 1, False)  # and wanted again
    assert wished.verdict().lost_events == ("e",)
    wished.delivered(4, "ci", "audit", "ci-3", "e", 2, True)
    assert wished.verdict().lost_events == ()


@pytest.mark.parametrize(("source", "broken"), [("ci", {"end without cause"}), ("git", set())])
def test_a_connector_that_was_restarted_may_show_the_fail_of_an_earlier_try(
    wished: Wished, source: str, broken: set[str]
) -> None:
    wished.wish(2, "c", "UNKNOWN", "ACCEPTED", took=1.0)
    wished.observed_reply(2.9, "git", derived_uuid("c", "UNRECEIPTED"), "c", "DEPLOY", "FAIL")
    wished.did(4.1, "c")
    wished.fault(4.5, source, True)
    wished.fault(5, source, False)
    wished.ended_as(6, "c", False, "UNRECEIPTED")
    wished.observed_reply(7, "git", derived_uuid("c", "SUCCES"), "c", "DEPLOY", "SUCCES")
    assert wished.broken() == broken
