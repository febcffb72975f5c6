"""What operators ask the admin worker, and its answers. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from zconnector.clock import Clock
from zconnector.connector.admin_commands import Ask
from zconnector.connector.door import Door
from zconnector.connector.hands import Hands
from zconnector.errors import ConfigError, Reason, Refusal
from zconnector.supervision.states import LIVE
from zconnector.versions.asks import Verb
from zconnector.versions.editions import Edition
from zconnector.versions.manager import Manager
from zconnector.versions.wanted import parse_version

_CHANGES_WAIT = 20.0
"""Seconds that a question for changes is held."""


class Changes:
    """What a question may wait for: another state of the versions, or another line that they wrote."""

    def __init__(self) -> None:
        self.revision = 0
        """Of the state."""
        self._change = asyncio.Event()

    def changed(self) -> None:
        """The state is another one."""
        self.revision += 1
        self.wake()

    def wake(self) -> None:
        """Let those who wait look again."""
        change, self._change = self._change, asyncio.Event()
        change.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until it is, or for so long that who asks should ask anew."""
        try:
            async with asyncio.timeout(_CHANGES_WAIT):
                while not reached():
                    await self._change.wait()
        except TimeoutError:
            return


class Questions:
    """Answers operators, whose questions come through the router."""

    def __init__(
        self, door: Door, manager: Manager, hands: Hands, changes: Changes, clock: Clock, ask: Ask
    ) -> None:
        self._door = door
        self._manager = manager
        self._hands = hands
        self._changes = changes
        self._clock = clock
        self._ask = ask

    async def answer(self, ask: str, name: str, args: Mapping[str, Any]) -> None:
        """Answer one question of an operator."""
        answer: dict[str, Any] = {"ask": ask}
        content = b""
        try:
            content = orjson.dumps(await self._perform(name, args))
        except ConfigError as error:
            answer |= {"code": str(Reason.BAD_ARGUMENT), "detail": str(error)}
        except Refusal as refusal:
            answer |= {"code": str(refusal.reason), "detail": refusal.detail}
        await self._door.call("admin_answer", answer, content)

    async def _perform(self, name: str, args: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == "ls":
            return self.view()
        if name == "logs":
            return await self._logs(args)
        if name == "changes":
            await self._changes.until(lambda: self._changes.revision > _number(args, "after"))
            return self.view()
        text = _version_text(args)
        result, reason, code = await self._ask(Verb(name), parse_version(text) if text else None, "")
        if reason:
            raise Refusal(code, reason)
        return result

    async def _logs(self, args: Mapping[str, Any]) -> Mapping[str, Any]:
        after, limit = _number(args, "after"), _number(args, "limit") or 100
        text = _version_text(args)
        worker = self._hands.name(Edition(*parse_version(text))) if text else ""
        if args.get("follow"):
            await self._changes.until(lambda: bool(self._hands.logs.read(worker, after, 1)))
        lines = self._hands.logs.read(worker, after, limit)
        return {"lines": lines, "last": lines[-1]["n"] if lines else max(after, self._hands.logs.last)}

    def view(self) -> dict[str, Any]:
        """What operators see."""
        view = self._manager.view()
        for row in view["versions"]:
            name = self._hands.name(Edition(*parse_version(row["version"]), row["edition"]))
            row["worker"] = name
            row.update(self._process(name))
        manifest = self._manager.expiry.view(self._clock.now())
        return {**view, "manifest": manifest, "revision": self._changes.revision}

    def _process(self, name: str) -> dict[str, Any]:
        if self._hands.edition(name) is None:
            return {"pid": None, "runs": 0, "crashes": 0, "since_ms": None}
        view = self._hands.supervision.view(name)
        since = round(1000 * (self._clock.now().mono - view.since))
        return {
            "pid": view.pid if view.state in LIVE else None,
            "runs": view.run,
            "crashes": view.crashes,
            "since_ms": since,
        }


def _version_text(args: Mapping[str, Any]) -> str:
    text = args.get("version") or ""
    if not isinstance(text, str):
        raise ConfigError(f"version must be a text such as 1.0 (got {str(text)[:40]})")
    return text


def _number(args: Mapping[str, Any], name: str) -> int:
    value = args.get(name, 0)
    if type(value) is not int or value < 0:
        raise ConfigError(f"{name} must be a whole number from 0 (got {str(value)[:40]})")
    return value
