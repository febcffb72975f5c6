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
    from zconnector.worker.sender import RetryPolicy


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
    wishes: dict[str, Any] = {
        "target": target,
        "ttl_ms": _ms(ttl),
        "delay_ms": _ms(delay),
        "priority": priority,
        "order_key": order_key,
        "lease_ms": _ms(lease),
        "retry": None if retry is None else retry.message(),
    }
    wanted = sorted(name.removesuffix("_ms") for name, value in wishes.items() if value)
    if client._v1 is not False:
        submission = pb.Submission(
            uuid=uuid,
            type=type,
            command=command,
            payload=encode_bytes(payload),
            major=major,
            context=context,
            admin=admin,
            sender=client.name,
            reply=reply,
            **wishes,
        )
        try:
            if reply:
                client.sender.want(uuid)
            try:
                await _receipt(client, submission, timeout)
                client._v1 = True
                if not reply:
                    return client.handle(uuid, command)
                return await reply_to(client, uuid, reply_timeout)
            finally:
                if reply:
                    client.sender.forget(uuid)
        except CallFailed as failed:
            if not failed.absent or client._v1:
                raise
            client._v1 = False
    if wanted:
        raise Unsupported(f"a command with {', '.join(wanted)}")
    handle = await client.send_command(
        type, command, payload, timeout=timeout, major=major, uuid=uuid, context=context, admin=admin
    )
    return await handle.reply(reply_timeout) if reply else handle


async def _receipt(client: Client, submission: Any, seconds: float) -> None:
    """Submit until there is a definite answer, under one uuid; returns when it is accepted."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    backoff = Backoff(client._rng, limit=0.5)
    doubtful = False
    detail = "no connector answers"
    while (left := deadline - loop.time()) > 0 and await client._connection.ready(left):
        left = max(0.001, deadline - loop.time())
        submission.timeout_ms = max(1, round(left * 1000))
        if submission.reply:
            client.sender.expect(submission.uuid)
        try:
            async with asyncio.timeout(left + SPARE):
                receipt = await client.sender.submit(submission)
        except TimeoutError:
            raise OutcomeUnknown(submission.uuid, "the connector did not say how it ended") from None
        except CallFailed as failed:
            if failed.absent or not failed.passing:
                raise
            doubtful = True  # the stream that was lost may have carried it
            detail = failed.detail
        else:
            if receipt.outcome == pb.Receipt.ACCEPTED:
                return
            again = _ended(submission.uuid, receipt, doubtful)
            doubtful = doubtful or again
            detail = receipt.refusal.detail
        if await pause(client._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
            break
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
    backoff = Backoff(client._rng, limit=0.5)
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    found = await client.sender.reply(uuid)
                except CallFailed as failed:
                    if not failed.passing:
                        raise
                else:
                    reason = found.refusal.reason
                    if not reason:
                        text = found.payload.decode(errors="replace")
                        return Reply(found.ok, found.event, text, found.reason, found.detail, found.payload)
                    if reason == Reason.TIMED_OUT:
                        raise NoReply(uuid, seconds or 0.0)
                    if reason not in REASONS or not REASONS[Reason(reason)].elsewhere:
                        raise _refused(found.refusal, uuid)
                await asyncio.sleep(backoff.next())
    except TimeoutError:
        raise NoReply(uuid, seconds or 0.0) from None


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
            async with asyncio.timeout(max(0.001, deadline - loop.time())):
                told = await client.sender.publish(publication)
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
