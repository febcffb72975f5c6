"""One workload for every way of sending: N in flight, for a number of seconds or of commands.

A **driver** is a way of sending (`drivers/`): `send` returns the reply. The workload knows nothing else of
it, so that what is compared differs in nothing but the driver.

A driver that raises, or answers with something else than it was asked for, ends the run with DriverError:
one that is dead must never look like one that is fast.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Protocol

from tests.benchmarks.figures import latency

PAYLOAD_BYTES = 256
PATIENCE = 60.0
"""Seconds after which a command without a reply ends the run."""


class Driver(Protocol):
    """A way of sending a command to a worker that does nothing.

    One with processes of its own has also `pids`: by component, in place of the system's of that name.
    """

    async def send(self, payload: str) -> str:
        """Send one command and wait for its reply, whose payload is returned: the worker answers `OK`."""


OK = "ok"
"""What a worker that does nothing answers, after which ours name the API that they speak."""


class DriverError(Exception):
    """A command was not answered as it must be: there is no figure."""


def answer(api: str) -> str:
    """What our worker that does nothing answers over an API."""
    return f"{OK} {api}"


def served_by(api: str, reply: str) -> str:
    """The bare answer. Raises DriverError: another worker gave it than the one whose figures these are."""
    if reply != answer(api):
        raise DriverError(f"the reply is {reply!r}, not {answer(api)!r}: another worker served this driver")
    return OK


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the workload."""

    in_flight: int
    seconds: float
    times: list[float] = field(repr=False)
    """Seconds from the send to the reply of each command that was sent inside the run."""

    @property
    def count(self) -> int:
        return len(self.times)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def figures(self) -> dict[str, float]:
        """As they are written into the results."""
        return {
            "in_flight": self.in_flight,
            "count": self.count,
            "seconds": round(self.seconds, 2),
            "per_second": round(self.per_second, 1),
            **latency(self.times),
        }


async def run(
    driver: Driver,
    *,
    in_flight: int,
    seconds: float | None = None,
    commands: int | None = None,
    patience: float = PATIENCE,
) -> Measured:
    """Keep `in_flight` commands under way for so many seconds, or until so many are answered.

    Raises:
        ValueError: not exactly one of `seconds` and `commands`, or one of them is not positive.
        DriverError: a command failed, was answered wrongly, or not within `patience` seconds.
    """
    if (seconds is None) == (commands is None):
        raise ValueError("give either seconds or commands")
    if in_flight < 1 or (seconds or commands or 0) <= 0:
        raise ValueError(f"nothing to measure: {in_flight} in flight, {seconds} seconds, {commands} commands")
    payload = "x" * PAYLOAD_BYTES
    times: list[float] = []
    left = commands
    begun = time.perf_counter()
    end = None if seconds is None else begun + seconds

    def go_on(now: float) -> bool:
        nonlocal left
        if end is not None:
            return now < end
        if not left:
            return False
        left -= 1
        return True

    async def one_after_the_other() -> None:
        while go_on(sent := time.perf_counter()):
            try:
                reply = await asyncio.wait_for(driver.send(payload), patience)
            except TimeoutError:
                raise DriverError(f"no reply within {patience:g} s") from None
            except DriverError:
                raise
            except Exception as error:  # whatever it was, it was no reply
                raise DriverError(f"the command failed: {type(error).__name__}: {error}") from error
            if reply != OK:
                raise DriverError(f"the reply is {reply!r}, not {OK!r}")
            times.append(time.perf_counter() - sent)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(one_after_the_other())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return Measured(in_flight, time.perf_counter() - begun, times)


async def warm_up(driver: Driver, *, in_flight: int, seconds: float) -> None:
    """What is not measured: connections, caches and code get warm. Raises DriverError."""
    await run(driver, in_flight=in_flight, seconds=seconds)
