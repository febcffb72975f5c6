"""From the first session to READY, the fast start from what was kept, and refusals."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.connector import CONFIGURATION, PIVOTS, Connector, answer, command
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Flag, Kind
from zconnector.messages.message import Message


def step(con: Connector) -> tuple[str, str]:
    """The step of initialisation, and what it waits for."""
    status = con.machine.status(con.now)["initialisation"]
    return status["step"], status["waiting_for"]


def requests(con: Connector, kind: Kind) -> list[tuple[str, Message]]:
    return [(to, m) for to, m in con.log if m.kind is kind and not m.is_answer]


# ---- first start, step by step


def test_the_steps_of_a_first_start() -> None:
    con = Connector(["a"])
    assert con.trace == ["open tcp://a"]
    assert step(con) == ("COMMUNICATION", "aggregator instance a at tcp://a: OPENING")

    link = con._opened["a"]
    con.do(con.machine.link_opened(link, con.now))
    hello, secret = (m for _, m in con.log)
    assert (hello.kind, secret.kind, secret.payload) == (Kind.HELLO, Kind.SECRET, b"the secret")
    welcome = con.welcome("a", hello.text("session"))
    con.hear("a", welcome.with_fields(validated=False))
    assert step(con)[1] == "a cluster member, to validate the secret"

    con.hear("a", welcome)
    assert step(con) == ("CONFIGURATION", "logical configuration, pivots and product connectors")
    ((_, save),) = requests(con, Kind.CONFIGURATION)
    ((_, get),) = requests(con, Kind.CONFIG)
    assert save.text("command") == "SAVE"
    assert orjson.loads(save.payload)["type"] == "Git"
    assert (get.text("command"), get.payload) == ("GET", b"")
    assert con.served == 0

    con.hear("a", answer(save, CONFIGURATION))
    assert step(con) == ("VERSIONS", "pivots and product connectors")
    assert con.served == 0
    con.hear("a", answer(get, PIVOTS))
    assert con.served == 1
    assert step(con)[0] == "SERVING"
    con.do(con.machine.serving("unix:/x", "unix:/o", con.now))
    shown = con.machine.status(con.now)
    assert (shown["grpc"], shown["operators"]) == ("unix:/x", "unix:/o")
    assert step(con)[0] == "ADMIN_WORKER"
    con.do(con.machine.admin_running(con.now))
    assert step(con) == ("READY", "")


def test_answers_in_the_other_order_serve_as_well() -> None:
    con = Connector(["a"])
    con.up()
    ((_, get),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(get, PIVOTS))
    assert con.served == 0
    ((_, save),) = requests(con, Kind.CONFIGURATION)
    con.hear("a", answer(save, CONFIGURATION))
    assert con.served == 1


def test_serving_is_asked_for_once() -> None:
    con = Connector(["a"])
    con.ready()
    con.hear("a", Message(Kind.CONFIG, {"uuid": "p", "command": "GET"}, orjson.dumps(PIVOTS), Flag.PUSH))
    con.down("a")
    con.wait(0.0)
    con.up("a")
    con.answer_requests()
    assert con.served == 1


def test_an_aggregator_that_comes_late_is_found_by_itself() -> None:
    con = Connector(["a"])
    con.do(con.machine.link_lost(con._opened["a"], "connection refused", con.now))
    assert "connection refused" in step(con)[1]
    for _ in range(10):
        con.wait(2.1)
        con.do(con.machine.link_lost(con._opened["a"], "connection refused", con.now))
    con.wait(2.1)
    con.up("a")
    con.answer_requests()
    assert con.served == 1


# ---- what cannot be read


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no json",
        b"\xff",
        b"[]",
        b"1",
        b"null",
        b'{"pivots":3}',
        b'{"pivots":[1]}',
        b'{"pivots":[{}]}',
        b'{"pivots":[{"name":"Git","major":"x","minor":0}]}',
        b'{"version":-1,"values":{}}',
        b'{"version":1,"values":[]}',
    ],
)
@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.CONFIGURATION])
def test_an_answer_that_cannot_be_read_is_noted_and_changes_nothing(kind: Kind, payload: bytes) -> None:
    con = Connector(["a"])
    con.ready()
    before = con.machine.status(con.now)["versions"]
    con.hear("a", Message(kind, {"uuid": "p", "command": "GET"}, payload, Flag.PUSH))
    assert con.machine.status(con.now)["versions"] == before or payload.startswith(b'{"version"')
    assert con.stopped is None


# ---- the fast start


def test_a_connector_that_was_validated_before_serves_at_once_from_what_it_kept() -> None:
    first = Connector(["a"])
    first.ready()
    con = first.restart()
    assert con.trace[0] == "serve"
    status = con.machine.status(con.now)["initialisation"]
    assert status["serving_from_cache"] is True
    assert status["step"] == "COMMUNICATION"
    assert con.machine.status(con.now)["versions"] == ["1.0"]
    assert con.result(con.call("register", worker="w", major=1, minor=0, commands=["CLONE", "PULL"]))["valid"]
    con.up("a")
    con.answer_requests()
    assert con.served == 1
    assert con.machine.status(con.now)["initialisation"]["serving_from_cache"] is False


def test_it_serves_its_stored_queue() -> None:
    first = Connector(["a"])
    first.ready()
    first.hear("a", command())
    con = first.restart()
    assert con.result(con.wait_command())["uuid"] == "c1"


@pytest.mark.parametrize("missing", ["validation", "catalogue", "configuration"])
def test_without_all_of_it_nothing_is_served(missing: str) -> None:
    first = Connector(["a"])
    first.ready()
    key = next(key for key in first.store.rows["documents"] if str(key).endswith(missing))
    del first.store.rows["documents"][key]
    assert first.restart().served == 0


@pytest.mark.parametrize("missing", ["catalogue", "configuration"])
def test_what_was_kept_and_cannot_be_read_is_as_if_it_were_not_there(missing: str) -> None:
    """A newer version may have written it; the cluster will tell it anew."""
    first = Connector(["a"])
    first.ready()
    first.do(first.queue.remember(missing, {"pivots": 3, "version": "x"}, first.now))
    con = first.restart()
    assert con.served == 0
    con.up("a")
    con.answer_requests()
    assert con.served == 1


# ---- refused


def refused(con: Connector, reason: str = "WRONG_SECRET") -> None:
    header = {"reference": "s", "valid": False, "reason": reason, "detail": "no"}
    con.hear("a", Message(Kind.SECRET, header, flags=Flag.ANSWER))


def stop_reason(con: Connector) -> Reason:
    assert con.stopped is not None
    assert isinstance(con.stopped.error, Refusal)
    return con.stopped.error.reason


@pytest.mark.parametrize("reason", ["WRONG_SECRET", "WRONG_KEY", "REVOKED", "UNDECLARED"])
def test_a_first_start_with_a_wrong_secret_stops_and_serves_nothing(reason: str) -> None:
    con = Connector(["a"])
    con.do(con.machine.link_opened(con._opened["a"], con.now))
    refused(con, reason)
    assert con.served == 0
    assert stop_reason(con) == reason
    assert con.restart().served == 0


def test_a_later_refusal_forgets_what_was_kept_and_then_stops() -> None:
    first = Connector(["a"])
    first.ready()
    con = first.restart()
    assert con.served == 1
    con.do(con.machine.link_opened(con._opened["a"], con.now))
    con.clear()
    con.held = True
    refused(con)
    assert con.stopped is None, "first forgotten, durably, then stopped"
    con.settle()
    assert con.steps()[-2:] == ["commit", "stop"]
    assert con.restart().served == 0


def test_a_refusal_stops_even_when_nothing_can_be_written() -> None:
    con = Connector(["a"])
    con.do(con.machine.link_opened(con._opened["a"], con.now))
    con.full = True
    refused(con)
    assert stop_reason(con) is Reason.WRONG_SECRET


def test_revoked_while_live() -> None:
    con = Connector(["a"])
    con.ready()
    con.hear("a", Message(Kind.ERROR, {"reason": "REVOKED", "detail": "revoked"}))
    assert stop_reason(con) is Reason.REVOKED
    assert con.restart().served == 0


def test_two_instances_that_both_refuse_stop_it_once() -> None:
    con = Connector(["a", "b"])
    for name in ("a", "b"):
        con.do(con.machine.link_opened(con._opened[name], con.now))
    header = {"reference": "s", "valid": False, "reason": "WRONG_SECRET", "detail": "no"}
    for name in ("a", "b"):
        if con.stopped is None:  # the shell hears nothing more after a Stop
            con.hear(name, Message(Kind.SECRET, header, flags=Flag.ANSWER))
    assert stop_reason(con) is Reason.WRONG_SECRET


def test_replaced_stops_and_forgets_nothing() -> None:
    con = Connector(["a"])
    con.ready()
    con.hear("a", Message(Kind.REPLACED, {"reason": "REPLACED"}))
    assert stop_reason(con) is Reason.REPLACED
    assert con.restart().served == 1, "the process that replaced it uses the same store"


def test_the_secret_is_in_no_status_and_no_note() -> None:
    con = Connector(["a"])
    con.ready()
    refused(con)
    shown = f"{con.machine.status(con.now)} {con.notes} {con.stopped}"
    assert "the secret" not in shown


# ---- instances


def told(con: Connector, *instances: tuple[str, str]) -> None:
    items = [{"instance": name, "endpoint": endpoint, "key": f"key-{name}"} for name, endpoint in instances]
    session = con.said(Kind.HELLO, "a")[0].text("session")
    con.hear("a", con.welcome("a", session, instances=items))


def test_the_list_of_instances_is_kept_current_by_welcome() -> None:
    con = Connector(["a"])
    con.up("a")
    told(con, ("a", "tcp://a"), ("b", "tcp://b"))
    assert "open tcp://b" in con.trace
    con.up("b")
    told(con, ("a", "tcp://a"))
    assert [s["instance"] for s in con.machine.status(con.now)["sessions"]["up"]] == ["a"]
    kept = con.restart().queue.recall("instances")
    assert kept is not None
    assert [i["instance"] for i in kept["instances"]] == ["a"]


@pytest.mark.parametrize(
    "instances",
    [[], [1], [{}], [None], [{"instance": "x"}], ["text"], [[]], [{"instance": "x", "endpoint": "tcp://x"}]],
    ids=str,
)
def test_a_list_of_no_instances_changes_nothing(instances: list[Any]) -> None:
    con = Connector(["a"])
    con.up("a")
    session = con.said(Kind.HELLO, "a")[0].text("session")
    con.hear("a", con.welcome("a", session, instances=instances))
    assert [s["instance"] for s in con.machine.status(con.now)["sessions"]["up"]] == ["a"]
    assert con.router.shoset.peers()


# ---- pushes


def test_a_pushed_pivot_is_in_force_at_once_and_kept() -> None:
    con = Connector(["a"])
    con.ready()
    con.hear("a", command(name="NEW", payload=b"{}"))
    assert con.receipts()[-1][2] == "UNKNOWN_COMMAND"
    pivots = {"pivots": [{"name": "Git", "major": 1, "minor": 1, "commandtypes": [{"name": "NEW"}]}]}
    con.hear("a", Message(Kind.CONFIG, {"uuid": "p", "command": "GET"}, orjson.dumps(pivots), Flag.PUSH))
    con.hear("a", command(name="NEW", payload=b"{}"))
    assert con.receipts()[-1][1] == "ON_GOING"
    assert con.restart().machine.status(con.now)["versions"] == ["1.1"]


def test_a_pushed_configuration_is_in_force_and_kept() -> None:
    con = Connector(["a"])
    con.ready()
    payload = orjson.dumps({"version": 4, "values": {"colour": "red"}})
    con.hear("a", Message(Kind.CONFIGURATION, {"uuid": "p", "command": "GET"}, payload, Flag.PUSH))
    for each in (con, con.restart()):
        assert each.router.setup.configuration is not None
        assert each.router.setup.configuration.values == {"colour": "red"}


def test_a_push_that_another_has_overtaken_changes_nothing() -> None:
    """Each comes over every instance: the slow one's older undid the newer until its own copy came."""
    con = Connector(["a", "b"])
    con.ready()

    def push(name: str, version: int) -> int:
        payload = orjson.dumps({"version": version, "values": {"n": version}})
        con.hear(name, Message(Kind.CONFIGURATION, {"uuid": "p", "command": "GET"}, payload, Flag.PUSH))
        return int(con.machine.status(con.now)["configuration"]["version"])

    assert [push("a", 8), push("a", 9), push("b", 8), push("b", 9)] == [8, 9, 9, 9]
    # What it asks for it takes: a member that was restored from a copy counts from there.
    con.down("a")
    con.wait(0.0)
    con.up("a")
    con.answer_requests()
    assert con.machine.status(con.now)["configuration"]["version"] == 3


def test_what_is_no_instance_is_not_kept_for_the_next_start() -> None:
    """The process looks for an address in each of them: a KeyError, at every start."""
    con = Connector()
    good = {"instance": "a", "endpoint": "tcp://a", "key": "key-a"}
    con.up("a", instances=[{"boot": 5}, 7, good, {"instance": "b", "endpoint": []}])
    assert con.queue.recall("instances") == {"instances": [good]}
