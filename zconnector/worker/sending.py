"""How a client sends over zconnector.v1; where the connector has only the Gandalf API, over that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from zconnector.errors import REASONS, Reason
from zconnector.messages.uuids import new_uuid
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.worker.connection import SPARE, Backoff, pause
from zconnector.worker.errors import (
    CallFailed,
    NoReply,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Unsupported,
)
from zconnector.worker.payload import encode_bytes
from zconnector.worker.results import Reply

if TYPE_CHECKING:
    from zconnector.worker.client import Client, Handle
    from zconnector.worker.sender import RetryPolicy, Sender

_ACCEPTED = pb.Receipt.ACCEPTED


async def send(
    client: Client,
    type: str,
    command: str,
    payload: object,
    *,
    reply: bool,
    target: str = "",
    timeout: float = 10.0,  # noqa: ASYNC109  # travels with the command
    reply_timeout: float | None = None,
    major: int = 0,
    uuid: str = "",
    context: str = "",
    admin: bool = False,
    ttl: float | None = None,
    delay: float | None = None,
    priority: int = 0,
    order_key: str = "",
    lease: float | None = None,
    retry: RetryPolicy | None = None,
) -> Reply | Handle:
    """As `Client.send`."""
    uuid = uuid or new_uuid()
    wishes: dict[str, Any] = {"target": target} if target else {}
    if order_key or priority or delay is not None or lease is not None or ttl is not None:  # as few have
        wishes |= {
            "delay_ms": _ms(delay),
            "lease_ms": _ms(lease),
            "order_key": order_key,
            "priority": priority,
            "ttl_ms": _ms(ttl),
        }
    if client._v1 is not False:
        submission = pb.Submission()
        submission.uuid = uuid
        submission.type = type
        submission.command = command
        submission.payload = encode_bytes(payload)
        submission.major = major
        submission.context = context
        submission.admin = admin
        submission.sender = client.name
        submission.reply = reply
        for name, value in wishes.items():
            if value:
                setattr(submission, name, value)
        if retry is not None:
            submission.retry.CopyFrom(retry.message())
        sender = client.sender
        try:
            if not reply:
                await _receipt(client, sender, submission, timeout)
                client._v1 = True
                return client.handle(uuid, command)
            sender.want(uuid)
            try:
                await _receipt(client, sender, submission, timeout)
                client._v1 = True
                return await reply_to(client, uuid, reply_timeout)
            finally:
                sender.forget(uuid)
        except CallFailed as failed:
            if not failed.absent or client._v1:
                raise
            client._v1 = False
    wanted = [name.removesuffix("_ms") for name, value in wishes.items() if value]
    if retry is not None:
        wanted.append("retry")
    if wanted:
        raise Unsupported(f"a command with {', '.join(sorted(wanted))}")
    handle = await client.send_command(
        type, command, payload, timeout=timeout, major=major, uuid=uuid, context=context, admin=admin
    )
    return await handle.reply(reply_timeout) if reply else handle


async def _receipt(client: Client, sender: Sender, submission: Any, seconds: float) -> None:
    """Submit until there is a definite answer, under one uuid; returns when it is accepted."""
    clock = asyncio.get_running_loop().time
    connection = client._connection
    now = clock()
    deadline = now + seconds
    backoff: Backoff | None = None
    doubtful = False
    detail = "no connector answers"
    while now < deadline:
        if not connection.is_ready:
            if not await connection.ready(deadline - now):
                break
            now = clock()
        left = max(0.001, deadline - now)
        submission.timeout_ms = max(1, round(left * 1000))
        if submission.reply:
            sender.expect(submission.uuid)
        try:
            receipt = await sender.submit(submission, now + left + SPARE)
        except TimeoutError:
            raise OutcomeUnknown(submission.uuid, "the connector did not say how it ended") from None
        except CallFailed as failed:
            if failed.absent or not failed.passing:
                raise
            doubtful = True  # the stream that was lost may have carried it
            detail = failed.detail
        else:
            if receipt.outcome == _ACCEPTED:
                return
            again = _ended(submission.uuid, receipt, doubtful)
            doubtful = doubtful or again
            detail = receipt.refusal.detail
        backoff = backoff or Backoff(client._rng, limit=0.5)
        if await pause(client._closing, min(backoff.next(), max(0.0, deadline - clock()))):
            break
        now = clock()
    if doubtful:
        raise OutcomeUnknown(submission.uuid, detail)
    raise NotSent(submission.uuid, str(Reason.NOT_SENT), detail)


def _ended(uuid: str, receipt: Any, doubtful: bool) -> bool:
    """What a receipt that is no acceptance means: raises it; or returns, for a connector that was ending,
    whether it may have taken the command."""
    refusal = receipt.refusal
    unknown: bool = receipt.outcome == pb.Receipt.UNKNOWN
    if refusal.reason in (Reason.SHUTTING_DOWN, Reason.DRAINING):
        return unknown
    if receipt.outcome == pb.Receipt.REJECTED:
        raise Rejected(uuid, refusal.reason, refusal.detail)
    if unknown or doubtful:
        raise OutcomeUnknown(uuid, refusal.detail)
    raise NotSent(uuid, refusal.reason, refusal.detail)


async def reply_to(client: Client, uuid: str, seconds: float | None) -> Reply:
    """Wait for the reply, over one stream after another."""
    clock = asyncio.get_running_loop().time
    deadline = None if seconds is None else clock() + seconds
    backoff: Backoff | None = None
    while True:
        try:
            found = await client.sender.reply(uuid, deadline)
        except TimeoutError:
            raise NoReply(uuid, seconds or 0.0) from None
        except CallFailed as failed:
            if not failed.passing:
                raise
        else:
            reason = found.refusal.reason
            if not reason:
                data = found.payload
                text = data.decode(errors="replace")
                return Reply(found.ok, found.event, text, found.reason, found.detail, data)
            if reason == Reason.TIMED_OUT:
                raise NoReply(uuid, seconds or 0.0)
            if reason not in REASONS or not REASONS[Reason(reason)].elsewhere:
                raise _refused(found.refusal, uuid)
        backoff = backoff or Backoff(client._rng, limit=0.5)
        pausing = backoff.next()
        if deadline is not None and clock() + pausing > deadline:
            await asyncio.sleep(max(0.0, deadline - clock()))
            raise NoReply(uuid, seconds or 0.0)
        await asyncio.sleep(pausing)


async def publish(
    client: Client,
    topic: str,
    event: str,
    payload: object,
    *,
    reference: str,
    uuid: str,
    timeout: float,  # noqa: ASYNC109
) -> str:
    """As `Client.publish`."""
    uuid = uuid or new_uuid()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    backoff = Backoff(client._rng, limit=0.5)
    publication = pb.Publication(
        uuid=uuid,
        topic=topic,
        event=event,
        payload=encode_bytes(payload),
        reference=reference,
        sender=client.name,
    )
    while client._v1 is not False:
        try:
            told = await client.sender.publish(publication, max(loop.time() + 0.001, deadline))
            client._v1 = True
            if not told.HasField("refusal"):
                return uuid
            failed = _refused(told.refusal, uuid)
        except TimeoutError:
            failed = CallFailed("DEADLINE_EXCEEDED", f"not confirmed within {timeout:g} s", uuid=uuid)
        except CallFailed as error:
            failed = error
        if failed.absent and not client._v1:
            client._v1 = False
            break
        if not failed.passing or loop.time() >= deadline:
            raise failed
        if await pause(client._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
            raise failed
    left = max(0.001, deadline - loop.time())
    return await client.send_event(topic, event, payload, reference=reference, uuid=uuid, timeout=left)


def _refused(refusal: Any, uuid: str) -> CallFailed:
    """What an answer of a stream refuses, as a call of its own would have failed."""
    code = REASONS[Reason(refusal.reason)].grpc if refusal.reason in REASONS else "INTERNAL"
    return CallFailed(code, refusal.detail, refusal.reason, refusal.detail, uuid)


def _ms(seconds: float | None) -> int:
    return 0 if seconds is None else max(0, round(seconds * 1000))
