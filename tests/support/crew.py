"""A sender and a worker in this process, with a ledger: for tests that kill the rest."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from zconnector.worker import Client, Context, Handle, NotSent, OutcomeUnknown, Worker
from zconnector.worker.connection import Backoff, pause
from zconnector.worker.runner import Runner

Work = Callable[[Context], Coroutine[Any, Any, Any]]


class Happenings:
    """Counts what happens, and lets one wait for the count."""

    def __init__(self) -> None:
        self.count = 0
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self) -> None:
        self.count += 1
        task = asyncio.ensure_future(self._wake())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def more(self, count: int, seconds: float = 20.0) -> None:
        """Wait for so many further happenings."""
        await self.reached(self.count + count, seconds)

    async def reached(self, count: int, seconds: float = 20.0) -> None:
        """Wait until there have been so many."""
        await self.until(lambda: self.count >= count, seconds)

    async def until(self, true: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something is true that only a happening can make true."""
        async with asyncio.timeout(seconds), self._news:
            await self._news.wait_for(true)


async def _done(_: Context) -> str:
    return "done"


class Crew:
    """A worker at `grpc` for one command, and for the events of the topic `news`; it comes back by itself."""

    def __init__(
        self,
        grpc: str,
        command: str = "RUN",
        work: Work = _done,
        *,
        concurrency: int = 4,
        happenings: Happenings | None = None,
    ) -> None:
        self.executed: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.happenings = happenings or Happenings()
        worker = Worker(1, 0, concurrency=concurrency)

        @worker.command(command)
        async def run(ctx: Context, payload: str) -> Any:
            self.executed[ctx.uuid] += 1
            self.happenings.tell()
            return await work(ctx)

        @worker.event("news")
        async def hear(ctx: Context, payload: str) -> None:
            self.seen[ctx.uuid] += 1
            self.happenings.tell()

        self.runner: Runner = worker.runner(f"{command.lower()}-worker", [grpc])
        self._task: asyncio.Task[int] | None = None

    async def __aenter__(self) -> Crew:
        self._task = asyncio.create_task(self.runner.run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


class Sender:
    """A client that sends again, with the same uuid, what is not receipted; it keeps the replies."""

    def __init__(self, grpc: str, type_: str = "Ci", *, happenings: Happenings | None = None) -> None:
        self.client = Client(grpc, name="sender")
        self.type = type_
        self.command = "RUN"
        self.finals: dict[str, set[str]] = {}
        self.happenings = happenings or Happenings()
        self._rng = random.Random(3)
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Sender:
        await self.client.__aenter__()
        self._watch = asyncio.create_task(self._watch_replies())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self.client.__aexit__(None, None, None)

    async def _watch_replies(self) -> None:
        async for event in self.client.events(self.command):
            if event.event in ("SUCCES", "FAIL"):
                self.finals.setdefault(event.reference, set()).add(f"{event.event} {event.uuid}")

    async def once(self, uuid: str, *, seconds: float = 2.0, payload: object = "") -> str:
        """Send it one time; what the sender hears: ACCEPTED, UNKNOWN or NOT_SENT."""
        try:
            await self.client.send_command(self.type, self.command, payload, uuid=uuid, timeout=seconds)
        except OutcomeUnknown:
            return "UNKNOWN"
        except NotSent:
            return "NOT_SENT"
        return "ACCEPTED"

    async def until_receipted(
        self, uuid: str, *, payload: object = "", seconds: float = 60.0, each: float = 2.0
    ) -> Handle:
        """Send it again and again, as a careful sender does, until it is receipted."""
        never, backoff = asyncio.Event(), Backoff(self._rng, first=0.05, limit=0.5)
        async with asyncio.timeout(seconds):
            while await self.once(uuid, payload=payload, seconds=each) != "ACCEPTED":
                await pause(never, backoff.next())
        self.happenings.tell()
        return self.handle(uuid)

    def handle(self, uuid: str) -> Handle:
        return self.client.handle(uuid, self.command)

    async def answered(self, uuid: str, seconds: float = 30.0) -> None:
        """Wait for its reply, which must be a success."""
        reply = await self.handle(uuid).reply(seconds)
        assert reply.ok, reply
        self.happenings.tell()
