"""Toy cores for the tests of the shell: they record what they hear and do what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from zconnector.actions import Actions, Caller, ControlReply, Link, Open, Stop
from zconnector.clock import Instant
from zconnector.messages import Kind, Message
from zconnector.messages.codec import decode
from zconnector.shoset.keys import KeyPair

OnControl = Callable[[str, Mapping[str, Any], ControlReply], Actions]
Heard = tuple[Any, ...]
WAIT = 10.0
"""Seconds after which a test gives up waiting for an event."""


class Toy:
    """A core that puts all it hears into a queue; what it answers comes from the test's functions."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Heard] = asyncio.Queue()
        self.at_start: Actions = []
        self.quiet = False
        self.due_at: float | None = None
        self.on_tick: Callable[[Instant], Actions] = lambda now: []
        self.on_frames: Callable[[Link, str, list[Message]], Actions] = lambda link, key, messages: []
        self.on_opened: Callable[[int], Actions] = lambda link: []
        self.on_control: OnControl = lambda op, args, reply: []
        self.on_drain: Callable[[], Actions] = lambda: [Stop()]
        self.on_call: Callable[[Caller, str], Actions] = lambda caller, op: []

    async def hear(self, what: str) -> Heard:
        """The next thing of this kind; others before it are passed over."""
        async with asyncio.timeout(WAIT):
            while True:
                heard = await self.heard.get()
                if heard[0] == what:
                    return heard

    def start(self, now: Instant) -> Actions:
        return self.at_start

    def tick(self, now: Instant) -> Actions:
        if self.due_at is not None and now.mono >= self.due_at:
            self.due_at = None
            self.heard.put_nowait(("due", now.mono))
        return self.on_tick(now)

    def deadline(self) -> float | None:
        return self.due_at

    def soon(self) -> float:
        return inf if self.due_at is None else self.due_at

    def due(self, now: Instant) -> bool:
        return self.due_at is not None and self.due_at <= now.mono

    def doubt(self) -> None:
        pass

    def link_opened(self, link: int, now: Instant) -> Actions:
        self.heard.put_nowait(("opened", link))
        return self.on_opened(link)

    def link_lost(self, link: int, why: str, now: Instant) -> Actions:
        self.heard.put_nowait(("lost", link, why))
        return []

    def frames(self, link: Link, key: str, frames: Sequence[bytes], now: Instant) -> Actions:
        messages = decode(frames)
        self.heard.put_nowait(("frames", link, key, messages))
        return self.on_frames(link, key, messages)

    def call(self, caller: Caller, op: str, args: Mapping[str, Any], payload: bytes, now: Instant) -> Actions:
        return self.on_call(caller, op)

    def cancel(self, caller: Caller, now: Instant) -> Actions:
        return []

    def drain(self, now: Instant) -> Actions:
        return self.on_drain()

    def status(self, now: Instant) -> dict[str, Any]:
        return {"toy": True}

    def control(self, op: str, args: Mapping[str, Any], now: Instant, reply: ControlReply) -> Actions:
        return self.on_control(op, args, reply)


def event(name: str, payload: bytes = b"") -> Message:
    return Message(Kind.EVENT, {"uuid": name, "topic": "t", "event": name}, payload)


def opening(endpoint: str, server: KeyPair, link: int = 1) -> Open:
    return Open(link, endpoint, server.public)
