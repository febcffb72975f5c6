"""Contents on the disk: what nobody can go back to leaves it; what runs or may run again does not."""

from __future__ import annotations

import pytest

from tests.unit.versions.test_manager import running
from tests.unit.versions.world import V10, V11, V12, V20, World
from zconnector.configuration.pivot import Version
from zconnector.versions.actions import Clean
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition, Values
from zconnector.versions.states import Memory, Step
from zconnector.versions.stock import Stock


def published(world: World, version: Edition, content: str) -> str:
    """It is published again, and updated to; what who asked for that was told."""
    world.contents[version] = content
    ask = world.ask(Verb.UPDATE, version)
    world.settle()
    return world.answers[ask].reason


def test_older_contents_of_a_version_that_stays_leave_the_disk() -> None:
    """All of them stayed for ever: only whole versions went."""
    world = running("1.0")
    for number in range(1, 6):
        assert published(world, V10, f"content {number}") == ""
        before = f"content {number - 1}" if number > 1 else "sha of 1.0"
        assert sorted(world.on_disk) == sorted([before, f"content {number}"])


def test_a_rollback_finds_the_content_of_before_with_the_repository_away() -> None:
    world = running("1.0")
    for number in range(1, 4):
        published(world, V10, f"content {number}")
    world.away = True
    back = world.ask(Verb.ROLLBACK)
    world.settle()
    assert world.answers[back].reason == ""
    (edition,) = world.running
    assert world.manager.content(edition) == "content 2"


def test_what_took_the_place_of_another_a_while_ago_may_still_give_it_back() -> None:
    """It is on trial: something else was started since, and `previous` names that."""
    world = running("1.0")
    published(world, V10, "new")
    world.ask(Verb.START, V20)
    world.settle()
    assert sorted(world.on_disk) == ["new", "sha of 1.0", "sha of 2.0"]
    (edition,) = (edition for edition in world.running if edition.version == V10.version)
    world.away = True
    world.fail(edition)
    world.settle()
    assert V10 in world.running


def test_a_content_that_failed_leaves_with_the_next_rollout() -> None:
    world = running("1.0")
    world.broken[V10._replace(number=1)] = "crash"
    assert "crash" in published(world, V10, "bad") or "status 1" in world.manager.view()["last"]["reason"]
    assert "bad" in world.on_disk
    world.ask(Verb.START, V20)
    world.settle()
    assert sorted(world.on_disk) == ["sha of 1.0", "sha of 2.0"]


def test_what_was_fetched_for_later_stays_while_it_is_newer_than_what_runs() -> None:
    world = running("1.1")
    for version in (V10, V12):
        world.ask(Verb.GET, version)
    world.settle()
    world.ask(Verb.START, V20)
    world.settle()
    assert sorted(world.on_disk) == ["sha of 1.1", "sha of 1.2", "sha of 2.0"]


@pytest.mark.parametrize("killed", range(40))
def test_wherever_the_router_is_killed_what_runs_is_on_the_disk_and_the_rest_leaves_it(killed: int) -> None:
    """Also where the kill comes between the last commit of a rollout and the removal."""
    world = running("1.0")
    published(world, V10, "content 1")
    world.contents[V10] = "content 2"
    world.ask(Verb.UPDATE, V10)
    for _ in range(killed):
        if not world.step():
            world.second()
    world.begin()
    world.away = True  # so all that is started comes from the disk
    world.settle()
    (edition,) = world.running
    runs, previous = world.manager.content(edition), world.manager.memory.previous
    assert previous is not None
    may_run = {runs, *(world.manager.content(each) for each in previous)}
    assert may_run <= set(world.on_disk)
    assert set(world.on_disk) - may_run <= {"content 2"}  # fetched, and not come to anything
    world.begin()
    world.settle(2)
    assert set(world.on_disk) == may_run


def test_content_that_is_not_settled_protects_its_version() -> None:
    """Of before contents were kept, or still being fetched."""
    memory = Memory(running=(V10, V11), contents={V11: "b"})
    stock = Stock.of(memory)
    assert not stock.unwanted("jenkins", V10.version, "whatever")
    assert stock.unwanted("jenkins", V11.version, "other")
    assert not stock.unwanted("jenkins", V11.version, "b")


def test_a_content_that_cannot_be_read_goes_with_its_version_only() -> None:
    stock = Stock.of(Memory(running=(V11,), contents={V11: "b"}, rejected={V12.version: "why"}))
    assert not stock.unwanted("jenkins", V11.version, "")
    assert stock.unwanted("jenkins", V10.version, "")
    assert stock.unwanted("jenkins", V12.version, "")


def test_what_is_named_by_the_commit_that_a_kill_would_go_back_to_stays() -> None:
    new = V10._replace(number=1)
    durable = Memory(running=(V10,), contents={V10: "a"}, rejected={V12.version: "why"})
    now = Memory(running=(new,), contents={new: "b"}, plan=None, step=Step.FETCHING)
    stock = Stock.of(now, durable)
    assert stock.editions == (V10, new)
    assert [stock.unwanted("jenkins", V10.version, content) for content in ("a", "b", "c")] == [
        False,
        False,
        True,
    ]
    assert stock.rejected == ()


def test_where_nothing_is_known_nothing_goes() -> None:
    """The memory was damaged, or nothing ran yet."""
    assert not Stock.of(Memory(), Memory()).unwanted("jenkins", Version(1, 0), "a")


# ---- a product that the configuration names no more


def moved_on(world: World) -> None:
    """From `jenkins` to `gitlab`, of which every version has another content."""
    world.contents |= {version: f"gitlab {version}" for version in (V10, V11, V12, V20)}
    world.configure(product="GitLab")
    world.settle()


def test_a_former_product_stays_as_long_as_a_rollback_would_go_back_to_it_and_then_leaves() -> None:
    """It stayed for ever: only the folders of the product that is configured were looked at."""
    world = running("1.0")
    world.ask(Verb.GET, V20)  # fetched for later: that would be kept, were it of a product that is in use
    world.settle()
    moved_on(world)
    assert sorted(world.on_disk) == ["gitlab 1.0", "sha of 1.0", "sha of 2.0"]
    world.ask(Verb.UPDATE, V11)
    world.settle()
    assert sorted(world.on_disk) == ["gitlab 1.0", "gitlab 1.1"]


def test_a_rollback_to_the_former_product_finds_it_with_the_repository_away() -> None:
    world = running("1.0")
    moved_on(world)
    world.away = True
    back = world.ask(Verb.ROLLBACK)
    world.settle()
    assert world.answers[back].reason == ""
    (edition,) = world.running
    assert world.manager.content(edition) == "sha of 1.0"
    assert "gitlab 1.0" in world.on_disk


def test_where_the_new_product_fails_what_runs_stays_whatever_the_configuration_names() -> None:
    world = running("1.0")
    world.broken[V10._replace(number=1)] = "crash"
    moved_on(world)
    assert [world.manager.content(edition) for edition in world.running] == ["sha of 1.0"]
    world.ask(Verb.START, V20)
    world.settle()
    assert "sha of 1.0" in world.on_disk
    world.begin()
    world.away = True
    world.settle()
    assert "sha of 1.0" in [world.manager.content(edition) for edition in world.running]


def test_a_product_that_was_tried_in_vain_leaves_when_the_configuration_goes_back() -> None:
    """No rollout follows, after which anything would be removed."""
    world = running("1.0")
    world.broken[V10._replace(number=1)] = "crash"
    moved_on(world)
    assert sorted(world.on_disk) == ["gitlab 1.0", "sha of 1.0"]
    world.configure(product="jenkins")
    world.settle()
    assert sorted(world.on_disk) == ["sha of 1.0"]


@pytest.mark.parametrize("killed", range(40))
def test_wherever_the_router_is_killed_the_former_product_leaves_and_what_may_run_does_not(
    killed: int,
) -> None:
    """Also where the kill comes between the last commit of a rollout and the removal."""
    world = running("1.0")
    moved_on(world)
    world.ask(Verb.UPDATE, V11)
    for _ in range(killed):
        if not world.step():
            world.second()
    world.begin()
    world.away = True
    world.settle()
    (edition,) = world.running
    previous = world.manager.memory.previous
    assert previous is not None
    may_run = {world.manager.content(each) for each in (edition, *previous)}
    assert may_run <= set(world.on_disk)
    if "sha of 1.0" not in may_run:
        assert "sha of 1.0" not in world.on_disk


@pytest.mark.parametrize("killed", range(60))
def test_the_former_product_leaves_also_where_the_router_is_killed_in_a_rollout_that_fails(
    killed: int,
) -> None:
    """The removal after the one before was lost with the router, and one that fails is followed by none."""
    world = running("1.0")
    moved_on(world)
    world.ask(Verb.UPDATE, V11)
    for _ in range(8):
        if not world.step():
            world.second()
    world.configure(keys={"a": 1})  # rolled out as soon as that is over
    world.broken |= {V11._replace(number=number): "crash" for number in range(2, 9)}
    for _ in range(killed):
        if world.asked and isinstance(world.asked[0], Clean):
            world.asked.popleft()  # it takes its time
        elif not world.step():
            world.second()
    world.begin()
    world.settle(200)
    assert [(edition.version, edition.number) for edition in world.running] == [(V11.version, 1)]
    assert sorted(world.on_disk) == ["gitlab 1.0", "gitlab 1.1"]


def of(product: str) -> Values:
    return Values(product=product)


def test_by_product_the_same_version_is_another() -> None:
    old, new = V11, V10._replace(number=1)
    memory = Memory(
        running=(new,),
        previous=(old,),
        contents={old: "a", new: "b"},
        values={0: of("Jenkins"), 1: of("GitLab")},
    )
    stock = Stock.of(memory, configured="GitLab")
    assert not stock.unwanted("jenkins", V11.version, "a")
    assert stock.unwanted("jenkins", V11.version, "b")
    assert stock.unwanted("jenkins", V10.version, "b")  # older than all of that product
    assert not stock.unwanted("gitlab", V10.version, "b")
    assert stock.unwanted("gitlab", V10.version, "a")
    assert not stock.unwanted("gitlab", V11.version, "c")  # newer: perhaps for later
    assert stock.unwanted("bamboo", V20.version, "c")
    assert stock.unwanted("bamboo", V20.version, "")


def test_of_the_configured_product_nothing_goes_that_was_not_tried_in_vain() -> None:
    """Its first rollout waits for something, and what it has fetched is older than what runs."""
    memory = Memory(
        running=(V20,), contents={V20: "a"}, values={0: of("Jenkins")}, rejected={V12.version: "why"}
    )
    stock = Stock.of(memory, configured="GitLab")
    assert not stock.unwanted("gitlab", V10.version, "c")
    assert stock.unwanted("gitlab", V12.version, "d")


def test_an_edition_of_an_unknown_product_protects_its_version_in_each() -> None:
    stock = Stock.of(Memory(running=(V11,), contents={V11: "a"}), configured="GitLab")
    assert not stock.unwanted("jenkins", V11.version, "a")
    assert not stock.unwanted("gitlab", V11.version, "a")
    assert stock.unwanted("jenkins", V11.version, "b")
