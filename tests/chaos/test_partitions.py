"""What makes partitions, and that a link fails in the directions asked for, for the one asked for."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.namespaces import Network
from tests.chaos.partitions import AUTO, NAMESPACES, PROXY, ByNamespaces, ByProxy, partitions
from tests.chaos.proxy import DOWN, UP, Proxy
from zconnector.errors import ConfigError

ME, OTHER, ENDPOINT = "me", "somebody else", "endpoint"
QUICK, LONG = 0.3, 40.0
CHAOS = Path(__file__).with_name("chaos.py")


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(1000):
        writer.write(content)
    writer.close()


@dataclass
class Links:
    """Those of two machines to one endpoint."""

    network: Network
    partitions: ByNamespaces
    proxy: Proxy

    async def dial(self, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        dialler = await self.network.machines[name].socket()
        at = (self.proxy.place.ip, self.proxy.port)
        await asyncio.wait_for(asyncio.get_running_loop().sock_connect(dialler, at), LONG)
        return await asyncio.open_connection(sock=dialler)

    async def hold(self, *ways: str) -> None:
        await self.partitions.hold(self.proxy, ME, frozenset(ways))

    async def heal(self, *ways: str) -> None:
        await self.partitions.heal(self.proxy, ME, frozenset(ways))


@pytest_asyncio.fixture
async def links() -> AsyncIterator[Links]:
    try:
        network = Network([ME, OTHER, ENDPOINT])
    except OSError as error:
        pytest.skip(f"network namespaces are not to be had here: {error}")
    by = ByNamespaces(network)
    listener = await network.machines[ENDPOINT].socket()
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(echo, sock=listener)
    proxy = Proxy(ENDPOINT, by.dialler, by.place(ENDPOINT))
    await proxy.start()
    proxy.target = listener.getsockname()[1]
    yield Links(network, by, proxy)
    proxy.stop()
    server.close()
    by.close()


@pytest.mark.parametrize("held", [{UP}, {DOWN}, {UP, DOWN}])
async def test_a_held_link_carries_nothing_there_and_back_until_it_is_healed(
    links: Links, held: set[str]
) -> None:
    reader, writer = await links.dial(ME)
    writer.write(b"one")
    assert await asyncio.wait_for(reader.read(9), LONG) == b"one"
    await links.hold(*held)
    writer.write(b"two")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(9), QUICK)
    await links.heal(*held)
    assert await asyncio.wait_for(reader.read(9), LONG) == b"two"
    writer.close()


async def test_another_ones_link_is_whole_meanwhile(links: Links) -> None:
    await links.hold(UP, DOWN)
    reader, writer = await links.dial(OTHER)
    writer.write(b"one")
    assert await asyncio.wait_for(reader.read(9), LONG) == b"one"
    writer.close()


async def test_the_proxy_knows_machines_by_their_addresses(links: Links) -> None:
    reader, writer = await links.dial(ME)
    writer.write(b"one")
    await asyncio.wait_for(reader.read(9), LONG)
    assert links.proxy.reset(OTHER) == 0
    assert links.proxy.reset(ME) == 1
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(9), LONG)
    writer.close()


def test_without_namespaces_it_is_the_proxy_and_the_report_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = partitions(AUTO, [ME], dict)
    assert isinstance(found, ByProxy)
    assert found.how == "fault-injecting TCP proxy (no network namespaces: there is no `ip`)"
    with pytest.raises(ConfigError, match="there is no `ip`"):
        partitions(NAMESPACES, [ME], dict)


def test_the_proxy_when_it_is_asked_for() -> None:
    assert partitions(PROXY, [ME], dict).how == "fault-injecting TCP proxy"


def test_namespaces_where_there_are_none_are_an_error(tmp_path: Path) -> None:
    argv = [sys.executable, str(CHAOS), "--partitions", "namespaces", "--state-dir", str(tmp_path / "run")]
    ended = subprocess.run(argv, env={**os.environ, "PATH": ""}, capture_output=True, text=True, check=False)
    assert ended.returncode == ConfigError.exit_code
    assert ended.stderr == "chaos: no network namespaces here: there is no `ip`\n"
