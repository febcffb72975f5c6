"""How a client sends over the Gandalf API."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zconnector.errors import REASONS, Reason
from zconnector.messages.uuids import new_uuid
from zconnector.rpc import metadata
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb
from zconnector.worker.connection import SPARE, Backoff, pause
from zconnector.worker.errors import CallFailed, NotSent, OutcomeUnknown, Rejected, SendError
from zconnector.worker.payload import encode

if TYPE_CHECKING:
    from zconnector.worker.client import Client, Handle


async def send_command(
    client: Client,
    type: str,
    command: str,
    payload: object,
    *,
    timeout: float,  # noqa: ASYNC109  # travels with the command
    major: int,
    uuid: str,
    context: str,
    admin: bool,
) -> Handle:
    """As `Client.send_command`."""
    request = pb.CommandMessage(
        UUID=uuid or new_uuid(),
        ConnectorType=type,
        Command=command,
        Payload=encode(payload),
        Major=major,
        Context=context,
        Admin=admin,
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    backoff = Backoff(client._rng, limit=0.5)
    doubtful = False
    detail = f"no connector answers on {', '.join(client._addresses)}"
    while (left := deadline - loop.time()) > 0 and await client._connection.ready(left):
        left = max(0.001, deadline - loop.time())
        request.Timeout = str(max(1, round(left * 1000)))
        try:
            reply, trailing = await client._connection.call(
                "SendCommandMessage", request, seconds=left + SPARE, said=((metadata.DEFINITE, "1"),)
            )
        except CallFailed as failed:
            if not failed.away:
                raise _send_error(request.UUID, failed, doubtful) from None
            doubtful = doubtful or failed.reason != Reason.DRAINING
            detail = failed.detail
            if await pause(client._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
                break
            continue
        if metadata.value(trailing, metadata.OUTCOME) == "UNKNOWN":
            raise OutcomeUnknown(request.UUID, "handed over, and no receipt came in time")
        return client.handle(reply.UUID, command)
    if doubtful:
        raise OutcomeUnknown(request.UUID, detail)
    raise NotSent(request.UUID, str(Reason.NOT_SENT), detail)


async def send_event(
    client: Client,
    topic: str,
    event: str,
    payload: object,
    *,
    reference: str,
    uuid: str,
    timeout: float,  # noqa: ASYNC109  # seconds to keep trying
) -> str:
    """As `Client.send_event`."""
    request = pb.EventMessage(
        UUID=uuid or new_uuid(),
        Topic=topic,
        Event=event,
        Payload=encode(payload),
        ReferenceUUID=reference,
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    backoff = Backoff(client._rng, limit=0.5)
    while True:
        left = max(0.001, deadline - loop.time())
        try:
            await client._connection.ask("SendEventMessage", request, seconds=left)
        except CallFailed as failed:
            if not failed.passing or loop.time() >= deadline:
                raise
            if await pause(client._closing, min(backoff.next(), max(0.0, deadline - loop.time()))):
                raise
        else:
            return str(request.UUID)


def _send_error(uuid: str, failed: CallFailed, doubtful: bool) -> SendError:
    """What a failed SendCommandMessage means; `doubtful`: an earlier try may have been taken."""
    if failed.reason not in REASONS:
        return OutcomeUnknown(uuid, failed.detail)
    if not REASONS[Reason(failed.reason)].elsewhere:
        return Rejected(uuid, failed.reason, failed.detail)
    if doubtful:
        return OutcomeUnknown(uuid, failed.detail)
    return NotSent(uuid, failed.reason, failed.detail)
