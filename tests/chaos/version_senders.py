"""Senders to the type whose workers are versions: from another connector, and from their own ("self")."""

from __future__ import annotations

import asyncio
import json
import random
import uuid as uuid_module
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tests.chaos.operators import listening
from tests.chaos.record import Record
from tests.chaos.releases import TYPE
from tests.chaos.stalls import Stalls
from tests.chaos.version_schedule import ROUTER
from tests.chaos.version_worker import COMMANDS
from zconnector.errors import NotRunningError
from zconnector.worker import CallFailed, Client, Handle, NoReply, NotSent, OutcomeUnknown, Rejected

TIMEOUTS = (3.0, 5.0)
RETRY_FIRST, RETRY_LIMIT = 0.2, 2.0
"""Seconds before a command that is not known to be taken is sent again, with the same uuid; doubling, with
jitter."""
MAX_OPEN = 100
"""Commands of one side that may be under way."""
LONG, MAJOR = 0.08, 0.2
"""Shares of the commands: that take their worker a second or two; that name their major."""


class VersionSenders:
    """Of `far` (a connector's name), and of the router itself."""

    def __init__(
        self,
        record: Record,
        stalls: Stalls,
        addresses: Mapping[str, str],
        seed: int,
        changed: Callable[[], None],
        died: Callable[[str], None],
    ) -> None:
        """`addresses`: gRPC addresses by connector, the router's among them."""
        self._record = record
        self._stalls = stalls
        self._rng = random.Random(f"version traffic {seed}")
        self._changed = changed
        self._died = died
        self.clients = {name: Client(address, name=f"{name}-versions") for name, address in addresses.items()}
        self._room = {name: asyncio.Semaphore(MAX_OPEN) for name in addresses}
        self._listening: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> VersionSenders:
        for name, client in self.clients.items():
            await client.__aenter__()
            for command in COMMANDS:
                hear = self._hear(name, client, command)
                self._listening.append(listening(hear, f"ear {name} {command}", self._died))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        for client in self.clients.values():
            await client.__aexit__(None, None, None)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def _hear(self, name: str, client: Client, command: str) -> None:
        async for event in client.events(command):
            # At the router there are replies to its canaries as well, which nobody here has sent.
            if event.reference in self._record.commands:
                self._record.observed_reply(
                    self.now(), name, event.uuid, event.reference, command, event.event
                )
                self._changed()

    async def warm_up(self, within: float = 60.0) -> None:
        """Wait until a version answers each sender. Raises NotRunningError."""
        try:
            async with asyncio.timeout(within):
                for name in self.clients:
                    await self._warm_up(name)
        except TimeoutError:
            raise NotRunningError(f"no version answered for {within:g} s; see the logs") from None

    async def _warm_up(self, source: str) -> None:
        while True:
            uuid = str(uuid_module.uuid4())
            self._record.warm(uuid)
            with suppress(Rejected, NotSent, OutcomeUnknown, CallFailed):
                await (await self._send(source, uuid, COMMANDS[0], self._payload(0.0), 3.0, {})).reply()
                return
            await asyncio.sleep(RETRY_FIRST)

    @staticmethod
    def _payload(takes: float) -> str:
        return json.dumps({"body": "one", "takes": takes})

    async def _send(
        self, source: str, uuid: str, name: str, payload: str, seconds: float, more: dict[str, Any]
    ) -> Handle:
        options: dict[str, Any] = {"uuid": uuid, "timeout": seconds, **more}
        kind, options = ("", {**options, "target": "self"}) if source == ROUTER else (TYPE, options)
        handle: Handle = await self.clients[source].send(kind, name, payload, **options)
        return handle

    async def command(self, source: str, until: float, give_up: float) -> None:
        """Send one command until it is receipted, and wait for its reply; as `Clients.command`."""
        async with self._room[source]:
            if self.now() >= until:
                return
            with suppress(TimeoutError, NoReply):
                async with asyncio.timeout_at(give_up):
                    await self._command(source)
            self._changed()

    async def _command(self, source: str) -> None:
        rng, record = self._rng, self._record
        uuid = str(uuid_module.UUID(int=rng.getrandbits(128), version=4))
        name = rng.choice(COMMANDS)
        payload = self._payload(rng.uniform(1.0, 2.0) if rng.random() < LONG else rng.uniform(0.0, 0.05))
        more = {"major": 1} if rng.random() < MAJOR else {}
        record.sent(uuid, ROUTER)
        record.sent_at[uuid] = self.now()
        if not await self._until_receipted(source, uuid, name, payload, more):
            return
        reply = await self.clients[source].handle(uuid, name).reply()
        about = json.loads(reply.payload).get("uuid", "") if reply.ok else uuid
        record.reply_read(self.now(), source, uuid, about, reply.ok)
        record.answered(uuid)

    async def _until_receipted(
        self, source: str, uuid: str, name: str, payload: str, more: dict[str, Any]
    ) -> bool:
        record, pause, doubtful = self._record, RETRY_FIRST, False
        while True:
            timeout = self._rng.choice(TIMEOUTS)
            begun = self.now()
            number = record.sending(begun, source, uuid, "one", timeout)
            try:
                await self._send(source, uuid, name, payload, timeout, more)
                outcome, named = "ACCEPTED", uuid
            except OutcomeUnknown as unknown:
                outcome, named = "UNKNOWN", unknown.uuid
            except NotSent as refused:
                outcome, named = refused.reason, refused.uuid
            except Rejected as refused:
                outcome, named = f"final {refused.reason}", refused.uuid
            heard, due = self.now(), begun + timeout
            stalled = self._stalls.excuse(begun, due, heard)
            record.outcome(heard, number, outcome, named, stalled)
            if outcome == "ACCEPTED":
                record.receipted(uuid)
                record.receipted_at[uuid] = heard
                self._changed()
                return True
            doubtful = doubtful or outcome == "UNKNOWN"
            if outcome.startswith("final "):
                if not doubtful:
                    record.refused(uuid, outcome)
                return False
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, RETRY_LIMIT)
