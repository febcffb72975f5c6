"""The worker file's face: decorators, arguments, environment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from zconnector.errors import ConfigError
from zconnector.worker import Worker
from zconnector.worker.connection import Connection, parse_addresses
from zconnector.worker.errors import CallFailed, NotSent


def handler(ctx: Any, payload: str) -> None:
    """Does nothing."""


def test_one_handler_for_each_name() -> None:
    worker = Worker(major=1)
    worker.command("A")(handler)
    worker.event("git")(handler)
    worker.event("git", "PUSH")(handler)
    with pytest.raises(ConfigError, match="command A has two handlers"):
        worker.command("A")(handler)
    with pytest.raises(ConfigError, match="PUSH of topic git"):
        worker.event("git", "PUSH")(handler)


def test_a_topic_may_be_heard_by_all_and_by_subscriptions_in_one_worker() -> None:
    worker = Worker(major=1)
    for subscription in ("", "audit", "billing"):
        worker.event("git", "PUSH", subscription=subscription)(handler)
    with pytest.raises(ConfigError, match="subscription audit has two handlers"):
        worker.event("git", subscription="audit")(handler)


def test_bad_declarations_are_refused() -> None:
    with pytest.raises(ConfigError, match="major must be from -128 to 127 \\(got 128\\)"):
        Worker(major=128)
    with pytest.raises(ConfigError, match="concurrency of A"):
        Worker(major=1).command("A", concurrency=0)(handler)
    with pytest.raises(ConfigError, match="needs a name"):
        Worker(major=1).command("")(handler)


@pytest.mark.parametrize(
    "argv", [["w.py"], ["w.py", "name"], ["w.py", "name", "soon", "/s"], ["w.py", "n", "1", ","]]
)
def test_wrong_arguments_end_with_usage(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Worker(major=1).run(argv, {})
    assert ended.value.code == 64
    assert capsys.readouterr().err.count("\n") == 1


def test_addresses() -> None:
    assert parse_addresses("/a/b, unix:/c,tcp://h:1") == ["unix:/a/b", "unix:/c", "h:1"]
    assert parse_addresses("state/dev/x.sock,./y.sock") == ["unix:state/dev/x.sock", "unix:./y.sock"]


def test_a_handler_that_cannot_be_called_is_refused_at_once() -> None:
    worker = Worker(major=1)
    with pytest.raises(ConfigError, match=r"command A: its handler must take \(ctx, payload\)"):
        worker.command("A")(lambda ctx: None)
    with pytest.raises(ConfigError, match=r"event of topic git: its handler must take \(ctx, payload\)"):
        worker.event("git")(lambda: None)


async def test_tcp_needs_a_token() -> None:
    with pytest.raises(ConfigError, match="needs TLS"):
        Connection(["localhost:1"])


def test_a_connector_that_is_not_there_has_the_exit_status_of_it() -> None:
    """It was 70, a defect of ours."""
    assert NotSent("u", "NOT_SENT", "no connector answers").exit_code == 69
    assert CallFailed("UNAVAILABLE", "no socket").exit_code == 69
    assert CallFailed("INTERNAL", "?").exit_code == 70
    assert CallFailed("RESOURCE_EXHAUSTED", "full", "QUEUE_FULL").exit_code == 75


def test_a_worker_lets_go_of_signals_before_its_loop_closes() -> None:
    """A SIGTERM to one that had just ended was a traceback: the pipe that signals write to was closed."""

    class Ended(Worker):
        def runner(self, name: str, addresses: Sequence[str], **options: Any) -> Any:
            async def run() -> int:
                seen.append(signal.getsignal(signal.SIGTERM))
                return 0

            return SimpleNamespace(run=run, stop=lambda: None)

    async def main() -> Any:
        assert await Ended(major=1)._run("w", [], None) == 0
        return signal.getsignal(signal.SIGTERM)

    seen: list[Any] = []
    assert asyncio.run(main()) is signal.SIG_DFL
    assert seen != [signal.SIG_DFL], "meanwhile it takes them"
