"""The client for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, TypeVar

from zconnector.worker.client import Client, Handle
from zconnector.worker.connection import Tls
from zconnector.worker.results import Event, Reply

Result = TypeVar("Result")


class SyncHandle:
    """A command with its receipt, for a `SyncClient`."""

    def __init__(self, client: SyncClient, handle: Handle) -> None:
        self._client = client
        self._handle = handle
        self.uuid = handle.uuid
        self.command = handle.command

    @property
    def progress(self) -> list[Event]:
        """Events of the worker's own that came while a reply was awaited."""
        return list(self._handle.progress)

    def reply(self, timeout: float | None = None) -> Reply:
        """Wait for how the command ended. Raises: as `Handle.reply`."""
        return self._client._run(self._handle.reply(timeout))


class SyncClient:
    """A `Client` on an event loop in a thread of its own: `with SyncClient("unix:/path") as client`."""

    def __init__(self, address: str, *, name: str = "", tls: Tls | None = None) -> None:
        self._client = Client(address, name=name, tls=tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="zconnector-client", daemon=True)

    def __enter__(self) -> SyncClient:
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._client.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def send_command(self, type: str, command: str, payload: object = "", **options: Any) -> SyncHandle:
        """Arguments and errors as `Client.send_command`."""
        return SyncHandle(self, self._run(self._client.send_command(type, command, payload, **options)))

    def send(self, type: str, command: str, payload: object = "", **options: Any) -> Reply | SyncHandle:
        """Arguments and errors as `Client.send`."""
        found = self._run(self._client.send(type, command, payload, **options))
        return SyncHandle(self, found) if isinstance(found, Handle) else found

    def publish(self, topic: str, event: str, payload: object = "", **options: Any) -> str:
        """Arguments and errors as `Client.publish`."""
        return self._run(self._client.publish(topic, event, payload, **options))

    def admin_command(self, type: str, command: str, payload: object = "", **options: Any) -> SyncHandle:
        """Arguments and errors as `Client.admin_command`."""
        return SyncHandle(self, self._run(self._client.admin_command(type, command, payload, **options)))

    def handle(self, uuid: str, command: str) -> SyncHandle:
        """The handle of a command sent earlier."""
        return SyncHandle(self, self._client.handle(uuid, command))

    def send_event(self, topic: str, event: str, payload: object = "", **options: Any) -> str:
        """Arguments and errors as `Client.send_event`."""
        return self._run(self._client.send_event(topic, event, payload, **options))

    def events(self, topic: str, event: str | None = None) -> Iterator[Event]:
        """The events of a topic, for as long as one iterates. Errors as `Client.events`."""
        found = self._client.events(topic, event)
        try:
            while True:
                try:
                    yield self._run(_next(found))
                except StopAsyncIteration:
                    return
        finally:
            self._run(_close(found))

    def _run(self, awaitable: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()


async def _next(events: Any) -> Event:
    found: Event = await anext(events)
    return found


async def _close(events: Any) -> None:
    await events.aclose()
