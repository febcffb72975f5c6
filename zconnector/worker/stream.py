"""A worker's run over zconnector.v1: one Work stream at a time, handlers that outlive it.

| what happens | what is done |
|---|---|
| the stream is lost | handlers run on; a new one is opened after a pause, and names the leases they hold |
| a lease is not adopted, or a command is cancelled | its `ctx.cancelled` is true; its result is not taken |
| a handler ends while no stream is open | its outcome is kept, and sent on the next one |
| SIGTERM, or the router orders this version to leave | what runs is finished and told, then the end |
| the router says that it ends itself | handlers run on; its successor is told what they hold |
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from zconnector.rpc._gen.zconnector.v1 import worker_pb2 as pb
from zconnector.rpc.metadata import decode_names
from zconnector.worker.client import Client
from zconnector.worker.connection import SHORT, TORN, Backoff, Connection, Stream, pause
from zconnector.worker.context import Context, Hold
from zconnector.worker.errors import CallFailed, RegistrationRefused, Unsupported
from zconnector.worker.handlers import Ending, Registry, Result, run_handler
from zconnector.worker.lifecycle import State
from zconnector.worker.outcomes import Outcomes
from zconnector.worker.slots import Slots
from zconnector.worker.subscriptions import Subscriptions

WORK = "/zconnector.v1.WorkerService/Work"

_log = structlog.get_logger("zconnector.worker")


class NoV1(Unsupported):
    """The connector has no zconnector.v1."""

    def __init__(self) -> None:
        super().__init__("this worker")


@dataclass(slots=True)
class Running:
    """A handler at work."""

    uuid: str
    command: str
    hold: Hold
    task: asyncio.Task[None]


class V1Run:
    """From registration to the end of the last handler.

    Invariant: a lease that this worker was given is in `_running`, or in the outcomes unsettled, until the
    connector has answered its outcome.
    """

    def __init__(
        self,
        registry: Registry,
        connection: Connection,
        client: Client,
        threads: Executor,
        *,
        worker: str,
        name: str,
        major: int,
        minor: int,
        draining: asyncio.Event,
        rng: random.Random,
        lease: float | None,
    ) -> None:
        self._registry = registry
        self._connection = connection
        self._client = client
        self._threads = threads
        self._worker = worker
        self._major = major
        self._minor = minor
        self._lease = lease
        self._draining = draining
        self._rng = rng
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._running: dict[str, Running] = {}
        self._outcomes = Outcomes(rng, self._wake.set)
        self._subscriptions = Subscriptions(registry, self._event_context, threads, self._wake.set)
        self._slots = Slots(
            connection,
            client,
            threads,
            name=name,
            major=major,
            draining=draining,
            failed=self.stop,
            rng=rng,
        )
        self._known = False
        """A connector has taken this worker before."""
        self._away = False
        self._torn = False
        """A stream ended before it was answered, once."""
        self._said_drain = False
        self._heard = 0.0
        self.state = State.REGISTERING

    async def run(self) -> None:
        """Serve until told to leave.

        Raises:
            RegistrationRefused: the connector does not take this worker.
            NoV1: it does not serve this API.
        """
        backoff = Backoff(self._rng)
        try:
            while not self._over():
                try:
                    await self._session(backoff)
                except CallFailed as failed:
                    self._failed(failed)
                if not self._over():
                    await pause(self._idle if self._draining.is_set() else self._draining, backoff.next())
            self._connection.cancel_waits()
            await self._slots.ended()
        finally:
            self._slots.cancel()
            self._subscriptions.close()
            self._outcomes.close()
            for running in self._running.values():
                running.task.cancel()
        self.state = State.STOPPED

    def stop(self) -> None:
        """Drain: take nothing more, finish what runs, then end."""
        if not self._draining.is_set():
            self.state = State.DRAINING
            self._draining.set()
            self._connection.cancel_waits()
            self._wake.set()
            self._look()

    def _over(self) -> bool:
        return self._draining.is_set() and not self._running and not self._outcomes.unsettled

    def _look(self) -> None:
        if self._over():
            self._idle.set()
            self._wake.set()

    def _failed(self, failed: CallFailed) -> None:
        """A stream ended with an error: is it worth another one?"""
        if failed.absent and not self._known:
            raise NoV1
        if failed.missing or (not failed.passing and not self._known):
            raise RegistrationRefused(decode_names(failed.missing), str(failed))
        if not self._known and failed.detail == TORN and not self._torn:
            # A connector without this API refuses at once, perhaps before our first frame is written.
            self._torn = True
            return
        if not self._away:
            addresses = list(self._connection.addresses)
            _log.warning("worker.connector_away", addresses=addresses, detail=failed.detail)
        self._away = True

    # ---- one stream

    async def _session(self, backoff: Backoff) -> None:
        stream = self._connection.stream(WORK)
        tasks: list[asyncio.Task[None]] = []
        try:
            registered = await self._until_idle(self._register(stream))
            if registered is None:
                return
            backoff.reset()
            self._registered(registered)
            heartbeat = max(0.01, registered.heartbeat_ms / 1000)
            tasks = [
                asyncio.ensure_future(self._write(stream)),
                asyncio.ensure_future(self._beat(stream, heartbeat)),
            ]
            while (raw := await stream.read()) is not None:
                self._heard = asyncio.get_running_loop().time()
                self._take(pb.WorkReply.FromString(raw))
        finally:
            for task in tasks:
                task.cancel()
            stream.cancel()
            self._subscriptions.close()

    async def _register(self, stream: Stream) -> Any:
        register = pb.Register(
            worker=self._worker,
            major=self._major,
            minor=self._minor,
            pools=[
                pb.Pool(commands=[handler.name], credits=handler.concurrency)
                for handler in self._registry.commands.values()
            ],
            subscriptions=self._subscriptions.wishes(),
            holding=self._holding(),
            lease_ms=round((self._lease or 0) * 1000),
        )
        self._said_drain = self._draining.is_set()
        frame = pb.WorkRequest(register=register, drain=self._said_drain)
        async with asyncio.timeout(SHORT):
            await stream.write(frame.SerializeToString())
            raw = await stream.read()
        if raw is None:
            raise CallFailed("UNAVAILABLE", "the connector ended the stream at once")
        reply = pb.WorkReply.FromString(raw)
        if not reply.HasField("registered"):
            raise CallFailed("INTERNAL", "the connector did not answer the registration first")
        self._rest = reply
        return reply.registered

    def _holding(self) -> list[Any]:
        held = [
            pb.Holding(uuid=each.uuid, token=token, command=each.command)
            for token, each in self._running.items()
        ]
        return held + [
            pb.Holding(uuid=each.uuid, token=token, command=each.command)
            for token, each in self._outcomes.unsettled.items()
        ]

    def _registered(self, registered: Any) -> None:
        self._known, self._away = True, False
        adopted = set(registered.adopted)
        for running in self._running.values():
            if running.uuid not in adopted:
                running.hold.lose("FENCED")
        self._outcomes.connected()
        self._subscriptions.open()
        anonymous = [handler for handler in self._registry.events.values() if not handler.subscription]
        if not self._draining.is_set():
            self.state = State.SERVING
            self._slots.open([], anonymous)
        commands = sorted(self._registry.commands)
        _log.info("worker.registered", worker=self._worker, commands=commands, api="v1")
        self._take(self._rest)
        self._heard = asyncio.get_running_loop().time()
        self._wake.set()

    async def _until_idle(self, step: Any) -> Any:
        """A registration, cut short by a drain when nothing need be told any more."""
        call = asyncio.ensure_future(step)
        idle = asyncio.ensure_future(self._idle.wait())
        try:
            await asyncio.wait({call, idle}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                return None
            return call.result()
        except TimeoutError:
            raise CallFailed("DEADLINE_EXCEEDED", "the connector does not answer the registration") from None
        finally:
            call.cancel()
            idle.cancel()

    async def _write(self, stream: Stream) -> None:
        """Send what there is: all of it in one frame, as soon as the one before is written."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outcomes or self._subscriptions.acks or self._drain_due():
                    frame = pb.WorkRequest(acks=self._subscriptions.take_acks())
                    self._outcomes.fill(frame)
                    if self._drain_due():
                        frame.drain = self._said_drain = True
                    await stream.write(frame.SerializeToString())
                if self._over():
                    await stream.done_writing()
                    return
        except CallFailed:
            return  # the reader hears why

    def _drain_due(self) -> bool:
        return self._draining.is_set() and not self._said_drain

    async def _beat(self, stream: Stream, heartbeat: float) -> None:
        """Say that we live; end a stream whose other end does not."""
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            before = loop.time()
            await asyncio.sleep(heartbeat / 2)
            number += 1
            if not self._over():  # then the sending side is closed, or about to be
                with contextlib.suppress(CallFailed):  # the reader hears why
                    await stream.write(pb.WorkRequest(beat=number).SerializeToString())
            now = loop.time()
            stood_still = now - before > heartbeat
            if not stood_still and now - self._heard > 4 * heartbeat:
                _log.warning("worker.connector_silent", seconds=round(now - self._heard, 3))
                stream.cancel()
                return

    # ---- what the connector says

    def _take(self, reply: Any) -> None:
        if reply.commands:
            loop = asyncio.get_running_loop()
            for command in reply.commands:
                self._start(command, loop)
        for settled in reply.settled:
            self._outcomes.settled(settled)
        for gone in reply.cancelled:
            running = self._running.get(gone.token)
            if running is not None:
                running.hold.lose(gone.reason)
        self._subscriptions.take(reply)
        if reply.drain.leave and not self._draining.is_set():
            _log.info("worker.told_to_leave", worker=self._worker)
            self.stop()
        if reply.settled:
            self._look()

    def _start(self, command: Any, loop: asyncio.AbstractEventLoop) -> None:
        uuid, token, name = command.uuid, command.token, command.command
        hold = Hold(command.attempt)
        hold.progress = partial(self._outcomes.progress, uuid, token, hold)
        context = Context(
            uuid=uuid,
            name=name,
            topic="",
            source=command.source,
            major=command.major,
            timeout=command.timeout_ms / 1000,
            timestamp=command.timestamp_ms // 1000,
            reference="",
            data=command.payload,
            client=self._client,
            loop=loop,
            hold=hold,
        )
        task = loop.create_task(self._handle(token, context))
        self._running[token] = Running(uuid, name, hold, task)

    async def _handle(self, token: str, context: Context) -> None:
        handler = self._registry.commands.get(context.name)
        if handler is None:
            result = Result(Ending.AGAIN, error=f"no handler for {context.name}")
        else:
            result = await run_handler(handler, context, self._threads)
        if result.log and not context.cancelled:
            _log.warning("worker.handler_failed", uuid=context.uuid, name=context.name, error=result.log)
        del self._running[token]
        self._outcomes.ended(context.uuid, token, context.name, context.hold, result)

    def _event_context(self, delivery: Any) -> Context:
        return Context(
            uuid=delivery.uuid,
            name=delivery.event,
            topic=delivery.topic,
            source=delivery.source,
            major=0,
            timeout=delivery.timeout_ms / 1000,
            timestamp=delivery.timestamp_ms // 1000,
            reference=delivery.reference,
            data=delivery.payload,
            client=self._client,
            loop=asyncio.get_running_loop(),
            hold=Hold(delivery.attempt),
        )
