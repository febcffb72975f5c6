"""Supervised workers as real processes: docs/supervision.md."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.supervised import DEADLINE, NAME, Scene, behave, exists, gone, guard_of, shown
from zconnector.errors import ConfigError
from zconnector.supervision.launch import MAX_ARGV, Launch
from zconnector.supervision.masking import Mask
from zconnector.supervision.output import LINES_AT_ONCE
from zconnector.supervision.states import State

Make = Callable[..., Scene]
SECRET = "s3cret-of-the-worker"


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes a supervisor of one worker; nothing of it is left after the test, no descriptor either."""
    before = set(os.listdir("/proc/self/fd"))
    scenes: list[Scene] = []

    def make(launch: Launch | Callable[[str, int], Launch]) -> Scene:
        scenes.append(Scene(launch if callable(launch) else lambda name, run: launch))
        return scenes[-1]

    yield make
    for scene in scenes:
        await scene.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def pid_of(scene: Scene) -> int:
    """Of the process that runs."""
    pid = scene.supervision.view(NAME).pid
    assert pid is not None
    return pid


async def test_argv_and_stdin_reach_it_and_its_output_the_log(make: Make) -> None:
    configuration = b'{"n": 7, "key": "' + SECRET.encode() + b'"}'
    argv = ("serve", "ci", "10000", "/s/w.sock")
    scene = make(behave(*argv, stdin=configuration, version="1.0", hide=Mask([SECRET])))
    scene.begin()
    assert await scene.log.said("stdin") == '{"n": 7, "key": "***"}'
    assert await scene.log.said("argv") == "ci 10000 /s/w.sock"
    view = scene.supervision.view(NAME)
    line = next(each for each in scene.log.lines if each.get("line", "").startswith("argv"))
    assert (line["worker"], line["version"], line["stream"]) == (NAME, "1.0", "stderr")
    assert line["pid"] == view.pid
    assert os.getpgid(view.pid or 0) == os.getsid(view.pid or 0) == view.pid
    for pid in (view.pid, guard_of(view.pid or 0)):  # and its guard
        assert SECRET.encode() not in shown(pid)
    assert SECRET not in str(scene.log.lines)


@pytest.mark.parametrize("letter", ["x", "é", "\udcff"])
async def test_the_longest_arguments_reach_it(make: Make, letter: str) -> None:
    room = MAX_ARGV - sum(len(part) for part in behave("serve").argv)
    argument = letter * (room // len(os.fsencode(letter)))
    scene = make(behave("serve", argument))
    scene.begin()
    await scene.log.said("argv")
    assert os.fsencode(argument) in shown(pid_of(scene))


async def test_drained_then_terminated(make: Make) -> None:
    scene = make(behave("serve"))
    scene.begin()
    await scene.log.said("argv")
    scene.supervision.registered(NAME, 1)
    assert scene.supervision.serves(NAME, 1)
    pid = pid_of(scene)
    scene.supervision.stop(NAME)
    assert scene.asked == [(NAME, 1)]
    assert not scene.supervision.serves(NAME, 1)
    assert exists(pid)
    scene.supervision.drained(NAME, 1)
    await scene.reached(State.STOPPED)
    assert not exists(pid)


@pytest.mark.parametrize(
    ("how", "reason"), [("crash", "killed by SIGABRT"), ("leave", "ended with status 0")]
)
async def test_a_crash_loop_is_told_and_stopped(make: Make, how: str, reason: str) -> None:
    scene = make(behave(how))
    scene.begin(backoff=0.02, crashes=3)
    view = await scene.reached(State.FAILED)
    assert view.run == 3
    assert reason in view.reason
    assert "crash loop, 3 ends" in view.reason
    assert [move.state for move in scene.moves] == [State.STARTING, State.BACKOFF] * 2 + [
        State.STARTING,
        State.FAILED,
    ]


async def test_a_silent_one_is_ended_and_another_started(make: Make) -> None:
    scene = make(lambda name, run: behave("frozen" if run == 1 else "serve"))
    scene.begin(hang=0.2, backoff=0.02, term=DEADLINE)
    await scene.log.said("frozen")
    scene.supervision.registered(NAME, 1)
    first = pid_of(scene)
    await scene.log.said("argv")
    assert scene.supervision.view(NAME).run == 2
    assert not exists(first)
    assert any("no beat for 0.2 s" in move.reason for move in scene.moves)


async def test_one_that_ignores_sigterm_is_killed(make: Make) -> None:
    scene = make(behave("deaf"))
    scene.begin(term=0.05)
    await scene.log.said("deaf")
    scene.supervision.stop(NAME)
    await scene.reached(State.STOPPED)
    assert [move.state for move in scene.moves][-3:] == [State.STOPPING, State.KILLING, State.STOPPED]


async def test_what_it_forked_ends_with_it_also_in_a_session_of_its_own(make: Make) -> None:
    scene = make(behave("family"))
    scene.begin()
    await scene.log.until(lambda: len(scene.log.output()) == 2)
    children = [int(line.split()[1]) for line in scene.log.output()]
    assert all(exists(pid) for pid in children)
    scene.supervision.stop(NAME)
    await scene.reached(State.STOPPED)
    assert not any(exists(pid) for pid in children)


async def test_what_it_forked_is_found_whenever_its_own_end_comes(make: Make) -> None:
    """The guard looks for what is left while the worker dies, sooner or later into its looking."""
    scene = make(lambda name, run: behave("heavy", str(run * 2**22)))
    scene.begin(term=0.0001)
    for _ in range(12):
        child = int(await scene.log.said("child"))
        scene.supervision.stop(NAME)
        await scene.reached(State.STOPPED)
        assert not exists(child)
        scene.log.lines.clear()
        scene.supervision.start(NAME)


async def test_one_that_forks_and_exits_has_ended(make: Make) -> None:
    scene = make(behave("daemon"))
    scene.begin(crashes=1)
    view = await scene.reached(State.FAILED)
    assert "ended with status 0" in view.reason
    assert not exists(int(await scene.log.said("child")))


async def test_a_flood_is_left_out_of_the_log_and_every_line_of_it_counted(make: Make) -> None:
    flood = 50_000
    scene = make(behave("flood", str(flood)))
    scene.begin(crashes=1)
    await scene.reached(State.FAILED)
    logged = sum(line.startswith("x") for line in scene.log.output())
    dropped = sum(line.get("dropped", 0) for line in scene.log.lines)
    assert logged >= LINES_AT_ONCE
    assert dropped > 0
    assert logged + dropped == flood


async def test_a_long_line_is_cut_and_one_without_end_is_told(make: Make) -> None:
    scene = make(behave("long"))
    scene.begin(crashes=1)
    await scene.reached(State.FAILED)
    first, *rest = scene.log.output()
    assert first == "y" * 8192 + " [cut]"
    assert rest == ["after", "unended"]


async def test_one_that_closes_its_streams_runs_on(make: Make, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "telling")
    scene = make(behave("closed", str(tmp_path / "telling"), stdin=b"x" * 1_000_000))
    scene.begin()
    async with asyncio.timeout(DEADLINE):
        assert await asyncio.to_thread((tmp_path / "telling").read_text) == "closed"
    pid = pid_of(scene)
    assert exists(pid)
    # Its guard keeps none of them open in its place.
    assert [os.readlink(f"/proc/{guard_of(pid)}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
    scene.supervision.stop(NAME)
    await scene.reached(State.STOPPED)


async def test_one_that_never_reads_its_stdin_holds_nobody_up(make: Make) -> None:
    scene = make(behave("deaf", stdin=b"x" * 1_000_000))
    scene.begin(term=0.05)
    await scene.log.said("deaf")
    scene.supervision.stop(NAME)
    await scene.reached(State.STOPPED)


def script(path: Path, content: str, mode: int) -> str:
    path.write_text(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0, "No such file"),
        ("#!/bin/sh\n", 0o600, "Permission denied"),
        ("#!/no/such/interpreter\n", 0o700, "interpreter"),
        ("nothing that runs", 0o700, "Exec format error"),
    ],
)
async def test_what_cannot_run_is_told_at_once(
    make: Make, tmp_path: Path, content: str | None, mode: int, reason: str
) -> None:
    path = tmp_path / "worker"
    if content is not None:
        script(path, content, mode)
    scene = make(Launch(argv=[str(path)]))
    scene.begin()
    view = await scene.reached(State.FAILED)
    assert view.run == 1
    assert reason in view.reason
    assert str(path) in view.reason


async def test_limits_are_set_and_no_descriptor_is_handed_on(make: Make) -> None:
    scene = make(behave("limits", limits={"open_files": 64, "address_space": 2**30}))
    scene.begin()
    assert await scene.log.said("files") == "64 64"
    assert await scene.log.said("memory") == f"{2**30} {2**30}"
    other = make(behave("descriptors"))
    other.begin()
    assert await other.log.said("open") == "0 1 2 3"  # the last is what it lists them with


async def test_a_directory_that_is_not_there(make: Make, tmp_path: Path) -> None:
    scene = make(behave("serve", cwd=tmp_path / "none"))
    scene.begin()
    assert f"cannot go to {tmp_path / 'none'}" in (await scene.reached(State.FAILED)).reason


async def test_a_run_that_cannot_be_prepared(make: Make) -> None:
    def refuse(name: str, run: int) -> Launch:
        raise ConfigError("key TOKEN has no value")

    scene = make(refuse)
    scene.begin()
    assert "key TOKEN has no value" in (await scene.reached(State.FAILED)).reason


async def test_stop_during_the_start(make: Make) -> None:
    scene = make(behave("serve"))
    scene.begin()
    scene.supervision.stop(NAME)
    scene.supervision.start(NAME)
    scene.supervision.stop(NAME)
    await scene.reached(State.STOPPED)
    assert scene.supervision.view(NAME).run == 1


async def test_its_guard_killed_takes_it_along(make: Make) -> None:
    scene = make(behave("family"))
    scene.begin(crashes=1)
    await scene.log.until(lambda: len(scene.log.output()) == 2)
    in_group, apart = (int(line.split()[1]) for line in scene.log.output())
    pid = pid_of(scene)
    os.kill(guard_of(pid), signal.SIGKILL)
    assert "guard was killed" in (await scene.reached(State.FAILED)).reason
    assert not exists(pid)
    await gone(in_group)
    os.kill(apart, signal.SIGKILL)  # what made itself a session of its own is left, then only


ROUTER = """
import asyncio, sys
from tests.support.supervised import Scene, behave

async def main():
    scene = Scene(lambda name, run: behave("family"))
    scene.begin()
    await scene.log.until(lambda: len(scene.log.output()) == 2)
    print(scene.supervision.view("ci/1.0").pid, *(line.split()[1] for line in scene.log.output()), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def killed_router() -> AsyncIterator[tuple[asyncio.subprocess.Process, int, int, list[int]]]:
    """A router of its own process, its guard, worker, and what that has forked; killed at the end."""
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    router = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ROUTER), stdout=asyncio.subprocess.PIPE, env=environment
    )
    try:
        assert router.stdout is not None
        async with asyncio.timeout(DEADLINE):
            worker, *children = map(int, (await router.stdout.readline()).split())
        assert len(children) == 2
        yield router, guard_of(worker), worker, children
    finally:
        if router.returncode is None:
            router.kill()
        await router.wait()


async def test_nothing_outlives_a_router_that_was_killed() -> None:
    async with killed_router() as (_, guard, worker, children):
        pass
    for pid in (guard, worker, *children):
        await gone(pid)


async def test_a_worker_does_not_outlive_its_guard_also_where_the_router_is_frozen() -> None:
    async with killed_router() as (router, guard, worker, children):
        router.send_signal(signal.SIGSTOP)
        os.kill(guard, signal.SIGKILL)
        await gone(worker)
        for pid in children:  # nobody is there to do it
            os.kill(pid, signal.SIGKILL)
