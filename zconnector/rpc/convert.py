"""Between the messages of the Gandalf API and the calls of the queue's door.

Gandalf carries timeouts as strings of milliseconds and timestamps as strings of seconds; inside, both are
integers of milliseconds. Major and minor are int64 on its wire and one signed byte in its clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from google.protobuf.message import DecodeError, Message

from zconnector.errors import Reason, Refusal
from zconnector.messages.checked import Checked
from zconnector.messages.fields import broken_rule_of, check_field
from zconnector.messages.kinds import MAX_HEADER, MAX_MESSAGE
from zconnector.messages.uuids import new_uuid
from zconnector.rpc._gen.gandalf import gandalf_pb2 as pb

HEADROOM = 2_048
"""Bytes left for what routers add to a header on the way, so that what was accepted fits everywhere."""
_NEAR_THE_LIMIT = MAX_MESSAGE - MAX_HEADER
"""A payload of fewer bytes leaves room for any fields: they are no longer than a header may be, were all of
them at their limits, and escaped."""
MAX_COMMANDS = 1_000
"""Names in one SendCommandList."""
MAX_TIMEOUT = 2**31
"""Milliseconds; beyond it a timeout is a mistake. The router's configured maximum is far below."""

Args = dict[str, Any]
Request = TypeVar("Request", bound=Message)


def parse(kind: type[Request], raw: bytes) -> Request:
    """The request in these bytes.

    Raises:
        Refusal: TOO_LARGE, or BAD_ARGUMENT when they are no such message (a text that is not UTF-8).
    """
    if len(raw) > MAX_MESSAGE:
        raise Refusal(Reason.TOO_LARGE, f"{len(raw)} encoded bytes, limit {MAX_MESSAGE}")
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise Refusal(Reason.BAD_ARGUMENT, f"no {kind.__name__}: {error}") from None


def version(name: str, number: int) -> int:
    """A major or minor version.

    Raises:
        Refusal: BAD_ARGUMENT, naming value and rule.
    """
    if not -128 <= number <= 127:
        raise Refusal(Reason.BAD_ARGUMENT, f"{name} must be from -128 to 127 (got {number})")
    return number


def milliseconds(text: str, default: int) -> int:
    """A timeout; the default where none (or zero) is given.

    Raises:
        Refusal: BAD_ARGUMENT, naming value and rule.
    """
    if not text:
        return default
    number = _decimal(text)
    if number is None or not 0 <= number <= MAX_TIMEOUT:
        rule = f"Timeout must be a whole number of milliseconds from 0 to {MAX_TIMEOUT}"
        raise Refusal(Reason.BAD_ARGUMENT, f"{rule} (got {text[:40]!r})")
    return number or default


def command_args(request: Any, worker: str, *, definite: bool, default_timeout: int) -> tuple[Args, bytes]:
    """`send_command` for a CommandMessage; a missing UUID is generated.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    args: Args = {
        "uuid": request.UUID or new_uuid(),
        "type": request.ConnectorType,
        "command": request.Command,
        "timeout": milliseconds(request.Timeout, default_timeout),
        "major": version("Major", request.Major),
        "admin": request.Admin,
        "context": request.Context,
        "token": request.Token,
        "worker": request.SourceWorker or worker,
        "definite": definite,
        **_given(command_type=request.CommandType, tenant=request.Tenant),
    }
    if not args["command"]:
        raise Refusal(Reason.BAD_ARGUMENT, "Command must not be empty", args["uuid"])
    return checked(args, request.Payload.encode())


def event_args(request: Any, worker: str, *, default_timeout: int) -> tuple[Args, bytes]:
    """`send_event` for an EventMessage. Only what cannot be stored is refused: the client drops the rest.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    timeout = _decimal(request.Timeout) or 0
    args: Args = {
        "uuid": request.UUID or new_uuid(),
        "topic": request.Topic,
        "event": request.Event,
        "reference": request.ReferenceUUID,
        "timeout": timeout if 0 < timeout <= MAX_TIMEOUT else default_timeout,
        "token": request.Token,
        "worker": worker,
        **_given(tenant=request.Tenant),
    }
    return checked(args, request.Payload.encode())


def register_args(request: Any, worker: str) -> Args:
    """`register` for a CommandList.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    commands = list(request.Commands)
    if len(commands) > MAX_COMMANDS:
        raise Refusal(Reason.BAD_ARGUMENT, f"{len(commands)} commands, limit {MAX_COMMANDS}")
    for name in commands:
        _check("command", name)
    return {**beat_args(request, worker), "commands": commands}


def beat_args(request: Any, worker: str) -> Args:
    """`beat` for a Stop.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    _check("worker", worker)
    return {
        "worker": worker,
        "major": version("Major", request.Major),
        "minor": version("Minor", request.Minor),
    }


def wait_command_args(request: Any, worker: str) -> Args:
    """`wait_command` for a CommandMessageWait.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    args: Args = {
        "iterator": request.IteratorId,
        "command": request.Value,
        "major": version("Major", request.Major),
        "worker": worker or request.WorkerSource,
    }
    _check("uuid", request.IteratorId)  # no field of a header is called iterator
    return checked(args, b"")[0]


def wait_event_args(request: Any, worker: str, *, any_event: bool) -> Args:
    """`wait_event` for an EventMessageWait or (`any_event`) a TopicMessageWait.

    Positions are kept by WorkerSource, which outlives the process; the identity only stands in for it.

    Raises:
        Refusal: BAD_ARGUMENT.
    """
    _check("uuid", request.IteratorId)
    args: Args = {
        "iterator": request.IteratorId,
        "topic": request.Topic,
        "reference": request.ReferenceUUID,
        "worker": request.WorkerSource or worker,
    }
    if not any_event:
        args["event"] = request.Event
    return checked(args, b"")[0]


def command_message(header: Mapping[str, Any], payload: bytes) -> Any:
    """The CommandMessage that a waiter gets.

    Raises:
        Refusal: INVALID_PAYLOAD, for one that this API cannot carry.
    """
    return pb.CommandMessage(
        SourceConnector=header.get("source", ""),
        SourceWorker=header.get("worker", ""),
        DestinationConnector=header.get("target", ""),
        Tenant=header.get("tenant", ""),
        Token=header.get("token", ""),
        Context=header.get("context", ""),
        Timeout=str(header.get("timeout", "")),
        Timestamp=_seconds(header),
        Major=header.get("major", 0),
        UUID=header.get("uuid", ""),
        ConnectorType=header.get("type", ""),
        CommandType=header.get("command_type", ""),
        Command=header.get("command", ""),
        Payload=_text(header, payload),
        Admin=header.get("admin", False),
    )


def event_message(header: Mapping[str, Any], payload: bytes) -> Any:
    """The EventMessage that a waiter gets.

    Raises:
        Refusal: INVALID_PAYLOAD, for one that this API cannot carry.
    """
    return pb.EventMessage(
        Tenant=header.get("tenant", ""),
        Token=header.get("token", ""),
        Topic=header.get("topic", ""),
        Timeout=str(header.get("timeout", "")),
        Timestamp=_seconds(header),
        UUID=header.get("uuid", ""),
        Event=header.get("event", ""),
        Payload=_text(header, payload),
        ReferenceUUID=header.get("reference", ""),
    )


def _given(**texts: str) -> Args:
    """The fields that a worker filled in; most leave these empty."""
    return {name: text for name, text in texts.items() if text}


def _seconds(header: Mapping[str, Any]) -> str:
    timestamp = header.get("timestamp")
    return "" if timestamp is None else str(int(timestamp) // 1000)


def _text(header: Mapping[str, Any], payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        uuid_ = str(header.get("uuid", ""))
        raise Refusal(
            Reason.INVALID_PAYLOAD, "the payload is not UTF-8: the Gandalf API cannot carry it", uuid_
        ) from None


def _decimal(text: str) -> int | None:
    """A whole number in ASCII digits; longer ones than any rule allows are none."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(text) <= 20):
        return None
    return int(text)


def _check(name: str, value: object) -> None:
    if broken := check_field(name, value):
        raise Refusal(Reason.BAD_ARGUMENT, broken)


def checked(args: Args, payload: bytes) -> tuple[Args, bytes]:
    """The same, held to the rules of the header's fields and of a message's size.

    Raises:
        Refusal: BAD_ARGUMENT or TOO_LARGE.
    """
    if broken := broken_rule_of(args):
        raise Refusal(Reason.BAD_ARGUMENT, broken)
    if len(payload) > _NEAR_THE_LIMIT:
        room = MAX_MESSAGE - HEADROOM - len(orjson.dumps(args))
        if len(payload) > room:
            detail = f"a payload of {len(payload)} bytes with these fields, limit {room}"
            raise Refusal(Reason.TOO_LARGE, detail, str(args.get("uuid", "")))
    return Checked(args), payload


def names(values: object) -> Sequence[str]:
    """A list of names out of an answer of the door; empty for anything else."""
    return [str(value) for value in values] if isinstance(values, list) else []
