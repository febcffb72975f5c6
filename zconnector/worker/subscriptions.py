"""Events of durable subscriptions on a Work stream: one handler each, one event after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import structlog

from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.context import Context
from zconnector.worker.handlers import Ending, EventHandler, Registry, run_handler

AHEAD = 16
"""Events that wait here for their handler: the way to the connector costs nothing then."""

_log = structlog.get_logger("zconnector.worker")


class Subscriptions:
    """Invariant: an event is acknowledged on the stream that it came by, or not at all: it comes again."""

    def __init__(
        self,
        registry: Registry,
        context: Callable[[Any], Context],
        threads: Executor,
        wake: Callable[[], None],
    ) -> None:
        self._handlers = {
            handler.subscription: handler for handler in registry.events.values() if handler.subscription
        }
        self._context = context
        self._threads = threads
        self._wake = wake
        self._queues: dict[str, asyncio.Queue[Any]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.acks: list[Any] = []

    def wishes(self) -> list[Any]:
        """What the registration asks for."""
        return [
            pb.Subscription(
                name=name, topics=[pb.Topic(topic=handler.topic, event=handler.event)], credits=AHEAD
            )
            for name, handler in self._handlers.items()
        ]

    def open(self) -> None:
        """A stream is open."""
        self.acks = []
        for name, handler in self._handlers.items():
            queue: asyncio.Queue[Any] = asyncio.Queue()
            self._queues[name] = queue
            self._tasks.append(asyncio.ensure_future(self._serve(handler, queue)))

    def close(self) -> None:
        """It is gone. A handler that is at work is cancelled: its event comes again."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._queues.clear()

    def take(self, reply: Any) -> None:
        for missed in reply.missed:
            _log.warning("worker.events_missed", subscription=missed.subscription, events=missed.events)
        for delivery in reply.events:
            queue = self._queues.get(delivery.subscription)
            if queue is not None:
                queue.put_nowait(delivery)

    def take_acks(self) -> list[Any]:
        acks, self.acks = self.acks, []
        return acks

    async def _serve(self, handler: EventHandler, queue: asyncio.Queue[Any]) -> None:
        while True:
            delivery = await queue.get()
            context = self._context(delivery)
            result = await run_handler(handler, context, self._threads)
            if result.log:
                _log.warning("worker.handler_failed", uuid=context.uuid, name=context.name, error=result.log)
            ok = result.ending is not Ending.AGAIN
            self.acks.append(
                pb.EventAck(
                    subscription=handler.subscription, id=delivery.id, ok=ok, attempt=delivery.attempt
                )
            )
            self._wake()
