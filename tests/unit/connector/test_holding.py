"""The door's operations for zconnector.v1: take, settle, give_back, adopt, tidings."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import PIVOTS, Connector, command
from tests.support.transcript import START, at
from zconnector.errors import Reason
from zconnector.messages.codec import encode_one
from zconnector.messages.kinds import MAX_MESSAGE, Kind
from zconnector.messages.message import Message
from zconnector.queue.store import DEAD

V1: dict[str, Any] = {"worker": "w1", "major": 1, "minor": 0}


def ready() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


def take(con: Connector, holder: str = "s1", **more: Any) -> int:
    return con.call("take", **{**V1, "holder": holder, "commands": ["CLONE"], "limit": 10, **more})


def leases(con: Connector, call: int) -> list[dict[str, Any]]:
    return list(con.result(call)["commands"])


def tidings(con: Connector, holder: str = "s1", client: bytes = b"w") -> int:
    return con.call("tidings", **V1, holder=holder, client=client)


def states(con: Connector) -> dict[str, int]:
    return {state: n for state, n in con.queue.depths()["commands"]["states"].items() if n}


# ---- take


def test_a_take_brings_header_lease_and_payload() -> None:
    con = ready()
    call = take(con)
    con.hear("a", command("c1", payload=b'{"url":"x"}', priority=3, context="app"))
    (lease,) = leases(con, call)
    assert (lease["uuid"], lease["command"], lease["priority"]) == ("c1", "CLONE", 3)
    assert (lease["context"], lease["attempt"], lease["lease"]) == ("app", 1, 300_000)
    assert lease["size"] == len(b'{"url":"x"}')
    assert con.responses[call].payload == b'{"url":"x"}'


def test_without_names_it_is_what_the_worker_registered_for_that_version() -> None:
    con = ready()
    call = take(con, commands=[])
    assert con.refusal(call).reason is Reason.NOT_FOUND
    assert con.result(con.call("register", **V1, commands=["CLONE", "PULL"]))["valid"]
    call = take(con, commands=[])
    con.hear("a", command("c1", "PULL"))
    assert [lease["uuid"] for lease in leases(con, call)] == ["c1"]


@pytest.mark.parametrize(
    ("op", "args", "names"),
    [
        ("take", {"worker": 1}, "worker"),
        ("take", {"major": 128}, "major"),
        ("take", {"commands": "CLONE"}, "commands"),
        ("take", {"commands": [""]}, "commands"),
        ("take", {"commands": ["x"] * 1001}, "commands"),
        ("take", {"limit": 0}, "limit"),
        ("take", {"limit": 65}, "limit"),
        ("take", {"lease": 999}, "lease"),
        ("take", {"lease": 86_400_001}, "lease"),
        ("take", {"wait_ms": -2}, "wait_ms"),
        ("take", {"holder": "h" * 65}, "holder"),
        ("settle", {"outcomes": [1]}, "outcomes"),
        ("settle", {"outcomes": [{}] * 257}, "outcomes"),
        ("settle", {"outcomes": [{"outcome": "done"}]}, "outcome"),
        ("settle", {"outcomes": [{"outcome": "nak", "delay": -1}]}, "delay"),
        ("settle", {"outcomes": [{"outcome": "nak", "delay": 2_592_000_001}]}, "delay"),
        ("settle", {"outcomes": [{"outcome": "progress", "extend": 1.5}]}, "extend"),
        ("settle", {"outcomes": [{"outcome": "progress", "event": "SUCCES"}]}, "event"),
        ("settle", {"outcomes": [{"outcome": "ack", "size": 1}]}, "size"),
        ("settle", {"outcomes": [{"outcome": "ack", "token": 5}]}, "token"),
        ("give_back", {"leases": {}}, "leases"),
        ("give_back", {"unseen": 1}, "unseen"),
        ("adopt", {"leases": []}, "holder"),
        ("tidings", {}, "holder"),
        ("tidings", {"holder": "s", "minor": None}, "minor"),
    ],
    ids=str,
)
def test_a_bad_argument_is_named_with_its_rule(op: str, args: dict[str, Any], names: str) -> None:
    con = ready()
    refusal = con.refusal(con.call(op, **{"commands": ["CLONE"], **args} if op == "take" else args))
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert names in refusal.detail


# ---- settle


def test_outcomes_are_settled_in_order_and_answered_together_after_the_commit() -> None:
    con = ready()
    for uuid in ("c1", "c2", "c3"):
        con.hear("a", command(uuid))
    one, two, three = leases(con, take(con))
    con.held = True
    call = con.call(
        "settle",
        b"resultlog",
        holder="s1",
        outcomes=[
            {"uuid": "c1", "token": one["token"], "outcome": "ack", "size": 6},
            {"uuid": "c2", "token": "wrong", "outcome": "ack"},
            {"uuid": "c2", "token": two["token"], "outcome": "fail", "error": "no", "size": 3},
            {"uuid": "c3", "token": three["token"], "outcome": "nak", "delay": 1_000},
        ],
    )
    assert not con.answered(call)
    con.settle()
    results = con.result(call)["results"]
    assert [result.get("error", {}).get("code") for result in results] == [None, "FENCED", None, None]
    assert results[1]["error"]["detail"] == "leased, attempt 1"
    assert states(con) == {"DONE": 1, "DEAD": 1, "DELAYED": 1}
    replies = {
        m.reference: m for m in con.said(Kind.EVENT) if m.text("recipient") == "ci" and not m.is_receipt
    }
    assert (replies["c1"].text("event"), replies["c1"].payload) == ("SUCCES", b"result")
    assert (replies["c2"].text("event"), replies["c2"].payload) == ("FAIL", b"log")
    assert (replies["c2"].text("reason"), replies["c2"].text("detail")) == ("FAILED", "no")


def test_a_payload_that_the_sizes_do_not_fill_settles_nothing() -> None:
    con = ready()
    con.hear("a", command("c1"))
    (lease,) = leases(con, take(con))
    outcome = {"uuid": "c1", "token": lease["token"], "outcome": "ack", "size": 2}
    refusal = con.refusal(con.call("settle", b"abc", outcomes=[outcome]))
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert states(con) == {"LEASED": 1}


def test_the_results_of_the_largest_batch_fit_into_their_answer() -> None:
    con = ready()
    outcomes = [{"uuid": f"{n:064}", "token": "t" * 64, "outcome": "nak", "delay": 9} for n in range(256)]
    results = con.result(con.call("settle", outcomes=outcomes))["results"]
    worst = [{**result, "error": {"code": "STORAGE_FAILED", "detail": "x" * 96}} for result in results]
    encode_one(Message(Kind.RESULT, {"call": 2**53, "args": {"results": worst}}))


def test_nothing_to_settle_is_answered_at_once() -> None:
    con = ready()
    assert con.result(con.call("settle", outcomes=[])) == {"results": []}


# ---- the pivot's and the sender's retry


def test_the_sender_s_retry_goes_over_the_pivot_s_over_the_settings() -> None:
    pivot = {**PIVOTS["pivots"][0], "commandtypes": [{"name": "CLONE", "retry": {"attempts": 2, "first": 7}}]}
    con = Connector(["a"])
    con.up()
    con.answer_requests(pivots={"pivots": [pivot], "products": []})
    con.hear("a", command("c1"), command("c2", retry={"attempts": 3}))
    plain = con.queue.find_command("c1")
    wished = con.queue.find_command("c2")
    assert plain is not None
    assert wished is not None
    assert plain.policy == (2, 7, 2, 100_000)
    assert wished.policy == (3, 7, 2, 100_000)
    con = con.restart()
    kept = con.queue.find_command("c2")
    assert kept is not None
    assert kept.policy == (3, 7, 2, 100_000)


# ---- give back and adopt


def test_leases_given_back_go_to_the_next_one() -> None:
    con = ready()
    con.hear("a", command("c1"))
    (lease,) = leases(con, take(con))
    waiting = take(con, "s2")
    call = con.call("give_back", holder="s1", leases=[{"uuid": "c1", "token": "wrong"}], unseen=True)
    assert con.result(call) == {"released": 0}
    call = con.call("give_back", holder="s1", leases=[{"uuid": "c1", "token": lease["token"]}], unseen=True)
    assert con.result(call) == {"released": 1}
    (again,) = leases(con, waiting)
    assert (again["uuid"], again["attempt"]) == ("c1", 1)
    assert con.result(con.call("give_back", holder="s2")) == {"released": 1}
    assert con.result(con.call("give_back", holder="s2")) == {"released": 0}


def test_after_a_restart_a_new_stream_goes_on_with_the_leases_of_the_old() -> None:
    con = ready()
    con.hear("a", command("c1"), command("c2"))
    one, two = leases(con, take(con))
    con = con.restart()
    held = [{"uuid": lease["uuid"], "token": lease["token"]} for lease in (one, two)]
    call = con.call("adopt", **V1, holder="s9", leases=[held[0], {**held[1], "token": "x"}])
    assert con.result(call) == {"valid": ["c1"]}
    news = tidings(con, "s9")
    con.wait(15)
    assert states(con) == {"LEASED": 1, "READY": 1}
    outcome = {**held[0], "outcome": "ack"}
    assert con.result(con.call("settle", outcomes=[outcome])) == {"results": [{"uuid": "c1"}]}
    assert not con.answered(news)


# ---- tidings


def test_a_stream_that_ends_gives_its_leases_back_and_takes_no_more() -> None:
    con = ready()
    news = tidings(con)
    con.hear("a", command("c1"))
    assert len(leases(con, take(con))) == 1
    waiting, other = take(con), take(con, "s2")
    con.cancel(news)
    assert con.refusal(waiting).reason is Reason.SHUTTING_DOWN
    (again,) = leases(con, other)
    assert again["attempt"] == 2
    assert not con.answered(news)


def test_a_stream_that_takes_must_ask_for_tidings_soon() -> None:
    con = ready()
    con.hear("a", command("c1"))
    take(con)
    con.wait(9.9)
    assert states(con) == {"LEASED": 1}
    con.wait(0.2)
    assert states(con) == {"READY": 1}


@pytest.mark.parametrize("asked", [True, False])
def test_a_router_that_stood_still_reads_first_what_a_stream_said_meanwhile(asked: bool) -> None:
    """Its time was looked at before the call was read: the lease of a living worker was another's."""
    con = ready()
    con.hear("a", command("c1"))
    take(con)
    con.now = at(con.now.mono - START.mono + 15)
    con.do(con.machine.tick(con.now))
    assert states(con) == {"LEASED": 1}
    if asked:
        tidings(con)
    con.wait(1.1)
    assert states(con) == ({"LEASED": 1} if asked else {"READY": 1})


def test_a_stream_that_asks_is_left_alone_for_as_long_as_the_call_is_pending() -> None:
    con = ready()
    con.hear("a", command("c1"))
    take(con)
    tidings(con)
    con.wait(200)
    assert states(con) == {"LEASED": 1}


def test_what_ends_a_lease_is_told_and_a_stream_that_does_not_ask_again_is_gone() -> None:
    con = ready()
    news = tidings(con)
    con.hear("a", command("c1", ttl=5_000), command("c2"))
    one, two = leases(con, take(con))
    con.wait(5)
    assert con.result(news) == {
        "cancelled": [{"uuid": "c1", "token": one["token"], "reason": "EXPIRED"}],
        "drain": False,
    }
    outcome = {"uuid": "c1", "token": one["token"], "outcome": "ack"}
    (result,) = con.result(con.call("settle", outcomes=[outcome]))["results"]
    assert result["error"]["code"] == "FENCED"
    assert result["error"]["detail"].startswith("DEAD since")
    con.wait(9.9)
    assert con.queue.find_command("c2").lease is not None  # type: ignore[union-attr]
    con.wait(0.2)
    assert con.queue.find_command("c2").lease is None  # type: ignore[union-attr]
    assert two["token"]


def test_news_that_come_while_nobody_asks_are_kept() -> None:
    con = ready()
    news = tidings(con)
    con.hear("a", command("c1", ttl=1_000), command("c2", ttl=2_000))
    take(con)
    con.wait(2)
    assert [lost["uuid"] for lost in con.result(news)["cancelled"]] == ["c1"]
    assert [lost["uuid"] for lost in con.result(tidings(con))["cancelled"]] == ["c2"]


def test_a_newer_call_of_a_stream_takes_the_place_of_the_older() -> None:
    con = ready()
    con.hear("a", command("c1"))
    take(con)
    old = tidings(con)
    tidings(con, client=b"again")
    assert con.refusal(old).reason is Reason.REPLACED
    con.cancel(old)
    assert states(con) == {"LEASED": 1}


def test_a_drain_is_told_once_and_nothing_more_is_taken() -> None:
    con = ready()
    news, waiting = tidings(con), take(con)
    con.hear("a", command("c1", "PULL"))
    (lease,) = leases(con, take(con, commands=["PULL"]))
    con.do(con.machine.drain(con.now))
    assert con.refusal(waiting).reason is Reason.DRAINING
    assert con.result(news) == {"cancelled": [], "drain": True}
    assert con.refusal(take(con)).reason is Reason.DRAINING
    assert not con.answered(tidings(con))
    outcome = {"uuid": "c1", "token": lease["token"], "outcome": "ack"}
    assert con.result(con.call("settle", outcomes=[outcome]))["results"] == [{"uuid": "c1"}]


def test_the_worker_of_a_living_stream_need_not_beat_and_after_it_must() -> None:
    con = ready()
    con.call("register", **V1, commands=["CLONE", "PULL"])
    news = tidings(con)
    con.wait(60)
    assert [known["worker"] for known in con.router.workers.status(con.now)] == ["w1"]
    con.cancel(news)
    con.wait(3.9)
    assert [known["worker"] for known in con.router.workers.status(con.now)] == ["w1"]
    con.wait(1.5)
    assert con.router.workers.status(con.now) == []


def test_a_silent_gandalf_worker_of_the_same_name_ends_no_lease_of_a_stream() -> None:
    con = ready()
    con.call("register", **V1, commands=["CLONE", "PULL"])
    con.hear("a", command("c1"))
    (lease,) = leases(con, take(con, holder=""))
    con.wait(30)
    assert con.router.workers.status(con.now) == []
    outcome = {"uuid": "c1", "token": lease["token"], "outcome": "ack"}
    assert con.result(con.call("settle", outcomes=[outcome]))["results"] == [{"uuid": "c1"}]


def test_what_a_sender_wishes_reaches_the_target_and_what_breaks_a_rule_is_refused() -> None:
    con = ready()
    wishes: dict[str, Any] = {
        "ttl": 5,
        "delay": 6,
        "priority": 9,
        "order_key": "k",
        "lease": 1_000,
        "retry": {"attempts": 2},
    }
    con.call("send_command", b"{}", type="Git", command="CLONE", **wishes)
    (sent,) = con.said(Kind.COMMAND)
    assert {name: sent.header[name] for name in wishes} == wishes
    for broken in ({"ttl": -1}, {"priority": 10}, {"lease": 999}, {"retry": {"tries": 1}}, {"order_key": 5}):
        refusal = con.refusal(con.call("send_command", b"{}", type="Git", command="CLONE", **broken))
        assert refusal.reason is Reason.BAD_ARGUMENT
        assert next(iter(broken)) in refusal.detail


def test_a_dead_letter_is_told_to_the_source_over_an_aggregator() -> None:
    con = ready()
    con.hear("a", command("c1", ttl=1_000))
    con.wait(1)
    (fail,) = [m for m in con.said(Kind.EVENT) if m.text("event") == "FAIL"]
    assert (fail.reference, fail.text("recipient"), fail.text("reason")) == ("c1", "ci", "EXPIRED")
    assert len(list(con.store.scan(DEAD))) == 1


def test_the_status_can_be_told_at_the_door() -> None:
    """It had keys that are no str for JSON, so the door answered BAD_HEADER."""
    con = ready()
    con.hear("a", command("c1", ttl=1_000), command("c2"))
    take(con, limit=1)
    con.wait(1)
    status = con.result(con.call("status"))
    encode_one(Message(Kind.RESULT, {"call": 1, "args": status}))
    assert status["queue"]["commands"]["states"]["DEAD"] == 1


@pytest.mark.parametrize("outcome", ["ack", "fail", "progress"])
def test_a_reply_that_no_message_could_carry_is_refused_to_its_worker(outcome: str) -> None:
    """Stored, it would be tried at every session, and each would end with it."""
    con = ready()
    con.hear("a", command("c1"))
    call = take(con)
    (lease,) = leases(con, call)
    payload = b"x" * (MAX_MESSAGE - (2_048 if outcome == "fail" else 512))
    item = {"uuid": "c1", "token": lease["token"], "outcome": outcome, "size": len(payload)}
    item |= {"fail": {"error": "\n\x1b" * 512}, "progress": {"event": "P"}}.get(outcome, {})
    (result,) = con.result(con.call("settle", payload, holder="s1", outcomes=[item]))["results"]
    assert result["error"]["code"] == "TOO_LARGE"
    assert states(con) == {"LEASED": 1}
    item |= {"size": 10}
    (result,) = con.result(con.call("settle", payload[:10], holder="s1", outcomes=[item]))["results"]
    assert result == {"uuid": "c1"}
