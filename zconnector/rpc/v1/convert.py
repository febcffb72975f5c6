"""Between the messages of zconnector.v1 and the calls of the queue's door: what a sender says.

One pass each way: a request is parsed once, its payload goes on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zconnector.errors import REASONS, Reason, Refusal
from zconnector.messages.kinds import Outcome
from zconnector.messages.uuids import new_uuid
from zconnector.rpc._gen.zconnector.v1 import types_pb2 as pb
from zconnector.rpc.convert import MAX_TIMEOUT, Args, checked, version
from zconnector.rpc.v1.status import item_refusal

DAYS_30 = 30 * 86_400_000
MIN_LEASE, MAX_LEASE = 1_000, 86_400_000
"""Milliseconds."""
SELF = "self"


def between(name: str, value: int, least: int, most: int, uuid: str = "") -> int:
    """A number in its bounds.

    Raises:
        Refusal: BAD_ARGUMENT, naming value and rule.
    """
    if not least <= value <= most:
        rule = f"{name} must be from {least} to {most}"
        raise Refusal(Reason.BAD_ARGUMENT, f"{rule} (got {value}), limit {most}", uuid[:64])
    return value


def lease(value: int, uuid: str = "") -> int:
    """The length of a lease that is wished for; 0: no wish."""
    return between("lease_ms", value, MIN_LEASE, MAX_LEASE, uuid) if value else 0


def submission_args(request: Any, default_timeout: int) -> tuple[Args, bytes]:
    """`send_command` for a Submission; a missing uuid is made.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    uuid = request.uuid or new_uuid()
    if not request.command:
        raise Refusal(Reason.BAD_ARGUMENT, "command must not be empty", uuid[:64])
    timeout = request.timeout_ms
    args: Args = {
        "uuid": uuid,
        "command": request.command,
        "timeout": between("timeout_ms", timeout, 0, MAX_TIMEOUT, uuid) if timeout else default_timeout,
    }
    # What is not set is not said: each argument is checked, and most are not set.
    if request.major:
        args["major"] = version("major", request.major)
    if request.admin:
        args["admin"] = True
    if request.context:
        args["context"] = request.context
    if request.sender_token:
        args["token"] = request.sender_token
    if request.sender:
        args["worker"] = request.sender
    target, type_ = request.target, request.type
    if target == SELF:
        args["target"] = SELF
    elif target:
        why = f"target must be empty or {SELF} (got {target[:40]!r})"
        raise Refusal(Reason.BAD_ARGUMENT, why, uuid[:64])
    if type_ or not target:
        args["type"] = type_
    if request.command_type:
        args["command_type"] = request.command_type
    _add_wishes(args, request, uuid)
    return checked(args, request.payload)


def _add_wishes(args: Args, request: Any, uuid: str) -> None:
    """How the target is to treat the command; what is not wished for is not said."""
    if request.ttl_ms:
        args["ttl"] = between("ttl_ms", request.ttl_ms, 0, DAYS_30, uuid)
    if request.delay_ms:
        args["delay"] = between("delay_ms", request.delay_ms, 0, DAYS_30, uuid)
    if request.priority:
        args["priority"] = between("priority", request.priority, 0, 9, uuid)
    if request.order_key:
        if len(request.order_key.encode()) > 256:
            raise Refusal(Reason.BAD_ARGUMENT, "order_key is longer than 256 bytes, limit 256", uuid[:64])
        args["order_key"] = request.order_key
    if request.lease_ms:
        args["lease"] = lease(request.lease_ms, uuid)
    if request.HasField("retry"):
        wish = request.retry
        args["retry"] = {}
        if wish.attempts:
            args["retry"]["attempts"] = between("retry.attempts", wish.attempts, 1, 1000, uuid)
        if wish.first_ms:
            args["retry"]["first"] = between("retry.first_ms", wish.first_ms, 0, DAYS_30, uuid)
        if wish.factor:
            if not 1 <= wish.factor <= 10:
                why = f"retry.factor must be from 1 to 10 (got {wish.factor:g})"
                raise Refusal(Reason.BAD_ARGUMENT, why, uuid[:64])
            args["retry"]["factor"] = wish.factor
        if wish.limit_ms:
            args["retry"]["limit"] = between("retry.limit_ms", wish.limit_ms, 0, DAYS_30, uuid)


def publication_args(request: Any, default_timeout: int) -> tuple[Args, bytes]:
    """`send_event` for a Publication; a missing uuid is made.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    uuid = request.uuid or new_uuid()
    for name in ("topic", "event"):
        if not getattr(request, name):
            raise Refusal(Reason.BAD_ARGUMENT, f"{name} must not be empty", uuid[:64])
    return checked(
        {
            "uuid": uuid,
            "topic": request.topic,
            "event": request.event,
            "reference": request.reference,
            "timeout": between("timeout_ms", request.timeout_ms, 0, MAX_TIMEOUT, uuid) or default_timeout,
            "token": request.sender_token,
            "worker": request.sender,
        },
        request.payload,
    )


def fill_receipt(message: Any, uuid: str, result: Mapping[str, Any]) -> None:
    """A Receipt for what `send_command` answered."""
    message.uuid = str(result.get("uuid", uuid))
    if result.get("outcome", "ACCEPTED") == "UNKNOWN":
        message.outcome = pb.Receipt.UNKNOWN
        detail = "handed over, and no receipt came in time"
        message.refusal.CopyFrom(pb.Refusal(reason=str(Reason.TIMED_OUT), detail=detail))
    else:
        message.outcome = _ACCEPTED


def fill_refused_receipt(message: Any, uuid: str, refusal: Refusal) -> None:
    """A Receipt for what `send_command` refused.

    A queue that went away during the call may have taken it.
    """
    message.uuid = uuid
    if refusal.reason is Reason.SHUTTING_DOWN:
        message.outcome = pb.Receipt.UNKNOWN
    elif REASONS[refusal.reason].elsewhere:
        message.outcome = pb.Receipt.NOT_SENT
    else:
        message.outcome = pb.Receipt.REJECTED
    message.refusal.CopyFrom(item_refusal(refusal))


def fill_reply(message: Any, uuid: str, header: Mapping[str, Any], payload: bytes) -> None:
    """A Reply for what `await_reply` answered."""
    # Field by field, and in the frame where it belongs: half of what a message of its own would cost, copied.
    get = header.get
    event = get("event", "")
    message.uuid = uuid
    message.ok = event == _SUCCESS
    message.event = event
    message.payload = payload
    if reason := get("reason"):
        message.reason = reason
    if detail := get("detail"):
        message.detail = detail


def fill_no_reply(message: Any, uuid: str, refusal: Refusal) -> None:
    message.uuid = uuid
    message.refusal.CopyFrom(item_refusal(refusal))


_ACCEPTED = pb.Receipt.ACCEPTED
_SUCCESS = str(Outcome.SUCCESS)
