"""Machines of their own: what a link loses, in which direction, and who is there afterwards."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.namespaces import Machine, Network
from tests.chaos.proxy import tcp_socket
from zconnector.cli.child import READY_SOCKET, Child

QUICK, LONG = 0.3, 40.0
"""Seconds: longer than TCP waits before it sends again, and longer than it then may wait once more."""
A, B = "a", "b"
CONTENT = 1000


@pytest.fixture
def network() -> Iterator[Network]:
    try:
        network = Network([A, B])
    except OSError as error:
        pytest.skip(f"network namespaces are not to be had here: {error}")
    yield network
    network.close()


async def listening(machine: Machine) -> socket.socket:
    listener = await machine.socket()
    listener.bind((machine.ip, 0))
    listener.listen()
    return listener


async def dial(machine: Machine, listener: socket.socket) -> socket.socket:
    dialler = await machine.socket()
    await asyncio.get_running_loop().sock_connect(dialler, listener.getsockname())
    return dialler


async def connected(network: Network) -> tuple[socket.socket, socket.socket]:
    """The two ends of a connection, on either machine."""
    with await listening(network.machines[B]) as listener:
        dialler = await dial(network.machines[A], listener)
        accepted, _ = await asyncio.get_running_loop().sock_accept(listener)
    return dialler, accepted


async def says(sender: socket.socket, content: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sender, content)


async def hears(receiver: socket.socket, seconds: float = LONG) -> bytes:
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(receiver, CONTENT), seconds)


async def hears_nothing(receiver: socket.socket) -> None:
    with pytest.raises(TimeoutError):
        await hears(receiver, QUICK)


async def test_datagrams_are_lost_in_one_direction_alone(network: Network) -> None:
    """They are not sent again: what comes next shows that the one before it is lost."""
    ends = {}
    for name, machine in network.machines.items():
        ends[name] = machine.namespace.run(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        ends[name].setblocking(False)
        ends[name].bind((machine.ip, 0))
    for number, name in enumerate([A, B]):
        ends[name].connect(ends[[B, A][number]].getsockname())
    await network.lose(A, B)
    await says(ends[A], b"lost")
    await says(ends[B], b"one")
    assert await hears(ends[A]) == b"one"
    await network.heal(A, B)
    await says(ends[A], b"two")
    assert await hears(ends[B]) == b"two"
    for end in ends.values():
        end.close()


@pytest.mark.parametrize("forth", [True, False])
async def test_a_connection_goes_on_when_its_link_is_whole_again(network: Network, forth: bool) -> None:
    dialler, accepted = await connected(network)
    with dialler, accepted:
        (sender, receiver), way = ((dialler, accepted), (A, B)) if forth else ((accepted, dialler), (B, A))
        await says(sender, b"one")
        assert await hears(receiver) == b"one"
        await network.lose(*way)
        await says(sender, b"two")
        await says(receiver, b"against it")
        assert await hears(sender) == b"against it"
        await hears_nothing(receiver)
        await network.heal(*way)
        assert await hears(receiver) == b"two"


@pytest.mark.parametrize("way", [(A, B), (B, A)])
async def test_who_dials_meanwhile_waits(network: Network, way: tuple[str, str]) -> None:
    """Whether it is what it asks that is lost, or the answer."""
    with await listening(network.machines[B]) as listener:
        await network.lose(*way)
        dialling = asyncio.create_task(dial(network.machines[A], listener))
        done, _ = await asyncio.wait({dialling}, timeout=QUICK)
        assert not done
        await network.heal(*way)
        with await asyncio.wait_for(dialling, LONG) as dialler:
            accepted, source = await asyncio.get_running_loop().sock_accept(listener)
            accepted.close()
            assert source == dialler.getsockname()
            assert network.named(source[0]) == A


async def test_lost_twice_is_healed_twice(network: Network) -> None:
    dialler, accepted = await connected(network)
    with dialler, accepted:
        await network.lose(A, B)
        await network.lose(A, B)
        await network.heal(A, B)
        await says(dialler, b"one")
        await hears_nothing(accepted)
        await network.heal(A, B)
        assert await hears(accepted) == b"one"


async def test_each_machine_has_ports_of_its_own(network: Network) -> None:
    with await listening(network.machines[A]) as one, tcp_socket() as here:
        here.bind(("127.0.0.1", one.getsockname()[1]))


async def test_a_child_there_is_ready_and_ends(network: Network, tmp_path: Path) -> None:
    """A front end serves before its connector does."""
    machine = network.machines[A]
    argv = ["frontend", "--state-dir", str(tmp_path / "front"), "--connector", str(tmp_path / "none")]
    (tmp_path / "front").mkdir(mode=0o700)
    child = Child(
        *("front", argv, tmp_path / "log", dict(os.environ)),
        launcher=machine.launcher,
        ready_in=tmp_path / "front",
    )
    await child.start()
    try:
        await child.wait_ready(LONG)
        assert os.readlink(f"/proc/{child.pid}/ns/net") == os.readlink(machine.namespace.path)
        assert os.readlink(f"/proc/{child.pid}/exe") == os.readlink("/proc/self/exe")
    finally:
        await child.end(LONG)
    assert not (tmp_path / "front" / READY_SOCKET).exists()


PARENT = """
import signal, subprocess, sys
from zconnector.cli.child import tethered
subprocess.Popen(tethered(sys.argv[1:]))
signal.pause()
"""
CHILD = "import signal; print('runs', flush=True); signal.pause()"


async def test_a_child_there_dies_with_its_parent(network: Network) -> None:
    argv = [*network.machines[A].launcher, sys.executable, "-c", CHILD]
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, *argv), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await asyncio.wait_for(parent.stdout.readline(), LONG) == b"runs\n"
    parent.kill()
    assert await asyncio.wait_for(parent.stdout.read(), LONG) == b""  # both have let go of it
    await parent.wait()
