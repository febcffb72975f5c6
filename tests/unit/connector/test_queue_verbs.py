"""`queue.*` and `cancel` at a connector."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command
from tests.support.operator import control, refused
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.queue import purges


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


def rows(con: Connector) -> dict[tuple[str, int], dict[str, Any]]:
    return {(row["command"], row["major"]): row for row in control(con, "queue.ls")["rows"]}


def peek(con: Connector, name: str = "PULL", **args: Any) -> list[dict[str, Any]]:
    return list(control(con, "queue.peek", command=name, **args)["rows"])


def offer(con: Connector, *uuids: str, name: str = "PULL", **fields: Any) -> None:
    accept_until = con.now.wall + 10_000
    con.hear("a", *(command(uuid, name, accept_until=accept_until, **fields) for uuid in uuids))


def fails(con: Connector) -> list[tuple[str, str, str]]:
    """FAIL replies sent: about what, reason, to whom."""
    con.wait(0.01)  # what is due is sent at the next tick
    return [
        (m.reference, m.text("reason"), m.text("recipient"))
        for m in con.said(Kind.EVENT)
        if m.text("event") == "FAIL" and not m.is_receipt
    ]


def test_names_with_their_states(con: Connector) -> None:
    assert control(con, "queue.ls") == {"rows": [], "paused": []}
    offer(con, "c1", "c2", "c3")
    con.wait(5)
    offer(con, "c4", major=0)
    offer(con, "c5", delay=60_000)
    offer(con, "d1", name="CLONE")
    uuid = con.result(con.wait_command("PULL"))["uuid"]
    con.call("send_event", b"{}", uuid="r1", topic="PULL", event="SUCCES", reference=uuid)
    con.wait_command("PULL")
    listed = rows(con)
    assert list(listed) == [("CLONE", 1), ("PULL", 0), ("PULL", 1)]
    one = listed["PULL", 1]
    assert {s: one[s] for s in ("ready", "delayed", "leased", "done", "dead")} == {
        "ready": 1,
        "delayed": 1,
        "leased": 1,
        "done": 1,
        "dead": 0,
    }
    assert one["oldest_ms"] == 5_000
    assert listed["PULL", 0]["oldest_ms"] == 0
    assert one["bytes"] == sum(row["size"] for row in peek(con) if row["major"] == 1)
    assert (one["paused"], one["waits"], one["workers"]) == (False, 0, 0)


def test_who_could_take_a_command_is_counted_by_version(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    con.wait_command("PULL", worker="w1", major=1)
    con.wait_command("PULL", worker="w2", major=0)
    con.wait_command("ADMIN_UPDATE", worker="ADMIN")
    assert list(rows(con)) == [("PULL", 0), ("PULL", 1)], "nothing of the admin worker's"
    assert rows(con)["PULL", 1]["waits"] == 2
    assert rows(con)["PULL", 1]["workers"] == 1
    offer(con, "m2", major=1, name="CLONE")
    assert rows(con)["CLONE", 1]["workers"] == 1
    con.wait(10)
    assert rows(con)["CLONE", 1]["workers"] == 0, "a silent one counts for nothing"


def test_pause_and_resume(con: Connector) -> None:
    assert control(con, "queue.pause", command="PULL") == {"command": "PULL", "paused": ["PULL"]}
    assert rows(con)["PULL", 0]["paused"], "a paused name is shown without any command"
    waiting = con.wait_command("PULL")
    offer(con, "c1")
    assert con.receipts() == [("a", "ON_GOING", "")]
    assert not con.answered(waiting)
    again = con.restart()
    again.ready()
    assert again.machine.status(again.now)["queue"]["paused"] == ["PULL"]
    waiting = again.wait_command("PULL")
    assert not again.answered(waiting)
    assert control(again, "queue.resume", command="PULL") == {"command": "PULL", "paused": []}
    assert again.result(waiting)["uuid"] == "c1"


def test_all_is_paused_by_a_star(con: Connector) -> None:
    control(con, "queue.pause", command="*")
    offer(con, "c1")
    assert rows(con)["PULL", 1]["paused"]
    waiting = con.wait_command("PULL")
    assert not con.answered(waiting)
    control(con, "queue.resume", command="*")
    assert con.answered(waiting)


def test_peek_shows_the_oldest_and_touches_nothing(con: Connector) -> None:
    offer(con, "c1", "c2", priority=3, order_key="k")
    offer(con, "c3", delay=60_000)
    con.result(con.wait_command("PULL", worker="w7"))
    con.wait(2)
    first, second, third = peek(con)
    assert (first["uuid"], first["state"], first["attempt"]) == ("c1", "LEASED", 1)
    assert first["lease"] == {"worker": "w7", "since_ms": 2_000}
    assert (first["priority"], first["order_key"], first["source"], first["age_ms"]) == (3, "k", "ci", 2_000)
    assert (second["uuid"], second["state"], second["lease"], second["due_ms"]) == ("c2", "READY", None, None)
    assert (third["state"], third["due_ms"]) == ("DELAYED", 58_000)
    assert [row["uuid"] for row in peek(con, limit=1)] == ["c1"]
    assert [row["uuid"] for row in peek(con, "*")] == ["c1", "c2", "c3"]
    assert peek(con, "OTHER") == []
    assert peek(con) == [first, second, third]


def test_purge_ends_what_waits_and_leaves_what_a_worker_has(con: Connector) -> None:
    offer(con, "leased", "ready")
    offer(con, "delayed", delay=60_000)
    offer(con, "other", name="CLONE")
    con.result(con.wait_command("PULL"))
    con.clear()
    assert control(con, "queue.purge", command="PULL") == {"n": 2, "stopped_by": ""}
    assert fails(con) == [("ready", "PURGED", "ci"), ("delayed", "PURGED", "ci")]
    letters = control(con, "dead.ls")["rows"]
    assert [(row["uuid"], row["reason"]) for row in letters] == [("ready", "PURGED"), ("delayed", "PURGED")]
    assert [row["state"] for row in peek(con, "*")] == ["LEASED", "READY"]
    assert control(con, "queue.purge", command="*") == {"n": 1, "stopped_by": ""}
    assert control(con, "queue.purge", command="*") == {"n": 0, "stopped_by": ""}


@pytest.mark.parametrize(("state", "left"), [("ready", ["delayed"]), ("delayed", ["ready"])])
def test_purge_of_one_state(con: Connector, state: str, left: list[str]) -> None:
    offer(con, "ready")
    offer(con, "delayed", delay=60_000)
    assert control(con, "queue.purge", command="PULL", state=state)["n"] == 1
    assert [row["uuid"] for row in peek(con)] == left


def test_a_large_purge_goes_in_portions(con: Connector) -> None:
    count = purges.PORTION * 2 + 5
    for start in range(0, count, 50):
        offer(con, *(f"c{number}" for number in range(start, min(start + 50, count))))
    con.held = True
    heard: list[Any] = []
    purge = {"verb": "queue.purge", "command": "PULL"}
    con.do(con.machine.control("operate", purge, con.now, heard.append))
    assert len(con.pending) == purges.PORTION, "the rest waits for these"
    con.settle()
    assert heard == [{"n": count, "stopped_by": ""}]
    assert peek(con) == []


def test_a_purge_that_the_disk_ends_says_how_far_it_came(con: Connector) -> None:
    offer(con, "c1", "c2")
    con.full = True
    assert refused(con, "queue.purge", command="PULL").reason is Reason.STORAGE_FAILED
    con.full = False
    assert [row["state"] for row in peek(con)] == ["READY", "READY"]


def test_cancel_ends_a_command_whatever_it_does(con: Connector) -> None:
    offer(con, "leased", "ready")
    con.result(con.wait_command("PULL"))
    con.clear()
    assert control(con, "cancel", uuid="leased") == {"uuid": "leased", "state": "DEAD"}
    assert control(con, "cancel", uuid="ready") == {"uuid": "ready", "state": "DEAD"}
    assert fails(con) == [("leased", "CANCELLED", "ci"), ("ready", "CANCELLED", "ci")]
    again = refused(con, "cancel", uuid="ready")
    assert again.reason is Reason.FENCED
    assert "DEAD since" in again.detail
    assert refused(con, "cancel", uuid="no").reason is Reason.NOT_FOUND


@pytest.mark.parametrize(
    ("verb", "args", "told"),
    [
        ("queue.peek", {}, "command is missing"),
        ("queue.peek", {"command": "X", "limit": 101}, "limit"),
        ("queue.pause", {"command": 7}, "command"),
        ("queue.pause", {"command": "x" * 257}, "longer than 256"),
        ("queue.purge", {"command": "X", "state": "leased"}, "ready, delayed"),
        ("cancel", {}, "uuid is missing"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(con: Connector, verb: str, args: dict[str, Any], told: str) -> None:
    refusal = refused(con, verb, **args)
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert told in refusal.detail
