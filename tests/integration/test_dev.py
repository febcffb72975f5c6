"""`zconnector dev`: the contract that others script against."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import orjson
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.dev import Dev, alive, all_ended

MakeDev = Callable[..., Dev]
END_SECONDS = 5.0


def sockets_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]


def is_socket(address: str) -> bool:
    return Path(address.removeprefix("unix:")).is_socket()


def proc_file(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


async def health(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)


async def test_the_topology_file_says_what_runs_and_everything_serves(dev: Dev) -> None:
    topology = dev.topology()
    assert set(topology) == {"clusters", "aggregators", "connectors"}
    assert [sorted(entry) for entry in topology["clusters"]] == [["endpoint", "pid"]]
    assert [(a["name"], a["instance"]) for a in topology["aggregators"]] == [("agg1", i) for i in "abc"]
    assert [(c["name"], c["type"]) for c in topology["connectors"]] == [("git", "Git"), ("ci", "Ci")]
    pids = dev.pids()
    assert len(set(pids)) == 6
    assert all(alive(pid) for pid in pids)
    for connector in topology["connectors"]:
        assert connector["grpc"].startswith("unix:")
        assert await health(connector["grpc"]) == health_pb2.HealthCheckResponse.SERVING


async def test_sigterm_ends_all_within_five_seconds_and_leaves_no_socket(make_dev: MakeDev) -> None:
    dev = make_dev()
    await dev.start()
    pids = dev.pids()
    assert sockets_in(dev.state_dir)
    begun = time.monotonic()
    dev.signal(signal.SIGTERM)
    assert await dev.wait() == 0
    assert time.monotonic() - begun < END_SECONDS
    assert not [pid for pid in pids if alive(pid)]
    assert sockets_in(dev.state_dir) == []


async def test_it_ends_in_time_also_with_frozen_and_killed_components(make_dev: MakeDev) -> None:
    dev = make_dev()
    await dev.start()
    pids = dev.pids()
    await dev.kill("ci")
    await dev.kill("git", signal.SIGSTOP)
    await dev.kill("agg1/b", signal.SIGSTOP)
    begun = time.monotonic()
    dev.signal(signal.SIGINT)
    assert await dev.wait() == 0
    assert time.monotonic() - begun < END_SECONDS
    assert not [pid for pid in pids if alive(pid)]
    assert sockets_in(dev.state_dir) == []


async def test_no_component_outlives_a_dev_that_is_killed(make_dev: MakeDev) -> None:
    dev = make_dev("--aggregators", "1", "--connector", "git:Git")
    await dev.start()
    pids = dev.pids()
    dev.signal(signal.SIGKILL)
    await dev.wait()
    await all_ended(pids, 5)


async def test_a_second_start_goes_on_from_what_is_stored(make_dev: MakeDev) -> None:
    first = make_dev("--aggregators", "2", "--connector", "git:Git")
    before = await first.start()
    stored = first.state_dir / "connector" / "git" / "curve.key"
    key = stored.read_bytes()
    await first.stop()
    second = make_dev()  # nothing said: as stored
    after = await second.start()
    for kind in ("clusters", "aggregators"):
        assert [e["endpoint"] for e in after[kind]] == [e["endpoint"] for e in before[kind]]
    assert [c["name"] for c in after["connectors"]] == ["git"]
    assert stored.read_bytes() == key


async def test_a_second_start_after_a_kill_works_too(make_dev: MakeDev) -> None:
    first = make_dev("--aggregators", "1", "--connector", "git:Git")
    await first.start()
    first.signal(signal.SIGKILL)
    await first.wait()
    second = make_dev()
    await second.start()
    assert await health(second.grpc("git")) == health_pb2.HealthCheckResponse.SERVING


async def test_a_directory_in_use_is_refused_and_left_alone(dev: Dev, make_dev: MakeDev) -> None:
    other = make_dev()
    await other.spawn()
    assert await other.wait() == 78
    assert len(other.errors) == 1
    assert str(dev.pid) in other.errors[0]
    assert all(alive(pid) for pid in dev.pids())


async def test_what_dies_stays_dead_without_restart(dev: Dev) -> None:
    before = dev.topology()
    await dev.kill("agg1/a")
    assert await dev.said("killed") == "aggregator agg1/a: killed by SIGKILL"
    assert dev.topology() == before
    assert dev.returncode is None


async def test_restart_brings_back_what_dies_and_tells_the_new_pid(make_dev: MakeDev) -> None:
    dev = make_dev("--restart", "--aggregators", "1", "--connector", "git:Git")
    await dev.start()
    old = dev.pid_of("git")
    await dev.kill("git")
    line = await dev.said("git: restarted, pid ")
    new = int(line.rpartition(" ")[2])
    assert new != old
    assert dev.pid_of("git") == new
    channel = grpc.aio.insecure_channel(dev.grpc("git"))
    async with asyncio.timeout(10), channel:
        await channel.channel_ready()


async def test_a_component_that_cannot_start_is_shown_with_its_log(make_dev: MakeDev) -> None:
    first = make_dev("--aggregators", "1", "--connector", "git:Git")
    topology = await first.start()
    await first.stop()
    host, _, port = topology["aggregators"][0]["endpoint"].removeprefix("tcp://").rpartition(":")
    with socket.socket() as holder:
        holder.bind((host, int(port)))
        holder.listen()
        second = make_dev()
        await second.spawn()
        assert await second.wait() not in (0, None)
    story = "\n".join(second.errors)
    assert "agg1/a ended with status" in story
    assert "aggregator-agg1-a.log" in story
    assert port in story
    assert "Traceback" not in story
    assert not (second.state_dir / "topology.json").exists()


async def test_interrupted_while_starting_it_leaves_nothing(make_dev: MakeDev) -> None:
    dev = make_dev()
    await dev.spawn()
    await dev.said("cluster/1: serves")
    dev.signal(signal.SIGINT)
    assert await dev.wait(END_SECONDS + 1) == 0
    assert sockets_in(dev.state_dir) == []


async def test_a_long_state_directory_gets_short_socket_paths(make_dev: MakeDev, tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    dev = make_dev("--aggregators", "1", "--connector", "git:Git", state_dir=deep)
    await dev.start()
    address = dev.grpc("git")
    assert len(os.fsencode(address.removeprefix("unix:"))) <= 107
    assert is_socket(address)
    assert await health(address) == health_pb2.HealthCheckResponse.SERVING
    await dev.stop()
    assert not is_socket(address)


async def test_no_secret_is_in_any_command_line_or_log(dev: Dev) -> None:
    for pid in dev.pids():
        assert b"zc1." not in proc_file(pid, "cmdline")
        assert b"zc1." not in proc_file(pid, "environ")
    for log in (dev.state_dir / "logs").iterdir():
        assert b"zc1." not in log.read_bytes()
    assert b"zc1." not in orjson.dumps(dev.topology())
    assert b"zc1." not in (dev.state_dir / "dev.json").read_bytes()
