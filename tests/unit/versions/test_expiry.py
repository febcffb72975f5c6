"""A manifest that expires soon is warned of: in time, once a day, only while nobody has signed it again."""

from __future__ import annotations

import orjson
import pytest

from tests.unit.versions.test_manager import running
from tests.unit.versions.world import World
from zconnector.actions import Note
from zconnector.versions.expiry import DAY, Signed
from zconnector.versions.states import Memory, Step

SOON, OVER = "repository manifest expires soon", "repository manifest has expired"


def warnings(world: World) -> list[Note]:
    return [action for action in world.said if isinstance(action, Note) and action.event in (SOON, OVER)]


def known(days: float) -> World:
    """1.0 runs, and the manifest that it was installed by expires in so many days."""
    world = running("1.0")
    sign(world, days)
    world.accepted = world.signed
    world.begin()
    world.settle()
    return world


def sign(world: World, days: float, serial: int = 7) -> None:
    world.signed = Signed("file:///r", serial, world.wall // 1000 + round(days * DAY))


def days(world: World, count: float, step: float = 0.25) -> None:
    """They pass, a quarter at a time."""
    for _ in range(round(count / step)):
        world.later(step * DAY)


def test_nothing_is_said_nor_asked_before_its_last_seven_days() -> None:
    world = known(30)
    looks = world.looks
    days(world, 22.9, 0.1)
    assert (warnings(world), world.looks) == ([], looks)
    days(world, 0.2, 0.1)
    (note,) = warnings(world)
    assert (note.level, note.event, world.looks) == ("warning", SOON, looks + 1)
    assert note.fields == {
        "repository": "file:///r",
        "serial": 7,
        "expires": "2023-12-14T22:14:20+00:00",
        "left_days": pytest.approx(7, abs=0.11),
        "remedy": "zconnector repo sign",
    }


def test_it_is_said_once_a_day_however_often_the_repository_is_looked_at() -> None:
    world = known(30)
    world.configure(update={"mode": "auto", "interval": 3_600})
    days(world, 25, 0.01)
    assert world.looks > 500
    assert len(warnings(world)) == 2 + 1  # from the 23rd to the 25th, both ends
    assert all(note.event == SOON for note in warnings(world))


def test_after_it_has_expired_that_is_said_once_a_day() -> None:
    world = known(0.5)
    days(world, 3)
    assert [note.event for note in warnings(world)] == [SOON, OVER, OVER, OVER]
    assert warnings(world)[-1].fields["left_days"] < 0


def test_a_restart_says_it_again_no_sooner() -> None:
    world = known(5)
    assert len(warnings(world)) == 1
    for _ in range(5):
        world.begin()
        world.settle(5)
    assert len(warnings(world)) == 1
    days(world, 1)
    assert len(warnings(world)) == 2


def test_that_it_was_said_is_kept_first() -> None:
    """Killed in between, it is not said at all that day: at most once."""
    world = known(30)
    days(world, 22.75)
    assert warnings(world) == []
    world.disk_fails = True
    world.later(DAY / 4)
    assert warnings(world) == []
    world.disk_fails = False
    world.settle(3)
    assert len(warnings(world)) == 1
    assert world.disk is not None
    assert Memory.from_dict(orjson.loads(world.disk)).warned > 0


def test_one_that_was_signed_again_meanwhile_is_not_warned_of() -> None:
    """Nobody has asked the repository since: a warning by what was accepted months ago would be false."""
    world = known(30)
    sign(world, 365, serial=8)
    days(world, 40)
    assert warnings(world) == []
    view = world.manager.expiry.view(world.now)
    assert view is not None
    assert (view["serial"], view["expiring"], view["expired"]) == (8, False, False)


def test_with_the_repository_away_it_is_warned_of_what_is_known_and_that_it_was_not_looked_at() -> None:
    world = known(30)
    world.away = True
    days(world, 23.5)
    assert [note.fields["error"] for note in warnings(world)] == ["repository away"]


def test_the_threshold_is_a_setting_and_changes_at_once() -> None:
    world = known(30)
    world.configure(repository_warning=29)
    days(world, 0.9, 0.1)
    assert warnings(world) == []
    days(world, 0.2, 0.1)
    assert len(warnings(world)) == 1
    world.configure(repository_warning=0)
    days(world, 28)
    assert len(warnings(world)) == 1
    days(world, 1.5)
    assert [note.event for note in warnings(world)] == [SOON, OVER]


def test_one_that_never_expires_asks_for_nothing() -> None:
    world = running("1.0")
    world.signed = world.accepted = Signed("file:///r", 7, None)
    world.begin()
    world.settle()
    assert world.manager.deadline() is None
    view = world.manager.expiry.view(world.now)
    assert view is not None
    assert (view["expires"], view["left_ms"], view["expiring"], view["expired"]) == (None, None, False, False)


def test_another_repository_is_asked_for_its_own() -> None:
    world = known(5)
    assert world.manager.expiry.view(world.now) is not None
    world.configure(repository="file:///other")
    world.settle()
    assert world.manager.expiry.view(world.now) is None  # accepted is still that of the first one
    world.configure(repository="")
    assert world.manager.expiry.view(world.now) is None
    assert len(warnings(world)) == 1


def test_a_clock_that_jumps_ahead_is_noticed_within_a_day() -> None:
    """It was wrong when the connector started, in a machine without a battery."""
    world = known(400)
    world.later(DAY, wall=395 * DAY)
    assert len(warnings(world)) == 1


def test_a_clock_that_is_set_back_does_not_silence_it() -> None:
    world = known(1)
    world.later(1, wall=-3 * DAY)
    days(world, 1)
    assert len(warnings(world)) == 2


def test_a_rollout_that_goes_on_is_not_disturbed() -> None:
    world = known(30)
    days(world, 23)
    world.configure(versions=["1.1"])
    while world.manager.memory.step is not Step.GATING:
        world.step() or world.second()
    world.mono += DAY / 4
    world.wall += 250 * DAY
    world.settle()
    assert len(warnings(world)) == 1
    assert [str(edition) for edition in world.running] == ["1.1"]
