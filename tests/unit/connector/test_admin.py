"""The admin worker: without a worker version configured, it answers every admin command FAIL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from zconnector.connector.admin import ADMIN_WORKER, AdminWorker
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.errors import Reason, Refusal


class Door:
    """Hands each waiter one command, then says that the connector ends."""

    def __init__(self) -> None:
        self.waited: list[dict[str, Any]] = []
        self.replies: list[tuple[dict[str, Any], Any]] = []

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        if op == "create_iterator":
            assert args == {"kind": "command"}
            return {"iterator": f"i{len(self.waited)}"}, b""
        if op == "send_event":
            self.replies.append((dict(args), orjson.loads(payload)))
            return {"uuid": "r"}, b""
        assert op == "wait_command"
        if any(earlier["command"] == args["command"] for earlier in self.waited):
            raise Refusal(Reason.SHUTTING_DOWN, "ending")
        self.waited.append(dict(args))
        return {"uuid": f"c-{args['command']}", "command": args["command"]}, b"{}"


class FullDisk(Door):
    """Refuses each first reply."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []

    async def call(
        self, op: str, args: Mapping[str, Any], payload: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        if op == "send_event" and args["reference"] not in self.refused:
            self.refused.append(args["reference"])
            raise Refusal(Reason.STORAGE_FAILED, "disk full")
        return await super().call(op, args, payload)


async def test_a_reply_that_was_refused_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the command stays leased to nobody who works on it, to the limit of the lease."""
    monkeypatch.setattr("zconnector.connector.admin._PAUSE", 0.001)
    door = FullDisk()
    async with asyncio.timeout(10):
        await AdminWorker(door).run()
    assert len(door.refused) == len(ADMIN_COMMANDS)
    assert sorted(reply["topic"] for reply, _ in door.replies) == sorted(ADMIN_COMMANDS)


async def test_every_admin_command_is_answered_and_the_end_ends_it() -> None:
    door = Door()
    async with asyncio.timeout(10):
        await AdminWorker(door).run()
    assert sorted(wait["command"] for wait in door.waited) == sorted(ADMIN_COMMANDS)
    assert {(wait["worker"], wait["major"]) for wait in door.waited} == {(ADMIN_WORKER, 0)}
    assert len(door.replies) == len(ADMIN_COMMANDS)
    for reply, payload in door.replies:
        assert reply["event"] == "FAIL"
        assert reply["reference"] == f"c-{reply['topic']}"
        assert "no worker version is configured" in payload["reason"]
