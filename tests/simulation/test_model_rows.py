"""The model sees broken promises about commands on a disk, leases, subscriptions; and only those."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.simulation.model import RULES, Model
from tests.simulation.scheduler import MS, SECOND
from zconnector.errors import Reason
from zconnector.messages import Kind, Message
from zconnector.queue.envelope import pack
from zconnector.queue.store import COMMANDS, DEAD, OUTBOX, Delete, Put

NODE, SOURCE = "t1/ci", "t1/git"
BODY = orjson.dumps({"tenant": "t1"})


class Story:
    """What happens at one connector, told to a model; times in seconds."""

    def __init__(self, **more: Any) -> None:
        self.model = Model(lease_limit=45.0, dedupe_window=110.0, **more)
        self.now = 0
        self.keys: dict[str, int] = {}
        self.letters = 0
        self.tokens: dict[str, int] = {}
        self.source = "git"

    def at(self, seconds: float) -> Story:
        self.now = int(seconds * SECOND)
        return self

    def sent(self, uuid: str = "u1", *, state: str = "READY", delay: int = 0, **wishes: Any) -> Story:
        """Sent, stored, receipted."""
        wanted = {**wishes, "delay": delay} if delay else wishes
        attempt = self.model.sending(self.now, SOURCE, uuid, BODY, 1_000, wanted)
        self.stored(uuid, state=state, delay=delay, **wishes)
        self.model.outcome(self.now, attempt, "ACCEPTED", uuid)
        return self

    def stored(self, uuid: str, *, state: str = "READY", delay: int = 0, **header: Any) -> None:
        self.keys[uuid] = len(self.keys) + 1
        whole = {"uuid": uuid, "command": "BUILD", **header, **({"delay": delay} if delay else {})}
        self._put(uuid, state, delay=delay, body=pack(Message(Kind.COMMAND, whole, BODY)))

    def _meta(self, uuid: str, state: str, **more: Any) -> dict[str, Any]:
        return {"uuid": uuid, "name": "BUILD", "source": self.source, "state": state, **more}

    def _put(self, uuid: str, state: str, *, delay: int = 0, body: bytes | None = None, **more: Any) -> None:
        meta = self._meta(uuid, state, **({"delay": delay} if delay else {}), **more)
        self.model.wrote(self.now, NODE, [Put(COMMANDS, self.keys[uuid], meta, body)])

    def hand(
        self, uuid: str = "u1", holder: str = "s1", *, attempt: int = 1, lease: float = 10, origin: str = ""
    ) -> str:
        """Over v1; returns the token."""
        self.tokens[uuid] = self.tokens.get(uuid, 0) + 1
        token = f"{uuid}/{self.tokens[uuid]}"
        entry = {"token": token, "lease": int(lease * 1_000), "attempt": attempt, "replay_of": origin}
        self.model.handed(self.now, NODE, uuid, BODY, holder, "", entry)
        self._put(uuid, "LEASED", lease={"token": token})
        return token

    def settle(self, token: str, outcome: str = "ack", *, error: str = "", delay: int | None = None) -> None:
        uuid = token.partition("/")[0]
        said = self.model.settling(self.now, NODE, uuid, token, outcome, delay=delay)
        if not error and outcome == "ack":
            self.end(uuid)
        if not error and outcome == "nak":
            self._put(uuid, "DELAYED", delay=1_000 if delay is None else delay)
            if delay == 0:
                self._put(uuid, "READY")
        self.model.settled(self.now, said, error)

    def end(self, uuid: str, state: str = "DONE", reason: str = "", *, reply: bool = True) -> None:
        """DONE or DEAD, with what belongs to it."""
        writes: list[Any] = [Put(COMMANDS, self.keys[uuid], self._meta(uuid, state, reply=f"r {uuid}"), b"")]
        if reply:
            writes.append(Put(OUTBOX, 1, {"uuid": f"r {uuid}"}, b""))
        if reason:
            self.letters += 1
            letter = {"uuid": uuid, "reason": reason, "kind": "COMMAND"}
            writes.append(Put(DEAD, self.letters, letter, b""))
        self.model.wrote(self.now, NODE, writes)

    def crash(self, until: float) -> None:
        self.model.ended(self.now, NODE)
        self.at(until).model.started(self.now, NODE)

    def broken(self) -> list[str]:
        found = [violation.rule for violation in self.model.violations]
        assert set(found) <= set(RULES)
        return found


# ---- tokens


def test_a_lease_that_was_stored_and_never_told_may_be_the_first_of_its_connector() -> None:
    """The judge itself ended there (kill inside a step, seed 9), when that command was done."""
    story = Story().at(1).sent()
    story._put("u1", "LEASED", lease={"token": "u1/1"})
    story.at(2).crash(3)
    story.at(4).end("u1")
    assert story.broken() == []


def test_the_token_of_the_lease_settles_it_once() -> None:
    story = Story().at(1).sent()
    token = story.at(2).hand()
    story.at(3).settle(token)
    story.settle(token, error="FENCED")
    assert story.broken() == []
    story.settle(token)
    assert story.broken() == ["fencing"]


def test_a_token_of_before_settles_nothing() -> None:
    story = Story().at(1).sent()
    first = story.at(2).hand(lease=5)
    story.at(8).hand(attempt=2)
    story.settle(first, error="FENCED")
    assert story.broken() == []
    story.settle(first, "nak")
    assert story.broken() == ["fencing"]


def test_the_right_token_is_fenced_off() -> None:
    story = Story().at(1).sent()
    token = story.at(2).hand()
    story.at(3).settle(token, error="FENCED")
    assert story.broken() == ["fencing"]


@pytest.mark.parametrize("ends", ["limit", "stream", "purged"])
def test_but_not_if_its_lease_is_over(ends: str) -> None:
    story = Story().at(1).sent()
    token = story.at(2).hand()
    if ends == "stream":
        story.model.stream_ended(story.now, NODE, "s1")
    elif ends == "purged":
        story.model.wants(NODE, "u1", Reason.CANCELLED)
        story.end("u1", "DEAD", "CANCELLED")
    story.at(13 if ends == "limit" else 3).settle(token, error="FENCED")
    assert story.broken() == []


@pytest.mark.parametrize(
    ("source", "begins", "context", "broken"),
    [
        ("ci", NODE, "canary-1.1", []),
        ("git", NODE, "canary-1.1", ["dead letters"]),
        ("ci", SOURCE, "canary-1.1", ["dead letters"]),
        ("ci", NODE, "other", ["dead letters"]),
    ],
)
def test_an_admin_worker_that_begins_cancels_canaries_of_its_own_connector(
    source: str, begins: str, context: str, broken: list[str]
) -> None:
    story = Story().at(1)
    story.source = source
    story.model.sending(story.now, f"t1/{source}", "u1", BODY, 1_000)
    story.stored("u1", context=context)
    story.model.recalling(begins, "canary-")
    story.at(2).end("u1", "DEAD", "CANCELLED")
    assert story.broken() == broken


@pytest.mark.parametrize(("ends", "broken"), [("", ["overlapping leases"]), ("nak", []), ("stream", [])])
def test_two_leases_do_not_overlap(ends: str, broken: list[str]) -> None:
    story = Story().at(1).sent()
    token = story.at(2).hand()
    if ends == "nak":
        story.settle(token, "nak", delay=0)
    elif ends == "stream":
        story.model.stream_ended(story.now, NODE, "s1")
    story.at(4).hand(holder="s2", attempt=2)
    assert story.broken() == broken


@pytest.mark.parametrize(
    ("asks", "again", "broken"),
    [
        (None, 11.5, []),
        (None, 9.0, ["overlapping leases"]),
        (3.0, 11.5, ["overlapping leases"]),
        (11.2, 11.5, []),
    ],
)
def test_a_stream_that_does_not_ask_again_in_time_loses_also_what_it_was_handed_meanwhile(
    asks: float | None, again: float, broken: list[str]
) -> None:
    story = Story().at(1).sent()
    story.model.stream_asks(story.now, NODE, "s1")
    story.model.stream_answered(story.now, NODE, "s1")
    story.at(2).hand(lease=60)
    if asks is not None:
        story.model.stream_asks(story.at(asks).now, NODE, "s1")
    story.at(again).hand(holder="s2", attempt=2)
    assert story.broken() == broken


def test_a_stream_that_was_silent_for_too_long_may_be_fenced_off() -> None:
    for at, broken in ((9.0, ["fencing"]), (11.5, [])):
        story = Story().at(1).sent()
        story.model.stream_answered(story.now, NODE, "s1")
        token = story.at(2).hand(lease=60)
        story.at(at).settle(token, error="FENCED")
        assert story.broken() == broken


@pytest.mark.parametrize(("crash", "broken"), [(5, ["overlapping leases"]), (12, [])])
def test_the_silence_of_a_stream_ends_with_the_process(crash: float, broken: list[str]) -> None:
    story = Story().at(1).sent()
    story.model.stream_answered(story.now, NODE, "s1")
    story.at(2).hand(lease=60)
    story.at(crash).crash(crash + 1)
    story.at(crash + 8).hand(holder="s2", attempt=2)
    assert story.broken() == broken


def test_a_durable_lease_outlives_the_process_for_a_while() -> None:
    story = Story().at(1).sent()
    story.at(2).hand(lease=60)
    story.at(3).crash(4)
    story.at(20).hand(attempt=2)
    assert story.broken() == []
    story.at(21).crash(22)
    story.at(25).hand(attempt=3)
    assert story.broken() == ["overlapping leases"]


def test_a_lease_that_may_have_been_over_when_the_process_ended_does_not_begin_anew() -> None:
    """Seed 92: its end had been stored, 300 ms before the kill."""
    story = Story().at(1).sent()
    story.at(2).hand(lease=4)
    story.at(7).crash(8)
    story.at(9).hand(holder="s2", attempt=2)
    assert story.broken() == []


def test_a_stream_that_comes_back_gets_its_lease() -> None:
    for valid, broken in (({"u1"}, []), (set(), ["fencing"])):
        story = Story().at(1).sent()
        token = story.at(2).hand(lease=60)
        story.at(3).crash(4)
        story.at(5).model.adopted(story.now, NODE, "s2", {"u1": token}, valid)
        assert story.broken() == broken


# ---- attempts, order, time


def test_no_more_attempts_than_the_sender_wants() -> None:
    story = Story().at(1).sent(retry={"attempts": 2, "first": 0})
    for attempt in (1, 2):
        story.at(10 * attempt).settle(story.hand(attempt=attempt), "nak", delay=0)
    assert story.broken() == []
    story.at(30).hand(attempt=3)
    assert story.broken() == ["attempts"]


def test_an_attempt_that_is_not_counted() -> None:
    story = Story().at(1).sent()
    story.at(2).settle(story.hand(), "nak", delay=0)
    story.at(5).hand(attempt=1)
    assert story.broken() == ["attempts"]


def _unheard(story: Story) -> None:
    """A process stores a lease, and ends before it answers the take with it."""
    story._put("u1", "LEASED", lease={"token": "unheard"})
    story.crash(until=story.now / SECOND + 2)


@pytest.mark.parametrize(("attempt", "broken"), [(2, []), (3, []), (4, ["attempts"])])
def test_a_lease_that_a_crash_kept_from_its_worker_counts_once(attempt: int, broken: list[str]) -> None:
    story = Story().at(1).sent()
    story.at(2).settle(story.hand(), "nak", delay=0)
    _unheard(story.at(3))
    story.crash(until=7)  # the same lease, found again
    story.at(20).hand(attempt=attempt)
    assert story.broken() == broken


def test_a_lease_that_was_handed_out_before_a_crash_counts_once() -> None:
    story = Story().at(1).sent()
    story.at(2).hand()
    story.at(3).crash(until=5)
    story.at(25).hand(attempt=3)
    assert story.broken() == ["attempts"]


def test_an_unheard_lease_may_use_up_the_attempts() -> None:
    story = Story().at(1).sent(retry={"attempts": 2, "first": 0})
    story.at(2).settle(story.hand(), "nak", delay=0)
    _unheard(story.at(3))
    story.at(20).end("u1", "DEAD", Reason.ATTEMPTS_EXHAUSTED)
    assert story.broken() == []


@pytest.mark.parametrize(("error", "broken"), [("FENCED", []), ("", ["fencing"])])
def test_an_unheard_lease_fences_off_the_one_before(error: str, broken: list[str]) -> None:
    story = Story().at(1).sent()
    token = story.at(2).hand(lease=10)
    _unheard(story.at(14))
    story.at(17).settle(token, "progress", error=error)
    assert story.broken() == broken


@pytest.mark.parametrize(("after", "broken"), [(0.3, ["delay"]), (0.45, [])])
def test_a_nak_without_a_delay_waits_as_its_policy_says(after: float, broken: list[str]) -> None:
    story = Story().at(1).sent()
    story.at(2).settle(story.hand(), "nak")
    story.at(2 + after).hand(attempt=2)
    assert story.broken() == broken


@pytest.mark.parametrize(("at", "broken"), [(5.7, ["delay"]), (5.95, []), (6.1, []), (6.3, ["delay"])])
def test_a_delay_is_kept(at: float, broken: list[str]) -> None:
    story = Story().at(1).sent(state="DELAYED", delay=5_000)
    story.at(at).hand()
    assert story.broken() == broken


def test_a_delay_is_kept_over_a_restart_but_where_the_clock_was_set() -> None:
    story = Story().at(1).sent(state="DELAYED", delay=5_000)
    story.at(2).crash(3)
    story.hand()
    assert story.broken() == ["delay"]
    story = Story().at(1).sent(state="DELAYED", delay=5_000)
    story.model.jumped(story.now, NODE)
    story.at(2).crash(3)
    story.hand()
    assert story.broken() == []


def test_one_order_key_one_after_the_other() -> None:
    story = Story().at(1).sent("u1", order_key="k").sent("u2", order_key="k").sent("u3", order_key="other")
    story.at(2).hand("u3")
    token = story.hand("u1")
    story.settle(token, "nak", delay=5_000)
    assert story.broken() == []
    story.at(3).hand("u2")
    assert story.broken() == ["order key"]


def test_the_first_by_priority_goes_first() -> None:
    story = Story().at(1).sent("u1").sent("u2", priority=5)
    story.at(2).hand("u1")
    assert story.broken() == [], "u2 may be on its way to its end"
    story.at(3).hand("u2")
    assert story.broken() == ["priority"]


def test_but_not_what_became_ready_later_or_ended() -> None:
    story = (
        Story().at(1).sent("u1").sent("u2", state="DELAYED", delay=1_000, priority=5).sent("u3", priority=9)
    )
    story.at(2).hand("u1")
    story.model.wants(NODE, "u3", Reason.CANCELLED)
    story.end("u3", "DEAD", "CANCELLED")
    story.at(2.05).hand("u2")
    assert story.broken() == []


@pytest.mark.parametrize(("at", "broken"), [(3, []), (3.2, ["time to live"])])
def test_nothing_begins_after_its_time_to_live(at: float, broken: list[str]) -> None:
    story = Story().at(1).sent(ttl=2_000)
    story.at(at).hand()
    assert story.broken() == broken


def test_nothing_is_done_after_its_time_to_live_or_expires_before() -> None:
    story = Story().at(1).sent(ttl=2_000)
    token = story.at(2).hand()
    story.at(4).settle(token)
    assert story.broken() == ["time to live"]
    story = Story().at(1).sent(ttl=2_000)
    story.at(2).end("u1", "DEAD", "EXPIRED")
    assert story.broken() == ["dead letters"]


# ---- ends


@pytest.mark.parametrize(("reason", "reply"), [("", True), ("CANCELLED", False)])
def test_dead_has_a_letter_and_a_fail(reason: str, reply: bool) -> None:
    story = Story().at(1).sent()
    story.model.wants(NODE, "u1", Reason.CANCELLED)
    story.end("u1", "DEAD", reason, reply=reply)
    assert story.broken() == ["dead letters"]


@pytest.mark.parametrize("reason", ["PURGED", "CANCELLED", "FAILED", "DROPPED", "ATTEMPTS_EXHAUSTED"])
def test_a_letter_has_a_reason(reason: str) -> None:
    story = Story().at(1).sent()
    story.end("u1", "DEAD", reason)
    assert story.broken() == ["dead letters"]
    story = Story(drops=True).at(1).sent(retry={"attempts": 1})
    story.model.purging(NODE, "*")
    story.model.wants(NODE, "u1", Reason.CANCELLED)
    story.model.settling(story.now, NODE, "u1", story.hand(), "fail")
    story.end("u1", "DEAD", reason)
    assert story.broken() == []


def test_what_is_dead_is_not_handed_out() -> None:
    story = Story().at(1).sent()
    story.model.purging(NODE, "BUILD")
    story.end("u1", "DEAD", "PURGED")
    story.at(2).hand()
    assert "redelivery" in story.broken()


def test_a_letter_is_replayed_under_a_fresh_uuid_and_gone() -> None:
    story = Story().at(1).sent()
    story.model.purging(NODE, "*")
    story.end("u1", "DEAD", "PURGED")
    story.at(2).model.wrote(story.now, NODE, [Delete(DEAD, 1)])
    story.stored("u2", replay_of="u1")
    story.model.replayed(story.now, NODE, "u2", "u1")
    story.hand("u2", origin="u1")
    assert story.broken() == []
    story.model.replayed(story.now, NODE, "u1", "u1")
    assert story.broken() == ["replay"]


def test_a_pause_holds_until_it_is_resumed() -> None:
    story = Story().at(1).sent("u1").sent("u2").sent("u3")
    story.model.paused(story.now, NODE, "BUILD")
    story.crash(2)
    story.hand("u1")
    assert story.broken() == ["pause"]
    story.model.resuming(NODE, "*")
    story.at(3).hand("u2")
    assert story.broken() == ["pause"]


def test_wishes_arrive() -> None:
    story = Story().at(1)
    story.model.sending(story.now, SOURCE, "u1", BODY, 1_000, {"priority": 3})
    story.stored("u1")
    assert story.broken() == ["wishes kept"]


# ---- subscriptions, awaiters


def subscribed() -> Story:
    story = Story().at(1)
    story.model.subscription_made(story.now, NODE, "audit", 8_000)
    story.model.publishing(story.at(2).now, NODE, "e1")
    story.model.published(story.now, NODE, "e1")
    meta = {"uuid": "e1", "topic": "NEWS", "event": "SAID", "reference": "", "source": "x", "directed": False}
    story.model.event_stored(story.now, NODE, meta)
    return story


def take(story: Story, holder: str = "h1", missed: int = 0) -> None:
    story.model.events_taken(story.now, NODE, "audit", holder, 1, [{"id": 1, "uuid": "e1"}], missed)


def finished(story: Story) -> list[str]:
    story.model.finish(story.now, [NODE])
    return story.broken()


def test_each_event_is_acknowledged_or_told_as_missed() -> None:
    assert finished(subscribed()) == ["subscription"]
    story = subscribed()
    take(story)
    assert finished(story) == ["subscription"]
    story = subscribed()
    take(story)
    story.model.acknowledging(NODE, "audit", 1, ok=True)
    story.model.acknowledged(story.now, NODE, "audit", 1)
    assert finished(story) == []
    story = subscribed()
    take(story, missed=1)
    assert finished(story) == []


@pytest.mark.parametrize(
    ("ends", "broken"), [("", ["subscription"]), ("gone", []), ("nak", []), ("lease", [])]
)
def test_an_event_is_with_one_holder(ends: str, broken: list[str]) -> None:
    story = subscribed()
    take(story)
    if ends == "gone":
        story.model.holder_gone(NODE, "h1")
    elif ends == "nak":
        story.model.acknowledging(NODE, "audit", 1, ok=False)
    elif ends == "lease":
        story.at(10)
    take(story, "h2")
    assert story.broken() == broken


def test_an_event_does_not_come_again_after_its_acknowledgement() -> None:
    story = subscribed()
    take(story)
    story.model.acknowledging(NODE, "audit", 1, ok=True)
    story.model.acknowledged(story.now, NODE, "audit", 1)
    story.model.ended(story.now, NODE)
    take(story)
    assert story.broken() == ["subscription"]


def reply(story: Story) -> None:
    meta = {
        "uuid": "r1",
        "topic": "BUILD",
        "event": "SUCCES",
        "reference": "u1",
        "source": "ci",
        "directed": True,
    }
    story.model.event_stored(story.now, SOURCE, meta)


def test_who_awaits_a_reply_hears_it() -> None:
    story = Story().at(1).sent()
    awaiter = story.model.awaiting(story.now, SOURCE, "u1")
    reply(story.at(2))
    story.model.heard(story.now + 90 * MS, awaiter, "u1")
    assert story.broken() == []
    late = story.model.awaiting(story.now, SOURCE, "u1")
    story.model.heard(story.now + 110 * MS, late, "u1")
    assert story.broken() == ["unheard"]


def test_who_awaits_a_reply_never_hears_it_or_that_there_is_none() -> None:
    story = Story().at(1).sent()
    story.model.awaiting(story.now, SOURCE, "u1")
    reply(story.at(2))
    story.end("u1")
    story.model.executed(story.now, NODE, "u1", "w")
    assert finished(story) == ["unheard"]
    story = Story().at(1).sent()
    awaiter = story.model.awaiting(story.now, SOURCE, "u1")
    story.model.let_down(story.now, awaiter, "NO_AGGREGATOR", gone=False)
    assert story.broken() == ["unheard"]
