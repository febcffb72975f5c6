"""The gRPC sockets of supervised workers: one for each edition, which is its identity (DESIGN section 7)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from zconnector.connector.ports import Server
from zconnector.versions.editions import Edition

_GRACE = 0.1
"""Seconds that calls have to end when a socket goes."""


class Sockets:
    """The servers that are open. Invariant: at most one for an edition."""

    def __init__(self, directory: Path, make_server: Callable[[str], Server]) -> None:
        """`make_server`: of the worker of that name."""
        self._directory = directory
        self._make_server = make_server
        self._servers: dict[Edition, Server] = {}
        self._changing = asyncio.Lock()

    async def open(self, edition: Edition, name: str) -> None:
        """Have a socket for an edition, once: two orders to start it may meet here. Raises ConfigError."""
        async with self._changing:
            if edition in self._servers:
                return
            server = self._make_server(name)
            await server.start(f"unix:{self._directory / f'{edition}.sock'}")
            self._servers[edition] = server

    def path(self, edition: Edition) -> str:
        """Of an open one."""
        return self._servers[edition].address.removeprefix("unix:")

    async def close(self, edition: Edition) -> None:
        """End it, if it is open; a new start waits for that."""
        async with self._changing:
            server = self._servers.pop(edition, None)
            if server is not None:
                await server.stop(_GRACE)

    def stops(self) -> list[Awaitable[None]]:
        """What ends all of them, to be awaited."""
        return [server.stop(_GRACE) for server in self._servers.values()]
