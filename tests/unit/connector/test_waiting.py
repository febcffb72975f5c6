"""The waiting room: order, what is taken out of it, and whose time is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zconnector.agenda import Agenda
from zconnector.connector.waiting import Queued, Senders, WaitingRoom
from zconnector.messages.kinds import Kind
from zconnector.messages.message import Message
from zconnector.shoset.peers import Peer


def queued(uuid: str, ends: float = 100.0) -> Queued:
    return Queued(Message(Kind.COMMAND, {"uuid": uuid}), Senders(), ends)


def room_of(*uuids: str) -> WaitingRoom:
    room = WaitingRoom(Agenda())
    for uuid in uuids:
        room.add(queued(uuid))
    return room


def uuids(room: WaitingRoom) -> list[str]:
    return [one.command.uuid for one in room]


def test_they_go_in_the_order_in_which_they_came() -> None:
    room = room_of("b", "a", "c")
    assert uuids(room) == ["b", "a", "c"]
    assert [room.take_first().command.uuid for _ in range(3)] == ["b", "a", "c"]  # type: ignore[union-attr]
    assert room.take_first() is None


def test_one_is_taken_by_its_uuid_and_the_others_keep_their_order() -> None:
    room = room_of("a", "b", "c")
    taken = room.take("b")
    assert taken is not None
    assert taken.command.uuid == "b"
    assert room.take("b") is None
    assert room.get("b") is None
    assert uuids(room) == ["a", "c"]
    assert len(room) == 2


def test_a_uuid_that_is_none_takes_nobody() -> None:
    room = room_of("a")
    assert room.take("") is None
    assert uuids(room) == ["a"]


def test_who_went_is_not_kept_while_one_waits_whose_time_is_over_sooner() -> None:
    room = WaitingRoom(Agenda())
    room.hold(queued("lasts", 50.0))
    for number in range(1000):
        room.add(queued(f"c{number}"))
        assert room.take_first() is not None
        assert room.deadline() == 50.0
    assert len(room._ends) == 1
    assert [one.command.uuid for one in room.overdue(50.0)] == ["lasts"]


def test_the_deadline_is_the_first_end_of_those_who_still_wait() -> None:
    room = WaitingRoom(Agenda())
    assert room.deadline() is None
    for uuid, ends in (("a", 3.0), ("b", 1.0), ("c", 2.0)):
        room.add(queued(uuid, ends))
    assert room.deadline() == 1.0
    room.take("b")
    assert room.deadline() == 2.0
    room.take("a")
    room.take("c")
    assert room.deadline() is None


def test_who_comes_again_with_a_later_end_is_not_over_at_the_earlier_one() -> None:
    room = WaitingRoom(Agenda())
    room.add(queued("a", 1.0))
    room.take("a")
    room.add(queued("a", 5.0))
    assert room.overdue(4.9) == []
    assert room.deadline() == 5.0, "what is stale has gone: else the same deadline would stay"
    assert [one.command.uuid for one in room.overdue(5.0)] == ["a"]
    assert (len(room), room.deadline()) == (0, None)


def test_who_comes_back_is_before_those_that_came_later() -> None:
    room = room_of("a", "b", "c")
    first, second = room.take_first(), room.take_first()
    assert first is not None
    assert second is not None
    room.add(second)
    room.add(first)
    assert [room.take_first().command.uuid for _ in range(3)] == ["a", "b", "c"]  # type: ignore[union-attr]


def test_the_first_of_a_line_that_may_go_is_taken() -> None:
    room = WaitingRoom(Agenda())
    for uuid, name in (("a1", "A"), ("a2", "A"), ("b1", "B"), ("a3", "A"), ("b2", "B")):
        room.add(Queued(Message(Kind.COMMAND, {"uuid": uuid, "command": name}), Senders(), 100.0))
    room.take("b1")
    for name, uuid in (("B", "b2"), ("A", "a1"), ("A", "a2")):
        taken = room.take_first(lambda line, name=name: line[0][1] == name)  # type: ignore[misc]
        assert taken is not None
        assert taken.command.uuid == uuid
    assert room.take_first(lambda line: line[0][1] == "B") is None
    assert uuids(room) == ["a3"]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 9), st.integers(1, 20)),
            st.tuples(st.just("take"), st.integers(0, 9), st.just(0)),
            st.tuples(st.just("first"), st.just(0), st.just(0)),
            st.tuples(st.just("pass"), st.just(0), st.integers(0, 5)),
        ),
        max_size=50,
    )
)
def test_like_a_plain_list(steps: list[tuple[str, int, int]]) -> None:
    room = WaitingRoom(Agenda())
    model: list[Queued] = []
    now = 0
    for step, number, seconds in steps:
        uuid = f"u{number}"
        mine = next((one for one in model if one.command.uuid == uuid), None)
        if step == "add" and mine is None:
            model.append(queued(uuid, now + seconds))
            room.add(model[-1])
        elif step == "take":
            assert room.take(uuid) is mine
            model = [one for one in model if one is not mine]
        elif step == "first":
            assert room.take_first() is (model.pop(0) if model else None)
        elif step == "pass":
            now += seconds
            over = [one for one in model if one.ends <= now]
            assert room.overdue(now) == sorted(over, key=lambda one: one.ends), "in order of arrival"
            model = [one for one in model if one not in over]
        assert list(room) == model
        assert len(room) == len(model)
        soonest = min((one.ends for one in model), default=None)
        assert room.deadline() == soonest


def test_who_came_back_for_other_instances_is_not_taken_from_its_old_line() -> None:
    """It would be tried where there is no place, come back, and be taken from there again, without an end."""
    room = room_of("a")
    first = room.take_first()
    assert first is not None
    first.spent = frozenset({Peer(1, upward=True, kind="aggregator", tenant="t1", name="agg1", instance="1")})
    room.add(first)
    assert room.take_first(lambda line: not line[1]) is None
    assert room.take_first() is first
