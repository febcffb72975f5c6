"""The Gandalf API's way to messages: slots, each of which waits for one and handles it.

Retry here: the API has no such answer, so the slot keeps the command (its worker's beats keep the lease)
and runs the handler again after the delay; `ATTEMPTS` runs in all, then FAIL. A worker that drains meanwhile
leaves the command unanswered: its lease ends with the beats, and another worker gets it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import structlog

from zconnector.errors import Reason
from zconnector.messages.kinds import Outcome
from zconnector.messages.uuids import new_uuid
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker.client import Client
from zconnector.worker.connection import SHORT, Backoff, Connection, pause
from zconnector.worker.context import Context, Hold
from zconnector.worker.errors import CallFailed
from zconnector.worker.handlers import CommandHandler, Ending, EventHandler, Result, run_handler

ATTEMPTS = 5
"""Runs of a handler that asks for a retry."""
FIRST, LIMIT = 1.0, 100.0
"""Seconds of the pauses between them: doubling from the first, half to whole of it."""

_log = structlog.get_logger("zconnector.worker")


class Slots:
    """The waiting slots of one worker.

    Each slot has an iterator of its own: on a shared socket a cancelled wait frees what its
    iterator holds, and so must never be another slot's.

    Invariant: a slot either waits for a message or handles one, and ends only with the drain: one that
    ends otherwise calls `failed`, for the worker would be deaf on that name.
    """

    def __init__(
        self,
        connection: Connection,
        client: Client,
        threads: Executor,
        *,
        name: str,
        major: int,
        draining: asyncio.Event,
        failed: Callable[[], None],
        rng: random.Random,
    ) -> None:
        self._connection = connection
        self._client = client
        self._threads = threads
        self._name = name
        self._major = major
        self._draining = draining
        self._failed = failed
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []

    def open(self, commands: Iterable[CommandHandler], events: Iterable[EventHandler]) -> None:
        """Begin to wait. Registered again, the slots have been there all along."""
        if self._tasks:
            return
        for command in commands:
            for _ in range(command.concurrency):
                self._tasks.append(asyncio.ensure_future(self._command_slot(command)))
        for event in events:
            self._tasks.append(asyncio.ensure_future(self._event_slot(event)))
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def ended(self) -> asyncio.Future[list[None]]:
        """Done when every slot has ended: its wait was cancelled, or what it handled is answered."""
        return asyncio.gather(*self._tasks)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failed()

    async def _command_slot(self, handler: CommandHandler) -> None:
        def request(iterator: str) -> Any:
            return pb.CommandMessageWait(
                WorkerSource=self._name, Value=handler.name, IteratorId=iterator, Major=self._major
            )

        async def handle(message: Any) -> None:
            context = self._context(message, name=message.Command, topic="", reference="")
            result = await self._run(handler, context)
            if result is not None:
                await self._answer(context, result)

        await self._slot("CreateIteratorCommand", "WaitCommandMessage", request, handle)

    async def _event_slot(self, handler: EventHandler) -> None:
        fields = {"WorkerSource": self._name, "Topic": handler.topic}

        def request(iterator: str) -> Any:
            if handler.event is None:
                return pb.TopicMessageWait(IteratorId=iterator, **fields)
            return pb.EventMessageWait(IteratorId=iterator, Event=handler.event, **fields)

        async def handle(message: Any) -> None:
            context = self._context(
                message, name=message.Event, topic=message.Topic, reference=message.ReferenceUUID
            )
            result = await self._run(handler, context)
            if result is not None:
                await self._answer(context, result)

        method = "WaitTopicMessage" if handler.event is None else "WaitEventMessage"
        await self._slot("CreateIteratorEvent", method, request, handle)

    async def _slot(
        self,
        create: str,
        wait: str,
        request: Callable[[str], Any],
        handle: Callable[[Any], Coroutine[Any, Any, None]],
    ) -> None:
        """Wait for one message after another and handle each to its end."""
        iterator = seen = ""
        backoff = Backoff(self._rng)
        while not self._draining.is_set():
            try:
                if not iterator:
                    made = await self._connection.ask(create, pb.Empty(), seconds=SHORT)
                    iterator, seen = made.Id, ""
                message = await self._next(wait, request(iterator), seen)
            except CallFailed as failed:
                if failed.code == "NOT_FOUND":
                    iterator = ""
                elif not failed.away:
                    _log.warning("worker.wait_failed", method=wait, detail=str(failed))
                await pause(self._draining, backoff.next())
                continue
            if message is None:
                return
            backoff.reset()
            seen = message.UUID
            await handle(message)

    async def _next(self, method: str, request: Any, seen: str) -> Any | None:
        """The next message; None when the wait was cancelled by the drain."""
        if self._draining.is_set():
            return None
        try:
            said = ((metadata.SEEN, metadata.encode_text(seen)),)
            return await self._connection.ask(method, request, seconds=None, said=said)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._draining.is_set() and current is not None and not current.cancelling():
                return None
            raise

    def _context(self, message: Any, *, name: str, topic: str, reference: str) -> Context:
        return Context(
            uuid=message.UUID,
            name=name,
            topic=topic,
            source=getattr(message, "SourceConnector", ""),
            major=getattr(message, "Major", 0),
            timeout=int(message.Timeout) / 1000 if message.Timeout.isdigit() else 0.0,
            timestamp=int(message.Timestamp) if message.Timestamp.isdigit() else 0,
            reference=reference,
            data=message.Payload.encode(),
            client=self._client,
            loop=asyncio.get_running_loop(),
        )

    async def _run(self, handler: CommandHandler | EventHandler, context: Context) -> Result | None:
        """Run a handler, again where it asks for that; None: the drain came before it had an end."""
        backoff = Backoff(self._rng, FIRST, LIMIT)
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                context = replace(context, hold=Hold(attempt))
            result = await run_handler(handler, context, self._threads)
            if result.log:
                _log.warning("worker.handler_failed", uuid=context.uuid, name=context.name, error=result.log)
            if result.ending is not Ending.AGAIN:
                return result
            if attempt < ATTEMPTS:
                own = backoff.next()
                if await pause(self._draining, own if result.delay is None else result.delay):
                    return None
        error = f"{ATTEMPTS} attempts ended without a result: {result.error}"
        return Result(Ending.FAILED, error.encode(), error)

    async def _answer(self, context: Context, result: Result) -> None:
        """Send how a handler ended, until the connector has taken it."""
        outcome = Outcome.SUCCESS if result.ending is Ending.DONE else Outcome.FAIL
        try:
            payload = result.payload.decode()
        except UnicodeDecodeError as error:
            outcome, payload = Outcome.FAIL, f"the result could not be sent: it must be UTF-8: {error}"
        refused = await self._reply(context, outcome, payload)
        if refused and outcome == Outcome.SUCCESS:
            # The result cannot be carried (too large, say): the sender must hear that it has ended.
            await self._reply(context, Outcome.FAIL, f"the result could not be sent: {refused}")

    async def _reply(self, context: Context, outcome: str, payload: str) -> str:
        """Send one answer, again and again with the same uuid while the connector is away.

        Returns why the connector refused it for good; "" when it took it.
        """
        answer = pb.EventMessage(
            UUID=new_uuid(),
            Topic=context.name,
            Event=outcome,
            ReferenceUUID=context.uuid,
            Payload=payload,
        )
        backoff = Backoff(self._rng)
        never = asyncio.Event()  # not even the drain: what was done must be told
        while True:
            try:
                await self._connection.ask("SendEventMessage", answer, seconds=SHORT)
            except CallFailed as failed:
                if failed.passing or failed.reason == Reason.QUEUE_FULL:
                    await pause(never, backoff.next())
                    continue
                _log.error("worker.reply_refused", uuid=context.uuid, outcome=outcome, detail=str(failed))
                return failed.detail
            return ""
