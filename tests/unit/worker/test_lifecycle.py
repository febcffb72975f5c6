"""The worker's lifecycle, as transcripts."""

from __future__ import annotations

import re

import pytest

from zconnector.worker import lifecycle
from zconnector.worker.errors import RegistrationRefused
from zconnector.worker.lifecycle import TABLE, Lifecycle, State, Step


def serving() -> Lifecycle:
    life = Lifecycle()
    assert life.accepted("b1") is Step.SERVE
    return life


def test_a_plain_life() -> None:
    life = Lifecycle()
    assert life.away() is Step.RETRY
    assert life.accepted("b1") is Step.SERVE
    assert life.beaten(True, "b1") is Step.BEAT
    assert life.away() is Step.BEAT
    assert life.signalled() is Step.DRAIN
    assert life.beaten(True, "b1") is Step.NOTHING
    assert life.idle() is Step.EXIT
    assert (life.state, life.exit_code) == (State.STOPPED, 0)


def test_a_no_of_the_same_router_is_an_order_to_leave() -> None:
    life = serving()
    assert life.beaten(False, "b1") is Step.DRAIN
    assert life.state is State.DRAINING
    assert life.exit_code == 0


@pytest.mark.parametrize("valid", [True, False])
def test_another_router_is_told_anew(valid: bool) -> None:
    life = serving()
    assert life.beaten(valid, "b2") is Step.REGISTER
    assert life.accepted("b2") is Step.SERVE
    assert life.beaten(True, "b2") is Step.BEAT


def test_a_connector_that_tells_no_boot_id_orders_the_drain() -> None:
    life = Lifecycle()
    life.accepted("")
    assert life.beaten(True, "") is Step.BEAT
    assert life.beaten(False, "") is Step.DRAIN


def test_a_refused_registration_ends_with_its_exit_status() -> None:
    life = Lifecycle()
    assert life.refused(RegistrationRefused(["A"], "")) is Step.DRAIN
    assert life.idle() is Step.EXIT
    assert life.exit_code == 78
    assert "A" in str(life.error)


def test_a_refusal_after_a_restart_drains_what_runs_first() -> None:
    life = serving()
    life.beaten(False, "b2")
    assert life.refused(RegistrationRefused([], "")) is Step.DRAIN
    assert life.state is State.DRAINING


def test_a_refusal_that_comes_too_late_changes_nothing() -> None:
    life = serving()
    life.signalled()
    assert life.refused(RegistrationRefused(["A"], "")) is Step.NOTHING
    assert life.exit_code == 0


def test_the_table_of_the_docstring_is_the_table() -> None:
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (\w+)[^|]*\| (\w+) \|$", lifecycle.__doc__ or "", re.MULTILINE)
    documented = {(row[0], row[1]): (row[2], row[3]) for row in rows if row[0] != "state"}
    assert documented == {(str(s), str(h)): (str(step), str(n)) for (s, h), (step, n) in TABLE.items()}
