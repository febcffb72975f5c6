"""Runs a worker: registration and beats, one waiting slot for each handler, replies, drain."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from zconnector.errors import Reason, ZConnectorError
from zconnector.messages.kinds import Outcome
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker.client import SHORT, Client
from zconnector.worker.connection import Backoff, Connection, Tls, pause
from zconnector.worker.errors import CallFailed, RegistrationRefused
from zconnector.worker.handlers import CommandHandler, Context, EventHandler, Registry, run_handler
from zconnector.worker.lifecycle import Lifecycle, State, Step

BEAT = 1.0
"""Seconds between two SendStop."""

_log = structlog.get_logger("zconnector.worker")


class Runner:
    """One run of a worker, from registration to exit.

    Each slot has an iterator of its own: on a shared socket a cancelled wait frees what its
    iterator holds, and so must never be another slot's.

    Invariant: a slot either waits for a message or handles one, and ends only with the drain: one that
    ends otherwise takes the worker with it, which would be deaf on that name.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        major: int,
        minor: int,
        name: str,
        addresses: list[str],
        tls: Tls | None = None,
        beat: float = BEAT,
        rng: random.Random | None = None,
    ) -> None:
        self._registry = registry
        self._major = major
        self._minor = minor
        self._name = name
        self._addresses = addresses
        self._tls = tls
        self._beat = beat
        self._rng = rng or random.Random()
        self._life = Lifecycle()
        self._draining = asyncio.Event()
        self._slots: list[asyncio.Task[None]] = []
        self._open: Connection | None = None
        self._away = False
        self.worker = f"{name[:200]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        """Identity of this process towards the connector, the same over reconnections."""

    @property
    def state(self) -> State:
        return self._life.state

    @property
    def _connection(self) -> Connection:
        if self._open is None:
            raise RuntimeError("the worker does not run")
        return self._open

    async def run(self) -> int:
        """Serve until told to leave; the exit status.

        Raises:
            RegistrationRefused: the connector does not take this worker.
        """
        slots = sum(handler.concurrency for handler in self._registry.commands.values())
        threads = ThreadPoolExecutor(
            max_workers=max(1, slots + len(self._registry.events)), thread_name_prefix="handler"
        )
        self._open = Connection(self._addresses, worker=self.worker, tls=self._tls)
        self._client = Client("", name=self._name, connection=self._connection)
        self._threads = threads
        try:
            async with self._client:
                await self._live()
                await self._finish()
        finally:
            for task in self._slots:
                task.cancel()
            await self._connection.close()
            threads.shutdown(wait=False, cancel_futures=True)
        self._life.idle()
        if self._life.error is not None:
            raise self._life.error
        _log.info("worker.stopped", worker=self.worker)
        return 0

    def stop(self) -> None:
        """Drain: take nothing more, finish what runs, then end."""
        if self._life.signalled() is Step.DRAIN:
            self._drain()

    async def _live(self) -> None:
        """Register and beat until it is time to drain."""
        backoff = Backoff(self._rng)
        step = Step.REGISTER
        while step in (Step.REGISTER, Step.RETRY, Step.SERVE, Step.BEAT):
            if step is Step.RETRY:
                await pause(self._draining, backoff.next())
            elif step is Step.BEAT:
                await pause(self._draining, self._beat)
            if self._draining.is_set():
                return
            if step is Step.SERVE:
                backoff.reset()
                self._open_slots()
                step = Step.BEAT
            elif self._life.state is State.REGISTERING:
                step = await self._until_drain(self._register())
            else:
                step = await self._until_drain(self._send_beat())
        if step is Step.DRAIN:
            self._drain()

    async def _finish(self) -> None:
        """Wait for what still runs; beat meanwhile, so that nobody else is given it."""
        finished = asyncio.Event()
        # A slot ends when its wait was cancelled, or with the reply of what it was handling.
        slots = asyncio.gather(*self._slots)
        slots.add_done_callback(lambda _: finished.set())
        while not await pause(finished, self._beat):
            await self._send_beat()
        await slots

    async def _until_drain(self, step: Coroutine[Any, Any, Step]) -> Step:
        """A call to the connector that the drain cuts short."""
        call = asyncio.ensure_future(step)
        drain = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait({call, drain}, return_when=asyncio.FIRST_COMPLETED)
            return call.result() if call.done() else Step.NOTHING
        finally:
            call.cancel()
            drain.cancel()

    async def _register(self) -> Step:
        commands = sorted(self._registry.commands)
        request = pb.CommandList(Major=self._major, Minor=self._minor, Commands=commands)
        try:
            reply, trailing = await self._connection.call("SendCommandList", request, seconds=SHORT)
        except CallFailed as failed:
            if not failed.passing:
                return self._life.refused(RegistrationRefused([], str(failed)))
            self._note_away(failed.detail)
            return self._life.away()
        self._away = False
        if not reply.valid:
            missing = metadata.decode_names(metadata.value(trailing, metadata.MISSING))
            detail = metadata.decode_text(metadata.value(trailing, metadata.DETAIL))
            return self._life.refused(RegistrationRefused(missing, detail))
        _log.info("worker.registered", worker=self.worker, commands=commands)
        return self._life.accepted(metadata.value(trailing, metadata.BOOT))

    async def _send_beat(self) -> Step:
        request = pb.Stop(Major=self._major, Minor=self._minor)
        try:
            reply, trailing = await self._connection.call("SendStop", request, seconds=SHORT / 2)
        except CallFailed as failed:
            self._note_away(failed.detail)
            return self._life.away()
        self._away = False
        step = self._life.beaten(reply.valid, metadata.value(trailing, metadata.BOOT))
        if step is Step.DRAIN:
            _log.info("worker.told_to_leave", worker=self.worker)
        return step

    def _note_away(self, detail: str) -> None:
        """Once for each absence, not at every try."""
        if not self._away:
            _log.warning("worker.connector_away", addresses=list(self._addresses), detail=detail)
        self._away = True

    def _open_slots(self) -> None:
        if self._slots:
            return  # registered again: the slots have been there all along
        for command in self._registry.commands.values():
            for _ in range(command.concurrency):
                self._slots.append(asyncio.ensure_future(self._command_slot(command)))
        for event in self._registry.events.values():
            self._slots.append(asyncio.ensure_future(self._event_slot(event)))
        for slot in self._slots:
            slot.add_done_callback(self._slot_ended)

    def _slot_ended(self, slot: asyncio.Task[None]) -> None:
        if not slot.cancelled() and slot.exception() is not None:
            self.stop()

    def _drain(self) -> None:
        self._draining.set()
        if self._open is not None:
            self._open.cancel_waits()

    async def _command_slot(self, handler: CommandHandler) -> None:
        def request(iterator: str) -> Any:
            return pb.CommandMessageWait(
                WorkerSource=self._name, Value=handler.name, IteratorId=iterator, Major=self._major
            )

        async def handle(message: Any) -> None:
            context = self._context(message, name=message.Command, topic="", reference="")
            await self._answer(handler.function, context)

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
            await self._answer(handler.function, context)

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
                    made, _ = await self._connection.call(create, pb.Empty(), seconds=SHORT)
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
            reply, _ = await self._connection.call(method, request, seconds=None, said=said)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._draining.is_set() and current is not None and not current.cancelling():
                return None
            raise
        return reply

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
            payload=message.Payload,
            client=self._client,
            loop=asyncio.get_running_loop(),
        )

    async def _answer(self, function: Any, context: Context) -> None:
        """Run a handler and send how it ended, until the connector has taken it."""
        outcome, payload, failure = await run_handler(function, context, self._threads)
        if failure:
            _log.warning("worker.handler_failed", uuid=context.uuid, name=context.name, error=failure)
        refused = await self._reply(context, outcome, payload)
        if refused and outcome == Outcome.SUCCESS:
            # The result cannot be carried (too large, say): the sender must hear that it has ended.
            await self._reply(context, Outcome.FAIL, f"the result could not be sent: {refused}")

    async def _reply(self, context: Context, outcome: str, payload: str) -> str:
        """Send one answer, again and again with the same uuid while the connector is away.

        Returns why the connector refused it for good; "" when it took it.
        """
        answer = pb.EventMessage(
            UUID=str(uuid.uuid4()),
            Topic=context.name,
            Event=outcome,
            ReferenceUUID=context.uuid,
            Payload=payload,
        )
        backoff = Backoff(self._rng)
        never = asyncio.Event()  # not even the drain: what was done must be told
        while True:
            try:
                await self._connection.call("SendEventMessage", answer, seconds=SHORT)
            except CallFailed as failed:
                if failed.passing or failed.reason == Reason.QUEUE_FULL:
                    await pause(never, backoff.next())
                    continue
                _log.error("worker.reply_refused", uuid=context.uuid, outcome=outcome, detail=str(failed))
                return failed.detail
            return ""


async def serve(runner: Runner) -> int:
    """Run a worker, turning an error into a log line and an exit status."""
    try:
        return await runner.run()
    except ZConnectorError as error:
        _log.error("worker.failed", error=str(error))
        return error.exit_code
