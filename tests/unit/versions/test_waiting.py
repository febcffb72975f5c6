"""A configuration that could not be applied for a passing reason: tried again, also by the next router."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.versions.test_manager import ALL, running
from tests.unit.versions.world import V10, V11, V12, V20, World
from zconnector.versions.applying import AGAIN, AGAIN_MAX
from zconnector.versions.asks import Verb
from zconnector.versions.states import Memory, Outcome, Step, Waits


def waiting(*before: str, wanted: tuple[str, ...] = ("1.1",)) -> World:
    """The repository is away, and a configuration was tried once in vain."""
    world = running(*before)
    world.away = True
    world.configure(versions=list(wanted))
    while world.step():
        pass
    return world


def tries(world: World, seconds: int) -> list[float]:
    """When the repository was asked in so many seconds."""
    found = []
    since, count = world.mono, len(world.installs)
    for _ in range(seconds):
        world.settle(1)
        found += [world.mono - since] * (len(world.installs) - count)
        count = len(world.installs)
    return found


def test_it_is_seen_what_is_waited_for_and_until_when() -> None:
    world = waiting("1.0")
    assert world.manager.view()["waits"] == {
        "new": ["1.1"],
        "for": "repository away",
        "tries": 1,
        "at": world.wall + 1000 * AGAIN,
    }
    assert list(world.running) == [V10]
    assert world.manager.memory.rejected == {}  # it is not the version's doing
    world.away = False
    world.settle()
    assert list(world.running) == [V11]
    assert world.manager.view()["waits"] is None


def test_a_restart_of_the_router_does_not_end_the_tries() -> None:
    """The versions had been acted on: the next router had nothing to do."""
    world = waiting("1.0")
    world.begin()
    while world.step():
        pass
    view = world.manager.view()
    assert (view["waits"]["for"], view["waits"]["at"]) == ("repository away", world.wall + 1000 * AGAIN)
    world.away = False
    world.settle()
    assert list(world.running) == [V11]


@pytest.mark.parametrize("killed", range(16))
def test_wherever_the_router_is_killed_while_it_gives_up_it_is_tried_again(killed: int) -> None:
    world = running("1.0")
    world.away = True
    world.configure(versions=["1.1"])
    for _ in range(killed):
        world.step()
    world.begin()
    world.settle(3)
    assert world.manager.memory.rejected == {}
    world.away = False
    world.settle(80)
    assert list(world.running) == [V11]


def test_the_pauses_double_up_to_a_limit_over_restarts_too() -> None:
    world = waiting("1.0")
    at = tries(world, 1_600)
    pauses = [later - earlier for earlier, later in zip([0.0, *at], at, strict=False)]
    expected = [AGAIN * 2**n for n in range(len(pauses))]
    for pause, least in zip(pauses, expected, strict=True):
        assert abs(pause - min(least, AGAIN_MAX)) <= 2
    assert len(pauses) == 10
    world.begin()
    assert tries(world, int(AGAIN_MAX) - 5) == []
    assert len(tries(world, 10)) == 1


def test_another_word_of_the_configuration_is_tried_at_once_and_counted_anew() -> None:
    world = waiting("1.0")
    tries(world, 100)
    assert world.manager.view()["waits"]["tries"] > 3
    world.configure(shares={"1.1": 10})
    while world.step():
        pass
    assert world.manager.view()["waits"]["tries"] == 1
    world.away = False
    world.configure(versions=["1.2"])
    world.settle()
    assert list(world.running) == [V12]
    assert world.manager.view()["waits"] is None


def test_the_same_configuration_heard_again_does_not_end_the_tries() -> None:
    """A connector hears it whenever the cluster is there again."""
    world = waiting("1.0")
    world.configure()
    world.away = False
    world.settle()
    assert list(world.running) == [V11]


def test_what_an_operator_gets_afterwards_is_the_later_word() -> None:
    world = waiting("1.0", "2.0", wanted=("1.1", "2.0"))
    stop = world.ask(Verb.STOP, V20)
    world.settle(30)
    assert world.answers[stop].reason == ""
    assert world.manager.view()["waits"] is None
    world.away = False
    world.settle(400)
    assert list(world.running) == [V10]


def test_what_an_operator_does_not_get_changes_nothing() -> None:
    world = waiting("1.0")
    update = world.ask(Verb.UPDATE, V12)
    while world.step():
        pass
    assert "repository away" in world.answers[update].reason
    world.begin()
    world.away = False
    world.settle()
    assert list(world.running) == [V11]


def test_what_goes_back_by_itself_changes_nothing() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.away = True
    world.configure(versions=["2.0"])
    while world.step():
        pass
    world.fail(V11)
    world.settle(3)
    assert world.manager.view()["last"]["why"] == "crash loop"
    world.away = False
    world.settle()
    assert list(world.running) == [V20]


def test_no_update_by_itself_comes_before_what_waits() -> None:
    world = waiting("1.0", wanted=("1.0", "2.0"))
    world.configure(update={"mode": "auto", "interval": 10})
    world.settle(30)
    assert list(world.running) == [V10]
    world.away = False
    world.settle()
    world.settle()
    assert sorted(world.running) == [V12, V20]


def test_what_fails_for_good_is_not_tried_again() -> None:
    world = waiting("1.0")
    world.away = False
    world.broken[V11] = "crash"
    world.settle()
    assert world.manager.view()["waits"] is None
    assert V11.version in world.manager.memory.rejected
    steps = len(world.steps)
    world.begin()
    world.settle(400)
    assert len(world.steps) == steps


def test_an_operator_who_rolls_the_try_back_ends_it() -> None:
    world = waiting("1.0")
    world.settle(int(AGAIN))
    world.away = False
    while world.manager.memory.step is not Step.GATING:
        if not world.step():
            world.second()
    back = world.ask(Verb.ROLLBACK)
    world.settle(400)
    assert world.answers[back].reason == ""
    assert world.manager.memory.waits is None
    last = world.manager.memory.last
    assert last is not None
    assert last.outcome is Outcome.ROLLED_BACK
    assert list(world.running) == [V10]


def test_it_is_kept_and_read_back() -> None:
    memory = Memory(passing=True, waits=Waits((V10.version, V20.version), "why", 3))
    assert Memory.from_dict(orjson.loads(orjson.dumps(memory.to_dict()))) == memory
    document: dict[str, Any] = memory.to_dict()
    del document["passing"], document["waits"]  # of before
    assert Memory.from_dict(document) == Memory()


def test_a_first_configuration_waits_too() -> None:
    world = World({"versions": ["1.0"]}, ALL)
    world.away = True
    world.settle(3)
    world.begin()
    assert world.running == {}
    world.away = False
    world.settle()
    assert list(world.running) == [V10]
