"""A door with a tiny queue in memory behind it: what the gRPC service and the SDK are tested against.

It keeps the rules that matter to them (competing commands, iterators, broadcast events, beats) and
lets a test say what happens: refuse an operation, restart the router, order a drain.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.bunches import Bunches
from tests.support.scripted_queue import OPS, ScriptedQueue
from zconnector.errors import Reason, Refusal

Answer = tuple[dict[str, Any], bytes]


class ScriptedDoor(Bunches):
    """A DoorPort. `calls` keeps what was asked, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, dict[str, Any], bytes]] = []
        self.refusals: dict[str, list[Refusal]] = {}
        self.answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
        """By operation: what makes the answer, at once or awaited."""
        self.commands: list[Answer] = []
        self.events: list[Answer] = []
        self.iterators: set[str] = set()
        self.shown: set[tuple[str, str]] = set()
        self.registered: set[tuple[str, int, int]] = set()
        self.missing: list[str] = []
        self.queue = ScriptedQueue()
        self.asking: set[asyncio.Future[Answer]] = set()
        self.draining = False
        self.cancelled = 0
        self.waiting = 0
        self._changed = asyncio.Condition()
        self._numbers = itertools.count(1)

    def refuse(self, op: str, reason: Reason, detail: str = "scripted", times: int = 1) -> None:
        """Answer the next calls of an operation with a refusal."""
        self.refusals.setdefault(op, []).extend(Refusal(reason, detail, "u-1") for _ in range(times))

    def forget(self) -> None:
        """The router restarted: it knows no registration and no iterator."""
        self.registered.clear()
        self.iterators.clear()

    def asked(self, op: str) -> list[dict[str, Any]]:
        """The arguments of every call of an operation so far."""
        return [args for name, args, _ in self.calls if name == op]

    async def command(self, name: str, payload: bytes = b"", **fields: Any) -> None:
        """A command arrives."""
        header = {"command": name, "uuid": f"c-{next(self._numbers)}", "major": 0, **fields}
        self.commands.append((header, payload))
        self.queue.add(header, payload)
        await self.wake()

    async def event(self, topic: str, event: str, payload: bytes = b"", **fields: Any) -> None:
        """An event arrives."""
        uuid = f"e-{next(self._numbers)}"
        self.events.append(({"topic": topic, "event": event, "uuid": uuid, **fields}, payload))
        self.queue.stored.append(self.events[-1])
        await self.wake()

    async def wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until something holds; checked whenever something is asked or happens."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def call(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> Answer:
        self.calls.append((op, dict(args), payload))
        await self.wake()
        if self.refusals.get(op):
            raise self.refusals[op].pop(0)
        if op in self.answers:
            answer = self.answers[op](args)
            return (await answer if inspect.isawaitable(answer) else answer), b""
        if op == "register":
            if not self.missing:
                self.registered.add((args["worker"], args["major"], args["minor"]))
            return {"valid": not self.missing, "missing": self.missing}, b""
        if op == "beat":
            known = (args["worker"], args["major"], args["minor"]) in self.registered
            return {"valid": known and not self.draining}, b""
        if op == "create_iterator":
            iterator = f"{args['kind']}-{next(self._numbers)}"
            self.iterators.add(iterator)
            return {"iterator": iterator}, b""
        if op == "send_command":
            return {"uuid": args["uuid"], "outcome": "ACCEPTED"}, b""
        if op == "send_event":
            self.events.append((dict(args), payload))
            self.queue.stored.append(self.events[-1])
            await self.wake()
            return {"uuid": args["uuid"]}, b""
        if op in OPS:
            return await self._v1(op, args, payload)
        if args["iterator"] not in self.iterators:
            raise Refusal(Reason.NOT_FOUND, f"iterator {args['iterator']} is unknown")
        if op == "wait_event" and "seen" in args:
            self._resume(args)
        take = self._take_command if op == "wait_command" else self._take_event
        return await self._held(lambda: take(args))

    def ask(self, op: str, args: Mapping[str, Any], payload: bytes = b"") -> asyncio.Future[Answer]:
        asked = asyncio.ensure_future(self.call(op, args, payload))
        self.asking.add(asked)
        asked.add_done_callback(self.asking.discard)
        return asked

    async def _v1(self, op: str, args: Mapping[str, Any], payload: bytes) -> Answer:
        try:
            answer = await self._held(lambda: self.queue.answer(op, args, payload))
        except asyncio.CancelledError:
            if op == "tidings":
                self.queue.gone(args["holder"])
            raise
        await self.wake()
        return answer

    async def _held(self, take: Callable[[], Answer | None]) -> Answer:
        found: list[Answer] = []

        def taken() -> bool:
            answer = take()
            if answer is not None:
                found.append(answer)
            return answer is not None

        self.waiting += 1
        try:
            async with self._changed:
                self._changed.notify_all()
                await self._changed.wait_for(taken)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
            # Whoever waits in `until` for a count must see it; no await while being cancelled.
            asyncio.ensure_future(self.wake())  # noqa: RUF006  # ends by itself at once
        return found[0]

    def _take_command(self, args: Mapping[str, Any]) -> Answer | None:
        for index, (header, _) in enumerate(self.commands):
            if header["command"] == args["command"] and args["major"] in (0, header["major"]) + (
                (args["major"],) if header["major"] == 0 else ()
            ):
                return self.commands.pop(index)
        return None

    def _take_event(self, args: Mapping[str, Any]) -> Answer | None:
        for header, payload in self.events:
            key = (args["iterator"], header["uuid"])
            if key not in self.shown and _matches(header, args):
                self.shown.add(key)
                return header, payload
        return None

    def _resume(self, args: Mapping[str, Any]) -> None:
        """What came after the event that the reader has seen is to be shown to it (again)."""
        uuids = [header["uuid"] for header, _ in self.events if _matches(header, args)]
        after = uuids.index(args["seen"]) + 1 if args["seen"] in uuids else 0
        if args["seen"] in ("", *uuids):
            self.shown -= {(args["iterator"], uuid) for uuid in uuids[after:]}


def _matches(header: Mapping[str, Any], args: Mapping[str, Any]) -> bool:
    if header["topic"] != args["topic"] or header["event"] != args.get("event", header["event"]):
        return False
    return not args["reference"] or header.get("reference", "") == args["reference"]
