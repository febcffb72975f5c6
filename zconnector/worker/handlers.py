"""Handlers: the functions that a worker file decorates, and what they are given."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson

from zconnector.errors import ConfigError
from zconnector.messages.kinds import Outcome
from zconnector.worker.client import Client
from zconnector.worker.errors import Fail
from zconnector.worker.payload import PayloadError, encode

Handler = Callable[["Context", str], Any]
Result = TypeVar("Result")

MAX_FAILURE = 10_000
"""Characters of an exception's text that the sender gets."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler knows beside the payload: the message, and a client of the same connector."""

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
    payload: str
    client: Client = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def json(self) -> Any:
        """The payload, parsed. Raises orjson.JSONDecodeError."""
        return orjson.loads(self.payload)

    async def progress(self, event: str, payload: object = "") -> None:
        """Tell the sender of the command how far it is, under an event name of your own."""
        if event in (Outcome.SUCCESS, Outcome.FAIL):
            raise ValueError(f"{event} ends the command: return, or raise, instead")
        await self.client.send_event(self.name, event, payload, reference=self.uuid)

    def wait(self, awaitable: Coroutine[Any, Any, Result]) -> Result:
        """For plain handlers: run something asynchronous and wait for it, as in
        `ctx.wait(ctx.client.send_event("git", "PUSHED"))`."""
        return asyncio.run_coroutine_threadsafe(awaitable, self.loop).result()


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """What takes the commands of one name."""

    name: str
    function: Handler
    concurrency: int
    """Commands of this name that run at once."""


@dataclass(frozen=True, slots=True)
class EventHandler:
    """What takes the events of one topic, of one name or (None) of any."""

    topic: str
    event: str | None
    function: Handler


@dataclass(slots=True)
class Registry:
    """The handlers of one worker. Invariant: one for each command name, and for each (topic, event)."""

    commands: dict[str, CommandHandler] = field(default_factory=dict)
    events: dict[tuple[str, str | None], EventHandler] = field(default_factory=dict)

    def add_command(self, handler: CommandHandler) -> None:
        """Raises:
        ConfigError: the name is empty or taken, the concurrency below 1, or the function no handler.
        """
        if not handler.name:
            raise ConfigError("a command needs a name")
        if handler.concurrency < 1:
            raise ConfigError(f"concurrency of {handler.name} must be at least 1 (got {handler.concurrency})")
        if handler.name in self.commands:
            raise ConfigError(f"command {handler.name} has two handlers")
        _check_callable(handler.function, f"command {handler.name}")
        self.commands[handler.name] = handler

    def add_event(self, handler: EventHandler) -> None:
        """Raises:
        ConfigError: that topic and event have a handler, or the function is none.
        """
        key = (handler.topic, handler.event)
        if key in self.events:
            raise ConfigError(f"event {handler.event} of topic {handler.topic} has two handlers")
        _check_callable(handler.function, f"event of topic {handler.topic}")
        self.events[key] = handler


def _check_callable(function: Handler, what: str) -> None:
    """Every message would fail otherwise, and only then."""
    try:
        inspect.signature(function).bind(None, "")
    except TypeError:
        raise ConfigError(f"{what}: its handler must take (ctx, payload)") from None
    except ValueError:
        return  # a built-in without a signature


async def run_handler(function: Handler, context: Context, threads: Executor) -> tuple[str, str, str]:
    """Run a handler to its end: (SUCCES or FAIL, payload, what to log of a failure, with its traceback).

    Whatever a handler raises is the answer FAIL with its text; that is the contract of a handler.
    """
    try:
        if inspect.iscoroutinefunction(function):
            result = await function(context, context.payload)
        else:
            result = await context.loop.run_in_executor(threads, function, context, context.payload)
            if inspect.isawaitable(result):
                result = await result
        return Outcome.SUCCESS, encode(result), ""
    except Fail as fail:
        return Outcome.FAIL, _failure(fail), "handler answered FAIL"
    except Exception as error:  # noqa: BLE001  # the handler's failure is the sender's answer
        text = _printable(f"{type(error).__name__}: {error}")
        return Outcome.FAIL, text, _printable("".join(traceback.format_exception(error)))


def _failure(fail: Fail) -> str:
    try:
        return encode(fail.payload)
    except PayloadError as error:
        return _printable(f"FAIL with a payload that cannot be sent: {error}")


def _printable(text: str) -> str:
    """A text that can be sent, whatever an exception holds."""
    return text[:MAX_FAILURE].encode(errors="replace").decode()
