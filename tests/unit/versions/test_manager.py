"""The admin worker's core, in a world that does what it is told."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest

from tests.unit.versions.world import V10, V11, V12, V20, World
from zconnector.errors import DamagedError, Reason
from zconnector.supervision.states import State
from zconnector.versions.actions import Answer, Canary, Keep, Start
from zconnector.versions.asks import Verb
from zconnector.versions.manager import Manager
from zconnector.versions.states import Memory, Outcome

ALL = [V10, V11, V12, V20]


def running(*versions: str, **values: object) -> World:
    world = World({"versions": list(versions), **values}, ALL)
    world.settle()
    assert [str(v) for v in world.running] == list(versions)
    return world


def always_served(world: World, since: int) -> bool:
    return all(world.serving[since:])


def test_what_the_configuration_names_is_fetched_started_and_gated() -> None:
    world = World({"versions": ["1.0"]}, ALL)
    while world.step():
        pass
    assert world.traffic() == ()  # held back until its gate
    world.settle(3)
    assert world.traffic() == (V10,)
    world.settle(1)
    assert world.manager.memory.running == (V10,)
    assert world.steps == ["FETCHING", "STARTING", "GATING", "DRAINING", "None"]


def test_nothing_is_configured() -> None:
    world = World({})
    world.settle()
    assert world.running == {}
    assert world.manager.memory.plan is None
    assert world.disk is None


def test_an_update_shifts_the_traffic_in_one_step() -> None:
    world = running("1.0")
    since = len(world.serving)
    ask = world.ask(Verb.UPDATE, V11)
    world.settle()
    assert world.answers[ask].reason == ""
    assert world.answers[ask].result == {"Major": 1, "Minor": 1}
    assert list(world.running) == [V11]
    assert always_served(world, since)
    last = world.manager.memory.last
    assert last is not None
    assert last.outcome is Outcome.DONE
    assert world.manager.memory.previous == (V10,)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("fetch", "cannot fetch 1.1"),
        ("crash", "version 1.1 ended with status 1"),
        ("crash_later", "version 1.1 killed by SIGSEGV"),
        ("refuse", "version 1.1 lacks CLEAN"),
        ("hang", "version 1.1 was not heard steadily for 3 s"),
        ("canary", "version 1.1 failed its canary: FAIL"),
    ],
)
def test_a_bad_version_is_rolled_back_and_the_old_one_serves_throughout(how: str, reason: str) -> None:
    world = running("1.0", gate={"seconds": 3, "canary": {"command": "PING"}})
    world.broken[V11] = how
    since = len(world.serving)
    ask = world.ask(Verb.UPDATE, V11)
    world.settle()
    assert list(world.running) == [V10]
    assert world.traffic() == (V10,)
    assert all(V10 in served for served in world.serving[since:])
    assert not any(V11 in served for served in world.serving[since:])
    assert world.answers[ask].reason == f"rolled back: {reason}"
    assert world.manager.memory.rejected == {V11.version: reason}
    assert world.manager.view()["last"]["reason"] == reason


def test_the_old_version_comes_back_when_the_new_one_gives_up_while_it_drains() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    for _ in range(200):
        if world.manager.memory.step == "DRAINING":
            break
        if not world.step():
            world.second()
    world.step()  # the commit of the shift
    world.fail(V11)
    world.settle()
    assert list(world.running) == [V10]
    assert world.traffic() == (V10,)
    last = world.manager.memory.last
    assert last is not None
    assert last.reason == "version 1.1 crash loop"


def test_a_version_that_gives_up_soon_after_its_update_gives_the_place_back() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.fail(V11)
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.memory.rejected == {V11.version: "version 1.1 crash loop"}
    last = world.manager.memory.last
    assert last is not None
    assert (last.plan.why, last.outcome) == ("crash loop", Outcome.DONE)
    world.fail(V10)  # nobody's place was taken by it
    world.settle()
    assert world.running == {}


def test_a_version_that_gives_up_long_after_its_update_keeps_its_place() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle(700)
    world.fail(V11)
    world.settle()
    assert world.running == {}
    assert world.manager.memory.running == (V11,)


def test_a_configuration_with_one_out_and_one_in_is_an_update() -> None:
    world = running("1.0")
    since = len(world.serving)
    world.configure(versions=["1.1"])
    world.settle()
    assert list(world.running) == [V11]
    assert always_served(world, since)


def test_an_update_by_command_outlives_a_restart_though_the_configuration_names_another() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.begin()
    world.settle()
    assert list(world.running) == [V11]
    world.configure(versions=["1.0", "2.0"])
    world.settle()
    assert [str(edition.version) for edition in world.running] == ["1.0", "2.0"]


def test_a_changed_configuration_waits_for_the_rollout_that_goes_on() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.step()
    world.configure(versions=["2.0"])
    world.settle(120)
    assert list(world.running) == [V20]


def test_a_second_rollout_is_refused_while_one_goes_on_but_the_same_one_is_joined() -> None:
    world = running("1.0")
    first = world.ask(Verb.UPDATE, V11)
    same, other = world.ask(Verb.UPDATE, V11), world.ask(Verb.START, V20)
    world.settle()
    assert world.answers[other].code is Reason.BUSY
    assert "goes on" in world.answers[other].reason
    assert world.answers[first].reason == world.answers[same].reason == ""


def test_start_and_stop() -> None:
    world = running("1.0")
    world.ask(Verb.START, V20)
    world.settle()
    assert list(world.running) == [V10, V20]
    stop, again = world.ask(Verb.STOP, V10), world.ask(Verb.START, V20)
    world.settle()
    assert list(world.running) == [V20]
    assert world.answers[stop].reason == ""
    assert world.answers[again].code is Reason.BUSY
    never = world.ask(Verb.STOP, V10)
    world.settle()
    assert world.answers[never].reason == "version 1.0 does not run"
    known = world.ask(Verb.START, V20)
    world.settle()
    assert world.answers[known].reason == ""


def test_a_version_that_gave_up_is_started_anew_by_command() -> None:
    world = running("1.0")
    world.fail(V10)
    world.settle()
    ask = world.ask(Verb.START, V10)
    world.settle(2)
    assert world.answers[ask].reason == ""
    assert world.traffic() == (V10,)


def test_a_first_start_that_crashes_once_is_started_again() -> None:
    world = World({"versions": ["1.0"]}, ALL)
    world.broken[V10] = "crash_later"
    while world.step():
        pass
    assert world.manager.memory.step == "GATING" or world.manager.memory.step == "STARTING"
    del world.broken[V10]
    world._perform(Start(V10))  # what supervision does after its pause
    world.settle()
    assert world.traffic() == (V10,)


def test_a_repository_that_is_away_is_asked_again_where_the_configuration_wants_it() -> None:
    world = World({"versions": ["1.0"]}, ALL)
    world.broken[V10], world.passing = "fetch", True
    world.settle(20)
    assert world.running == {}
    assert world.manager.memory.rejected == {}
    del world.broken[V10]
    world.settle(60)
    assert world.traffic() == (V10,)


def test_rollback_ends_a_rollout_and_goes_back_after_one() -> None:
    world = running("1.0")
    update = world.ask(Verb.UPDATE, V11)
    world.step()
    back = world.ask(Verb.ROLLBACK)
    world.settle()
    assert list(world.running) == [V10]
    assert world.answers[update].reason == "rolled back: an operator rolled it back"
    assert world.answers[back].reason == ""
    world.ask(Verb.UPDATE, V11)
    world.settle()
    back = world.ask(Verb.ROLLBACK)
    world.settle()
    assert list(world.running) == [V10]
    assert world.answers[back].reason == ""
    world = running("1.0")
    world.manager.commits.memory = Memory(running=(V10,))
    nothing = world.ask(Verb.ROLLBACK)
    world.settle(1)
    assert world.answers[nothing].reason == "there is nothing to go back to"


def test_latest_get_and_what_needs_a_version() -> None:
    world = running("1.0")
    latest, got = world.ask(Verb.LATEST), world.ask(Verb.GET, V11)
    bare, missing = world.ask(Verb.START), world.ask(Verb.GET, V12._replace(minor=9))
    world.settle(1)
    assert world.answers[latest].result == {
        "Major": 2,
        "Minor": 0,
        "versions": ["1.0", "1.1", "1.2", "2.0"],
    }
    assert world.answers[got].reason == ""
    assert list(world.running) == [V10]
    assert world.answers[bare].code is Reason.BAD_ARGUMENT
    assert world.answers[missing].reason == "cannot fetch 1.9"


def test_an_update_without_a_version_stays_within_the_major() -> None:
    world = running("1.0")
    ask = world.ask(Verb.UPDATE)
    world.settle()
    assert list(world.running) == [V12]
    assert world.answers[ask].result["Minor"] == 2


def test_auto_updates_each_major_and_not_to_what_was_rolled_back() -> None:
    world = running("1.0")
    world.repository = [V10, V11]
    world.broken[V11] = "crash"
    world.configure(update={"mode": "auto", "interval": 30})
    world.settle(40)
    assert list(world.running) == [V10]
    assert V11.version in world.manager.memory.rejected
    steps = len(world.steps)
    world.settle(100)
    assert len(world.steps) == steps  # not tried again
    world.repository = [V10, V11, V12, V20]
    world.settle(60)
    assert list(world.running) == [V12]


def test_a_planned_update_comes_at_its_time_of_day() -> None:
    world = running("1.0", update={"mode": "planned", "at": "23:30", "zone": "UTC"})
    # 1_700_000_000 is 22:13:20 UTC, and a minute has passed
    world.settle(60 * 60)
    assert list(world.running) == [V10]
    world.settle(20 * 60)
    assert list(world.running) == [V12]


def test_the_first_configuration_that_can_be_understood_starts_what_should_run() -> None:
    world = running("1.0")
    world.running.clear()
    world.asked.clear()
    world.manager = Manager()
    world._take(world.manager.configured("versions must be a list", world.now))
    assert world.disk is not None
    world._take(world.manager.restore(orjson.loads(world.disk), world.now))
    world.asked.clear()  # what was started without a configuration could not be
    world.configure()
    world.settle()
    assert list(world.running) == [V10]


def test_a_configuration_that_failed_is_tried_again_when_something_else_of_it_changes() -> None:
    world = World({"versions": ["1.0"]}, ALL)
    world.broken[V10] = "refuse"
    world.settle()
    assert world.running == {}
    del world.broken[V10]
    world.configure()  # the same again says nothing new
    world.settle()
    assert world.running == {}
    world.configure(keys={"token": "x"})
    world.settle()
    assert list(world.running) == [V10._replace(number=1)]


def test_an_update_by_itself_leaves_alone_what_runs_beside_the_newest() -> None:
    world = running("1.0", "1.1", shares={"1.1": 10})
    world.configure(update={"mode": "auto", "interval": 30})
    world.settle(40)
    assert list(world.running) == [V10, V12]


def test_a_canary_that_could_not_be_sent_is_no_verdict_on_the_version() -> None:
    world = running("1.0", gate={"seconds": 0, "canary": {"command": "PING"}})
    world.ask(Verb.UPDATE, V11)
    while not any(isinstance(action, Canary) for action in world.asked):
        world.step()
    (canary,) = (action for action in world.asked if isinstance(action, Canary))
    world.asked.remove(canary)
    world._take(world.manager.canaried(V11, canary.attempt, "QUEUE_FULL: no room", True, world.now))
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.memory.rejected == {}


def test_a_wrong_configuration_changes_nothing_and_is_told() -> None:
    world = running("1.0")
    world._take(world.manager.configured("versions must be a list", world.now))
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.view()["problem"] == "versions must be a list"


def test_a_command_that_comes_again_after_a_restart_gets_the_answer_of_its_rollout() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11, uuid="u-1")
    for _ in range(3):
        world.step()
    world.begin()
    again = world.ask(Verb.UPDATE, V11, uuid="u-1")
    world.settle()
    assert world.answers[again].reason == ""
    late = world.ask(Verb.UPDATE, V11, uuid="u-1")
    world.settle(1)
    assert world.answers[late].result == {"Major": 1, "Minor": 1}


def test_a_full_disk_holds_the_step_and_it_goes_on_by_itself() -> None:
    world = running("1.0")
    world.disk_fails = True
    ask = world.ask(Verb.UPDATE, V11)
    world.settle(20)
    assert world.traffic() == (V10,)
    assert ask not in world.answers
    world.disk_fails = False
    world.settle(30)
    assert list(world.running) == [V11]
    assert world.answers[ask].reason == ""


def test_the_memory_is_the_same_after_the_disk_and_damage_is_told() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11, uuid="u")
    for _ in range(12):
        world.step()
        memory = world.manager.memory
        assert Memory.from_dict(orjson.loads(orjson.dumps(memory.to_dict()))) == memory
    for document in ({}, {**Memory().to_dict(), "running": ["x"]}, {**Memory().to_dict(), "step": "NO"}):
        with pytest.raises(DamagedError):
            Memory.from_dict(document)


BAD = [None, "fetch", "crash", "crash_later", "refuse", "hang"]


@pytest.mark.parametrize("how", BAD)
def test_the_router_may_die_at_each_moment_of_an_update(how: str | None) -> None:
    """It ends in one of the two versions, whatever was under way: and in the new one only if it was good."""
    moments = 0
    while True:
        world = running("1.0")
        if how:
            world.broken[V11] = how
        world.ask(Verb.UPDATE, V11, uuid="u")
        for _ in range(moments):
            if not world.step():
                world.second()
        over = world.manager.memory.plan is None and not world.asked
        world.begin()
        world.settle(120)
        assert list(world.running) in ([V10], [V11]), moments
        assert world.traffic() == tuple(world.running)
        assert world.manager.memory.plan is None
        assert how is None or list(world.running) == [V10]
        if over:
            break
        moments += 1
    assert moments > 8 if how != "fetch" else moments > 3


def test_each_step_is_committed_before_it_is_begun() -> None:
    world = running("1.0")
    world.said.clear()
    world.ask(Verb.UPDATE, V11)
    world.settle()
    kept = [action for action in world.said if isinstance(action, Keep)]
    assert [a.number + 1 for a, _ in pairwise(kept)] == [b.number for _, b in pairwise(kept)]
    starts = [i for i, action in enumerate(world.said) if isinstance(action, Start) and action.edition == V11]
    steps = [i for i, action in enumerate(world.said) if isinstance(action, Keep)]
    assert steps[1] < starts[0]
    assert State.RUNNING is world.manager.rollouts.states[V11]


def test_what_nobody_goes_back_to_leaves_the_disk() -> None:
    world = running("1.0")
    world.broken[V12] = "crash"
    for version in (V11, V12, V20):
        world.ask(Verb.UPDATE, version)
        world.settle()
    assert [(stock.editions, stock.rejected) for stock in world.stocks] == [
        ((V10,), ()),
        ((V10, V11), ()),
        ((V11, V20), (V12.version,)),
    ]
    last = world.stocks[-1]
    versions = (V10, V11, V12, V20, V20._replace(minor=1))
    assert [version for version in versions if last.unwanted("jenkins", version.version, "")] == [V10, V12]


def test_who_stops_a_version_that_an_update_stops_is_answered_with_that_version() -> None:
    """The answer named the version that took its place."""
    world = World({"versions": ["1.0"]}, [V10, V11])
    world.settle()
    update = world.ask(Verb.UPDATE, V11)
    while world.steps[-1] != "DRAINING":
        if not world.step():
            world.second()
    stop = world.ask(Verb.STOP, V10)
    world.settle()
    assert world.answers[stop] == Answer(stop, {"Major": 1, "Minor": 0})
    assert world.answers[update] == Answer(update, {"Major": 1, "Minor": 1})


def test_what_does_not_run_cannot_be_stopped_also_while_something_else_is_updated() -> None:
    world = World({"versions": ["1.0"]}, [V10, V11, V20])
    world.settle()
    world.ask(Verb.UPDATE, V11)
    world.step()
    stop = world.ask(Verb.STOP, V20)
    world.settle()
    assert world.answers[stop].reason == "version 2.0 does not run"


def test_an_update_to_what_runs_already_is_a_success_only_once_it_really_does() -> None:
    """It was answered SUCCES also where that version had given up, or had not come up yet."""
    world = World({"versions": ["1.0"]}, [V10])
    world.settle()
    world.fail(V10)
    world.broken[V10] = "crash"
    update = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[update].reason == "version 1.0 ended with status 1"
    world.broken.clear()
    again = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[again] == Answer(again, {"Major": 1, "Minor": 0})
