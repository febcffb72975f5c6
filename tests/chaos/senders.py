"""Senders over zconnector.v1, with every wish that it knows, some of them to their own connector."""

from __future__ import annotations

import asyncio
import json
import random
import uuid as uuid_module
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from tests.chaos.record import Record
from tests.chaos.stalls import Stalls
from tests.chaos.worker import WISHED
from zconnector.cli.traffic import CI, GIT, Side, other
from zconnector.errors import NotRunningError, Reason
from zconnector.rpc._gen.zconnector.v1 import commands_pb2_grpc
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker import (
    CallFailed,
    Client,
    NoReply,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Reply,
    RetryPolicy,
)

TIMEOUTS = (3.0, 5.0)
RETRY_FIRST, RETRY_LIMIT = 0.2, 2.0
"""Seconds before a command that is not known to be taken is sent again, with the same uuid; doubling, with
jitter."""
MAX_OPEN = 100
UNARY, WAIT_HERE = 0.25, 0.5
"""Shares of the tries: by Send instead of Submit; that wait for receipt and reply in one."""
REPLY_WITHIN = 10.0
"""Seconds that a Send waits for the reply as well."""
SELF, KEYED, DELAYED, SHORT_LIVED, RANKED, LONG = 0.2, 0.2, 0.15, 0.15, 0.3, 0.05
"""Shares of the commands."""
KEYS = 3
DOES = {"done": 60, "progress": 15, "fail": 10, "retry": 10, "never": 5}
POLICY = RetryPolicy(attempts=4, first=0.2, factor=2.0, limit=1.0)
"""Of those whose handler asks for further attempts."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a command asks of the router, in seconds, and of its worker."""

    to_self: bool = False
    ttl: float = 0.0
    delay: float = 0.0
    priority: int = 0
    order_key: str = ""
    attempts: int = 0
    """0: as the settings say."""
    does: str = "done"
    times: int = 0
    pause: float = 0.0
    takes: float = 0.0

    @classmethod
    def draw(cls, rng: random.Random) -> Wishes:
        does = rng.choices(list(DOES), list(DOES.values()))[0]
        again = does in ("retry", "never")
        return cls(
            to_self=rng.random() < SELF,
            ttl=round(rng.uniform(0.5, 3.0), 3) if rng.random() < SHORT_LIVED else 0.0,
            delay=round(rng.uniform(0.2, 2.0), 3) if rng.random() < DELAYED else 0.0,
            priority=rng.randrange(10) if rng.random() < RANKED else 0,
            order_key=f"key-{rng.randrange(KEYS)}" if rng.random() < KEYED else "",
            attempts=POLICY.attempts if again else 0,
            does=does,
            times=rng.randrange(1, 3) if does == "retry" else 0,
            pause=round(rng.uniform(0.1, 0.6), 3) if again else 0.0,
            takes=rng.uniform(1.0, 3.0) if rng.random() < LONG else rng.uniform(0.0, 0.05),
        )

    def payload(self, uuid: str) -> str:
        asked = {"does": self.does, "times": self.times, "pause": self.pause, "takes": self.takes}
        return json.dumps({"body": "one", "of": uuid, **asked})

    def options(self) -> dict[str, Any]:
        """For `Client.send`."""
        return {
            "target": "self" if self.to_self else "",
            "ttl": self.ttl or None,
            "delay": self.delay or None,
            "priority": self.priority,
            "order_key": self.order_key,
            "retry": POLICY if self.attempts else None,
        }


class Senders:
    """Both sides' senders. `addresses`: of each side, the front end's and the connector's own."""

    def __init__(
        self,
        record: Record,
        stalls: Stalls,
        addresses: Mapping[str, tuple[str, str]],
        seed: int,
        changed: Callable[[], None],
    ) -> None:
        self._record = record
        self._stalls = stalls
        self._rng = random.Random(f"wishes {seed}")
        self._changed = changed
        self._sdk = {n: Client(f"{front},{own}", name=f"{n}-sender") for n, (front, own) in addresses.items()}
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 1_000)]
        self._channels = {
            name: grpc.aio.insecure_channel(own, options=options) for name, (_, own) in addresses.items()
        }
        self._room = {name: asyncio.Semaphore(MAX_OPEN) for name in addresses}

    async def __aenter__(self) -> Senders:
        for client in self._sdk.values():
            await client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._sdk.values():
            await client.__aexit__(None, None, None)
        for channel in self._channels.values():
            await channel.close(None)

    @staticmethod
    def now() -> float:
        return asyncio.get_running_loop().time()

    async def warm_up(self, within: float = 40.0) -> None:
        """Wait until commands of each side's v1 senders are answered. Raises NotRunningError."""
        try:
            async with asyncio.timeout(within):
                await asyncio.gather(*(self._warm_up(side) for side in (GIT, CI)))
        except TimeoutError:
            raise NotRunningError(f"no v1 sender was answered for {within:g} s; see the logs") from None

    async def _warm_up(self, source: Side) -> None:
        while True:
            uuid = str(uuid_module.uuid4())
            self._record.warm(uuid)
            target = other(source)
            with suppress(Rejected, NotSent, OutcomeUnknown, CallFailed):
                payload = Wishes().payload(uuid)
                await self._sdk[source.name].send(
                    target.type, WISHED[target.name], payload, uuid=uuid, reply=True
                )
                return
            await asyncio.sleep(RETRY_FIRST)

    async def command(self, source: Side, until: float, give_up: float) -> None:
        """Send one command until it is receipted, and wait for its reply; as `Clients.command`."""
        async with self._room[source.name]:
            if self.now() >= until:
                return
            with suppress(TimeoutError, NoReply):
                async with asyncio.timeout_at(give_up):
                    await self._command(source)
            self._changed()

    async def _command(self, source: Side) -> None:
        uuid = str(uuid_module.UUID(int=self._rng.getrandbits(128), version=4))
        wishes = Wishes.draw(self._rng)
        target = source if wishes.to_self else other(source)
        one = _One(source, target, uuid, wishes)
        self._record.sent(uuid, target.name)
        now = self._record.sent_at[uuid] = self.now()
        self._record.wished(now, source.name, target.name, WISHED[target.name], uuid, _asked(wishes))
        reply = await self._until_receipted(one)
        if reply is None:
            return
        if not isinstance(reply, Reply):
            reply = await self._reply(one)
        about = json.loads(reply.payload).get("uuid", "") if reply.ok else uuid
        self._record.reply_read(self.now(), source.name, uuid, about, reply.ok)
        self._record.ended_as(self.now(), uuid, reply.ok, reply.reason)
        self._record.answered(uuid)

    async def _until_receipted(self, one: _One) -> Reply | bool | None:
        """None: refused for good; True: receipted; a Reply: that has come as well."""
        pause, doubtful = RETRY_FIRST, False
        record, uuid = self._record, one.uuid
        while True:
            timeout = self._rng.choice(TIMEOUTS)
            with_reply = self._rng.random() < WAIT_HERE
            unary = self._rng.random() < UNARY
            send = self._unary if unary else self._send
            begun = self.now()
            number = record.sending(begun, one.source.name, uuid, "one", timeout)
            outcome, named, reply = await send(one, timeout, with_reply)
            heard = self.now()
            if with_reply and (unary or outcome == "ACCEPTED"):
                heard = min(
                    heard, begun + timeout
                )  # the reply was waited for: when the receipt came nobody saw
            due = begun + timeout
            stalled = self._stalls.excuse(begun, due, heard)
            record.outcome(heard, number, outcome, named, stalled)
            if outcome == "ACCEPTED":
                record.receipted(uuid)
                record.receipted_at.setdefault(uuid, heard)
                self._changed()
                return reply or True
            doubtful = doubtful or outcome in ("UNKNOWN", "LOST")
            if outcome.startswith("final "):
                if not doubtful:
                    record.refused(uuid, outcome)
                return None
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1.0))
            pause = min(pause * 2, RETRY_LIMIT)

    async def _send(self, one: _One, seconds: float, with_reply: bool) -> tuple[str, str, Reply | None]:
        """By the SDK: outcome, the uuid that it names, and the reply if it was waited for."""
        client, wishes = self._sdk[one.source.name], one.wishes
        options = {"uuid": one.uuid, "timeout": seconds, **wishes.options()}
        kind, name, payload = one.type, WISHED[one.target.name], wishes.payload(one.uuid)
        try:
            if with_reply:
                return "ACCEPTED", one.uuid, await client.send(kind, name, payload, reply=True, **options)
            return "ACCEPTED", (await client.send(kind, name, payload, **options)).uuid, None
        except OutcomeUnknown as unknown:
            return "UNKNOWN", unknown.uuid, None
        except NotSent as refused:
            return refused.reason, refused.uuid, None
        except Rejected as refused:
            return f"final {refused.reason}", refused.uuid, None

    async def _unary(self, one: _One, seconds: float, with_reply: bool) -> tuple[str, str, Reply | None]:
        """The same by a Send, as a caller without SDK."""
        wishes = one.wishes
        submission = pb.Submission(
            uuid=one.uuid,
            type=one.type,
            command=WISHED[one.target.name],
            payload=wishes.payload(one.uuid).encode(),
            timeout_ms=round(seconds * 1000),
            target="self" if wishes.to_self else "",
            ttl_ms=round(wishes.ttl * 1000),
            delay_ms=round(wishes.delay * 1000),
            priority=wishes.priority,
            order_key=wishes.order_key,
            retry=POLICY.message() if wishes.attempts else None,
            reply=with_reply,
            reply_timeout_ms=round(REPLY_WITHIN * 1000) if with_reply else 0,
        )
        stub = commands_pb2_grpc.CommandServiceStub(self._channels[one.source.name])
        try:
            answer = await stub.Send(submission, timeout=seconds + 3.0 + REPLY_WITHIN * with_reply)
        except grpc.aio.AioRpcError as error:
            return "LOST" if error.code() is grpc.StatusCode.UNAVAILABLE else "UNKNOWN", "", None
        receipt, reply = answer.receipt, answer.reply
        if receipt.outcome == pb.Receipt.ACCEPTED:
            found = None
            if with_reply and not reply.HasField("refusal") and reply.event:
                text = reply.payload.decode()
                found = Reply(reply.ok, reply.event, text, reply.reason, reply.detail)
            return "ACCEPTED", receipt.uuid, found
        if receipt.outcome == pb.Receipt.UNKNOWN:
            return "UNKNOWN", receipt.uuid, None
        reason = receipt.refusal.reason
        passing = receipt.outcome == pb.Receipt.NOT_SENT
        return reason if passing else f"final {reason}", receipt.uuid, None

    async def _reply(self, one: _One) -> Reply:
        """By an Await of zconnector.v1, or by an iterator of the Gandalf API.

        That begins with the oldest event, which may be the FAIL of an earlier try that nobody receipted.
        """
        client = self._sdk[one.source.name]
        if self._rng.random() < 0.5:
            reply = await client.handle(one.uuid, WISHED[one.target.name]).reply()
            if reply.reason != Reason.UNRECEIPTED:
                return reply
        return await client.await_reply(one.uuid)


@dataclass(frozen=True, slots=True)
class _One:
    """A command on its way."""

    source: Side
    target: Side
    uuid: str
    wishes: Wishes

    @property
    def type(self) -> str:
        return "" if self.wishes.to_self else self.target.type


def _asked(wishes: Wishes) -> dict[str, Any]:
    """What the judge must know of them."""
    return {
        "ttl": wishes.ttl,
        "delay": wishes.delay,
        "order_key": wishes.order_key,
        "attempts": wishes.attempts,
        "self": wishes.to_self,
    }
