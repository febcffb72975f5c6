"""Handlers: the functions that a worker file decorates, and how they are run."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zconnector.errors import ConfigError
from zconnector.worker.context import Context
from zconnector.worker.errors import Fail, Retry
from zconnector.worker.payload import PayloadError, encode_bytes
from zconnector.worker.typed import Decode, decoder, text

__all__ = ["CommandHandler", "Context", "EventHandler", "Handler", "Registry", "Result", "run_handler"]

Handler = Callable[..., Any]

MAX_FAILURE = 10_000
"""Characters of an exception's text that the sender gets."""
MAX_CONCURRENCY = 10_000


@dataclass(frozen=True, slots=True)
class CommandHandler:
    """What takes the commands of one name."""

    name: str
    function: Handler
    concurrency: int
    """Commands of this name that run at once."""
    retry_on: tuple[type[Exception], ...] = ()
    """Exceptions that ask for another attempt, as Retry does."""
    decode: Decode = text
    is_coroutine: bool = field(init=False)
    """The function is a coroutine function: it runs on the loop."""

    def __post_init__(self) -> None:
        _look_at(self)


@dataclass(frozen=True, slots=True)
class EventHandler:
    """What takes the events of one topic, of one name or (None) of any."""

    topic: str
    event: str | None
    function: Handler
    subscription: str = ""
    """Name of the durable subscription that it shares; "": every worker hears every event."""
    decode: Decode = text
    is_coroutine: bool = field(init=False)
    """As a CommandHandler's."""

    def __post_init__(self) -> None:
        _look_at(self)


@dataclass(slots=True)
class Registry:
    """The handlers of one worker. Invariant: one for each command name, and (topic, event, subscription)."""

    commands: dict[str, CommandHandler] = field(default_factory=dict)
    events: dict[tuple[str, str | None, str], EventHandler] = field(default_factory=dict)

    def add_command(
        self,
        name: str,
        function: Handler,
        concurrency: int = 1,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        """Raises:
        ConfigError: the name is empty or taken, the concurrency below 1, or the function no handler.
        """
        if not name:
            raise ConfigError("a command needs a name")
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            rule = f"concurrency of {name} must be at least 1 and at most {MAX_CONCURRENCY}"
            raise ConfigError(f"{rule} (got {concurrency})")
        if name in self.commands:
            raise ConfigError(f"command {name} has two handlers")
        _check_callable(function, f"command {name}")
        decode = decoder(function, f"command {name}")
        self.commands[name] = CommandHandler(name, function, concurrency, retry_on, decode)

    def add_event(self, topic: str, event: str | None, function: Handler, subscription: str = "") -> None:
        """Raises:
        ConfigError: that topic and event, or that subscription, have a handler, or the function is none.
        """
        key = (topic, event, subscription)
        if key in self.events:
            raise ConfigError(f"event {event} of topic {topic} has two handlers")
        if subscription and any(other.subscription == subscription for other in self.events.values()):
            raise ConfigError(f"subscription {subscription} has two handlers")
        _check_callable(function, f"event of topic {topic}")
        decode = decoder(function, f"event of topic {topic}")
        self.events[key] = EventHandler(topic, event, function, subscription, decode)


def _look_at(handler: CommandHandler | EventHandler) -> None:
    """What is the same for every message is found out once."""
    object.__setattr__(handler, "is_coroutine", inspect.iscoroutinefunction(handler.function))


def _check_callable(function: Handler, what: str) -> None:
    """Every message would fail otherwise, and only then."""
    try:
        inspect.signature(function).bind(None, "")
    except TypeError:
        raise ConfigError(f"{what}: its handler must take (ctx, payload)") from None
    except ValueError:
        return  # a built-in without a signature


class Ending(StrEnum):
    """How a handler ended."""

    DONE = "DONE"
    FAILED = "FAILED"
    AGAIN = "AGAIN"


@dataclass(slots=True)
class Result:
    """What a handler's run came to. Nobody changes it."""

    ending: Ending
    payload: bytes = b""
    error: str = ""
    """For people: what the sender, or an operator, is told of a failure."""
    delay: float | None = None
    """AGAIN: seconds until the next attempt; None: the command's backoff."""
    log: str = ""
    """What to log of a failure, with its traceback."""


async def run_handler(handler: CommandHandler | EventHandler, context: Context, threads: Executor) -> Result:
    """Run a handler to its end.

    Whatever it raises but Retry (and what the command's `retry_on` names) is the answer FAIL with its text;
    that is the contract of a handler.
    """
    try:
        payload = handler.decode(context.data)
        if handler.is_coroutine:
            result = await handler.function(context, payload)
        else:
            result = await context.loop.run_in_executor(threads, handler.function, context, payload)
            if inspect.isawaitable(result):
                result = await result
        return Result(Ending.DONE, encode_bytes(result))
    except Fail as fail:
        return _failed(fail)
    except Retry as retry:
        return Result(
            Ending.AGAIN, error=_printable(retry.reason), delay=retry.delay, log="handler asked for a retry"
        )
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001  # the handler's failure is the sender's answer
        said = _printable(f"{type(error).__name__}: {error}")
        log = _printable("".join(traceback.format_exception(error)))
        if isinstance(handler, CommandHandler) and isinstance(error, handler.retry_on):
            return Result(Ending.AGAIN, error=said, log=log)
        return Result(Ending.FAILED, said.encode(), said, log=log)


def _failed(fail: Fail) -> Result:
    try:
        payload = encode_bytes(fail.payload)
    except PayloadError as error:
        payload = _printable(f"FAIL with a payload that cannot be sent: {error}").encode()
    return Result(Ending.FAILED, payload, _printable(str(fail.payload)), log="handler answered FAIL")


def _printable(said: str) -> str:
    """A text that can be sent, whatever an exception holds."""
    return said[:MAX_FAILURE].encode(errors="replace").decode()
