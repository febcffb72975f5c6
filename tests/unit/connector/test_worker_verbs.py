"""`workers`: who polls what, which version, what it has, when it was last heard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.connector import Connector, command
from tests.support.operator import control
from tests.unit.queue.test_backlog import lines_of


@pytest.fixture
def con() -> Connector:
    con = Connector(["a", "b"])
    con.ready()
    return con


def rows(con: Connector) -> dict[str, dict[str, Any]]:
    return {row["worker"]: row for row in control(con, "workers")["rows"]}


def test_nobody(con: Connector) -> None:
    assert control(con, "workers") == {"rows": []}


def test_a_worker_that_names_itself(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    con.wait(2)
    con.call("beat", worker="w1", major=1, minor=0)
    con.wait(1)
    con.wait_command("CLONE", worker="w1", major=1)
    con.hear("a", command("c1", "PULL", accept_until=con.now.wall + 10_000))
    con.result(con.wait_command("PULL", worker="w1", major=1))
    assert rows(con) == {
        "w1": {
            "worker": "w1",
            "api": "gandalf",
            "state": "REGISTERED",
            "major": 1,
            "minor": 0,
            "commands": ["PULL", "CLONE"],
            "waits": 1,
            "leases": 1,
            "last_beat_ms": 1_000,
            "since_ms": 3_000,
        }
    }
    con.wait(10)
    row = rows(con)["w1"]
    assert (row["state"], row["leases"], row["last_beat_ms"]) == ("SILENT", 0, 11_000)


def test_unnamed_workers_and_those_that_name_themselves_only_in_their_waits(con: Connector) -> None:
    con.call("register", worker="", major=1, minor=0, commands=["PULL", "CLONE"])
    con.wait_command("PULL", worker="ci-worker", major=1)
    listed = rows(con)
    assert listed[""]["commands"] == ["PULL", "CLONE"]
    assert listed["ci-worker"]["waits"] == 1
    assert (listed["ci-worker"]["major"], listed["ci-worker"]["state"]) == (1, "REGISTERED")


def test_a_stranger(con: Connector) -> None:
    con.wait_command("PULL", worker="w9")
    con.wait(1)
    row = rows(con)["w9"]
    assert (row["state"], row["commands"], row["waits"], row["last_beat_ms"]) == (
        "STRANGER",
        ["PULL"],
        1,
        1_000,
    )


def test_a_worker_of_zconnector_v1(con: Connector) -> None:
    con.call("register", worker="w1", major=1, minor=0, commands=["PULL", "CLONE"])
    version: dict[str, Any] = {"worker": "w1", "major": 1, "minor": 0}
    con.call("tidings", holder="h1", **version)
    con.call("take", holder="h1", commands=["PULL"], **version)
    con.hear("a", command("c1", "PULL", accept_until=con.now.wall + 10_000))
    con.call("take", holder="h1", commands=["PULL", "CLONE"], **version)
    con.wait(20)
    row = rows(con)["w1"]
    assert (row["api"], row["state"], row["waits"], row["leases"]) == ("v1", "REGISTERED", 1, 1)
    assert (row["last_beat_ms"], row["since_ms"]) == (0, 20_000)


def test_many_workers_cost_each_the_same() -> None:
    def cost(workers: int) -> int:
        con = Connector(["a", "b"])
        con.ready()
        for number in range(workers):
            con.call("take", worker=f"w{number}", major=1, holder=f"h{number}", commands=["CLONE"])
        return lines_of(lambda: control(con, "workers"), "zconnector/connector")

    few, many = cost(20), cost(200)
    assert few > 100, "something was counted"
    assert many <= 11 * few
