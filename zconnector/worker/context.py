"""What a handler knows beside the payload, whichever API its message came by."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from zconnector.messages.kinds import Outcome
from zconnector.worker.client import Client
from zconnector.worker.payload import encode_bytes

Value = TypeVar("Value")

Progress = Callable[[str, bytes], Awaitable[None]]


@dataclass(slots=True)
class Hold:
    """The lease of a running command, as its worker sees it."""

    attempt: int = 1
    lost: bool = False
    """Nobody takes the handler's result any more."""
    reason: str = ""
    """Why the lease is over."""
    progress: Progress | None = None
    """Tells the connector; None: the API that the message came by has no such thing."""
    _gone: asyncio.Event | None = None
    """For those who wait until it is lost: few commands have one."""

    def lose(self, reason: str) -> None:
        """The lease is over."""
        self.reason = self.reason or reason
        self.lost = True
        if self._gone is not None:
            self._gone.set()

    async def until_lost(self) -> None:
        if self.lost:
            return
        if self._gone is None:
            self._gone = asyncio.Event()
        await self._gone.wait()


@dataclass(slots=True)
class Context:
    """The message, its lease, and a client of the same connector.

    To be read only. (Frozen, it would take three times as long to make, and there is one for every message.)
    """

    uuid: str
    name: str
    """Name of the command, or of the event."""
    topic: str
    """Of an event; "" for a command."""
    source: str
    """Connector that sent the command."""
    major: int
    timeout: float
    """Seconds that the sender gave."""
    timestamp: int
    """Seconds since 1970 when it was sent; 0 when unknown."""
    reference: str
    data: bytes
    """The payload as it came."""
    client: Client = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(repr=False)
    hold: Hold = field(default_factory=Hold, repr=False)

    @property
    def payload(self) -> str:
        """The payload as text; what is not UTF-8 is replaced."""
        return self.data.decode(errors="replace")

    @property
    def attempt(self) -> int:
        """1 for the first try of this command; the Gandalf API tells nothing of earlier workers' tries."""
        return self.hold.attempt

    @property
    def cancelled(self) -> bool:
        """Nobody takes the result any more: the command was cancelled or has expired, or its lease was lost.
        Stop, and return anything. (The Gandalf API never says so.)"""
        return self.hold.lost

    @property
    def cancel_reason(self) -> str:
        """Why it is cancelled: EXPIRED, CANCELLED, PURGED, FENCED; "" while it is not."""
        return self.hold.reason

    async def until_cancelled(self) -> None:
        """Wait until `cancelled` is true; for handlers that run this beside their work."""
        await self.hold.until_lost()

    def json(self) -> Any:
        """The payload, parsed. Raises orjson.JSONDecodeError."""
        return orjson.loads(self.data)

    async def progress(self, event: str = "", payload: object = "") -> None:
        """Say that the command is still worked at: its lease begins anew, and with `event`, a name of your
        own, its sender is told. Without one it does nothing on the Gandalf API, whose leases last as
        long as their worker lives.

        Raises:
            ValueError: SUCCES or FAIL end the command: return, or raise, instead.
        """
        if event in (Outcome.SUCCESS, Outcome.FAIL):
            raise ValueError(f"{event} ends the command: return, or raise, instead")
        if self.hold.progress is not None:
            await self.hold.progress(event, encode_bytes(payload))
        elif event:
            await self.client.send_event(self.name, event, payload, reference=self.uuid)

    def wait(self, awaitable: Coroutine[Any, Any, Value]) -> Value:
        """For plain handlers: run something asynchronous and wait for it, as in
        `ctx.wait(ctx.client.send_event("git", "PUSHED"))`."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result()
