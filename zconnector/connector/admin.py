"""The admin worker: a client of the local queue's door inside the connector.

It starts with no worker version configured: until it manages versions, every ADMIN_ command is
answered FAIL with that reason, so that nobody waits for what will not come.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import orjson
import structlog

from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.errors import Reason, Refusal
from zconnector.messages.kinds import Outcome

ADMIN_WORKER = "ADMIN"
_PAUSE = 1.0
_log = structlog.get_logger("zconnector.admin")


class Door(Protocol):
    """What the admin worker needs of the door's client."""

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]: ...


class AdminWorker:
    """Waits for each admin command and answers it."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in ADMIN_COMMANDS:
                group.create_task(self._serve(name))

    async def _serve(self, name: str) -> None:
        """Answer one command name; a refused step (a full disk) is begun again after a pause."""
        while True:
            try:
                await self._answer_each(name)
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin worker held up", command=name, reason=str(refusal.reason))
                await asyncio.sleep(_PAUSE)

    async def _answer_each(self, name: str) -> None:
        made, _ = await self._door.call("create_iterator", {"kind": "command"})
        wait = {
            "iterator": made["iterator"],
            "command": name,
            "major": 0,
            "worker": ADMIN_WORKER,
        }
        while True:
            command, _ = await self._door.call("wait_command", wait)
            reason = f"{name}: no worker version is configured on this connector"
            reply = {
                "topic": name,
                "event": Outcome.FAIL,
                "reference": command["uuid"],
                "worker": ADMIN_WORKER,
            }
            await self._reply(reply, orjson.dumps({"reason": reason}))

    async def _reply(self, reply: Mapping[str, Any], payload: bytes) -> None:
        """Give an answer until it is taken: nobody else would before the lease reaches its limit."""
        while True:
            try:
                await self._door.call("send_event", reply, payload)
                return
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    raise
                _log.warning("admin reply held up", command=reply["topic"], reason=str(refusal.reason))
                await asyncio.sleep(_PAUSE)
