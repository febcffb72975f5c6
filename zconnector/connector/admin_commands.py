"""Admin commands: waited for as a worker does, each answered until the answer is taken. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
import structlog

from zconnector.configuration.pivot import Version
from zconnector.connector.door import Door
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.queue.lines import ADMIN_WORKER
from zconnector.versions.asks import Verb

VERBS = {
    "ADMIN_GET_WORKER": Verb.GET,
    "ADMIN_START_WORKER": Verb.START,
    "ADMIN_STOP_WORKER": Verb.STOP,
    "ADMIN_GET_LAST_VERSION_WORKER": Verb.LATEST,
    "ADMIN_UPDATE": Verb.UPDATE,
}
PAUSE = 1.0
"""Seconds before what was refused is tried again."""
_MAX_AT_ONCE = 16
"""Admin commands of one name that are being answered."""
_log = structlog.get_logger("zconnector.admin")

Told = tuple[Mapping[str, Any], str, Reason]
"""Result, reason ("": it succeeded), and what kind of reason."""
Ask = Callable[[Verb, Version | None, str], Awaitable[Told]]
"""Has the core of worker versions do something: verb, version, uuid of the command that asks ("": none)."""


class AdminCommands:
    """Takes admin commands from the queue and gives their replies back."""

    def __init__(self, door: Door, ask: Ask) -> None:
        self._door = door
        self._ask = ask

    async def serve(self, name: str, group: asyncio.TaskGroup) -> None:
        """Answer one command name; a refused step (a full disk) is begun again after a pause."""
        room = asyncio.Semaphore(_MAX_AT_ONCE)
        while True:
            try:
                await self._answer_each(name, room, group)
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin worker held up", command=name, reason=str(refusal.reason))
                await asyncio.sleep(PAUSE)

    async def _answer_each(self, name: str, room: asyncio.Semaphore, group: asyncio.TaskGroup) -> None:
        made, _ = await self._door.call("create_iterator", {"kind": "command"})
        wait = {"iterator": made["iterator"], "command": name, "major": 0, "worker": ADMIN_WORKER}
        while True:
            await room.acquire()
            try:
                command, payload = await self._door.call("wait_command", wait)
            except BaseException:
                room.release()
                raise
            task = group.create_task(self._answer_one(name, str(command["uuid"]), payload))
            task.add_done_callback(lambda _: room.release())

    async def _answer_one(self, name: str, uuid: str, payload: bytes) -> None:
        try:
            result, reason, _ = await self._ask(VERBS[name], read_version(payload), uuid)
        except ConfigError as error:
            result, reason = {}, str(error)
        reply = {
            "topic": name,
            "event": Outcome.FAIL if reason else Outcome.SUCCESS,
            "reference": uuid,
            "worker": ADMIN_WORKER,
        }
        content = {**result, "reason": f"{name}: {reason}"} if reason else result
        await self._reply(reply, orjson.dumps(content))

    async def _reply(self, reply: Mapping[str, Any], payload: bytes) -> None:
        """Give an answer until it is taken: nobody else would before the lease reaches its limit."""
        while True:
            try:
                await self._door.call("send_event", reply, payload)
                return
            except Refusal as refusal:
                if refusal.reason is Reason.SHUTTING_DOWN:
                    return
                _log.warning("admin reply held up", command=reply["topic"], reason=str(refusal.reason))
                await asyncio.sleep(PAUSE)


def read_version(payload: bytes) -> Version | None:
    """The version that an admin command names: `{"Major": 1, "Minor": 0}`; None for an empty payload.

    Raises ConfigError.
    """
    if not payload.strip():
        return None
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise ConfigError(f"the payload is no JSON: {payload[:80]!r}") from None
    if document in ({}, None):
        return None
    if not isinstance(document, dict) or not all(
        type(document.get(name)) is int and 0 <= document[name] <= 127 for name in ("Major", "Minor")
    ):
        raise ConfigError(f'the payload must be {{"Major": 0..127, "Minor": 0..127}} (got {payload[:80]!r})')
    return Version(document["Major"], document["Minor"])
