"""The worker as a file: decorated handlers, and `run()`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import orjson
import structlog

from zconnector.errors import ConfigError
from zconnector.loglines import Lines
from zconnector.worker.connection import Tls, parse_addresses
from zconnector.worker.handlers import Handler, Registry
from zconnector.worker.runner import Runner, serve

Decorated = TypeVar("Decorated", bound=Handler)

USAGE = "worker file: NAME TIMEOUT_MS SOCKET[,SOCKET], or ZCONNECTOR_GRPC=unix:PATH in the environment"


class Worker:
    """A worker of one version: register handlers by decorating them, then `run()`.

    Args:
        major, minor: version of this worker; -128 to 127.
        concurrency: commands of one name that run at once, where the handler does not say.
        api: "auto" (zconnector.v1 where the connector serves it, else the Gandalf API), "v1" or "gandalf".
        lease: seconds without a word about a command after which it is given to another worker; None: as
            the command or the connector's settings say. Only zconnector.v1 knows it.
    """

    def __init__(
        self,
        major: int,
        minor: int = 0,
        *,
        concurrency: int = 1,
        api: str = "auto",
        lease: float | None = None,
    ) -> None:
        for name, number in (("major", major), ("minor", minor)):
            if not -128 <= number <= 127:
                raise ConfigError(f"{name} must be from -128 to 127 (got {number})")
        self.major = major
        self.minor = minor
        self.concurrency = concurrency
        self.api = api
        self.lease = lease
        self.registry = Registry()

    def command(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> Callable[[Decorated], Decorated]:
        """Handle commands of a name: `handler(ctx, payload)`, async, or plain (run in a thread).

        The payload is what the annotation says (see `zconnector.worker.typed`): text where there is none.
        What it returns is the payload of SUCCES; raising answers FAIL (`Fail` with a payload), but `Retry`,
        and the exceptions in `retry_on`, ask for another attempt.
        """

        def add(function: Decorated) -> Decorated:
            wanted = self.concurrency if concurrency is None else concurrency
            self.registry.add_command(name, function, wanted, retry_on)
            return function

        return add

    def event(
        self, topic: str, event: str | None = None, *, subscription: str = ""
    ) -> Callable[[Decorated], Decorated]:
        """Handle the events of a topic, of one name or of any, one after the other.

        With `subscription`, the name of a durable one, workers that name the same share its events (each
        goes to one of them), none is missed while no worker runs, and one whose handler raises `Retry` comes
        again. The Gandalf API has none: there each worker hears every event, from its registration on.
        """

        def add(function: Decorated) -> Decorated:
            self.registry.add_event(topic, event, function, subscription)
            return function

        return add

    def runner(self, name: str, addresses: Sequence[str], **options: Any) -> Runner:
        """One run of this worker, for programs that have an event loop of their own."""
        options = {"api": self.api, "lease": self.lease, **options}
        return Runner(
            self.registry,
            major=self.major,
            minor=self.minor,
            name=name,
            addresses=list(addresses),
            **options,
        )

    def configuration(self) -> Any:
        """The JSON object that the supervisor writes to stdin; read when first asked for.

        Raises:
            ConfigError: it is no JSON.
        """
        try:
            return orjson.loads(sys.stdin.buffer.read() or b"{}")
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"the configuration on stdin is no JSON: {error}") from None

    def run(self, argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> NoReturn:
        """Serve until SIGTERM, SIGINT or the connector says to leave; then exit.

        A second signal ends the process at once. Exit status 0 after a drain; 78 when the connector refuses
        the worker; 64 for wrong arguments.
        """
        env = os.environ if environ is None else environ
        words = list(sys.argv if argv is None else argv)
        try:
            name, addresses = _where(words, env)
            tls = _tls(env)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(64)
        _configure_log(env.get("ZCONNECTOR_LOG_LEVEL", "warning"))
        sys.exit(asyncio.run(self._run(name, addresses, tls)))

    async def _run(self, name: str, addresses: list[str], tls: Tls | None) -> int:
        runner = self.runner(name, addresses, tls=tls)
        loop = asyncio.get_running_loop()
        signals = 0

        def signalled() -> None:
            nonlocal signals
            signals += 1
            if signals > 1:
                # A plain handler's thread cannot be stopped, and would hold up an orderly exit.
                os._exit(1)
            runner.stop()

        taken = (signal.SIGTERM, signal.SIGINT)
        for number in taken:
            loop.add_signal_handler(number, signalled)
        try:
            return await serve(runner)
        finally:
            # A loop closes the pipe that signals write into before it lets go of them (CPython 3.11): one in
            # between was a traceback on stderr.
            for number in taken:
                loop.remove_signal_handler(number)


def _where(words: Sequence[str], env: Mapping[str, str]) -> tuple[str, list[str]]:
    """Name and addresses, from argv or the environment."""
    if len(words) == 4:
        if not words[2].isdigit():
            raise ConfigError(f"timeout must be milliseconds (got {words[2]!r}); {USAGE}")
        return words[1], parse_addresses(words[3])
    if len(words) > 1:
        raise ConfigError(f"{len(words) - 1} arguments; {USAGE}")
    found = env.get("ZCONNECTOR_GRPC", "")
    if not found:
        raise ConfigError(f"no connector given; {USAGE}")
    return env.get("ZCONNECTOR_WORKER", "") or Path(words[0]).stem or "worker", parse_addresses(found)


def _tls(env: Mapping[str, str]) -> Tls | None:
    token = env.get("ZCONNECTOR_GRPC_TOKEN", "")
    ca = env.get("ZCONNECTOR_GRPC_CA", "")
    return Tls(token, Path(ca) if ca else None) if token else None


def _configure_log(level: str) -> None:
    """One JSON object a line on stderr, unless the worker file has configured structlog itself."""
    if structlog.is_configured():
        return
    number = logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
    lines = Lines(sys.stderr)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: lines,
    )
