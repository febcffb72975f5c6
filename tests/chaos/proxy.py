"""A TCP proxy on a link between two components, which holds back, delays or resets what passes through.

It stands before an endpoint, on the same machine; whoever dials it is told apart by its process or its
machine, so that one link can fail while others through the same endpoint do not. Held bytes arrive when the
link is whole again, as TCP's do.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

UP, DOWN = "up", "down"
"""Towards the endpoint, and from it."""
LIMIT = 256 << 10
"""Bytes that the proxy holds of one direction before it reads no more."""

Address = tuple[str, int]


class Place(Protocol):
    """A machine, as a proxy sees it."""

    @property
    def ip(self) -> str:
        """Its address for others."""

    async def socket(self) -> socket.socket:
        """A TCP socket there."""


class _Here:
    ip = "127.0.0.1"

    async def socket(self) -> socket.socket:
        return tcp_socket()


HERE: Place = _Here()


def tcp_socket() -> socket.socket:
    """It says of itself that it is TCP: only then asyncio lets it send what is small at once."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setblocking(False)
    return made


@dataclass(slots=True)
class State:
    """What is wrong with one link."""

    holds: Counter[str] = field(default_factory=Counter)
    """How many faults hold each direction: they may overlap."""
    delay: float = 0.0

    @property
    def held(self) -> list[str]:
        """Directions in which nothing goes on."""
        return [way for way, count in self.holds.items() if count > 0]


class Proxy:
    """Listens for one endpoint. `port` is there from the start on, `target` when it is known."""

    def __init__(self, name: str, who: Callable[[Address, int], str], place: Place = HERE) -> None:
        """`who`: name of the one who dials from that address to this port."""
        self.name = name
        self.place = place
        self.port = 0
        self.target = 0
        self._who = who
        self._states: dict[str, State] = {}
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        listener = await self.place.socket()
        listener.bind((self.place.ip, 0))
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), sock=listener, backlog=512)

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.abort()

    def state(self, peer: str) -> State:
        return self._states.setdefault(peer, State())

    def hold(self, peer: str, ways: Iterable[str]) -> None:
        """From now on nothing goes on in these directions of a link. Held twice, it must be healed twice."""
        self.state(peer).holds.update(ways)
        self._changed(peer)

    def heal(self, peer: str, ways: Iterable[str]) -> None:
        """It does again, and what was held with it."""
        self.state(peer).holds.subtract(ways)
        self._changed(peer)

    def slow(self, peer: str, delay: float) -> None:
        """From now on everything of this link takes so many seconds more; 0: none."""
        self.state(peer).delay = delay
        self._changed(peer)

    def mend(self) -> None:
        """Nothing is wrong with any link any more."""
        for peer in list(self._states):
            self._states[peer] = State()
            self._changed(peer)

    def _changed(self, peer: str) -> None:
        for pair in list(self._pairs):
            if pair.peer == peer:
                pair.changed()

    def reset(self, peer: str) -> int:
        """Reset the connections of `peer`; how many there were."""
        pairs = [pair for pair in self._pairs if pair.peer == peer]
        for pair in pairs:
            pair.abort()
        return len(pairs)

    def accepted(self, end: _End) -> _Pair:
        pair = _Pair(self, self._who(end.transport.get_extra_info("peername"), self.port))
        self._pairs.add(pair)
        return pair

    def forget(self, pair: _Pair) -> None:
        self._pairs.discard(pair)


class _Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, peer: str) -> None:
        self.proxy = proxy
        self.peer = peer
        self._ways: dict[str, _Way] = {}
        self._dialling: asyncio.Task[None] | None = None
        self._whole = asyncio.Event()

    @property
    def state(self) -> State:
        return self.proxy.state(self.peer)

    def opened(self, end: _End) -> None:
        self._ways[UP] = end.way = _Way(self, UP, end)
        self.changed()
        self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        await self._whole.wait()
        loop = asyncio.get_running_loop()
        dialler = await self.proxy.place.socket()
        try:
            await loop.sock_connect(dialler, ("127.0.0.1", self.proxy.target))
            await loop.create_connection(lambda: _End(self.proxy, self), sock=dialler)
        except OSError:
            dialler.close()
            self.abort()
        except asyncio.CancelledError:
            dialler.close()
            raise

    def dialled(self, other: _End) -> None:
        """The endpoint answers."""
        up = self._ways[UP]
        down = self._ways[DOWN] = other.way = _Way(self, DOWN, other)
        up.sink, down.sink = other, up.source
        up.source.fills, other.fills = down, up
        up.pump()

    def changed(self) -> None:
        if self.state.held:
            self._whole.clear()
        else:
            self._whole.set()
        for way in self._ways.values():
            way.pump()

    def abort(self) -> None:
        if self._dialling is not None and self._dialling is not asyncio.current_task():
            self._dialling.cancel()
        for way in self._ways.values():
            way.source.reset()
        self.proxy.forget(self)


class _Way:
    """One direction of a connection."""

    def __init__(self, pair: _Pair, name: str, source: _End) -> None:
        self.source = source
        self.sink: _End | None = None
        self.stuffed = False
        self._pair = pair
        self._name = name
        self._queue: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def fed(self, content: bytes) -> None:
        """`content` came from the source; b"": its end."""
        due = asyncio.get_running_loop().time() + self._pair.state.delay
        self._queue.append((max(due, self._queue[-1][0]) if self._queue else due, content))
        self._size += len(content)
        self.pump()

    def pump(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.sink is not None and self.sink.transport.is_closing():
            self._queue.clear()  # nobody is there any more
            self._size = 0
        while self._queue and self.sink is not None and not self.stuffed:
            if self._name in self._pair.state.held:
                break
            due, content = self._queue[0]
            if due > now and self._pair.state.delay:
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = asyncio.get_running_loop().call_at(due, self.pump)
                break
            self._queue.popleft()
            self._size -= len(content)
            if content:
                self.sink.transport.write(content)
            else:
                self.sink.transport.close()
                self._pair.proxy.forget(self._pair)
        transport = self.source.transport
        if not transport.is_closing():
            (transport.pause_reading if self._size > LIMIT else transport.resume_reading)()


class _End(asyncio.Protocol):
    """One socket of a connection."""

    transport: asyncio.Transport
    way: _Way
    fills: _Way | None = None
    """The way that writes here."""

    def __init__(self, proxy: Proxy, pair: _Pair | None = None) -> None:
        self._proxy = proxy
        self._pair = pair

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._pair is None:
            self._pair = self._proxy.accepted(self)
            self._pair.opened(self)
        else:
            self._pair.dialled(self)

    def reset(self) -> None:
        """Close it so that the other side hears of a reset, not of an end."""
        with suppress(OSError):
            found = self.transport.get_extra_info("socket")
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.way.fed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.way.fed(b"")

    def pause_writing(self) -> None:
        if self.fills is not None:
            self.fills.stuffed = True

    def resume_writing(self) -> None:
        if self.fills is not None:
            self.fills.stuffed = False
            self.fills.pump()


def owner_of(port: int, towards: int, candidates: dict[int, str]) -> str:
    """Name of the process that has a connection from this local port to that one; "": nobody known."""
    inode = ""
    with suppress(OSError):
        inode = inode_of(Path("/proc/net/tcp").read_text(), port, towards)
    if not inode:
        return ""
    wanted = re.compile(rf"socket:\[{inode}\]")
    for pid, name in candidates.items():
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if wanted.fullmatch(os.readlink(descriptor.path)):
                        return name
    return ""


def inode_of(table: str, port: int, towards: int) -> str:
    """Of the socket in a table of the form of /proc/net/tcp; "": there is none.

    A local port alone does not name it: an ended connection of the same port may be listed (inode 0), and so
    may one to another place.
    """
    for line in table.splitlines()[1:]:
        fields = line.split()
        ends = (fields[1].rpartition(":")[2], fields[2].rpartition(":")[2])
        if ends == (f"{port:04X}", f"{towards:04X}") and fields[9] != "0":
            return fields[9]
    return ""
