"""Clients of both sides: they send, publish and listen all the time, and write down what they are told."""

from __future__ import annotations

import asyncio
import json
import random
import uuid as uuid_module
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from tests.chaos.operators import READS, listening
from tests.chaos.record import Record
from tests.chaos.stalls import Stalls
from tests.chaos.worker import WISHED
from zconnector.cli.traffic import CI, GIT, Side, other
from zconnector.errors import NotRunningError
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker import CallFailed, Client, NoReply, NotSent, OutcomeUnknown, Rejected
from zconnector.worker.connection import Connection

TIMEOUTS = (3.0, 5.0)
RETRY_FIRST, RETRY_LIMIT = 0.2, 2.0
"""Seconds before a command that is not known to be taken is sent again, with the same uuid; doubling, with
jitter."""
MAX_OPEN = 200
"""Commands of one side that may be under way: a sender that is not answered does not pile up more."""
PATIENCE = 3.0
"""Seconds beyond the timeout that a caller without SDK waits, to see when the connector answers by itself."""
BARE, AGAIN, CONFLICTING, LONG, BIG = 0.4, 0.04, 0.02, 0.04, 0.03
"""Shares of the commands: sent without the SDK; sent once more after the receipt; sent with another body
after it; that take their worker seconds; with a big payload."""
BIG_SIZE = 100_000


@dataclass(frozen=True, slots=True)
class Work:
    """What a command asks of its worker."""

    body: str
    """Tells the bodies of one uuid apart."""
    takes: float = 0.0
    """Seconds."""
    size: int = 0
    """Characters that are only there to be big."""

    @property
    def payload(self) -> str:
        return json.dumps({"body": self.body, "takes": self.takes, "filler": "x" * self.size})


class Clients:
    """All of them. `addresses`: of each side, the front end's and the connector's own."""

    def __init__(
        self,
        record: Record,
        stalls: Stalls,
        addresses: Mapping[str, tuple[str, str]],
        seed: int,
        changed: Callable[[], None],
        died: Callable[[str], None],
    ) -> None:
        self._died = died
        self._record = record
        self._stalls = stalls
        self._rng = random.Random(f"traffic {seed}")
        self._changed = changed
        self._sdk = {n: Client(f"{front},{own}", name=f"{n}-client") for n, (front, own) in addresses.items()}
        self._ears = {n: Client(f"{own},{front}", name=f"{n}-ear") for n, (front, own) in addresses.items()}
        self._bare = {name: Connection([own]) for name, (_, own) in addresses.items()}
        self._room = {name: asyncio.Semaphore(MAX_OPEN) for name in addresses}
        self._listening: list[asyncio.Task[None]] = []
        self._seen: dict[str, set[str]] = {}
        self._news = asyncio.Event()
        self.took: list[tuple[float, float, float, str]] = []
        """(sent at, seconds, timeout, outcome) of every attempt."""

    async def __aenter__(self) -> Clients:
        for client in (*self._sdk.values(), *self._ears.values()):
            await client.__aenter__()
        for name, ear in self._ears.items():
            for side in (GIT, CI):
                hear = self._hear_events(name, ear, side.topic)
                self._listening.append(listening(hear, f"ear {name} {side.topic}", self._died))
        for side in (GIT, CI):
            for command in (other(side).command, WISHED[other(side).name], WISHED[side.name]):
                hear = self._hear_replies(side.name, self._ears[side.name], command)
                self._listening.append(listening(hear, f"ear {side.name} {command}", self._died))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._listening:
            task.cancel()
        await asyncio.gather(*self._listening, return_exceptions=True)
        for client in (*self._sdk.values(), *self._ears.values()):
            await client.__aexit__(None, None, None)
        for connection in self._bare.values():
            await connection.close()

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    # ---- listening

    async def _hear_events(self, name: str, ear: Client, topic: str) -> None:
        async for event in ear.events(topic):
            if not event.reference:
                self._record.observed(self.now(), name, f"{name}-ear", event.uuid)
                self.saw(event.uuid, f"{name}-ear")
                self._changed()

    async def _hear_replies(self, name: str, ear: Client, command: str) -> None:
        async for event in ear.events(command):
            now, reference = self.now(), event.reference
            self._record.observed_reply(now, name, event.uuid, reference, command, event.event)
            self._changed()

    def saw(self, uuid: str, who: str) -> None:
        """Somebody was handed an event (for the warming up)."""
        self._seen.setdefault(uuid, set()).add(who)
        self._news.set()

    # ---- commands

    async def command(self, source: Side, until: float, give_up: float) -> None:
        """Send one command to the other side's worker until it is receipted, and wait for its reply.

        At the loop time `give_up` it is left as it is: the record shows what is open. What does not get its
        turn (too many are open) until `until` is not sent.
        """
        async with self._room[source.name]:
            if self.now() >= until:
                return
            with suppress(TimeoutError, NoReply):
                async with asyncio.timeout_at(give_up):
                    await self._command(source)
            self._changed()

    async def _command(self, source: Side) -> None:
        target, uuid = other(source), str(uuid_module.UUID(int=self._rng.getrandbits(128), version=4))
        self._record.sent(uuid, target.name)
        self._record.sent_at[uuid] = self.now()
        takes = self._rng.uniform(1.0, 3.0) if self._rng.random() < LONG else self._rng.uniform(0.0, 0.05)
        work = Work("one", takes, BIG_SIZE if self._rng.random() < BIG else 0)
        if not await self._until_receipted(source, target, uuid, work):
            return
        if self._rng.random() < AGAIN:
            await self._attempt(source, target, uuid, work)
        if self._rng.random() < CONFLICTING:
            await self._attempt(source, target, uuid, replace(work, body="another"))
        client = self._sdk[source.name]
        by_uuid = source.name == "git"
        reply = await (client.await_reply(uuid) if by_uuid else client.handle(uuid, target.command).reply())
        about = json.loads(reply.payload).get("uuid", "") if reply.ok else uuid
        self._record.reply_read(self.now(), source.name, uuid, about, reply.ok)
        self._record.answered(uuid)

    async def _until_receipted(self, source: Side, target: Side, uuid: str, work: Work) -> bool:
        pause = RETRY_FIRST
        doubtful = False
        while True:
            outcome = await self._attempt(source, target, uuid, work)
            if outcome == "ACCEPTED":
                self._record.receipted(uuid)
                self._record.receipted_at[uuid] = self.now()
                self._changed()
                return True
            doubtful = doubtful or outcome in ("UNKNOWN", "LOST")
            if outcome.startswith("final "):
                if not doubtful:
                    self._record.refused(uuid, outcome)
                return False
            # Also after UNKNOWN, which may come at once: 400 senders without a pause wear out the machine.
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, RETRY_LIMIT)

    async def _attempt(self, source: Side, target: Side, uuid: str, work: Work) -> str:
        """Hand it over once: ACCEPTED, UNKNOWN, LOST, the reason why it was not taken, `final ` and that."""
        timeout = self._rng.choice(TIMEOUTS)
        send = self.send_bare if self._rng.random() < BARE else self._send
        begun = self.now()
        number = self._record.sending(begun, source.name, uuid, work.body, timeout)
        outcome, named = await send(source, target, uuid, work, timeout)
        heard = self.now()
        due = begun + timeout
        stalled = self._stalls.excuse(begun, due, heard)
        self._record.outcome(heard, number, outcome, named, stalled)
        self.took.append((begun, heard - begun, timeout, outcome))
        return outcome

    async def _send(
        self, source: Side, target: Side, uuid: str, work: Work, seconds: float
    ) -> tuple[str, str]:
        client = self._sdk[source.name]
        # git's senders use zconnector.v1, ci's the Gandalf API.
        send = client.send if source.name == "git" else client.send_command
        try:
            handle = await send(target.type, target.command, work.payload, uuid=uuid, timeout=seconds)
        except OutcomeUnknown as unknown:
            return "UNKNOWN", unknown.uuid
        except NotSent as refused:
            return refused.reason, refused.uuid
        except Rejected as refused:
            return f"final {refused.reason}", refused.uuid
        return "ACCEPTED", handle.uuid

    async def send_bare(
        self, source: Side, target: Side, uuid: str, work: Work, seconds: float
    ) -> tuple[str, str]:
        """As a worker without SDK would, with a deadline of its own far behind the command's.

        The outcome, and the uuid that it names ("": none).
        """
        request = pb.CommandMessage(
            UUID=uuid,
            ConnectorType=target.type,
            Command=target.command,
            Payload=work.payload,
            Timeout=str(round(seconds * 1000)),
        )
        said = ((metadata.DEFINITE, "1"),)
        try:
            reply, trailing = await self._bare[source.name].call(
                "SendCommandMessage", request, seconds=seconds + PATIENCE, said=said
            )
        except CallFailed as failed:
            if not failed.reason:
                return "LOST" if failed.code == "UNAVAILABLE" else "UNKNOWN", ""
            return failed.reason if failed.passing else f"final {failed.reason}", failed.uuid
        unknown = metadata.value(trailing, metadata.OUTCOME) == "UNKNOWN"
        return "UNKNOWN" if unknown else "ACCEPTED", reply.UUID

    # ---- events

    async def event(self, source: Side, _until: float, give_up: float) -> None:
        """Publish one event; one that its connector does not take until `give_up` is not in the ledger."""
        uuid = str(uuid_module.UUID(int=self._rng.getrandbits(128), version=4))
        self._record.publishing(self.now(), source.name, uuid)
        try:
            await self._sdk[source.name].send_event(
                source.topic, source.event, "-", uuid=uuid, timeout=give_up - self.now()
            )
        except CallFailed:
            return
        named = {name for name, topics in READS.items() if source.topic in topics}
        self._record.event_taken(self.now(), source.name, uuid, frozenset({GIT.name, CI.name, *named}))
        self._changed()

    # ---- warming up

    async def warm_up(self, workers: Mapping[str, list[str]], within: float = 40.0) -> None:
        """Wait until each side's workers and ears hear the other side's events, and commands are answered.

        A reader hears events from its first wait on, which nobody outside can observe: so one is published
        again and again until all have it. Nothing of this is in the record. Raises NotRunningError.
        """
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*(self._warm_up(side, workers) for side in (GIT, CI)))
        except TimeoutError:
            raise NotRunningError(f"the workers did nothing for {within:g} s; see their logs") from None
        for name in self._ears:
            self._record.observing(self.now(), name, f"{name}-ear")

    async def _warm_up(self, source: Side, workers: Mapping[str, list[str]]) -> None:
        client, target = self._sdk[source.name], other(source)
        while True:
            uuid = str(uuid_module.uuid4())
            self._record.warm(uuid)
            try:
                payload = Work("warm").payload
                handle = await client.send_command(target.type, target.command, payload, uuid=uuid)
                await handle.reply()
                break
            except (Rejected, NotSent, OutcomeUnknown, CallFailed):
                await asyncio.sleep(RETRY_FIRST)
        wanted = {f"{name}-ear" for name in self._ears} | set(workers[target.name])
        wanted |= {name for name, topics in READS.items() if source.topic in topics}
        while True:
            uuid = str(uuid_module.uuid4())
            self._record.warm(uuid)
            await client.send_event(source.topic, source.event, "-", uuid=uuid)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    while not wanted <= self._seen.get(uuid, set()):
                        self._news.clear()
                        await self._news.wait()
                    return
