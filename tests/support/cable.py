"""A cable between a client and a server, each on its socket, that can be torn."""

from __future__ import annotations

import asyncio
from pathlib import Path


class Cable:
    """Between a client and a server, each on its socket; it can be torn."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._ends: list[asyncio.StreamWriter] = []

    async def plug(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, into = await asyncio.open_unix_connection(self._server)
        self._ends += [writer, into]
        await asyncio.gather(self._carry(reader, into), self._carry(behind, writer), return_exceptions=True)

    @staticmethod
    async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()

    def tear(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()
