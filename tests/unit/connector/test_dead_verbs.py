"""`dead.*` at a connector: listed, shown, edited within the schema, replayed to a worker, purged."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.connector import PIVOTS, Connector, command
from tests.support.operator import NOT_UTF8, control, kill, refused, through_the_door
from zconnector.connector.dead_verbs import DeadVerbs
from zconnector.connector.operating import Operating
from zconnector.errors import Reason
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message

WITHOUT_SCHEMAS: dict[str, Any] = {
    "pivots": [
        {"name": "Git", "major": 1, "minor": 0, "commandtypes": [{"name": "CLONE"}, {"name": "PULL"}]}
    ],
    "products": [],
}


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


def kill_clone(con: Connector, *uuids: str, **fields: Any) -> None:
    """Dead letters of a command that has got its schema since."""
    for pivots in (WITHOUT_SCHEMAS, PIVOTS):
        push = Message(Kind.CONFIG, {"uuid": "p", "command": "GET"}, orjson.dumps(pivots), Flag.PUSH)
        con.hear("a", push)
        if pivots is WITHOUT_SCHEMAS:
            kill(con, *uuids, name="CLONE", **fields)


def uuids(con: Connector, **args: Any) -> list[str]:
    return [row["uuid"] for row in control(con, "dead.ls", **args)["rows"]]


def test_rows_say_what_why_whence_and_when(con: Connector) -> None:
    kill(con, "c1")
    (row,) = control(con, "dead.ls")["rows"]
    assert row.pop("detail").startswith("it is not UTF-8")
    size = row.pop("size")
    assert size > 100
    assert row == {
        "uuid": "c1",
        "kind": "COMMAND",
        "command": "PULL",
        "reason": "INVALID_PAYLOAD",
        "attempts": 0,
        "error": "",
        "source": "ci",
        "at": con.now.wall,
        "edited": 0,
    }
    shown = control(con, "dead.show", uuid="c1")
    assert shown["header"]["source"] == "ci"
    assert shown["header"]["uuid"] == "c1"
    assert shown["size"] == size


def test_filters_and_pages(con: Connector) -> None:
    kill(con, "a1", "a2")
    kill_clone(con, "b1", source="mail")
    assert uuids(con, uuid="a") == ["a1", "a2"]
    assert uuids(con, command="CLONE") == uuids(con, source="mail") == ["b1"]
    assert uuids(con, reason="EXPIRED") == []
    first = control(con, "dead.ls", limit=2)
    assert uuids(con, after=first["next"]) == ["b1"]


@pytest.mark.parametrize(
    "args",
    [{"limit": 0}, {"limit": 1001}, {"limit": True}, {"after": -1}, {"older_ms": "x"}, {"reason": 1}],
    ids=str,
)
def test_a_bad_argument_is_refused_by_its_name(con: Connector, args: dict[str, Any]) -> None:
    refusal = refused(con, "dead.ls", **args)
    assert refusal.reason is Reason.BAD_ARGUMENT
    assert next(iter(args)) in refusal.detail


def test_an_edit_is_held_to_the_schema(con: Connector) -> None:
    kill_clone(con, "c1")
    refusal = refused(con, "dead.edit", uuid="c1", payload="{}")
    assert refusal.reason is Reason.INVALID_PAYLOAD
    assert "url" in refusal.detail
    refusal = refused(con, "dead.edit", uuid="c1", payload="x" * 4_100_000)
    assert refusal.reason is Reason.TOO_LARGE
    assert control(con, "dead.edit", uuid="c1", payload='{"url": "y"}') == {"uuid": "c1"}
    assert control(con, "dead.show", uuid="c1")["payload"] == '{"url": "y"}'
    assert control(con, "dead.ls")["rows"][0]["edited"] == con.now.wall


def test_a_replayed_letter_runs_and_its_reply_goes_to_its_source(con: Connector) -> None:
    kill_clone(con, "c1")
    control(con, "dead.edit", uuid="c1", payload='{"url": "y"}')
    answer = control(con, "dead.replay", uuid="c1")
    assert (answer["n"], answer["refused"]) == (1, [])
    new = answer["uuids"][0]["uuid"]
    assert answer["uuids"][0]["replay_of"] == "c1"
    assert uuids(con) == []
    handed = con.result(con.wait_command("CLONE"))
    assert (handed["uuid"], handed["replay_of"]) == (new, "c1")
    con.clear()
    con.call("send_event", b"{}", uuid="r1", topic="CLONE", event="SUCCES", reference=new)
    replies = [m for m in con.said(Kind.EVENT) if m.text("event") == "SUCCES"]
    assert [(m.reference, m.text("recipient")) for m in replies] == [(new, "ci")]


def test_what_the_schema_refuses_is_not_replayed(con: Connector) -> None:
    kill_clone(con, "c1", "c2")
    control(con, "dead.edit", uuid="c1", payload='{"url": "y"}')
    refusal = refused(con, "dead.replay", uuid="c2")
    assert (refusal.reason, refusal.uuid) == (Reason.INVALID_PAYLOAD, "c2")
    answer = control(con, "dead.replay", command="CLONE")
    assert [entry["replay_of"] for entry in answer["uuids"]] == ["c1"]
    assert [(entry["uuid"], entry["reason"]) for entry in answer["refused"]] == [("c2", "INVALID_PAYLOAD")]
    assert uuids(con) == ["c2"]


def test_many_are_replayed_in_parts(con: Connector) -> None:
    kill(con, *"abcde")
    for uuid in "abcde":
        control(con, "dead.edit", uuid=uuid, payload="{}")
    after, seen = 0, []
    while True:
        answer = control(con, "dead.replay", all=True, limit=2, after=after)
        seen.append([entry["replay_of"] for entry in answer["uuids"]])
        after = answer["next"]
        if not after:
            break
    assert seen == [["a", "b"], ["c", "d"], ["e"]]


def test_a_replay_goes_no_further_than_its_bytes(con: Connector) -> None:
    kill(con, *"abc")
    for uuid in "abc":
        control(con, "dead.edit", uuid=uuid, payload="{}")
    verbs = DeadVerbs(con.queue.operators, con.router.incoming, replay_bytes=1)
    operating = Operating(verbs.verbs)
    heard: list[Any] = []
    con.do(operating.control({"verb": "dead.replay", "all": True}, con.now, heard.append))
    assert heard[0]["n"] == 1
    again = {"verb": "dead.replay", "all": True, "after": heard[0]["next"]}
    con.do(operating.control(again, con.now, heard.append))
    assert heard[1]["n"] == 1
    assert uuids(con) == ["c"]


def test_purge_one_some_or_all(con: Connector) -> None:
    kill(con, "a1", "a2", "b1")
    kill_clone(con, "c1")
    assert control(con, "dead.purge", uuid="a1") == {"n": 1}
    assert control(con, "dead.purge", command="PULL") == {"n": 2}
    assert uuids(con) == ["c1"]
    assert control(con, "dead.purge", all=True) == {"n": 1}
    assert control(con, "dead.purge", all=True) == {"n": 0}
    assert uuids(con.restart()) == []


@pytest.mark.parametrize("verb", ["dead.purge", "dead.replay"])
def test_nobody_means_all_by_saying_nothing(con: Connector, verb: str) -> None:
    kill(con, "a1")
    for args in ({}, {"all": 1}, {"reason": ""}):
        refusal = refused(con, verb, **args)
        assert refusal.reason is Reason.BAD_ARGUMENT
        assert "all: true" in refusal.detail
    assert uuids(con) == ["a1"]


@pytest.mark.parametrize("verb", ["dead.show", "dead.edit", "dead.purge", "dead.replay"])
def test_a_letter_that_is_not_there_is_not_found(con: Connector, verb: str) -> None:
    kill(con, "a1")
    refusal = refused(con, verb, uuid="a")
    assert (refusal.reason, refusal.uuid) == (Reason.NOT_FOUND, "a"), "a uuid here is no prefix"
    if verb in ("dead.show", "dead.edit"):
        assert refused(con, verb).reason is Reason.BAD_ARGUMENT


def test_a_replayed_command_of_its_own_is_told_to_the_journal(con: Connector) -> None:
    con.result(con.call("send_command", b"{}", uuid="own", command="PULL", target="self", timeout=9_000))
    con.held = True  # the journal hears of it later
    assert control(con, "cancel", uuid="own") is None
    con.settle()
    told = len(con.queue.journal)
    (entry,) = control(con, "dead.replay", uuid="own")["uuids"]
    assert len(con.queue.journal) == told + 1
    assert con.queue.own.holds(entry["uuid"])
    again = con.restart()
    again.ready()
    assert again.result(again.wait_command("PULL"))["replay_of"] == "own"


def test_bytes_that_a_worker_failed_are_replayed_and_edited(con: Connector) -> None:
    call = con.call("take", worker="w1", major=0, holder="s1", commands=["PULL"], limit=1)
    con.hear("a", command("c1", "PULL", NOT_UTF8))
    (lease,) = con.result(call)["commands"]
    con.call("settle", outcomes=[{"uuid": "c1", "token": lease["token"], "outcome": "fail"}])
    assert through_the_door(con, "dead.edit", NOT_UTF8 * 2, uuid="c1") == {"uuid": "c1"}
    assert through_the_door(con, "dead.replay", uuid="c1")["n"] == 1
