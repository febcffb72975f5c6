"""SendCommandList: whether a worker has what its pivot asks for, and how a list becomes a pivot."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.support.connector import INSTANCES, Connector, answer, command
from tests.support.transcript import START
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message


def step(con: Connector) -> tuple[str, str]:
    """The step of initialisation, and what it waits for."""
    status = con.machine.status(con.now)["initialisation"]
    return status["step"], status["waiting_for"]


def requests(con: Connector, kind: Kind) -> list[tuple[str, Message]]:
    return [(to, m) for to, m in con.log if m.kind is kind and not m.is_answer]


# ---- SendCommandList


def register(con: Connector, commands: Any = ("CLONE", "PULL"), **args: Any) -> int:
    given = {"worker": "w1", "major": 1, "minor": 0, "commands": list(commands), **args}
    return con.call("register", **given)


def test_a_worker_that_declares_what_its_pivot_asks_for_is_valid() -> None:
    con = Connector(["a"])
    con.ready()
    assert con.result(register(con))["valid"] is True
    assert con.result(register(con, ["CLONE", "PULL", "MORE"]))["valid"] is True
    assert [w["version"] for w in con.machine.status(con.now)["workers"]] == ["1.0"]


def test_a_worker_that_lacks_a_command_is_not() -> None:
    con = Connector(["a"])
    con.ready()
    result = con.result(register(con, ["CLONE"]))
    assert result["valid"] is False
    assert result["missing"] == ["PULL"]
    assert "PULL" in result["detail"]
    assert con.result(con.call("beat", worker="w1", major=1, minor=0))["valid"] is False


def test_a_worker_of_a_version_without_pivot_is_not() -> None:
    con = Connector(["a"])
    con.ready()
    result = con.result(register(con, major=2))
    assert (result["valid"], result["missing"]) == (False, [])
    assert "2.0" in result["detail"]


@pytest.mark.parametrize(
    "args",
    [
        {"commands": "CLONE"},
        {"commands": [1]},
        {"commands": [""]},
        {"commands": ["x" * 257]},
        {"commands": ["c"] * 1001},
        {"major": 128},
        {"minor": "0"},
        {"major": True},
    ],
    ids=lambda args: str(args)[:40],
)
def test_a_command_list_that_breaks_a_rule_is_refused(args: dict[str, Any]) -> None:
    con = Connector(["a"])
    con.ready()
    call = con.call("register", **{"worker": "w", "major": 1, "minor": 0, "commands": [], **args})
    assert con.refusal(call).reason is Reason.BAD_ARGUMENT


# ---- SendCommandList where the tenant is not strict


def loose() -> Connector:
    con = Connector(["a"], strict=False)
    con.up()
    con.answer_requests(pivots={"pivots": [], "products": []})
    con.clear()
    return con


IMPLICIT = {
    "pivots": [{"name": "Git", "major": 1, "minor": 0, "implicit": True, "commandtypes": [{"name": "CLONE"}]}]
}


def test_the_first_list_becomes_the_pivot_and_the_call_is_held_until_it_is() -> None:
    con = loose()
    call = register(con, ["CLONE"])
    assert not con.answered(call)
    ((_, put),) = requests(con, Kind.CONFIG)
    assert put.text("command") == "PUT_IMPLICIT"
    assert orjson.loads(put.payload) == {"major": 1, "minor": 0, "commands": ["CLONE"]}
    con.hear("a", answer(put, IMPLICIT))
    assert con.result(call)["valid"] is True
    con.hear("a", command(payload=b"anything"))
    assert con.receipts()[-1][1] == "ON_GOING"


def test_a_list_that_is_covered_asks_nobody() -> None:
    con = loose()
    register(con, ["CLONE"])
    con.hear("a", answer(requests(con, Kind.CONFIG)[0][1], IMPLICIT))
    con.clear()
    assert con.result(register(con, ["CLONE"]))["valid"] is True
    assert requests(con, Kind.CONFIG) == []


def test_a_list_with_more_than_the_implicit_pivot_extends_it() -> None:
    con = loose()
    register(con, ["CLONE"])
    con.hear("a", answer(requests(con, Kind.CONFIG)[0][1], IMPLICIT))
    con.clear()
    register(con, ["CLONE", "PULL"])
    ((_, put),) = requests(con, Kind.CONFIG)
    assert orjson.loads(put.payload)["commands"] == ["CLONE", "PULL"]


def test_a_pivot_from_a_file_is_not_extended() -> None:
    con = Connector(["a"], strict=False)
    con.ready()
    assert con.result(register(con, ["CLONE"]))["valid"] is False
    assert requests(con, Kind.CONFIG) == []


def test_a_cluster_that_is_strict_after_all_makes_the_worker_invalid_and_not_wait_for_ever() -> None:
    con = loose()
    call = register(con, ["CLONE"])
    ((_, put),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(put, reason="NOT_PERMITTED", detail="the tenant is strict"))
    assert con.result(call)["valid"] is False
    assert "strict" in con.result(call)["detail"]
    con.clear()
    con.wait(30.0)
    assert requests(con, Kind.CONFIG) == []


def test_while_there_is_no_cluster_the_worker_waits() -> None:
    con = loose()
    call = register(con, ["CLONE"])
    ((_, put),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(put, reason="NO_CLUSTER", detail="none"))
    assert not con.answered(call)
    con.clear()
    con.wait(1.0)
    ((_, again),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(again, IMPLICIT))
    assert con.result(call)["valid"] is True


def test_two_workers_with_the_same_list_are_one_request_and_two_answers() -> None:
    con = loose()
    one, two = register(con, ["CLONE"]), register(con, ["CLONE"], worker="w2")
    ((_, put),) = requests(con, Kind.CONFIG)
    con.hear("a", answer(put, IMPLICIT))
    assert con.result(one)["valid"] is con.result(two)["valid"] is True


def test_a_worker_that_asks_again_and_again_leaves_nothing_behind() -> None:
    con = loose()
    for _ in range(5):
        con.cancel(register(con, ["CLONE"]))
    assert len(requests(con, Kind.CONFIG)) == 1
    last = register(con, ["CLONE"])
    con.hear("a", answer(requests(con, Kind.CONFIG)[0][1], IMPLICIT))
    assert con.result(last)["valid"] is True


def test_lists_that_wait_for_the_cluster_are_bounded() -> None:
    con = loose()
    for number in range(100):
        register(con, [f"C{number}"])
    assert con.refusal(register(con, ["ONE_MORE"])).reason is Reason.BUSY
    assert not con.answered(register(con, ["C7"])), "that list waits already"
    assert len(requests(con, Kind.CONFIG)) == 100


def test_instances_are_the_default() -> None:
    assert [s["instance"] for s in Connector().machine.status(START)["sessions"]["up"]] == list(INSTANCES)
