"""Changed keys and worker settings, and contents that are published again: gated as an update is."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.versions.test_manager import ALL, BAD, always_served, running
from tests.unit.versions.world import V10, V11, V20, World
from zconnector.errors import DamagedError
from zconnector.supervision.states import State
from zconnector.versions.actions import Forget, Install, Stop
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition, read_edition
from zconnector.versions.states import Memory, Outcome
from zconnector.versions.traffic import steering
from zconnector.versions.wanted import Wanted

NEW10 = V10._replace(number=1)
KEYS = {"token": "new"}


def keys_of(world: World, edition: Edition) -> Any:
    wanted = world.manager.wanted_for(edition)
    assert wanted is not None
    return wanted.keys


def test_an_edition_is_written_and_read() -> None:
    assert [str(V10), str(NEW10)] == ["1.0", "1.0~1"]
    assert [read_edition("1.0"), read_edition("1.0~1")] == [V10, NEW10]


def test_changed_keys_are_gated_beside_those_that_serve() -> None:
    """All processes were stopped and started again, without a gate and without a way back."""
    world = running("1.0", "2.0", keys={"token": "old"})
    since = len(world.serving)
    world.configure(keys=KEYS)
    world.settle(2)
    assert world.traffic() == (V10, V20)  # in the gate
    assert len(world.running) == 4
    assert keys_of(world, V10) == {"token": "old"}
    assert keys_of(world, NEW10) == KEYS
    world.settle()
    assert world.traffic() == tuple(world.running) == (NEW10, V20._replace(number=1))
    assert all({v.version for v in served} == {V10.version, V20.version} for served in world.serving[since:])
    stops = [action.edition for action in world.said if isinstance(action, Stop)]
    assert stops == [V10, V20]


@pytest.mark.parametrize("changed", [{"worker": {"drain": 7}}, {"worker": {"limits": {"cpu": 9}}}])
def test_changed_worker_settings_go_the_same_way(changed: dict[str, Any]) -> None:
    world = running("1.0")
    world.configure(**changed)
    world.settle()
    assert list(world.running) == [NEW10]
    assert world.manager.memory.rejected == {}


@pytest.mark.parametrize("how", ["crash", "crash_later", "refuse", "hang", "canary", "fetch"])
def test_keys_that_do_not_do_leave_the_old_ones_serving_and_the_reason_is_shown(how: str) -> None:
    world = running("1.0", keys={"token": "old"}, gate={"seconds": 3, "canary": {"command": "PING"}})
    world.broken[NEW10] = how
    since = len(world.serving)
    world.configure(keys=KEYS)
    world.settle()
    assert list(world.running) == [V10]
    assert all(V10 in served for served in world.serving[since:])
    assert not any(NEW10 in served for served in world.serving[since:])
    view = world.manager.view()
    assert view["unfit"] == view["last"]["reason"] != ""
    assert view["rejected"] == {}  # the version is a good one
    assert [(row["version"], row["edition"], row["state"]) for row in view["versions"]] == [
        ("1.0", 0, "RUNNING")
    ]
    assert keys_of(world, V10) == {"token": "old"}
    world.begin()  # also after a restart: those that did are started
    world.settle()
    assert list(world.running) == [V10]
    assert keys_of(world, V10) == {"token": "old"}
    assert world.manager.view()["unfit"]
    steps = len(world.steps)
    world.configure(keys={"token": "old"})
    world.settle()
    assert len(world.steps) == steps + 1  # what runs has them already: that is all there is to keep
    assert list(world.running) == [V10]
    assert world.manager.view()["unfit"] == ""
    world.configure(keys={"token": "better"})
    world.settle()
    assert list(world.running) == [V10._replace(number=2)]


def test_what_fails_with_its_new_keys_soon_after_has_the_old_ones_again() -> None:
    world = running("1.0", keys={"token": "old"})
    world.configure(keys=KEYS)
    world.settle()
    world.fail(NEW10)
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.view()["unfit"] == "version 1.0~1 crash loop"
    assert world.manager.memory.rejected == {}


def test_rollback_goes_back_to_the_keys_of_before() -> None:
    world = running("1.0", keys={"token": "old"})
    world.configure(keys=KEYS)
    world.settle()
    back = world.ask(Verb.ROLLBACK)
    world.settle()
    assert world.answers[back].reason == ""
    assert list(world.running) == [V10]
    assert keys_of(world, V10) == {"token": "old"}
    assert world.manager.view()["unfit"] == "an operator went back to what ran before"
    world.configure(shares={"1.0": 10})  # and stays there until the keys change
    world.settle()
    assert list(world.running) == [V10]


def test_keys_and_versions_that_change_at_once_are_one_rollout() -> None:
    world = running("1.0", keys={"token": "old"})
    world.configure(keys=KEYS, versions=["1.0", "1.1"])
    world.settle()
    assert list(world.running) == [NEW10, V11._replace(number=1)]
    assert world.steps.count("FETCHING") == 2
    world.broken[V20._replace(number=2)] = "crash"
    world.configure(keys={"token": "newer"}, versions=["1.0", "2.0"])
    world.settle()
    assert list(world.running) == [NEW10, V11._replace(number=1)]
    assert list(world.manager.memory.rejected) == [V20.version]


def test_keys_that_change_in_a_rollout_are_the_next_one() -> None:
    world = running("1.0")
    update = world.ask(Verb.UPDATE, V11)
    while world.manager.memory.step != "GATING":
        world.step()
    world.configure(keys=KEYS)
    since = len(world.serving)
    world.settle()
    assert world.answers[update].reason == ""
    assert list(world.running) == [V11._replace(number=1)]
    assert always_served(world, since)


def test_a_version_that_is_started_beside_has_the_keys_in_force_and_what_stays_its_own() -> None:
    world = running("1.0", keys={"token": "old"})
    world.broken[NEW10] = "crash"
    world.configure(keys=KEYS)
    world.settle()
    world.ask(Verb.START, V20)
    world.settle()
    assert list(world.running) == [V10, V20._replace(number=1)]
    assert keys_of(world, V10) == {"token": "old"}
    assert keys_of(world, V20._replace(number=1)) == KEYS


@pytest.mark.parametrize("how", BAD)
def test_the_router_may_die_at_each_moment_of_a_change_of_keys(how: str | None) -> None:
    moments = 0
    while True:
        world = running("1.0", keys={"token": "old"})
        if how:
            world.broken[NEW10] = how
        world.configure(keys=KEYS)
        for _ in range(moments):
            if not world.step():
                world.second()
        over = world.manager.memory.plan is None and not world.asked
        world.begin()
        world.settle(120)
        assert list(world.running) == ([V10] if how else [NEW10]), moments
        assert world.traffic() == tuple(world.running)
        assert keys_of(world, next(iter(world.running))) == ({"token": "old"} if how else KEYS)
        if over:
            break
        moments += 1
    assert moments > 3


def test_what_nobody_goes_back_to_is_forgotten() -> None:
    world = running("1.0")
    for number in range(1, 5):
        world.configure(keys={"token": number})
        world.settle()
    gone = [action.edition.number for action in world.said if isinstance(action, Forget)]
    assert gone == [0, 1, 2]
    memory = world.manager.memory
    assert set(memory.values) == {3, 4}
    assert {edition.number for edition in memory.contents} == {3, 4}
    assert len(world.manager.view()["versions"]) == 2
    assert all(stock.editions for stock in world.stocks)


@pytest.mark.parametrize("wrong", [None, "crash"])
def test_of_versions_that_came_and_went_few_are_remembered(wrong: str | None) -> None:
    """Of each there was an entry, for as long as the router ran, in memory and in `worker ls`, and a bad one
    had a socket until something else succeeded."""
    world = running("1.0")
    versions = [Edition(1, minor) for minor in range(1, 9)]
    world.repository = [V10, *versions]
    for version in versions:
        if wrong:
            world.broken[version] = wrong
        world.ask(Verb.UPDATE, version)
        world.settle()
        shown = [row["version"] for row in world.manager.view()["versions"]]
        assert str(version) in shown, "of the last one it can be seen how it went"
        assert len(shown) <= 3
    assert list(world.running) == [V10 if wrong else versions[-1]]
    forgotten = [action.edition for action in world.said if isinstance(action, Forget)]
    assert forgotten == (versions[:-1] if wrong else [V10, *versions[:-2]])


def test_what_ran_before_there_were_editions_goes_on_with_the_values_in_force() -> None:
    world = running("1.0", keys={"token": "old"})
    assert world.disk is not None
    kept = orjson.loads(world.disk)
    for name in ("values", "number", "given", "unfit", "contents", "trial"):
        del kept[name]
    world.disk = orjson.dumps(kept)
    world.begin()
    world.settle()
    assert list(world.running) == [V10]
    world._take(world.manager.pin(V10, "what lay there"))
    world.settle()
    world.begin()
    assert world.manager.content(V10) == "what lay there"
    assert world.manager.pin(V10, "other") == []
    world.settle()
    world.broken[NEW10] = "crash"
    world.configure(keys=KEYS)
    world.settle()
    assert list(world.running) == [V10]
    assert keys_of(world, V10) == {"token": "old"}


def test_what_is_kept_of_values_is_checked_and_never_told() -> None:
    document = {**Memory().to_dict(), "values": {"0": {"keys": "s3cret", "worker": {}}}}
    with pytest.raises(DamagedError) as caught:
        Memory.from_dict(document)
    assert "s3cret" not in str(caught.value)
    world = running("1.0", keys={"token": "s3cret"})
    assert "s3cret" not in str(world.manager.view()) + repr(world.manager.memory)


# ---- what the router is told


def test_the_canary_of_an_edition_is_aimed_at_its_worker_and_pins_stay() -> None:
    world = running("1.0", pins={"red": "1.0"}, gate={"seconds": 0, "canary": {"command": "PING"}})
    world.broken[NEW10] = "canary"
    world.configure(keys=KEYS)
    told = []
    for _ in range(40):
        told.append(steering(world.manager, lambda edition: f"Ci-{edition}", [], []))
        world.step() or world.second()
    assert {"zconnector-canary-1.0~1": "Ci-1.0~1"} in [each["aims"] for each in told]
    assert all(each["pins"] == {"red": "1.0"} for each in told)


# ---- published again


def test_content_that_is_published_again_is_not_started_without_a_gate() -> None:
    """What lay on the disk last was taken at the next start of the router."""
    world = running("1.0")
    world.contents[V10] = "other"
    world.ask(Verb.GET, V10)
    world.settle()
    world.begin()
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.content(V10) == "sha of 1.0"


def test_an_update_to_what_runs_takes_what_was_published_again_and_gates_it() -> None:
    world = running("1.0", keys=KEYS)
    same = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert (world.answers[same].reason, list(world.running)) == ("", [V10])
    world.contents[V10], world.broken[NEW10] = "bad", "crash"
    bad = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[bad].reason == "rolled back: version 1.0~1 ended with status 1"
    assert list(world.running) == [V10]
    assert world.manager.memory.rejected == {}
    world.contents[V10] = "good"
    since = len(world.serving)
    good = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert (world.answers[good].reason, list(world.running)) == ("", [V10._replace(number=2)])
    assert always_served(world, since)
    assert world.manager.content(V10._replace(number=2)) == "good"
    assert keys_of(world, V10._replace(number=2)) == KEYS
    world.ask(Verb.ROLLBACK)
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.content(V10) == "sha of 1.0"


def test_changed_keys_do_not_bring_another_content() -> None:
    world = running("1.0")
    world.contents[V10] = "other"
    world.configure(keys=KEYS)
    world.settle()
    assert world.manager.content(NEW10) == "sha of 1.0"
    (install,) = (one for one in world.installs if one.edition == NEW10)
    assert isinstance(install, Install)
    assert install.content == "sha of 1.0"


def test_an_update_back_to_what_was_published_again_takes_that_and_keeps_what_ran() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.contents[V10], world.broken[NEW10] = "again", "crash"
    update, same = world.ask(Verb.UPDATE, V10), world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[update].reason == world.answers[same].reason != ""
    assert list(world.running) == [V11]
    world.ask(Verb.ROLLBACK)
    world.settle()
    assert list(world.running) == [V10]
    assert world.manager.content(V10) == "sha of 1.0"
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.broken.clear()
    world.ask(Verb.UPDATE, V10)
    world.settle()
    assert [world.manager.content(edition) for edition in world.running] == ["again"]


def test_what_is_started_or_configured_again_has_the_content_that_it_had() -> None:
    for way in ("start", "configuration"):
        world = running("1.0")
        world.ask(Verb.UPDATE, V11)
        world.settle()
        world.contents[V10] = "again"
        if way == "start":
            world.ask(Verb.START, V10)
        else:
            world.configure(versions=["1.0", "1.1"])
        world.settle()
        assert sorted(world.running) == [V10, V11]
        assert world.manager.content(V10) == "sha of 1.0"


def test_keys_that_are_set_back_do_not_bring_back_a_content() -> None:
    world = running("1.0", keys={"token": "old"})
    world.configure(keys=KEYS)
    world.settle()
    world.contents[V10] = "again"
    world.ask(Verb.UPDATE, V10)
    world.settle()
    world.configure(keys={"token": "old"})
    world.settle()
    ((edition, _),) = world.running.items()
    assert world.manager.content(edition) == "again"
    assert keys_of(world, edition) == {"token": "old"}


def test_another_product_is_rolled_out_with_a_content_of_its_own() -> None:
    """At the next start of the router that product's worker ran, without a gate."""
    world = running("1.0")
    world.contents[V10] = "of the other product"
    world.broken[NEW10] = "crash"
    world.configure(product="other")
    world.settle()
    wanted = world.manager.wanted_for(V10)
    assert list(world.running) == [V10]
    assert wanted is not None
    assert wanted.product == "jenkins"
    world.broken.clear()
    world.configure(gate={"seconds": 1})
    world.settle()
    assert list(world.running) == [NEW10]
    assert world.manager.content(NEW10) == "of the other product"


def test_an_update_to_what_runs_tells_when_the_repository_cannot_say() -> None:
    world = running("1.0")
    world.broken[V10] = "fetch"
    ask = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[ask].reason == "cannot fetch 1.0"
    assert list(world.running) == [V10]


# ---- what fails while something else is rolled out


def until(world: World, step: str) -> None:
    while world.manager.memory.step != step:
        if not world.step():
            world.second()


def test_a_version_that_fails_while_another_is_updated_is_told_with_that_ones_end() -> None:
    world = running("1.0", "2.0")
    ask = world.ask(Verb.UPDATE, V11)
    until(world, "DRAINING")
    world.step()
    world.fail(V20)
    world.settle()
    last = world.manager.memory.last
    assert last is not None
    assert last.outcome is Outcome.DONE
    assert last.reason == "version 2.0, which stayed, has failed: crash loop"
    assert world.answers[ask].reason == ""  # what was asked for is done
    (row,) = (row for row in world.manager.view()["versions"] if row["version"] == "2.0")
    assert (row["state"], row["reason"], row["wanted"]) == (State.FAILED, "crash loop", True)


@pytest.mark.parametrize("step", ["FETCHING", "STARTING", "GATING", "DRAINING"])
def test_a_version_on_trial_that_fails_during_another_rollout_gives_its_place_back_after_it(
    step: str,
) -> None:
    """It was never asked again: nobody served in its place."""
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle(5)
    start = world.ask(Verb.START, V20)
    until(world, step)
    world.fail(V11)
    world.settle()
    assert world.answers[start].reason == ""
    assert sorted(world.running) == [V10, V20]
    assert world.manager.memory.rejected == {V11.version: "version 1.1 crash loop"}


def test_one_that_fails_after_something_else_was_started_beside_it_gives_its_place_back_too() -> None:
    world = running("1.0")
    world.ask(Verb.UPDATE, V11)
    world.settle()
    world.ask(Verb.START, V20)
    world.settle()
    world.begin()  # the trial goes on after a restart
    world.settle()
    world.fail(V11)
    world.settle()
    assert sorted(world.running) == [V10, V20]
    assert all(V10 in stock.editions for stock in world.stocks)  # it stays on the disk meanwhile


# ---- how long a start may take


def test_what_never_registers_is_given_up_after_a_while() -> None:
    """A first start could crash every minute for ever: too seldom for a crash loop."""
    world = World({"versions": ["1.0"], "gate": {"start": 40}}, ALL)
    world.broken[V10] = "never"
    world.settle(30)
    assert world.manager.memory.step == "STARTING"
    world._move(V10, State.BACKOFF, "did not register within 30 s")
    world.settle(15)
    reason = "version 1.0 did not register its commands within 40 s (1.0 did not register within 30 s)"
    assert world.manager.view()["last"]["reason"] == reason
    assert world.manager.view()["last"]["outcome"] == "ROLLED_BACK"


def test_the_limit_of_a_start_follows_that_of_a_process_where_none_is_set() -> None:
    for worker, limit in (({}, 120), ({"start": 200}, 460)):
        world = World({"versions": ["1.0"], "worker": worker}, ALL)
        world.broken[V10] = "never"
        world.settle(limit - 2)
        assert world.manager.memory.step == "STARTING"
        world.settle(4)
        assert world.manager.memory.step is None


def test_the_limit_of_a_start_is_a_number_of_seconds() -> None:
    assert Wanted.from_values({"gate": {"start": 5}}).gate.start == 5
    assert Wanted.from_values({"gate": {}}).gate.start is None


def test_an_update_to_what_runs_succeeds_with_the_repository_away_and_says_what_was_not_checked() -> None:
    """It failed, though what was asked for was there."""
    world = running("1.0")
    world.away = True
    ask = world.ask(Verb.UPDATE, V10)
    world.settle()
    answer = world.answers[ask]
    assert answer.reason == ""
    assert answer.result == {
        "Major": 1,
        "Minor": 0,
        "unchecked": "whether the repository has another content of 1.0 now (repository away)",
    }
    assert list(world.running) == [V10]
    world.away = False
    ask = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[ask].result == {"Major": 1, "Minor": 0}


def test_with_the_repository_away_what_had_given_up_is_started_by_an_update() -> None:
    world = running("1.0")
    world.away = True
    world.fail(V10)
    world.settle(1)
    world.broken[V10] = "crash"
    for broken, reason in (("crash", "version 1.0 ended with status 1"), ("", "")):
        world.broken[V10] = broken
        ask = world.ask(Verb.UPDATE, V10)
        world.settle()
        assert world.answers[ask].reason == reason
        assert "repository away" in world.answers[ask].result["unchecked"]
    assert list(world.running) == [V10]


def test_with_the_repository_away_an_update_to_what_does_not_run_fails() -> None:
    world = running("1.0")
    world.away = True
    ask = world.ask(Verb.UPDATE, V11)
    world.settle()
    assert world.answers[ask].reason == "rolled back: repository away"
    assert list(world.running) == [V10]


def test_what_the_repository_has_but_cannot_be_trusted_is_told() -> None:
    """It answered: that is no reason to say that all is well."""
    world = running("1.0")
    world.broken[V10] = "fetch"
    world.passing = True
    ask = world.ask(Verb.UPDATE, V10)
    world.settle()
    assert world.answers[ask].reason == "cannot fetch 1.0"
    assert list(world.running) == [V10]
