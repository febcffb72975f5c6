"""The admin worker: without a worker configured, it answers every admin command FAIL, and says why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from zconnector.configuration.pivot import Version
from zconnector.connector.admin import AdminWorker
from zconnector.connector.admin_commands import read_version
from zconnector.connector.incoming import ADMIN_COMMANDS
from zconnector.connector.ports import Place
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.queue.lines import ADMIN_WORKER


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
        if op == "admin_watch":
            if args.get("first"):
                return {}, orjson.dumps([["configuration", 0, {}]])
            raise Refusal(Reason.SHUTTING_DOWN, "ending")
        if op == "admin_recall":
            return {}, b"[null,null]"
        if op in ("admin_steer", "admin_keep"):
            return {}, b""
        assert op == "wait_command"
        if any(earlier["command"] == args["command"] for earlier in self.waited):
            raise Refusal(Reason.SHUTTING_DOWN, "ending")
        self.waited.append(dict(args))
        return {"uuid": f"c-{args['command']}", "command": args["command"]}, b"{}"


def no_server(worker: str) -> Any:
    raise AssertionError("nothing is to be served")


async def served(door: Door, folder: Path) -> None:
    """An admin worker's life at that door."""
    admin = AdminWorker(door, Place("ci", "Ci", folder, True, {}), no_server)
    async with asyncio.timeout(10):
        await admin.run()
        await admin.close()


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


async def test_a_reply_that_was_refused_is_given_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the command stays leased to nobody who works on it, to the limit of the lease."""
    monkeypatch.setattr("zconnector.connector.admin_commands.PAUSE", 0.001)
    door = FullDisk()
    await served(door, tmp_path)
    assert len(door.refused) == len(ADMIN_COMMANDS)
    assert sorted(reply["topic"] for reply, _ in door.replies) == sorted(ADMIN_COMMANDS)


async def test_every_admin_command_is_answered_and_the_end_ends_it(tmp_path: Path) -> None:
    door = Door()
    await served(door, tmp_path)
    assert sorted(wait["command"] for wait in door.waited) == sorted(ADMIN_COMMANDS)
    assert {(wait["worker"], wait["major"]) for wait in door.waited} == {(ADMIN_WORKER, 0)}
    assert len(door.replies) == len(ADMIN_COMMANDS)
    for reply, payload in door.replies:
        assert reply["event"] == "FAIL"
        assert reply["reference"] == f"c-{reply['topic']}"
        assert payload["reason"].startswith(f"{reply['topic']}: ")
    reasons = {reply["topic"]: payload["reason"] for reply, payload in door.replies}
    assert "needs a version" in reasons["ADMIN_START_WORKER"]
    assert "no repository" in reasons["ADMIN_GET_LAST_VERSION_WORKER"]


@pytest.mark.parametrize(
    ("payload", "version"),
    [(b"", None), (b"{}", None), (b'{"Major": 1, "Minor": 2}', Version(1, 2))],
)
def test_the_version_that_a_command_names(payload: bytes, version: Version | None) -> None:
    assert read_version(payload) == version


@pytest.mark.parametrize(
    "payload",
    [b"no", b"[]", b'"1.0"', b'{"Major": 1}', b'{"Major": true, "Minor": 0}', b'{"Major": 1, "Minor": 128}'],
)
def test_a_payload_that_names_no_version_is_refused_with_the_rule(payload: bytes) -> None:
    with pytest.raises(ConfigError, match="payload"):
        read_version(payload)
