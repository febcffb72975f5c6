"""Places at the instances: a silent target, a frozen instance or a busy one does not hold up the others."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.connector import Connector
from tests.unit.connector.test_outgoing import back, copies, crowd, heard_of, send, under_way
from zconnector.actions import Transmit
from zconnector.connector.places import COMMANDS_OF_ONE_NAME, PAUSE
from zconnector.errors import Reason
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.pace import COMMANDS_IN_FLIGHT


def connected(*instances: str) -> Connector:
    con = Connector(instances)
    con.ready()
    return con


def busy(con: Connector, name: str, command: Message) -> None:
    con.hear(name, back(command, "NO_ROUTE", reason="BUSY"))


# ---- whose places


def test_a_target_that_is_silent_does_not_hold_up_commands_to_others() -> None:
    con = connected("a")
    crowd(con, COMMANDS_IN_FLIGHT, type="Slow", command="RUN", timeout=30_000)
    assert len(under_way(con)) == COMMANDS_OF_ONE_NAME
    send(con, "other", type="Fast", timeout=5_000)
    assert under_way(con)[-1] == "other"
    con.hear("a", heard_of("other"))
    assert len(under_way(con)) == COMMANDS_OF_ONE_NAME + 1, "another silent one is not let in for it"


def test_a_frozen_instance_has_only_its_own_places() -> None:
    con = connected("a", "b")
    for number in range(500):
        send(con, f"c{number}", command="RUN", timeout=60_000)
        for to, message in copies(con):
            if to == "b":
                con.hear("b", heard_of(message.uuid))
        con.clear()
    send(con, "next", timeout=60_000)
    assert under_way(con) == ["next"]


@given(st.integers(1, 3 * COMMANDS_OF_ONE_NAME), st.integers(1, 2**32))
def test_a_bunch_is_divided_into_as_few_parts_as_the_places_allow(count: int, seed: int) -> None:
    """Each part pays the wakes, transmissions and transactions of its way."""
    con = Connector(["a", "b", "c"], seed=seed)
    con.ready()
    crowd(con, count, command="RUN", timeout=60_000)
    parts = Counter(to for to, _ in copies(con))
    full, rest = divmod(count, COMMANDS_OF_ONE_NAME)
    assert sorted(parts.values(), reverse=True) == [COMMANDS_OF_ONE_NAME] * full + [rest] * (rest > 0)


def test_a_bunch_of_64_goes_in_two_parts() -> None:
    """As many as our benches have in flight."""
    con = connected("a", "b", "c")
    crowd(con, 64, command="RUN", timeout=60_000)
    assert len({to for to, _ in copies(con)}) == 2


# ---- BUSY


def test_commands_of_a_lost_instance_wait_for_a_place_at_the_other() -> None:
    con = connected("a", "b")
    calls = crowd(con, 2 * COMMANDS_IN_FLIGHT + 1, timeout=60_000)
    on_a, on_b = ([m.uuid for to, m in copies(con) if to == name] for name in "ab")
    assert len(on_a) == len(on_b) == COMMANDS_IN_FLIGHT
    con.clear()
    con.down("a")
    assert not any(con.answered(call) for call in calls.values())
    assert copies(con) == [], "b has no place"
    for uuid in on_b:
        con.hear("b", heard_of(uuid))
    assert under_way(con) == on_a, "in their order, before what came later"
    con.wait(60)
    assert {con.result(calls[uuid])["outcome"] for uuid in on_a} == {"UNKNOWN"}


def test_a_place_that_is_still_taken_at_the_instance_is_no_answer_while_time_is_left() -> None:
    """The try of `short` ends here a moment before it ends there."""
    con = connected("a")
    send(con, "short", timeout=300)
    crowd(con, COMMANDS_IN_FLIGHT - 1, timeout=60_000)
    late = send(con, "late", timeout=60_000)
    con.wait(0.3)
    busy(con, "a", copies(con)[-1][1])
    assert not con.answered(late)
    con.clear()
    con.wait(PAUSE - 0.001)
    assert under_way(con) == [], "no retry without a reason"
    con.wait(0.002)
    assert under_way(con) == ["late"]
    con.hear("a", heard_of("late"))
    assert con.result(late)["outcome"] == "ACCEPTED"


def test_who_was_refused_a_place_goes_as_another_ends() -> None:
    con = connected("a")
    send(con, "d1")
    late = send(con, "late")
    busy(con, "a", copies(con)[-1][1])
    con.clear()
    con.hear("a", heard_of("d1"))
    assert under_way(con) == ["late"]
    assert not con.answered(late)


def test_an_instance_that_is_always_busy_is_asked_seldom_and_told_of_in_the_end() -> None:
    con = connected("a")
    calls = crowd(con, 100, timeout=3000)
    asked = 0
    for _ in range(310):
        said, con.log = copies(con), []
        asked += len(said)
        for to, message in said:
            busy(con, to, message)
        con.wait(0.01)
    assert COMMANDS_IN_FLIGHT < asked <= COMMANDS_IN_FLIGHT + 3.0 / PAUSE
    assert {con.refusal(call).reason for call in calls.values()} == {Reason.BUSY}


def test_one_that_was_in_doubt_anywhere_is_unknown_in_the_end() -> None:
    con = connected("a", "b")
    call = send(con, timeout=2000)
    (first, _), other = copies(con)[0], next(name for name in "ab" if name != copies(con)[0][0])
    con.wait(1.0)
    for _ in range(10):
        busy(con, other, copies(con)[-1][1])
        con.wait(0.09)
    assert {to for to, _ in copies(con)[1:]} == {other}, "the one in doubt is not asked again"
    assert not con.answered(call)
    con.wait(0.2)
    assert con.result(call)["outcome"] == "UNKNOWN"
    assert first != other


def test_who_waits_for_a_place_at_an_instance_that_goes_hears_of_it_at_once() -> None:
    con = connected("a")
    call = send(con)
    busy(con, "a", copies(con)[-1][1])
    con.down("a")
    assert con.refusal(call).reason is Reason.NO_AGGREGATOR


class _Deaf(Connector):
    """Its sockets take no command."""

    refused = 0

    def _one(self, action: Any) -> None:
        if isinstance(action, Transmit) and action.messages[0].kind is Kind.COMMAND:
            self.refused += 1
            assert action.refused is not None
            self.do(action.refused(self.now))
        else:
            super()._one(action)


def test_a_socket_that_takes_nothing_is_tried_seldom() -> None:
    con = _Deaf(["a"])
    con.ready()
    call = send(con, timeout=3000)
    con.wait(2.999)
    assert not con.answered(call)
    assert 1 < con.refused <= 1 + 3.0 / PAUSE
    con.wait(0.1)
    assert con.refusal(call).reason is Reason.BUSY
