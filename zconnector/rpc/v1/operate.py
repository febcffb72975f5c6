"""OperatorService: the operators' verbs (WIRE.md section 14, `operate`) as calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from zconnector.rpc._gen.zconnector.v1 import operators_pb2 as pb
from zconnector.rpc.convert import Args
from zconnector.rpc.port import DoorPort

SERVICE = "zconnector.v1.OperatorService"


class Method(NamedTuple):
    """How one call is a verb. A result has the reply's fields, by their names."""

    verb: str
    request: Any
    reply: Any
    args: Callable[[Any], Args]
    """The verb's arguments that a request means."""


async def operate(door: DoorPort, method: Method, request: Any) -> Any:
    """One call.

    Raises:
        Refusal: what the verb said.
    """
    payload = request.payload if method.verb == "dead.edit" else b""
    result, rest = await door.call("operate", {"verb": method.verb, **method.args(request)}, payload)
    if set(result) == {"json"}:
        size = result["json"]
        result, rest = orjson.loads(rest[:size]), rest[size:]
    if method.verb == "dead.show":
        reply = pb.ShowDeadLetterReply(payload=rest)
        _fill(reply.header, result.pop("header"))
        _fill(reply.letter, result)
        return reply
    return _fill(method.reply(), result)


def _fill(message: Message, fields: Args) -> Message:
    return json_format.ParseDict(fields, message, ignore_unknown_fields=True)


def _given(request: Any, *names: str) -> Args:
    """The fields that say something: a verb's own default stands for what is empty."""
    return {name: getattr(request, name) for name in names if getattr(request, name)}


def _fields(*names: str) -> Callable[[Any], Args]:
    return lambda request: _given(request, *names)


def _filter(wanted: Any) -> Args:
    older = {"older_ms": wanted.older_ms} if wanted.HasField("older_ms") else {}
    return {**_given(wanted, "reason", "command", "source"), **older}


def _listed(request: Any) -> Args:
    return {**_filter(request.filter), **_given(request, "uuid", "limit", "after")}


def _which(request: Any) -> Args:
    which = request.WhichOneof("which")
    if which == "filter":
        return _filter(request.filter)
    return {} if which is None else {which: getattr(request, which)}


def _replayed(request: Any) -> Args:
    return {**_which(request), **_given(request, "limit", "after")}


METHODS: dict[str, Method] = {
    "ListQueue": Method("queue.ls", pb.ListQueueRequest, pb.ListQueueReply, _fields()),
    "PeekQueue": Method("queue.peek", pb.PeekQueueRequest, pb.PeekQueueReply, _fields("command", "limit")),
    "PurgeQueue": Method(
        "queue.purge", pb.PurgeQueueRequest, pb.PurgeQueueReply, _fields("command", "state")
    ),
    "PauseCommand": Method("queue.pause", pb.PauseCommandRequest, pb.PauseCommandReply, _fields("command")),
    "ResumeCommand": Method(
        "queue.resume", pb.ResumeCommandRequest, pb.ResumeCommandReply, _fields("command")
    ),
    "CancelCommand": Method("cancel", pb.CancelCommandRequest, pb.CancelCommandReply, _fields("uuid")),
    "Explain": Method("explain", pb.ExplainRequest, pb.Explanation, _fields("uuid")),
    "ListWorkers": Method("workers", pb.ListWorkersRequest, pb.ListWorkersReply, _fields()),
    "ListDeadLetters": Method("dead.ls", pb.ListDeadLettersRequest, pb.ListDeadLettersReply, _listed),
    "ShowDeadLetter": Method("dead.show", pb.ShowDeadLetterRequest, pb.ShowDeadLetterReply, _fields("uuid")),
    "EditDeadLetter": Method("dead.edit", pb.EditDeadLetterRequest, pb.EditDeadLetterReply, _fields("uuid")),
    "ReplayDeadLetters": Method(
        "dead.replay", pb.ReplayDeadLettersRequest, pb.ReplayDeadLettersReply, _replayed
    ),
    "PurgeDeadLetters": Method("dead.purge", pb.PurgeDeadLettersRequest, pb.PurgeDeadLettersReply, _which),
}
