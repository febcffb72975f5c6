"""`explain` at a connector: where a command is, what happened to it, and the one thing it waits for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command, event
from tests.support.operator import control, kill, refused
from zconnector.connector.places import COMMANDS_OF_ONE_NAME
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind, Outcome
from zconnector.messages.message import Message, receipt


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


def explain(con: Connector, uuid: str) -> dict[str, Any]:
    answer = control(con, "explain", uuid=uuid)
    assert isinstance(answer, dict), answer
    return answer


def waits(con: Connector, uuid: str) -> str:
    return str(explain(con, uuid)["waits_for"])


def history(con: Connector, uuid: str) -> list[str]:
    return [step["what"] for step in explain(con, uuid)["history"]]


def offer(con: Connector, *uuids: str, name: str = "PULL", **fields: Any) -> None:
    accept_until = con.now.wall + 10_000
    con.hear("a", *(command(uuid, name, accept_until=accept_until, **fields) for uuid in uuids))


def send(con: Connector, uuid: str, timeout: int = 9_000) -> int:
    return con.call("send_command", b"{}", uuid=uuid, type="Ci", command="BUILD", timeout=timeout, worker="w")


# ---- in the queue


def test_no_worker_of_its_version_registered_it(con: Connector) -> None:
    offer(con, "c1")
    told = explain(con, "c1")
    assert (told["state"], told["command"], told["connector"]) == ("READY", "PULL", "git")
    assert told["where"] == "connector git: in its queue"
    assert told["waits_for"] == "no worker of major 1 registered PULL"
    assert told["history"] == [{"at": con.now.wall, "what": "stored and receipted"}]
    offer(con, "c0", major=0)
    assert waits(con, "c0") == "no worker registered PULL"


def test_those_who_registered_it_are_busy_or_silent(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    offer(con, "c1", "c2", "c3")
    con.result(con.wait_command("PULL", worker="w1", major=1))
    assert waits(con, "c2") == (
        "no worker is free: w1 registered PULL in major 1 and asks for none, 1 are leased"
    )
    assert waits(con, "c3").endswith("1 are leased; 1 are before it")
    con.wait(10)
    assert waits(con, "c2") == "w1 registered it, and is silent for 10 s"


def test_leased(con: Connector) -> None:
    offer(con, "c1")
    call = con.wait_command("PULL", worker="w-3")
    con.cancel(call)
    con.wait_command("PULL", worker="w-3")
    con.call("beat", worker="w-3", major=1, minor=0)
    con.wait(2)
    told = explain(con, "c1")
    assert told["state"] == "LEASED"
    assert told["waits_for"].startswith("leased to w-3 for 2.0 s, attempt ")
    assert told["waits_for"].endswith(" of 5")
    assert (told["attempt"], told["attempts"]) == (int(told["waits_for"].split()[-3]), 5)
    assert [step["what"] for step in told["history"]] == [
        "stored and receipted",
        "leased to a worker",
        "its lease ended without an answer: ready again",
        "leased to w-3",
    ]


def test_delayed_paused_and_behind_its_order_key(con: Connector) -> None:
    offer(con, "late", delay=60_000)
    con.wait(5)
    assert waits(con, "late") == "delayed for another 55 s"
    offer(con, "k1", "k2", order_key="k")
    assert waits(con, "k2") == "its turn in order key 'k', behind k1 (READY)"
    control(con, "queue.pause", command="PULL")
    assert waits(con, "k1") == "paused: `zconnector queue resume 'PULL'`"
    control(con, "queue.resume", command="PULL")
    control(con, "queue.pause", command="*")
    assert waits(con, "k1") == "paused: `zconnector queue resume '*'`"


def test_commits_under_way(con: Connector) -> None:
    con.held = True
    offer(con, "c1")
    assert (explain(con, "c1")["state"], waits(con, "c1")) == ("STORING", "the commit that stores it")
    con.settle()
    con.result(con.wait_command("PULL"))
    con.held = True
    con.call("send_event", b"{}", uuid="r1", topic="PULL", event="SUCCES", reference="c1")
    assert (explain(con, "c1")["state"], waits(con, "c1")) == ("COMPLETING", "the commit of its end")


def test_done_with_its_reply_in_the_outbox_until_it_is_confirmed(con: Connector) -> None:
    offer(con, "c1")
    con.result(con.wait_command("PULL"))
    con.call("send_event", b"{}", uuid="r1", topic="PULL", event="SUCCES", reference="c1")
    told = explain(con, "c1")
    assert told["state"] == "DONE"
    assert told["waits_for"] == (
        "its reply is in the outbox, sent once, again in 1.0 s: ci has not confirmed it"
    )
    con.down("a")
    con.down("b")
    assert waits(con, "c1").endswith(": both instances of agg1 unreachable")
    con.wait(0.5)  # the pause before it connects again
    con.up("a")
    con.hear("a", _confirm("r1"))
    assert (explain(con, "c1")["state"], waits(con, "c1")) == ("DONE", "")
    assert history(con, "c1")[-1] == "done: its reply is stored"


def _confirm(uuid: str) -> Message:
    return Message(Kind.CONFIRM, {"entries": [[uuid, 0]], "source": "ci", "recipient": "git"})


def test_a_dead_letter_also_after_its_command_is_forgotten(con: Connector) -> None:
    kill(con, "c1")
    told = explain(con, "c1")
    assert told["where"] == "connector git: in its queue, in its dead letters"
    assert told["state"] == "DEAD"
    assert any(step["what"].startswith("dead letter INVALID_PAYLOAD: it is not") for step in told["history"])
    con.wait(800)
    told = explain(con, "c1")
    assert told["where"] == "connector git: in its dead letters"
    assert (told["state"], told["command"]) == ("DEAD", "PULL")
    control(con, "dead.edit", uuid="c1", payload="{}")
    assert history(con, "c1")[-1] == "its payload was edited"


def test_after_a_restart_what_is_stored_remains(con: Connector) -> None:
    offer(con, "c1")
    at = con.now.wall
    con.wait(3)
    again = con.restart()
    again.ready()
    told = explain(again, "c1")
    assert told["history"] == [{"at": at, "what": "arrived (this connector has been restarted since)"}]
    assert told["waits_for"] == "no worker of major 1 registered PULL"


# ---- on its way


def test_being_tried_over_an_instance_and_then_the_other(con: Connector) -> None:
    send(con, "s1")
    first, second = _order(con, "s1")
    assert waits(con, "s1") == (
        f"a receipt, asked for over instance {first} of agg1 (4.5 s left of its share)"
    )
    con.wait(5)
    told = explain(con, "s1")
    assert told["state"] == "SENDING"
    assert told["where"] == "connector git: sent from here"
    assert told["waits_for"] == (
        f"a receipt, asked for over instance {second} of agg1 "
        f"(4.0 s left of its share; tried before: {first})"
    )
    assert history(con, "s1") == [
        "given by a worker (w)",
        f"sent over instance {first}",
        f"sent over instance {second}",
    ]


def _order(con: Connector, uuid: str) -> tuple[str, str]:
    first = next(name for name, message in con.log if message.uuid == uuid)
    return first, next(name for name in ("a", "b") if name != first)


def test_receipted_and_replied(con: Connector) -> None:
    send(con, "s1")
    (sent,) = con.said(Kind.COMMAND)
    via, _ = _order(con, "s1")
    con.hear(via, receipt(sent, Outcome.ON_GOING, source="ci"))
    told = explain(con, "s1")
    assert (told["state"], told["waits_for"]) == ("RECEIPTED", "its reply: its target has it")
    con.hear(via, event("r1", "BUILD", "SUCCES", reference="s1", recipient="git"))
    told = explain(con, "s1")
    assert (told["state"], told["waits_for"]) == ("REPLIED", "")
    assert [step["what"] for step in told["history"]][-2:] == [
        f"receipt ON_GOING, over instance {via}",
        "reply SUCCES of ci stored",
    ]
    again = con.restart()
    told = explain(again, "s1")
    assert (told["state"], [step["what"] for step in told["history"]]) == ("REPLIED", ["SUCCES of ci came"])


def test_unknown_while_nothing_is_reachable(con: Connector) -> None:
    send(con, "s1", timeout=2_000)
    con.down("a")
    con.down("b")
    con.wait(3)
    told = explain(con, "s1")
    assert told["state"] == "UNKNOWN"
    assert told["waits_for"].startswith("both instances of agg1 unreachable: a receipt or a reply until ")
    assert told["waits_for"].endswith(" UTC, when a FAIL follows")
    again = con.restart()
    assert explain(again, "s1")["state"] == "UNKNOWN"


def test_waiting_for_a_place(con: Connector) -> None:
    places = 2 * COMMANDS_OF_ONE_NAME
    for number in range(places + 1):
        send(con, f"s{number}")
    told = explain(con, f"s{places}")
    assert told["state"] == "WAITING"
    assert told["waits_for"] == (
        "a place: too many commands are under way at the instances a, b (9.0 s left)"
    )


def test_what_is_not_known_is_not_found(con: Connector) -> None:
    refusal = refused(con, "explain", uuid="no")
    assert (refusal.reason, refusal.uuid) == (Reason.NOT_FOUND, "no")
    assert "git" in refusal.detail
    assert refused(con, "explain").reason is Reason.BAD_ARGUMENT
    assert refused(con, "explain", uuid="x" * 65).reason is Reason.BAD_ARGUMENT


def test_put_off_by_its_worker_with_the_last_error(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    version: dict[str, Any] = {"worker": "w1", "major": 1, "minor": 0}
    offer(con, "c1")
    con.call("tidings", holder="h1", **version)
    (taken,) = con.result(con.call("take", holder="h1", commands=["PULL"], **version))["commands"]
    assert waits(con, "c1") == "leased to w1 for 0.0 s, attempt 1 of 5"
    nak = {"uuid": "c1", "token": taken["token"], "outcome": "nak", "delay": 5_000, "error": "no disk"}
    con.result(con.call("settle", holder="h1", outcomes=[nak]))
    told = explain(con, "c1")
    assert (told["state"], told["attempt"]) == ("DELAYED", 1)
    assert told["waits_for"] == "delayed for another 5.0 s (attempt 1 of 5; the last error: no disk)"
    assert [step["what"] for step in told["history"]][-2:] == [
        "given back by its worker (nak): being stored",
        "put off until its next attempt",
    ]
    again = con.restart()
    again.ready()
    assert waits(again, "c1") == told["waits_for"], "also after a restart"
    again.wait(6)
    assert waits(again, "c1") == "no worker of major 1 registered PULL"


def test_a_stream_that_has_all_it_wants_is_busy(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    version: dict[str, Any] = {"worker": "w1", "major": 1, "minor": 0}
    con.call("tidings", holder="h1", **version)
    offer(con, "c1", "c2")
    con.result(con.call("take", holder="h1", commands=["PULL"], limit=1, **version))
    assert waits(con, "c2") == (
        "no worker is free: w1 registered PULL in major 1 and asks for none, 1 are leased"
    )
