"""The proxy: what it holds back, delays and resets, and for whom."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.proxy import DOWN, UP, Proxy, inode_of, owner_of

ME = "me"
QUICK, LONG = 0.15, 30.0


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(1000):
        writer.write(content)
    writer.close()


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy("echo", lambda source, port: owner_of(source[1], port, {os.getpid(): ME}))
    await proxy.start()
    proxy.target = server.sockets[0].getsockname()[1]
    yield proxy
    proxy.stop()
    server.close()


class Dialler:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, content: bytes, seconds: float = LONG) -> bytes:
        self.writer.write(content)
        return await self.hears(seconds)

    async def hears(self, seconds: float = LONG) -> bytes:
        return await asyncio.wait_for(self.reader.read(1 << 20), seconds)

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await self.hears(QUICK)


async def dial(proxy: Proxy) -> Dialler:
    return Dialler(*await asyncio.open_connection("127.0.0.1", proxy.port))


async def test_a_whole_link_carries_everything(proxy: Proxy) -> None:
    peer = await dial(proxy)
    content = os.urandom(3 << 20)
    peer.writer.write(content)
    heard = b""
    while len(heard) < len(content):
        heard += await peer.hears()
    assert heard == content
    peer.writer.write_eof()
    assert await peer.hears() == b""


@pytest.mark.parametrize("held", [{UP}, {DOWN}, {UP, DOWN}])
async def test_what_is_held_arrives_when_the_link_is_whole_again(proxy: Proxy, held: set[str]) -> None:
    peer = await dial(proxy)
    assert await peer.says(b"one") == b"one"
    proxy.hold(ME, held)
    peer.writer.write(b"two")
    await peer.hears_nothing()
    proxy.heal(ME, held)
    assert await peer.hears() == b"two"


async def test_who_dials_a_cut_link_waits(proxy: Proxy) -> None:
    proxy.hold(ME, {UP, DOWN})
    peer = await dial(proxy)
    peer.writer.write(b"one")
    await peer.hears_nothing()
    proxy.heal(ME, {UP, DOWN})
    assert await peer.hears() == b"one"


@pytest.mark.parametrize("first", ["cut", "slow"])
async def test_a_fault_that_ends_leaves_another_one_of_the_same_link(proxy: Proxy, first: str) -> None:
    """A cut and an island, or a slow link, may overlap; the first to end healed the other."""
    peer = await dial(proxy)
    assert await peer.says(b"one") == b"one"
    proxy.hold(ME, {UP, DOWN})
    if first == "cut":
        proxy.hold(ME, {UP})
        proxy.heal(ME, {UP})
    else:
        proxy.slow(ME, 0.01)
        proxy.slow(ME, 0.0)
    peer.writer.write(b"two")
    await peer.hears_nothing()
    proxy.heal(ME, {UP, DOWN})
    assert await peer.hears() == b"two"


async def test_all_is_mended_at_the_end(proxy: Proxy) -> None:
    peer = await dial(proxy)
    assert await peer.says(b"one") == b"one"
    proxy.hold(ME, {UP, DOWN})
    proxy.hold(ME, {UP})
    peer.writer.write(b"two")
    proxy.mend()
    assert await peer.hears() == b"two"


async def test_another_ones_link_is_whole_meanwhile(proxy: Proxy) -> None:
    proxy.hold("somebody else", {UP, DOWN})
    assert await (await dial(proxy)).says(b"one") == b"one"


async def test_a_slow_link_delays_in_each_direction(proxy: Proxy) -> None:
    peer = await dial(proxy)
    proxy.slow(ME, 0.1)
    begun = asyncio.get_running_loop().time()
    assert await peer.says(b"one") == b"one"
    assert asyncio.get_running_loop().time() - begun >= 0.19


async def test_a_reset_ends_its_connections(proxy: Proxy) -> None:
    peer = await dial(proxy)
    assert await peer.says(b"one") == b"one"
    assert proxy.reset("somebody else") == 0
    assert proxy.reset(ME) == 1
    with pytest.raises(ConnectionResetError):
        await peer.hears()


async def test_nobody_there(proxy: Proxy) -> None:
    proxy.target = 1
    peer = await dial(proxy)
    with pytest.raises(ConnectionResetError):
        await peer.hears()


def test_who_dials_is_told_from_others_that_had_or_have_the_same_port() -> None:
    """One that had it made the proxy take its dialler for nobody, whom no fault touches."""
    ended = "0: 0100007F:C001 0100007F:B001 06 00000000:00000000 03:00000176 00000000 0 0 0 3"
    elsewhere = "1: 0100007F:C001 0100007F:B002 01 00000000:00000000 00:00000000 00000000 0 0 71 1"
    dialler = "2: 0100007F:C001 0100007F:B001 01 00000000:00000000 00:00000000 00000000 0 0 72 1"
    answer = "3: 0100007F:B001 0100007F:C001 01 00000000:00000000 00:00000000 00000000 0 0 73 1"
    table = "\n".join(["sl local_address rem_address ...", ended, elsewhere, answer, dialler])
    assert inode_of(table, 0xC001, 0xB001) == "72"
    assert inode_of(table, 0xC001, 0xB003) == ""
