"""What the router tells the admin worker of its workers, and whose names are whose."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.connector import Connector, command
from zconnector.errors import Reason
from zconnector.versions.traffic import CANARY

TOLD: dict[str, Any] = {"watched": ["Git-1.0"], "held": [], "drained": [], "shares": {}, "pins": {}}


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    news(con, con.call("admin_watch"))  # of the configuration that came while it became ready
    return con


def steer(con: Connector, **more: Any) -> None:
    con.result(con.call("admin_steer", orjson.dumps({**TOLD, **more})))


def news(con: Connector, watch: int) -> list[Any]:
    found: list[Any] = orjson.loads(con.responses[watch].payload)
    return found


def register(con: Connector, minor: int = 0, **more: Any) -> int:
    commands = ["CLONE", "PULL", "PUSH"]
    return con.call("register", worker="Git-1.0", major=1, minor=minor, commands=commands, **more)


def test_the_name_of_a_supervised_worker_is_its_sockets_alone(con: Connector) -> None:
    steer(con)
    assert con.refusal(register(con)).reason is Reason.BAD_ARGUMENT
    iterator = con.iterator("command")
    wait = con.call("wait_command", iterator=iterator, command="CLONE", major=1, worker="Git-1.0")
    assert con.refusal(wait).reason is Reason.BAD_ARGUMENT
    assert con.result(register(con, own=True))["valid"] is True
    steer(con, watched=[])
    assert con.result(register(con))["valid"] is True  # nobody's, then


def test_a_registration_is_told_with_the_version_that_it_is_of(con: Connector) -> None:
    steer(con)
    watch = con.call("admin_watch")
    assert not con.answered(watch)
    register(con, own=True)
    assert news(con, watch) == [["registered", "Git-1.0", "1.0"]]


def test_a_drained_worker_is_idle_once_its_last_lease_is_over(con: Connector) -> None:
    steer(con)
    register(con, own=True)
    con.wait(2)
    steer(con, drained=["Git-1.0"])
    told = news(con, con.call("admin_watch"))
    assert ["idle", "Git-1.0"] in told


def test_that_the_last_lease_of_a_drained_worker_is_over_is_told_at_once(con: Connector) -> None:
    steer(con)
    register(con, own=True)
    it = con.iterator("command")
    wait = con.call("wait_command", iterator=it, command="CLONE", major=1, worker="Git-1.0", own=True)
    con.hear("a", command("c1"))
    assert con.result(wait)["uuid"] == "c1"
    con.wait(1.2)  # the next look at the workers is a while away
    steer(con, drained=["Git-1.0"])
    con.wait(0.0)
    con.call("admin_watch")
    watch = con.call("admin_watch")
    con.call("send_event", topic="CLONE", event="SUCCES", reference="c1", worker="Git-1.0", own=True)
    assert con.router.soon() <= con.now.mono
    con.wait(0.0)
    assert ["idle", "Git-1.0"] in news(con, watch)


def test_who_watches_hears_each_second_who_was_heard(con: Connector) -> None:
    steer(con)
    register(con, own=True)
    news(con, con.call("admin_watch"))
    watch = con.call("admin_watch")
    con.wait(0.5)
    con.call("beat", worker="Git-1.0", major=1, minor=0, own=True)
    con.wait(0.7)
    assert news(con, watch) == [["beats", ["Git-1.0"]]]


def test_there_is_one_who_watches(con: Connector) -> None:
    first = con.call("admin_watch")
    assert con.refusal(con.call("admin_watch")).reason is Reason.BAD_ARGUMENT
    con.cancel(first)
    assert not con.answered(con.call("admin_watch"))


def test_what_was_kept_comes_back_after_a_restart(con: Connector) -> None:
    memory = {"step": None, "running": ["1.0"]}
    con.result(con.call("admin_keep", orjson.dumps(memory)))
    con.result(con.call("admin_keep", orjson.dumps({"product": "x"}), name="accepted"))
    again = con.restart()
    assert orjson.loads(again.responses[again.call("admin_recall")].payload) == [memory, {"product": "x"}]


def test_a_question_of_an_operator_waits_for_the_admin_worker(con: Connector) -> None:
    ask = con.call("operate", verb="worker.start", version="1.0")
    (told,) = news(con, con.call("admin_watch"))
    assert (told[0], told[2], told[3]) == ("ask", "start", {"version": "1.0"})
    assert not con.answered(ask)
    con.call("admin_answer", orjson.dumps({"Major": 1}), ask=told[1])
    assert con.result(ask) == {"Major": 1}


def test_a_canary_that_a_killed_router_left_is_run_by_nobody(con: Connector) -> None:
    """Its pin went with the router: the version that had to show nothing ran it."""
    canary: dict[str, Any] = {
        "target": "self",
        "type": "Git",
        "command": "PULL",
        "major": 1,
        "context": f"{CANARY}1.1",
    }
    common: dict[str, Any] = {"timeout": 60_000, "ttl": 60_000, "retry": {"attempts": 1}}
    sent = con.call("send_command", b"{}", uuid="canary", worker="ADMIN", **canary, **common)
    other: dict[str, Any] = {**canary, "context": "app"}
    con.call("send_command", b"{}", uuid="other", worker="ADMIN", **other, **common)
    assert con.result(sent)["outcome"] == "ACCEPTED"
    again = con.restart()
    again.ready()
    assert again.answered(again.call("admin_recall"))
    assert [command.uuid for command in again.queue.live_commands()] == ["other"]
    wait = again.call("wait_command", iterator=again.iterator("command"), command="PULL", major=1, worker="w")
    assert again.result(wait)["uuid"] == "other"


def test_status_shows_what_is_waited_for(con: Connector) -> None:
    assert con.router.status(con.now)["rollout"] == {"step": None, "waits": None}
    waits = {"versions": ["1.1"], "reason": "the repository is away", "tries": 2}
    con.result(con.call("admin_keep", orjson.dumps({"step": "FETCHING", "waits": waits})))
    assert con.router.status(con.now)["rollout"] == {"step": "FETCHING", "waits": waits}
